"""Reads stored facts of many instances at once, each instance's within a window of its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts.absences import known_through, looked_for
from services.accounts.copying import array
from services.accounts.database import Cursor
from services.accounts.facts import (
    DESCRIBE_LAG,
    NOTHING,
    Attributes,
    Event,
    EventKind,
    InstanceFacts,
    Sighting,
    Source,
    Statement,
    TrackingGap,
)


class Window(NamedTuple):
    """Part of one instance's history, both ends included."""

    account_id: int
    instance_id: int
    begin: Micros
    until: Micros


# Each window's rows are looked up by index whatever the tables' statistics say: OFFSET 0 keeps the
# planner from joining them in another way. What a fact says of a usage operation that came to hold
# only later, an event of its own says at that time.
_EVENTS = """
SELECT w.place - 1, e.event_id, e.kind, e.occurred_at, e.source, e.fresh, e.previous_state,
       e.termination, e.instance_type, e.vcpu,
       CASE WHEN e.usage_operation_at > e.occurred_at THEN '' ELSE e.usage_operation END
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
     AS w(account_id, instance_id, since, until, place)
CROSS JOIN LATERAL (
    SELECT * FROM event
    WHERE account_id = w.account_id AND instance_id = w.instance_id
      AND occurred_at BETWEEN w.since AND w.until AND superseded_at = 0
    OFFSET 0
) e
"""
_SIGHTINGS = """
SELECT w.place - 1, s.running, s.launch_time, s.first_listing, s.last_listing, s.instance_type,
       s.vcpu, CASE WHEN s.running AND s.usage_operation_at > s.launch_time THEN ''
                    ELSE s.usage_operation END
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
     AS w(account_id, instance_id, since, until, place)
CROSS JOIN LATERAL (
    SELECT * FROM sighting
    WHERE account_id = w.account_id AND instance_id = w.instance_id
      AND greatest(last_listing, launch_time) >= w.since
      AND CASE WHEN running THEN launch_time ELSE first_listing END <= w.until
    OFFSET 0
) s
"""
_REGIONS = """
SELECT w.place - 1, i.region
FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS w(account_id, instance_id, place)
JOIN instance i ON i.account_id = w.account_id AND i.instance_id = w.instance_id
"""
_LISTINGS = """
SELECT l.account_id, l.region, array_agg(l.started_at ORDER BY l.started_at)
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
     AS r(account_id, region, since, until)
JOIN listing l ON l.account_id = r.account_id AND l.region = r.region
               AND l.started_at BETWEEN r.since AND r.until AND l.complete
GROUP BY 1, 2
"""
_GAPS = """
SELECT g.account_id, g.ended_at, g.resumed_at, (
    SELECT jsonb_object_agg(r.region, l.last) FROM region r JOIN LATERAL (
        SELECT max(started_at) AS last FROM listing
        WHERE account_id = r.account_id AND region = r.region AND complete
          AND started_at <= g.ended_at
    ) l ON l.last > 0 WHERE r.account_id = g.account_id
) FROM tracking_gap g WHERE g.account_id = ANY(%s) ORDER BY g.ended_at
"""
KINDS = {int(kind): kind for kind in EventKind}
SOURCES = {int(source): source for source in Source}


@dataclass(slots=True)
class _Found:
    events: list[Event] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    unread: list[tuple[Micros, Micros]] = field(default_factory=list)
    """First and last of the listings that named it without being understood."""


