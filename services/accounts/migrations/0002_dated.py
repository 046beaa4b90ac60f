"""What was known when: versions of what is changed in place, so that past answers can be repeated.

A table `x_was` holds what rows of `x` said before: a version was known from its changed_at until
its replaced_at, and the row in `x` is known from its changed_at on.
"""

from typing import Any

UP = """
-- The latest instant that any answer has spoken for; whatever is recorded after is dated later. A
-- sequence, since its value is seen at once by everybody and never rolled back.
CREATE SEQUENCE answered_at AS bigint MINVALUE 0 START WITH 0;

ALTER TABLE cloud_account ADD changed_at bigint NOT NULL DEFAULT 0;
UPDATE cloud_account SET changed_at = created_at;
CREATE TABLE cloud_account_was (
    account_id bigint NOT NULL,
    name text NOT NULL,
    state smallint NOT NULL,
    verified_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    replaced_at bigint NOT NULL,
    PRIMARY KEY (account_id, changed_at)
);

ALTER TABLE region ADD changed_at bigint NOT NULL DEFAULT 0;
CREATE TABLE region_was (
    account_id bigint NOT NULL,
    region text NOT NULL,
    trouble text NOT NULL,
    trouble_since bigint NOT NULL,
    changed_at bigint NOT NULL,
    replaced_at bigint NOT NULL,
    PRIMARY KEY (account_id, region, changed_at)
);

ALTER TABLE instance ADD changed_at bigint NOT NULL DEFAULT 0;
UPDATE instance SET changed_at = recorded_at;
CREATE TABLE instance_was (
    LIKE instance,
    replaced_at bigint NOT NULL,
    PRIMARY KEY (account_id, instance_id, changed_at)
);

ALTER TABLE image ADD changed_at bigint NOT NULL DEFAULT 0;
UPDATE image SET changed_at = recorded_at;
CREATE TABLE image_was (
    LIKE image,
    replaced_at bigint NOT NULL,
    PRIMARY KEY (account_id, image_id, changed_at)
);

-- The newest row of a type holds, and none is ever changed.
ALTER TABLE instance_type DROP CONSTRAINT instance_type_pkey, ADD PRIMARY KEY (name, recorded_at);

-- A listing in which something was not understood shows what it shows, but lacks nothing.
ALTER TABLE listing ADD complete boolean NOT NULL DEFAULT true;

-- A sighting's row spans listings of its Region that follow one another without a gap, so that how
-- far it reached at any time follows from which of those were known then.
ALTER TABLE sighting DROP CONSTRAINT sighting_pkey, ADD PRIMARY KEY (
    account_id, instance_id, launch_time, running, instance_type, vcpu, usage_operation,
    usage_operation_at, first_listing
);

-- When rows of an instance's runs or anomalies were taken away, which leaves no other trace.
CREATE TABLE taken_away (
    account_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (account_id, instance_id, recorded_at)
);

-- The part of the past for which reports changed; 0 and 0: none.
ALTER TABLE audit
    ADD affected_from bigint NOT NULL DEFAULT 0, ADD affected_until bigint NOT NULL DEFAULT 0;

ALTER TABLE override
    ADD withdrawn_by text NOT NULL DEFAULT '', ADD withdraw_reason text NOT NULL DEFAULT '';
"""

DOWN = """
ALTER TABLE override DROP withdrawn_by, DROP withdraw_reason;
ALTER TABLE audit DROP affected_from, DROP affected_until;
DROP TABLE taken_away;
DELETE FROM sighting s USING sighting o
WHERE (s.account_id, s.instance_id, s.launch_time, s.running, s.instance_type, s.vcpu,
       s.usage_operation, s.usage_operation_at)
    = (o.account_id, o.instance_id, o.launch_time, o.running, o.instance_type, o.vcpu,
       o.usage_operation, o.usage_operation_at) AND s.first_listing < o.first_listing;
ALTER TABLE sighting DROP CONSTRAINT sighting_pkey, ADD PRIMARY KEY (
    account_id, instance_id, launch_time, running, instance_type, vcpu, usage_operation,
    usage_operation_at
);
ALTER TABLE listing DROP complete;
DELETE FROM instance_type t USING instance_type o
WHERE t.name = o.name AND t.recorded_at < o.recorded_at;
ALTER TABLE instance_type DROP CONSTRAINT instance_type_pkey, ADD PRIMARY KEY (name);
DROP TABLE image_was, instance_was, region_was, cloud_account_was;
ALTER TABLE image DROP changed_at;
ALTER TABLE instance DROP changed_at;
ALTER TABLE region DROP changed_at;
ALTER TABLE cloud_account DROP changed_at;
DROP SEQUENCE answered_at;
"""


def up(_migrator: object, db: Any) -> None:
    """Date what was changed in place."""
    db.execute_sql(UP)


def down(_migrator: object, db: Any) -> None:
    """Forget what was known when."""
    db.execute_sql(DOWN)
