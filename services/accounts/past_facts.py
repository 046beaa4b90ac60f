"""Reads the facts of one account's instances as they were known at an instant."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from libs.common.instants import Micros
from services.accounts.absences import known_through, looked_for
from services.accounts.copying import array
from services.accounts.database import Cursor
from services.accounts.fact_reader import KINDS, SOURCES, Interned
from services.accounts.facts import (
    DESCRIBE_LAG,
    Event,
    InstanceFacts,
    Sighting,
    Statement,
    TrackingGap,
)
from services.accounts.versions import known

# As fact_reader's, where the reasons for their forms stand.
_EVENTS = """
SELECT w.place - 1, e.event_id, e.kind, e.occurred_at, e.source, e.fresh, e.previous_state,
       e.termination, e.instance_type, e.vcpu,
       CASE WHEN e.usage_operation_at > e.occurred_at THEN '' ELSE e.usage_operation END
FROM unnest(%(instances)s::bigint[]) WITH ORDINALITY AS w(instance_id, place)
CROSS JOIN LATERAL (
    SELECT * FROM event
    WHERE account_id = %(account)s AND instance_id = w.instance_id AND recorded_at <= %(at)s
      AND (superseded_at = 0 OR superseded_at > %(at)s)
    OFFSET 0
) e
"""
_SIGHTINGS = """
SELECT w.place - 1, s.first_listing, s.last_listing, s.running, s.launch_time, s.instance_type,
       s.vcpu, CASE WHEN s.running AND s.usage_operation_at > s.launch_time THEN ''
                    ELSE s.usage_operation END,
       s.usage_operation, s.usage_operation_at
FROM unnest(%(instances)s::bigint[]) WITH ORDINALITY AS w(instance_id, place)
CROSS JOIN LATERAL (
    SELECT * FROM sighting WHERE account_id = %(account)s AND instance_id = w.instance_id
    OFFSET 0
) s
ORDER BY w.place, s.running, s.launch_time, s.instance_type, s.vcpu, s.usage_operation,
         s.usage_operation_at, s.first_listing
"""
# Where it is listed, as far as that is known by now, and where it was thought to be.
_REGIONS = f"""
SELECT w.place - 1, i.region, coalesce(k.region, '')
FROM unnest(%(instances)s::bigint[]) WITH ORDINALITY AS w(instance_id, place)
JOIN instance i ON i.account_id = %(account)s AND i.instance_id = w.instance_id
LEFT JOIN {known("instance", "instance_id, region")} k ON k.instance_id = w.instance_id
"""  # noqa: S608 # of constants
_LISTINGS = """
SELECT started_at, complete FROM listing
WHERE account_id = %(account)s AND region = %(region)s AND recorded_at <= %(at)s
ORDER BY started_at
"""
_GAPS = """
SELECT ended_at,
       CASE WHEN resume_recorded_at BETWEEN 1 AND %(at)s THEN resumed_at ELSE 0 END
FROM tracking_gap WHERE account_id = %(account)s AND recorded_at <= %(at)s ORDER BY ended_at
"""

_Shown: TypeAlias = tuple[Any, ...]
"""What a sighting's row says beside when: running, launch, what it states, and its key's rest."""


class Listings(NamedTuple):
    """The starts of a Region's listings that were known, ascending."""

    every: list[Micros]
    complete: list[Micros]

    def within(self, first: Micros, last: Micros) -> tuple[Micros, Micros] | None:
        """Return the first and last listing in a span, both ends included; None: there is none."""
        begin, end = bisect_left(self.every, first), bisect_right(self.every, last)
        return None if begin == end else (self.every[begin], self.every[end - 1])

    def between(self, after: Micros, before: Micros) -> bool:
        """Say whether any listing began after one instant and before another."""
        return bisect_right(self.every, after) < bisect_left(self.every, before)


