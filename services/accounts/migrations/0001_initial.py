"""The first schema.

Every instant is a bigint of microseconds since 1970, UTC; 0 means none. Every key and index of what
grows begins with account_id, so that these tables can be partitioned by account.
"""

from typing import Any

IDENTITY = """
CREATE TABLE app_user (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    role smallint NOT NULL,
    created_at bigint NOT NULL
);

-- Tokens are random, 256 bits, so their plain SHA-256 cannot be guessed back.
CREATE TABLE token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES app_user ON DELETE CASCADE,
    digest bytea NOT NULL UNIQUE,
    label text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint NOT NULL DEFAULT 0
);
CREATE INDEX token_user ON token (user_id, id);

-- What a create call with a request_id made, so that repeating it is harmless.
CREATE TABLE answered_request (
    caller_id bigint NOT NULL,
    request_id uuid NOT NULL,
    digest bytea NOT NULL,
    resource_id bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (caller_id, request_id)
);

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id bigint NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (account_id, id)
);
"""

ACCOUNTS = """
CREATE TABLE cloud_account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id bigint NOT NULL REFERENCES app_user,
    name text NOT NULL,
    partition text NOT NULL,
    aws_account_id text NOT NULL,
    role_arn text NOT NULL,
    external_id text NOT NULL,
    state smallint NOT NULL,
    created_at bigint NOT NULL,
    verified_at bigint NOT NULL DEFAULT 0,
    tried_at bigint NOT NULL DEFAULT 0,
    tried_ok boolean NOT NULL DEFAULT false,
    tried_detail text NOT NULL DEFAULT '',
    missing_permissions text[] NOT NULL DEFAULT '{}',
    last_scan_at bigint NOT NULL DEFAULT 0,
    last_recorded_at bigint NOT NULL DEFAULT 0
);
-- An account that was only registered blocks its owner from a second one, and nobody else;
-- one that was proved is its owner's alone until it is removed (state 5).
CREATE UNIQUE INDEX cloud_account_owned
    ON cloud_account (owner_id, partition, aws_account_id) WHERE state <> 5;
CREATE UNIQUE INDEX cloud_account_proved
    ON cloud_account (partition, aws_account_id) WHERE state <> 5 AND verified_at <> 0;

-- When tracking ended and began again (disabled, paused, removed with its history kept).
CREATE TABLE tracking_gap (
    account_id bigint NOT NULL,
    ended_at bigint NOT NULL,
    resumed_at bigint NOT NULL DEFAULT 0,
    recorded_at bigint NOT NULL,
    resume_recorded_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, ended_at)
);

CREATE TABLE region (
    account_id bigint NOT NULL,
    region text NOT NULL,
    last_listing_at bigint NOT NULL DEFAULT 0,
    confirmed_through bigint NOT NULL DEFAULT 0,
    trouble text NOT NULL DEFAULT '',
    trouble_since bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, region)
);

CREATE TABLE scan_lease (
    account_id bigint PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    started_at bigint NOT NULL DEFAULT 0,
    expires_at bigint NOT NULL DEFAULT 0,
    due_at bigint NOT NULL,
    last_scan jsonb
);
"""

INVENTORY = """
CREATE TABLE instance (
    account_id bigint NOT NULL,
    instance_id bigint GENERATED ALWAYS AS IDENTITY,
    ec2_id text NOT NULL,
    region text NOT NULL DEFAULT '',
    image_id bigint NOT NULL DEFAULT 0,
    image_rank smallint NOT NULL DEFAULT 0,
    image_at bigint NOT NULL DEFAULT 0,
    tags jsonb NOT NULL DEFAULT '{}',
    architecture text NOT NULL DEFAULT '',
    lifecycle text NOT NULL DEFAULT '',
    instance_type text NOT NULL DEFAULT '',
    usage_operation text NOT NULL DEFAULT '',
    platform_details text NOT NULL DEFAULT '',
    product_codes text[] NOT NULL DEFAULT '{}',
    root_volume_id text NOT NULL DEFAULT '',
    reservation_id text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT '',
    state_at bigint NOT NULL DEFAULT 0,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (account_id, instance_id),
    UNIQUE (account_id, ec2_id)
);
CREATE INDEX instance_image ON instance (account_id, image_id, ec2_id);

CREATE TABLE image (
    account_id bigint NOT NULL,
    image_id bigint GENERATED ALWAYS AS IDENTITY,
    ami_id text NOT NULL,
    region text NOT NULL DEFAULT '',
    name text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    owner_id text NOT NULL DEFAULT '',
    owner_alias text NOT NULL DEFAULT '',
    architecture text NOT NULL DEFAULT '',
    platform text NOT NULL DEFAULT '',
    platform_details text NOT NULL DEFAULT '',
    usage_operation text NOT NULL DEFAULT '',
    product_codes text[] NOT NULL DEFAULT '{}',
    root_snapshot_id text NOT NULL DEFAULT '',
    root_device_type text NOT NULL DEFAULT '',
    root_device_name text NOT NULL DEFAULT '',
    public boolean NOT NULL DEFAULT false,
    made_at bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT '',
    recorded_at bigint NOT NULL,
    PRIMARY KEY (account_id, image_id),
    UNIQUE (account_id, ami_id)
);

-- The same for everybody, so it belongs to no account.
CREATE TABLE instance_type (
    name text PRIMARY KEY,
    vcpu integer NOT NULL,
    memory_mib bigint NOT NULL,
    architectures text[] NOT NULL DEFAULT '{}',
    recorded_at bigint NOT NULL
);

-- Instance types and usage operations as numbers, which rows of `run` hold.
CREATE TABLE label (
    label_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL UNIQUE
);
"""