class Interned:
    """Equal attributes as one object: there are few, and far more facts that state them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, str], Attributes] = {("", 0, ""): NOTHING}

    def __call__(self, instance_type: str, vcpu: int, usage_operation: str) -> Attributes:
        """Return the one object for what is stated."""
        key = (instance_type, vcpu, usage_operation)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Attributes(*key)
        return found


def read_facts(cursor: Cursor, windows: Sequence[Window]) -> list[InstanceFacts]:
    """Return the facts in each window, and those that reach into it."""
    found = [_Found() for _ in windows]
    columns = _columns(windows)
    attributes = Interned()
    cursor.execute(_EVENTS, columns)
    for row in cursor.fetchall():
        place, event_id, kind, at, source, fresh, previous, termination, *stated = row
        found[place].events.append(
            Event(
                event_id,
                KINDS[kind],
                at,
                SOURCES[source],
                fresh,
                previous,
                termination,
                attributes(*stated),
            )
        )
    cursor.execute(_SIGHTINGS, columns)
    for place, running, launch, first, last, *stated in cursor.fetchall():
        shown = attributes(*stated)
        if running:
            found[place].sightings.append(Sighting(launch, first, last, shown))
        elif not launch:
            found[place].unread.append((first, last))
        else:
            found[place].statements.append(Statement(first, last, shown))
    regions = _regions(cursor, windows, columns)
    listings = _listings(cursor, windows, found, regions)
    gaps = _gaps(cursor, windows)
    return [
        InstanceFacts(
            each.events,
            each.sightings,
            each.statements,
            looked_for(listings.get((window.account_id, region), ()), each.unread),
            known_through((gap(region) for gap in gaps.get(window.account_id, ())), each.unread),
        )
        for window, each, region in zip(windows, found, regions, strict=True)
    ]


def _columns(windows: Sequence[Window]) -> tuple[str, str, str, str]:
    return (
        array(w.account_id for w in windows),
        array(w.instance_id for w in windows),
        array(w.begin for w in windows),
        array(w.until for w in windows),
    )


def _regions(cursor: Cursor, windows: Sequence[Window], columns: tuple[str, ...]) -> list[str]:
    """Return each instance's Region; empty for all when no Region of theirs was ever listed."""
    regions = [""] * len(windows)
    cursor.execute(
        "SELECT FROM listing WHERE account_id = ANY(%s) LIMIT 1",
        (list({w.account_id for w in windows}),),
    )
    if cursor.rowcount:
        cursor.execute(_REGIONS, columns[:2])
        for place, region in cursor.fetchall():
            regions[place] = region
    return regions


def _listings(
    cursor: Cursor, windows: Sequence[Window], found: Sequence[_Found], regions: Sequence[str]
) -> dict[tuple[int, str], list[Micros]]:
    """Return the listings of each account and Region that can matter to any of the windows."""
    spans: dict[tuple[int, str], tuple[Micros, Micros]] = {}
    for window, each, region in zip(windows, found, regions, strict=True):
        if region:
            key = (window.account_id, region)
            since, until = spans.get(key, (window.until, window.until))
            spans[key] = min(since, _since(window, each)), max(until, window.until)
    if not spans:
        return {}
    cursor.execute(
        _LISTINGS,
        (
            array(account_id for account_id, _ in spans),
            [region for _, region in spans],
            array(since for since, _ in spans.values()),
            array(until for _, until in spans.values()),
        ),
    )
    return {(account_id, region): times for account_id, region, times in cursor.fetchall()}


def _since(window: Window, found: _Found) -> Micros:
    """From when on listings can tell that the instance was gone.

    What the window begins with is on from its begin, and shown at least as long as the sightings
    of that start say; before all that, no listing matters.
    """
    begin = window.begin
    if not begin:
        first = [event.occurred_at for event in found.events]
        begin = min([*first, *(s.launch_time for s in found.sightings)], default=0)
    shown = (s.last_listing for s in found.sightings if s.launch_time <= begin)
    return max(shown, default=begin)


def _gaps(
    cursor: Cursor, windows: Iterable[Window]
) -> dict[int, list[Callable[[str], TrackingGap]]]:
    """Return each account's gaps, each as a function of the Region that they are seen from."""
    cursor.execute(_GAPS, (list({w.account_id for w in windows}),))
    gaps: dict[int, list[Callable[[str], TrackingGap]]] = defaultdict(list)
    for account_id, ended_at, resumed_at, listed in cursor.fetchall():
        gaps[account_id].append(partial(_gap, ended_at, resumed_at, listed or {}))
    return gaps


def _gap(
    ended_at: Micros, resumed_at: Micros, listed: Mapping[str, Micros], region: str
) -> TrackingGap:
    last = listed.get(region, 0)
    return TrackingGap(ended_at, resumed_at, last - DESCRIBE_LAG if last else 0)