class PastFacts:
    """What was known at an instant of the instances of an account."""

    def __init__(self, cursor: Cursor, account_id: int, at: Micros) -> None:
        self._cursor = cursor
        self._asked = {"account": account_id, "at": at}
        self._listings: dict[str, Listings] = {"": Listings([], [])}
        self._attributes = Interned()
        cursor.execute(_GAPS, self._asked)
        self._gaps: list[tuple[Micros, Micros]] = cursor.fetchall()

    def read(self, instance_ids: Sequence[int]) -> list[InstanceFacts]:
        """Return everything that was known of these instances, of each by itself."""
        asked = {**self._asked, "instances": array(instance_ids)}
        regions = [("", "")] * len(instance_ids)
        self._cursor.execute(_REGIONS, asked)
        for place, listed_in, known_in in self._cursor.fetchall():
            regions[place] = listed_in, known_in
        events = self._events(asked, len(instance_ids))
        shown, unread = self._shown(asked, [listed_in for listed_in, _ in regions])
        return [
            InstanceFacts(
                events[place],
                [each for each in shown[place] if isinstance(each, Sighting)],
                [each for each in shown[place] if isinstance(each, Statement)],
                looked_for(self._of_region(region).complete, unread[place]),
                known_through((self._gap(*gap, region) for gap in self._gaps), unread[place]),
            )
            for place, (_, region) in enumerate(regions)
        ]

    def _events(self, asked: Mapping[str, object], count: int) -> list[list[Event]]:
        self._cursor.execute(_EVENTS, asked)
        events: list[list[Event]] = [[] for _ in range(count)]
        for row in self._cursor.fetchall():
            place, event_id, kind, at, source, fresh, previous, termination, *stated = row
            events[place].append(
                Event(
                    event_id,
                    KINDS[kind],
                    at,
                    SOURCES[source],
                    fresh,
                    previous,
                    termination,
                    self._attributes(*stated),
                )
            )
        return events

    def _shown(
        self, asked: Mapping[str, object], regions: Sequence[str]
    ) -> tuple[list[list[Sighting | Statement]], list[list[tuple[Micros, Micros]]]]:
        """Return what listings showed, and which named an instance without being understood."""
        self._cursor.execute(_SIGHTINGS, asked)
        unread: list[list[tuple[Micros, Micros]]] = [[] for _ in regions]
        shown: list[list[Sighting | Statement]] = [[] for _ in regions]
        for place, rows in groupby(self._cursor.fetchall(), lambda row: int(row[0])):
            for first, last, said in _cut(rows, self._of_region(regions[place])):
                running, launch, *stated = said[:5]
                if not (running or launch):
                    unread[place].append((first, last))
                    continue
                attributes = self._attributes(*stated)
                shown[place].append(
                    Sighting(launch, first, last, attributes)
                    if running
                    else Statement(first, last, attributes)
                )
        return shown, unread

    def _gap(self, ended_at: Micros, resumed_at: Micros, region: str) -> TrackingGap:
        complete = self._of_region(region).complete
        before = bisect_right(complete, ended_at)
        through = complete[before - 1] - DESCRIBE_LAG if before else 0
        return TrackingGap(ended_at, resumed_at, through)

    def _of_region(self, region: str) -> Listings:
        if region not in self._listings:
            self._cursor.execute(_LISTINGS, {**self._asked, "region": region})
            rows = self._cursor.fetchall()
            self._listings[region] = Listings(
                [started_at for started_at, _ in rows],
                [started_at for started_at, complete in rows if complete],
            )
        return self._listings[region]


def _cut(
    rows: Iterable[tuple[Any, ...]], listings: Listings
) -> Iterator[tuple[Micros, Micros, _Shown]]:
    """Yield one instance's sightings as far as the listings that were known reach.

    Rows of one key that no known listing parts were one row.
    """
    first, last, said = 0, 0, None
    for _, begin, end, *rest in rows:
        span = listings.within(begin, end)
        if span is None:
            continue
        if rest == said and not listings.between(last, span[0]):
            last = span[1]
            continue
        if said is not None:
            yield first, last, tuple(said)
        first, last, said = *span, rest
    if said is not None:
        yield first, last, tuple(said)