FACTS = """
CREATE TABLE event (
    account_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    event_id text NOT NULL,
    kind smallint NOT NULL,
    occurred_at bigint NOT NULL,
    source smallint NOT NULL,
    fresh boolean NOT NULL,
    termination boolean NOT NULL,
    state text NOT NULL,
    previous_state text NOT NULL,
    instance_type text NOT NULL,
    vcpu integer NOT NULL,
    usage_operation text NOT NULL,
    usage_operation_at bigint NOT NULL,
    image text NOT NULL,
    raw_id text NOT NULL,
    recorded_at bigint NOT NULL,
    superseded_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, instance_id, event_id, superseded_at)
);
CREATE INDEX event_time ON event (account_id, instance_id, occurred_at);

CREATE TABLE listing (
    account_id bigint NOT NULL,
    region text NOT NULL,
    started_at bigint NOT NULL,
    epoch bigint NOT NULL,
    instances integer NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (account_id, region, started_at)
);

-- One row for each instance and LaunchTime, and for what was stated with it.
CREATE TABLE sighting (
    account_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    launch_time bigint NOT NULL,
    running boolean NOT NULL,
    instance_type text NOT NULL,
    vcpu integer NOT NULL,
    usage_operation text NOT NULL,
    usage_operation_at bigint NOT NULL,
    first_listing bigint NOT NULL,
    last_listing bigint NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (
        account_id, instance_id, launch_time, running, instance_type, vcpu, usage_operation,
        usage_operation_at
    )
);

CREATE TABLE run (
    account_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    start_at bigint NOT NULL,
    end_at bigint NOT NULL,
    session_start bigint NOT NULL,
    confirmed_start bigint NOT NULL,
    confirmed_end bigint NOT NULL,
    end_latest bigint NOT NULL,
    instance_type integer NOT NULL,
    usage_operation integer NOT NULL,
    vcpu integer NOT NULL,
    basis smallint NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (account_id, instance_id, start_at)
) WITH (fillfactor = 80);  -- room for an open run to be ended where it stands
-- Runs that a listing without their instance can end: the last number is the year 9999's end.
CREATE INDEX run_open ON run (account_id, instance_id)
    WHERE end_at = 0 OR end_latest = 253402300799999999;

CREATE TABLE anomaly (
    account_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    occurred_at bigint NOT NULL,
    kind smallint NOT NULL,
    event_id text NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (account_id, instance_id, occurred_at, kind, event_id)
);

CREATE TABLE quarantine (
    account_id bigint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    source smallint NOT NULL,
    origin text NOT NULL,
    reason text NOT NULL,
    content bytea NOT NULL,
    digest bytea NOT NULL,
    recorded_at bigint NOT NULL,
    released_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, digest)
);
"""

INSPECTION = """
-- The outbox: a row is published when it is due (pending 1, published 2 with a lease, retry 3),
-- until it is done (4) or dead (5) and due_at is 0.
CREATE TABLE inspection_job (
    account_id bigint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    image_id bigint NOT NULL,
    state smallint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    round_start integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    due_at bigint NOT NULL,
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, image_id)
);
CREATE INDEX inspection_job_due ON inspection_job (due_at) WHERE state IN (1, 2, 3);

-- What an image's classification rests on: AWS's codes, and what its disk says ({}: not read).
-- Dated: the newest row of an image holds, and none is ever changed.
CREATE TABLE classification (
    account_id bigint NOT NULL,
    image_id bigint NOT NULL,
    recorded_at bigint NOT NULL,
    platform_details text NOT NULL,
    usage_operation text NOT NULL,
    product_codes text[] NOT NULL,
    owner_id text NOT NULL,
    owner_alias text NOT NULL,
    name text NOT NULL,
    platform text NOT NULL,
    installed jsonb NOT NULL,
    PRIMARY KEY (account_id, image_id, recorded_at)
);

CREATE TABLE override (
    account_id bigint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    image_id bigint NOT NULL DEFAULT 0,
    instance_id bigint NOT NULL DEFAULT 0,
    distribution text NOT NULL,
    version text NOT NULL,
    license_model smallint NOT NULL,
    products text[] NOT NULL,
    reason text NOT NULL,
    effective_at bigint NOT NULL,
    author text NOT NULL,
    recorded_at bigint NOT NULL,
    withdrawn_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, id)
);
"""


def up(_migrator: object, db: Any) -> None:
    """Make every table."""
    for part in (IDENTITY, ACCOUNTS, INVENTORY, FACTS, INSPECTION):
        db.execute_sql(part)


def down(_migrator: object, db: Any) -> None:
    """Drop every table, with all that is in them."""
    db.execute_sql(
        "DROP TABLE override, classification, inspection_job, quarantine, anomaly, run, sighting,"
        " listing, event, label, instance_type, image, instance, scan_lease, region, tracking_gap,"
        " cloud_account, audit, answered_request, token, app_user"
    )
