"""Stores listings: what they showed, what they lacked, and the runs that follow."""

import json
from collections.abc import Iterator, Mapping, Sequence

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts.copying import copy_lines, escaped
from services.accounts.event_store import store_events, texts_of
from services.accounts.fact_writing import FactWriter, Writing
from services.accounts.facts import DESCRIBE_LAG
from services.accounts.image_naming import BY_DESCRIBE, NamedImage, name_images
from services.accounts.image_writing import describe_images, describe_types
from services.accounts.listing import ListedInstance, Listing, Recorded
from services.accounts.new_events import Outcome
from services.accounts.quarantine_store import keep_aside
from services.accounts.rederiving import Touch
from services.accounts.schedule_store import check_epoch
from services.accounts.sessions import FOREVER

_STAGE_INSTANCES = """
CREATE TEMP TABLE IF NOT EXISTS staged_instance (LIKE instance INCLUDING DEFAULTS) ON COMMIT DELETE ROWS
"""
_INSTANCE_COLUMNS = (
    "account_id, instance_id, ec2_id, region, image_id, image_rank, image_at, tags, architecture,"
    " lifecycle, instance_type, usage_operation, platform_details, product_codes, root_volume_id,"
    " reservation_id, state, state_at, recorded_at"
)
_SHOW_INSTANCES = """
UPDATE instance i SET
    region = s.region, tags = s.tags, architecture = s.architecture, lifecycle = s.lifecycle,
    instance_type = coalesce(nullif(s.instance_type, ''), i.instance_type),
    usage_operation = coalesce(nullif(s.usage_operation, ''), i.usage_operation),
    platform_details = s.platform_details, product_codes = s.product_codes,
    root_volume_id = s.root_volume_id, reservation_id = s.reservation_id, state = s.state,
    state_at = s.state_at
FROM staged_instance s
WHERE i.account_id = s.account_id AND i.instance_id = s.instance_id AND i.state_at <= s.state_at
  AND (i.region, i.tags, i.architecture, i.lifecycle, i.instance_type, i.usage_operation,
       i.platform_details, i.product_codes, i.root_volume_id, i.reservation_id, i.state)
   IS DISTINCT FROM
      (s.region, s.tags, s.architecture, s.lifecycle,
       coalesce(nullif(s.instance_type, ''), i.instance_type),
       coalesce(nullif(s.usage_operation, ''), i.usage_operation),
       s.platform_details, s.product_codes, s.root_volume_id, s.reservation_id, s.state)
"""
_STAGE_SIGHTINGS = """
CREATE TEMP TABLE IF NOT EXISTS staged_sighting (LIKE sighting) ON COMMIT DELETE ROWS
"""
_SIGHTING_COLUMNS = (
    "account_id, instance_id, launch_time, running, instance_type, vcpu, usage_operation,"
    " usage_operation_at, first_listing, last_listing, recorded_at"
)
_KEY = """
account_id, instance_id, launch_time, running, instance_type, vcpu, usage_operation,
usage_operation_at
"""
_NEWS = f"""
SELECT s.instance_id, coalesce(k.first_listing, 0), coalesce(k.last_listing, 0)
FROM staged_sighting s LEFT JOIN sighting k USING ({_KEY})
WHERE k.account_id IS NULL OR s.first_listing < k.first_listing OR s.last_listing > k.last_listing
"""  # noqa: S608 # of constants
_MATCH = " AND ".join(f"k.{name.strip()} = s.{name.strip()}" for name in _KEY.split(","))
_EXTEND = f"""
UPDATE sighting k SET
    first_listing = least(k.first_listing, s.first_listing),
    last_listing = greatest(k.last_listing, s.last_listing)
FROM staged_sighting s
WHERE {_MATCH} AND (s.first_listing < k.first_listing OR s.last_listing > k.last_listing)
"""  # noqa: S608 # of constants
_SIGHT = f"""
INSERT INTO sighting SELECT * FROM staged_sighting s
WHERE NOT EXISTS (SELECT FROM sighting k WHERE {_MATCH})
"""  # noqa: S608 # of constants
_LIST = """
INSERT INTO listing (account_id, region, started_at, epoch, instances, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_OPEN = """
SELECT DISTINCT r.instance_id FROM run r
JOIN instance i ON i.account_id = r.account_id AND i.instance_id = r.instance_id
WHERE r.account_id = %s AND (r.end_at = 0 OR r.end_latest = 253402300799999999)
  AND i.region = %s
