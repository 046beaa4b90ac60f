"""Stores events in bulk, and says what became of each."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from services.accounts import audit
from services.accounts.audit import Author
from services.accounts.copying import copy_lines, escaped
from services.accounts.fact_writing import FactWriter, Writing
from services.accounts.image_naming import NamedImage, name_images, name_images_again
from services.accounts.new_events import DATED, Aside, NewEvent, Outcome, touch_of, with_dated
from services.accounts.quarantine_store import keep_aside
from services.accounts.rederiving import Touch
from services.accounts.run_rows import Key

_STAGE = (
    "CREATE TEMP TABLE IF NOT EXISTS staged_event (place int, LIKE event) ON COMMIT DELETE ROWS"
)
_COLUMNS = (
    "place, account_id, instance_id, event_id, kind, occurred_at, source, fresh, termination,"
    " state, previous_state, instance_type, vcpu, usage_operation, usage_operation_at, image,"
    " raw_id, recorded_at, superseded_at"
)
_INSERT = """
INSERT INTO event
SELECT account_id, instance_id, event_id, kind, occurred_at, source, fresh, termination, state,
       previous_state, instance_type, vcpu, usage_operation, usage_operation_at, image, raw_id,
       recorded_at, superseded_at
FROM staged_event WHERE %(places)s::int[] IS NULL OR place = ANY(%(places)s::int[])
ORDER BY account_id, instance_id, occurred_at
ON CONFLICT DO NOTHING
"""
# Who told, and where it stands in their records, are no part of what an event says. A content that
# was superseded and comes again is no news.
_KNOWN = """
SELECT s.place, bool_or(
    (e.kind, e.occurred_at, e.fresh, e.termination, e.state, e.previous_state, e.instance_type,
     e.vcpu, e.usage_operation, e.usage_operation_at, e.image)
  = (s.kind, s.occurred_at, s.fresh, s.termination, s.state, s.previous_state, s.instance_type,
     s.vcpu, s.usage_operation, s.usage_operation_at, s.image))
FROM staged_event s CROSS JOIN LATERAL (
    SELECT * FROM event WHERE account_id = s.account_id AND instance_id = s.instance_id
    AND event_id = s.event_id AND recorded_at < s.recorded_at OFFSET 0
) e
GROUP BY s.place
"""
_SUPERSEDE = """
UPDATE event e SET superseded_at = s.recorded_at FROM staged_event s
WHERE s.place = ANY(%s) AND e.superseded_at = 0 AND e.account_id = s.account_id
  AND e.instance_id = s.instance_id
  AND (e.event_id = s.event_id OR (e.event_id = s.event_id || %s AND NOT EXISTS (
      SELECT FROM staged_event dated WHERE dated.account_id = e.account_id
      AND dated.instance_id = e.instance_id AND dated.event_id = e.event_id)))
RETURNING e.account_id, e.instance_id, e.event_id, e.occurred_at, e.instance_type <> '',
          e.vcpu <> 0, e.usage_operation <> '', e.image <> ''
