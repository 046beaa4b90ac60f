"""Keeps what listings show of instances beside their power: the word of the latest one holds."""

import json
from collections.abc import Iterator, Mapping

from services.accounts.billing_audit import Billed, tell_billed
from services.accounts.copying import copy_lines, line, text_array
from services.accounts.fact_writing import Writing
from services.accounts.listing import Listing
from services.accounts.rederiving import Touch
from services.accounts.sessions import FOREVER
from services.accounts.version_keeping import INSTANCE, keep_version

_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS staged_instance (LIKE instance INCLUDING DEFAULTS)
ON COMMIT DELETE ROWS
"""
_COLUMNS = (
    "account_id, instance_id, ec2_id, region, tags, architecture, lifecycle, instance_type,"
    " usage_operation, platform_details, product_codes, root_volume_id, reservation_id, state,"
    " state_at, recorded_at"
)
# What is empty in a listing of these two was not stated by it; of all else it is what holds.
_SHOW = f"""
WITH told AS (
    SELECT s.account_id, s.instance_id, s.region, s.tags, s.architecture, s.lifecycle,
           coalesce(nullif(s.instance_type, ''), i.instance_type) AS instance_type,
           coalesce(nullif(s.usage_operation, ''), i.usage_operation) AS usage_operation,
           s.platform_details, s.product_codes, s.root_volume_id, s.reservation_id, s.state,
           s.state_at, s.recorded_at, i.region AS was_region,
           i.usage_operation AS was_operation, i.product_codes AS was_codes
    FROM staged_instance s
    JOIN instance i ON i.account_id = s.account_id AND i.instance_id = s.instance_id
), news AS MATERIALIZED (
    SELECT t.* FROM told t
    JOIN instance i ON i.account_id = t.account_id AND i.instance_id = t.instance_id
    WHERE (i.region, i.tags, i.architecture, i.lifecycle, i.instance_type, i.usage_operation,
           i.platform_details, i.product_codes, i.root_volume_id, i.reservation_id, i.state)
       IS DISTINCT FROM
          (t.region, t.tags, t.architecture, t.lifecycle, t.instance_type, t.usage_operation,
           t.platform_details, t.product_codes, t.root_volume_id, t.reservation_id, t.state)
      AND NOT EXISTS (
          SELECT FROM sighting k WHERE k.account_id = t.account_id
          AND k.instance_id = t.instance_id AND k.last_listing > t.state_at AND k.launch_time <> 0)
), was AS (
    {keep_version("instance", INSTANCE, "news n")}
)
UPDATE instance i SET
    region = n.region, tags = n.tags, architecture = n.architecture, lifecycle = n.lifecycle,
    instance_type = n.instance_type, usage_operation = n.usage_operation,
    platform_details = n.platform_details, product_codes = n.product_codes,
    root_volume_id = n.root_volume_id, reservation_id = n.reservation_id, state = n.state,
    state_at = n.state_at, changed_at = n.recorded_at
FROM news n WHERE i.account_id = n.account_id AND i.instance_id = n.instance_id
RETURNING i.instance_id, n.was_region <> n.region, n.was_operation, n.was_codes,
          n.usage_operation, n.product_codes
"""  # noqa: S608 # of constants


def show_instances(writing: Writing, listing: Listing, ids: Mapping[str, int]) -> None:
    """Keep what a listing shows of each instance, unless a later one has shown it.

    One that is listed in another Region than was told has its runs derived again with the listings
    of this one.
    """
    cursor, account_id = writing.cursor, listing.account_id
    cursor.execute(_STAGE)
    recorded_at = writing.recorded_at[account_id]
    copy_lines(cursor, "staged_instance", _COLUMNS, _lines(listing, ids, recorded_at))
    cursor.execute(_SHOW)
    billed: dict[int, tuple[Billed, Billed]] = {}
    for instance_id, moved, *was_and_is in cursor.fetchall():
        writing.changed.add(account_id)
        if moved:
            writing.touch((account_id, instance_id), Touch(0, FOREVER))
        operation, codes, operation_now, codes_now = was_and_is
        was, now = Billed(operation, tuple(codes)), Billed(operation_now, tuple(codes_now))
        if was != now:
            billed[instance_id] = was, now
    tell_billed(writing, account_id, billed)


def _lines(listing: Listing, ids: Mapping[str, int], recorded_at: int) -> Iterator[str]:
    for each in listing.instances:
        yield line(
            *(listing.account_id, ids[each.ec2_id], each.ec2_id, listing.region),
            json.dumps(each.tags, sort_keys=True),
            *(each.architecture, each.lifecycle),
            *(each.stated.instance_type, each.stated.usage_operation, each.platform_details),
            text_array(each.product_codes),
            *(each.root_volume_id, each.reservation_id, each.state),
            *(listing.started_at, recorded_at),
        )