"""
_EVERY = "SELECT instance_id FROM instance WHERE account_id = %s AND region = %s"
_KEEP_REGION = """
INSERT INTO region (account_id, region, last_listing_at, confirmed_through)
VALUES (%(account)s, %(region)s, %(at)s, %(through)s)
ON CONFLICT (account_id, region) DO UPDATE SET
    last_listing_at = greatest(region.last_listing_at, %(at)s),
    confirmed_through = greatest(region.confirmed_through, %(through)s),
    trouble = '', trouble_since = 0
RETURNING confirmed_through
"""
_DOUBT_REGION = """
INSERT INTO region (account_id, region, trouble, trouble_since)
VALUES (%(account)s, %(region)s, %(trouble)s, %(now)s)
ON CONFLICT (account_id, region) DO UPDATE SET
    trouble = excluded.trouble,
    trouble_since = CASE WHEN region.trouble = '' THEN %(now)s ELSE region.trouble_since END
RETURNING confirmed_through
"""


class ListingStore:
    """Stores listings; each is one transaction."""

    def __init__(self, writer: FactWriter) -> None:
        self._writer = writer

    def record(self, listing: Listing) -> Recorded:
        """Store a listing with all that follows from it.

        One that was stored before changes nothing. Raises NotFound for an account that is not
        there or was never proved, FailedPrecondition when the lease's epoch is another.
        """
        account_id, region = listing.account_id, listing.region
        events = list(listing.events())
        texts = texts_of(events) | {
            text
            for instance in listing.instances
            for text in (instance.stated.instance_type, instance.stated.usage_operation)
        }
        with self._writer.writing([account_id], texts) as writing:
            if account_id not in writing.recorded_at:
                raise NotFound(
                    f"There is no cloud account {account_id} that is scanned.",
                    reason="ACCOUNT_NOT_FOUND",
                )
            check_epoch(writing.cursor, account_id, listing.epoch)
            names = {(account_id, each.ec2_id): region for each in listing.instances}
            found = self._writer.find_instances(writing, names)
            ids = {ec2_id: number for (_, ec2_id), number in found.items()}
            _show_instances(writing, listing, ids)
            _sight(writing, listing, ids)
            _miss(writing, listing, ids)
            new_images = _images(writing, listing, ids)
            outcomes = store_events(self._writer, writing, events)
            keep_aside(writing.cursor, listing.asides, writing.now)
            through = _keep_region(writing, listing)
        return Recorded(outcomes.count(Outcome.STORED), new_images, through)


def _show_instances(writing: Writing, listing: Listing, ids: Mapping[str, int]) -> None:
    """Keep what the listing shows of each instance, unless a later one has shown it."""
    cursor = writing.cursor
    cursor.execute(_STAGE_INSTANCES)
    copy_lines(cursor, "staged_instance", _INSTANCE_COLUMNS, _instance_lines(listing, ids))
    cursor.execute(_SHOW_INSTANCES)
    if cursor.rowcount:
        writing.changed.add(listing.account_id)


def _instance_lines(listing: Listing, ids: Mapping[str, int]) -> Iterator[str]:
    for each in listing.instances:
        yield _line(
            listing.account_id,
            ids[each.ec2_id],
            each.ec2_id,
            listing.region,
            *(0, 0, 0),  # the image is named apart
            json.dumps(each.tags, sort_keys=True),
            each.architecture,
            each.lifecycle,
            each.stated.instance_type,
            each.stated.usage_operation,
            each.platform_details,
            _text_array(each.product_codes),
            each.root_volume_id,
            each.reservation_id,
            each.state,
            listing.started_at,
            0,
        )


def _sight(writing: Writing, listing: Listing, ids: Mapping[str, int]) -> None:
    """Keep the sightings, and what was shown of instances that were not running."""
    cursor = writing.cursor
    cursor.execute(_STAGE_SIGHTINGS)
    recorded_at = writing.recorded_at[listing.account_id]
    copy_lines(
        cursor,
        "staged_sighting",
        _SIGHTING_COLUMNS,
        (
            _line(
                listing.account_id,
                ids[each.ec2_id],
                each.launch_time,
                each.running,
                *each.stated,
                *(listing.started_at, listing.started_at, recorded_at),
            )
            for each in listing.instances
        ),
    )
    cursor.execute(_NEWS)
    news = cursor.fetchall()
    cursor.execute(_EXTEND)
    cursor.execute(_SIGHT)
    shown = {ids[each.ec2_id]: each for each in listing.instances}
    for instance_id, first, last in news:
        touch = _touch(shown[instance_id], listing.started_at, first, last)
        writing.touch((listing.account_id, instance_id), touch)


def _touch(shown: ListedInstance, at: Micros, first: Micros, last: Micros) -> Touch:
    """Say what a sighting can change, which was known from `first` to `last`, or not at all."""
    stated = shown.stated
    says = (stated.instance_type != "", stated.vcpu != 0, stated.usage_operation != "")
    if not shown.running:
        return Touch(min(at, last or at), FOREVER, *says)
    if first and at > last:
        # It reaches further than before, and states what it stated.
        return Touch(max(shown.launch_time, last - DESCRIBE_LAG) + 1, FOREVER)
    return Touch(shown.launch_time, FOREVER, *says)


def _miss(writing: Writing, listing: Listing, ids: Mapping[str, int]) -> None:
    """Note the listing, and touch the instances that it did not show running.

    While there are instances in it that were not understood, nothing is missing from it.
    """
    if listing.asides:
        return
    cursor, account_id, region = writing.cursor, listing.account_id, listing.region
    at, count = listing.started_at, len(listing.instances)
    recorded_at = writing.recorded_at[account_id]
    cursor.execute(_LIST, (account_id, region, at, listing.epoch, count, recorded_at))
    if not cursor.rowcount:
        return
    writing.changed.add(account_id)
    cursor.execute(
        "SELECT FROM listing WHERE account_id = %s AND region = %s AND started_at > %s LIMIT 1",
        (account_id, region, at),
    )
    cursor.execute(_EVERY if cursor.rowcount else _OPEN, (account_id, region))
    running = {ids[each.ec2_id] for each in listing.instances if each.running}
    for (instance_id,) in cursor.fetchall():
        if instance_id not in running:
            writing.touch((account_id, instance_id), Touch(at, FOREVER))


def _images(writing: Writing, listing: Listing, ids: Mapping[str, int]) -> int:
    """Keep images and types, and who has which image; return how many images are new."""
    account_id = listing.account_id
    describe_types(writing, listing.types)
    new = describe_images(writing, listing)
    named = [
        NamedImage((account_id, ids[each.ec2_id]), each.image, listing.region, each.launch_time)
        for each in listing.instances
        if each.image
    ]
    name_images(writing, named, BY_DESCRIBE)
    return new


def _keep_region(writing: Writing, listing: Listing) -> Micros:
    """Note what is known of the Region now; return up to when everything is."""
    odd = len(listing.asides)
    writing.cursor.execute(
        _DOUBT_REGION if odd else _KEEP_REGION,
        {
            "account": listing.account_id,
            "region": listing.region,
            "at": listing.started_at,
            "through": listing.started_at - DESCRIBE_LAG,
            "now": writing.now,
            "trouble": f"{odd} {'instance' if odd == 1 else 'instances'} of the last listing"
            f" {'was' if odd == 1 else 'were'} not understood: see the account's quarantine",
        },
    )
    (through,) = writing.cursor.fetchone() or (0,)
    return int(through)


def _line(*fields: object) -> str:
    return "\t".join(escaped(each) if isinstance(each, str) else f"{each:d}" for each in fields)


def _text_array(texts: Sequence[str]) -> str:
    quoted = (
        f'"{text.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
        for text in texts
    )
    return f"{{{','.join(quoted)}}}"
