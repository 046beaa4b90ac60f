"""Keeps what listings showed of instances, as segments of the listings of a Region.

A row says that every stored listing of its instance's Region which began from first_listing through
last_listing showed the instance so. Rows are as long as they can be: where one ends, the next
listing showed the instance in another way, or not at all.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts.copying import copy_lines, line
from services.accounts.fact_writing import Writing
from services.accounts.facts import DESCRIBE_LAG
from services.accounts.listing import Listing
from services.accounts.new_events import Stated
from services.accounts.rederiving import Touch
from services.accounts.sessions import FOREVER

# With a key, since nobody knows how many rows it has: an index is right for few and for many.
_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS staged_sighting (LIKE sighting, PRIMARY KEY (instance_id))
ON COMMIT DELETE ROWS
"""
_KEY = (
    *("account_id", "instance_id", "launch_time", "running", "instance_type", "vcpu"),
    *("usage_operation", "usage_operation_at"),
)
_COLUMNS = ", ".join((*_KEY, "first_listing", "last_listing", "recorded_at"))


def _same(row: str, other: str) -> str:
    return " AND ".join(f"{row}.{name} = {other}.{name}" for name in _KEY)


_SHOWN = f"""
EXISTS (SELECT FROM sighting o WHERE {_same("o", "s")}
        AND o.first_listing <= %(at)s AND o.last_listing >= %(at)s)
"""  # of constants
_SPLIT = f"""
WITH cut AS (
    SELECT k.* FROM instance i
    JOIN sighting k ON k.account_id = i.account_id AND k.instance_id = i.instance_id
    WHERE i.account_id = %(account)s AND i.region = %(region)s
      AND k.first_listing <= %(before)s AND k.last_listing >= %(after)s
      AND NOT EXISTS (SELECT FROM staged_sighting s WHERE {_same("s", "k")})
), rest AS (
    INSERT INTO sighting ({_COLUMNS})
    SELECT {", ".join(_KEY)}, %(after)s, last_listing, recorded_at FROM cut ON CONFLICT DO NOTHING
)
UPDATE sighting k SET last_listing = %(before)s FROM cut
WHERE {_same("k", "cut")} AND k.first_listing = cut.first_listing
RETURNING k.instance_id, k.running, k.instance_type <> '', k.vcpu <> 0, k.usage_operation <> ''
"""  # noqa: S608 # of constants
_EXTEND = f"""
UPDATE sighting k SET last_listing = %(at)s FROM staged_sighting s
WHERE {_same("k", "s")} AND k.last_listing = %(before)s
RETURNING k.instance_id
"""  # noqa: S608 # of constants
_BEGIN_EARLIER = f"""
UPDATE sighting k SET first_listing = %(at)s FROM staged_sighting s
WHERE {_same("k", "s")} AND k.first_listing = %(after)s AND NOT {_SHOWN}
RETURNING k.instance_id
"""  # noqa: S608 # of constants
_BEGIN = f"""
INSERT INTO sighting ({_COLUMNS}) SELECT {_COLUMNS} FROM staged_sighting s WHERE NOT {_SHOWN}
ON CONFLICT DO NOTHING
RETURNING instance_id
"""  # noqa: S608 # of constants


class Place(NamedTuple):
    """Where a listing stands among the stored ones of its Region; 0: there is none."""

    before: Micros
    """Start of the one just before it."""
    after: Micros
    """Start of the one just after it: it arrived late."""


class _Shown(NamedTuple):
    """What a listing shows of one instance."""

    launch_time: Micros
    running: bool
    stated: Stated

    def touch(self, since: Micros) -> Touch:
        """Say what can change when it was shown so since then."""
        said = self.stated
        says = (said.instance_type != "", said.vcpu != 0, said.usage_operation != "")
        return Touch(self.launch_time if self.running else since, FOREVER, *says)

    def reaching(self, last: Micros) -> Touch:
        """Say what can change when it was known to be shown so through `last`."""
        if self.running:
            # It reaches further than before, and states what it stated. An off at the very instant
            # through which it was confirmed lies inside it now.
            return Touch(max(self.launch_time + 1, last - DESCRIBE_LAG), FOREVER)
        return self.touch(last)


NOT_UNDERSTOOD = _Shown(0, running=False, stated=Stated())
"""An instance that is there, and of which nothing else is known. No launch is at 0."""


def sight(writing: Writing, listing: Listing, ids: Mapping[str, int], place: Place) -> None:
    """Keep what a listing shows of its instances, which is not stored yet.

    Instances that it shows, but that were not understood, are kept as that.
    """
    cursor, account_id = writing.cursor, listing.account_id
    shown = {
        ids[each.ec2_id]: _Shown(each.launch_time, each.running, each.stated)
        for each in listing.instances
    }
    shown.update((ids[ec2_id], NOT_UNDERSTOOD) for ec2_id in listing.unread)
    cursor.execute(_STAGE)
    recorded_at = writing.recorded_at[account_id]
    copy_lines(cursor, "staged_sighting", _COLUMNS, _lines(listing, shown, recorded_at))
    at = listing.started_at
    where = {"account": account_id, "region": listing.region, "at": at, **place._asdict()}
    if place.before and place.after:
        cursor.execute(_SPLIT, where)
        for instance_id, running, *says in cursor.fetchall():
            # One that was running was on throughout all the same.
            if not running:
                writing.touch((account_id, instance_id), Touch(place.before, FOREVER, *says))
    news: dict[int, Touch] = {}
    if place.before:
        cursor.execute(_EXTEND, where)
        news.update((each, shown[each].reaching(place.before)) for (each,) in cursor.fetchall())
    if place.after:
        cursor.execute(_BEGIN_EARLIER, where)
        news.update((each, shown[each].touch(at)) for (each,) in cursor.fetchall())
    cursor.execute(_BEGIN, where)
    news.update((each, shown[each].touch(at)) for (each,) in cursor.fetchall())
    for instance_id, touch in news.items():
        if shown[instance_id] is not NOT_UNDERSTOOD:
            writing.touch((account_id, instance_id), touch)


def _lines(listing: Listing, shown: Mapping[int, _Shown], recorded_at: Micros) -> Iterator[str]:
    at = listing.started_at
    for instance_id, (launch_time, running, stated) in shown.items():
        yield line(
            listing.account_id, instance_id, launch_time, running, *stated, at, at, recorded_at
        )