"""

_MOST_NAMED = 5

Placed: TypeAlias = tuple[int, NewEvent]
"""An event and its place among those given, or -1 for one that only dates what another says."""


class EventStore:
    """Stores events; each call is one transaction."""

    def __init__(self, writer: FactWriter) -> None:
        self._writer = writer

    def record(self, events: Sequence[NewEvent], asides: Sequence[Aside] = ()) -> list[Outcome]:
        """Store what is new, with the runs that follow, and return what became of each event.

        Raises Unavailable or Aborted, and then nothing is stored.
        """
        accounts = {event.account_id for event in events}
        with self._writer.writing(accounts, texts_of(events)) as writing:
            outcomes = store_events(self._writer, writing, events)
            keep_aside(writing.cursor, asides, writing.now)
        return outcomes


def texts_of(events: Iterable[NewEvent]) -> set[str]:
    """Return what events state in words, for the label store."""
    return set(chain.from_iterable((e.instance_type, e.usage_operation) for e in events))


def store_events(writer: FactWriter, writing: Writing, events: Sequence[NewEvent]) -> list[Outcome]:
    """Store events inside a transaction and return what became of each."""
    outcomes = [Outcome.UNKNOWN_ACCOUNT] * len(events)
    ours = [
        (place, event)
        for place, event in enumerate(events)
        if event.account_id in writing.recorded_at
    ]
    if not ours:
        return outcomes
    writer.find_instances(writing, {(e.account_id, e.ec2_id): e.region for _, e in ours})
    writing.cursor.execute(_STAGE)
    waiting = [
        (place if told is event else -1, told)
        for place, event in ours
        for told in with_dated([event])
    ]
    while waiting:
        apart, waiting, told_twice = _part(waiting)
        for place, outcome in chain(_store(writing, apart), told_twice):
            if place >= 0:
                outcomes[place] = outcome
        if waiting:
            for account_id in writing.recorded_at:
                writing.recorded_at[account_id] += 1
    return outcomes


def _part(
    events: Sequence[Placed],
) -> tuple[list[Placed], list[Placed], list[tuple[int, Outcome]]]:
    """Part events into those with an id of their own, other contents under those ids, and repeats.

    Two contents under one id are stored one after the other, so that the second supersedes.
    """
    apart: dict[tuple[int, str, str], Placed] = {}
    other: list[Placed] = []
    repeats: list[tuple[int, Outcome]] = []
    for placed in events:
        place, event = placed
        first = apart.setdefault((event.account_id, event.ec2_id, event.event_id), placed)
        if first is not placed:
            if first[1].content() == event.content():
                repeats.append((place, Outcome.DUPLICATE))
            else:
                other.append(placed)
    return list(apart.values()), other, repeats


def _store(writing: Writing, events: Sequence[Placed]) -> list[tuple[int, Outcome]]:
    """Store events of which each has an id of its own."""
    cursor = writing.cursor
    cursor.execute("DELETE FROM staged_event")  # unlike TRUNCATE this makes no files
    copy_lines(cursor, "staged_event", _COLUMNS, _lines(writing, events))
    cursor.execute(_INSERT, {"places": None})
    outcomes = dict.fromkeys(range(len(events)), Outcome.STORED)
    images: list[NamedImage] = []
    no_more: set[Key] = set()
    if cursor.rowcount < len(events):
        known, no_more = _met_before(writing)
        outcomes.update(known)
    for number, outcome in outcomes.items():
        if outcome is Outcome.DUPLICATE:
            continue
        event = events[number][1]
        key = (event.account_id, writing.found[event.account_id, event.ec2_id])
        writing.touch(key, touch_of(event))
        writing.told.append(event)
        if event.image:
            images.append(NamedImage(key, event.image, event.region, event.occurred_at))
    name_images(writing, images)
    name_images_again(writing, no_more)
    return [(place, outcomes[number]) for number, (place, _) in enumerate(events)]


def _lines(writing: Writing, events: Sequence[Placed]) -> Iterable[str]:
    found, recorded_at = writing.found, writing.recorded_at
    for number, (_, event) in enumerate(events):
        e = _escaped(event)
        account_id = e.account_id
        yield (
            f"{number}\t{account_id}\t{found[account_id, e.ec2_id]}\t{e.event_id}\t{e.kind}\t"
            f"{e.occurred_at}\t{e.source}\t{e.fresh}\t{e.termination}\t{e.state}\t"
            f"{e.previous_state}\t{e.instance_type}\t{e.vcpu}\t{e.usage_operation}\t"
            f"{e.usage_operation_at}\t{e.image}\t{e.raw_id}\t{recorded_at[account_id]}\t0"
        )


def _escaped(event: NewEvent) -> NewEvent:
    """Return an event with its texts fit for COPY, which almost all are: looked at together."""
    e = event
    every = f"{e.event_id}{e.state}{e.previous_state}{e.instance_type}{e.usage_operation}{e.raw_id}"
    if escaped(every) is every:
        return event
    return e._replace(
        event_id=escaped(e.event_id),
        state=escaped(e.state),
        previous_state=escaped(e.previous_state),
        instance_type=escaped(e.instance_type),
        usage_operation=escaped(e.usage_operation),
        raw_id=escaped(e.raw_id),
    )


def _met_before(writing: Writing) -> tuple[dict[int, Outcome], set[Key]]:
    """Deal with events whose id was stored before: told again, or with another content.

    Returns what became of each by its place, and the instances of events that named an image and
    no longer hold.
    """
    cursor = writing.cursor
    named: set[Key] = set()
    cursor.execute(_KNOWN)
    known = {
        number: Outcome.DUPLICATE if same else Outcome.SUPERSEDED
        for number, same in cursor.fetchall()
    }
    superseding = [number for number, outcome in known.items() if outcome is Outcome.SUPERSEDED]
    if superseding:
        replaced: dict[int, list[str]] = {}
        cursor.execute(_SUPERSEDE, (superseding, DATED))
        for account_id, instance_id, event_id, at, *says, image in cursor.fetchall():
            writing.touch((account_id, instance_id), Touch(at, at, *says))
            if image:
                named.add((account_id, instance_id))
            replaced.setdefault(account_id, []).append(event_id)
        _tell_superseded(writing, replaced)
        cursor.execute(_INSERT, {"places": superseding})
    return known, named


def _tell_superseded(writing: Writing, replaced: Mapping[int, Sequence[str]]) -> None:
    """Write into the audit log which events have another content now, one entry an account.

    A newer parser that is run over years of records says the same of a million at once.
    """
    author = Author("service:scanner", writing.now)
    for account_id, event_ids in replaced.items():
        *more, last = sorted(event_ids)
        subject = f"{len(event_ids):,} events" if more else last
        detail = ""
        if more:
            detail = ", ".join(sorted(event_ids)[:_MOST_NAMED])
            detail += ", ..." if len(event_ids) > _MOST_NAMED else ""
        audit.record(writing.cursor, author, account_id, "event.superseded", subject, detail)
