"""From the facts of one instance to its sessions: when it was on (rules 1 to 4, 8 and 9).

A session is from a power-on to a power-off. The facts are swept in the order in which they took
effect; at one instant attribute changes come first, then all ons as one, then all offs as one.
Where it says "last confirmed instant", it is the session's latest sighting or event, and at least
its start.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from libs.common.instants import Micros
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
)

FOREVER: Micros = 253_402_300_799_999_999
"""The last instant of the year 9999: nothing says when it ended."""

SAME_START: Micros = 30 * 1_000_000
"""Ons within this of a session's start are witnesses of that start (rule 2)."""


class AnomalyKind(IntEnum):
    """What among the facts does not fit."""

    OFF_INSIDE_SIGHTING = 1
    """An off while listings showed the instance on, before and after: ignored."""
    OFF_WITHOUT_ON = 2
    """An off of an instance never known to be on: there was usage whose start is unknown."""
    ON_AFTER_TERMINATION = 3
    """An on, or a listing that showed it on, after it was terminated: ignored."""
    CHANGE_WHILE_ON = 4
    """A change of what changes only while stopped, inside a session: an off may be missing."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A fact that does not fit; `event_id` is empty when it is no event."""

    kind: AnomalyKind
    occurred_at: Micros
    event_id: str


class Session(NamedTuple):
    """From a power-on to a power-off."""

    start: Micros
    end: Micros = 0
    """0: it goes on."""
    end_latest: Micros = 0
    """It may have gone on from `end` until here; FOREVER: nobody knows how long; 0: the end is
    known, or it goes on."""
    confirmed_start: Micros = 0
    confirmed_end: Micros = 0
    """The part inside sightings, or all of it when its off was observed; 0 and 0: none."""


class Stated(NamedTuple):
    """Attributes that were stated or changed, in the order in which they took effect."""

    at: Micros
    attributes: Attributes
    change: bool
    session: int = -1
    """Place among the sessions of the one whose own statement it is."""
    event_id: str = ""


class Power(NamedTuple):
    """What the sweep found."""

    sessions: list[Session]
    stated: list[Stated]
    anomalies: list[Anomaly]


def sweep_power(
    facts: InstanceFacts, resume: Session | None = None, until: Micros = FOREVER
) -> Power:
    """Derive the sessions, from nothing or from a session that is known to begin as it did.

    To resume, the facts need only be those from that session's start on; a session that ended at
    the very instant of its start is resumed as ended, every other as on. Facts that took effect
    after `until` are left out.
    """
    sweep = _Sweep(facts)
    if resume is not None:
        sweep.resume(resume)
    instants = _by_instant(facts)
    for at in sorted(instants):
        if at > until:
            break
        if resume is None or at > resume.start:
            sweep.step(at, instants[at])
        elif at == resume.start:
            sweep.restate(at, instants[at])
    sweep.finish()
    return Power(sweep.sessions, sweep.stated, sweep.anomalies)


Start: TypeAlias = Event | Sighting
Fact: TypeAlias = Start | Statement


def _by_instant(facts: InstanceFacts) -> dict[Micros, list[Fact]]:
    instants: dict[Micros, list[Fact]] = {}
    for event in facts.events:
        instants.setdefault(event.occurred_at, []).append(event)
    for sighting in facts.sightings:
        instants.setdefault(sighting.launch_time, []).append(sighting)
    for statement in facts.statements:
        instants.setdefault(statement.first_listing, []).append(statement)
        instants.setdefault(statement.last_listing, []).append(statement)
    return instants


def _precedence(fact: Fact) -> tuple[int, str, Micros, str, int, str]:
    """Order of the facts of one kind at one instant: the first that states a thing decides it."""
    if isinstance(fact, Event):
        return (fact.source, fact.event_id, 0, "", 0, "")
    stated = fact.attributes
    return (
        0,  # a listing, which is describe itself
        "",
        fact.first_listing,
        stated.instance_type,
        stated.vcpu,
        stated.usage_operation,
    )


def _settle(facts: Sequence[Fact]) -> Attributes:
    """Give what facts in order of precedence state together, each attribute for itself."""
    if len(facts) == 1:
        return facts[0].attributes
    every = [fact.attributes for fact in facts if fact.attributes is not NOTHING]
    if not every:
        return NOTHING
    return Attributes(
        next((a.instance_type for a in every if a.instance_type), ""),
        next((a.vcpu for a in every if a.vcpu), 0),
        next((a.usage_operation for a in every if a.usage_operation), ""),
    )


class _Sweep:
    """The state of the instance just after the instant swept last."""

    __slots__ = (
        "_confirmed_start",
        "_covered_until",
        "_events",
        "_facts",
        "_last_on",
        "_last_shown",
        "_met",
        "_on",
        "_start",
        "_terminated",
        "anomalies",
        "sessions",
        "stated",
    )

    def __init__(self, facts: InstanceFacts) -> None:
        self.sessions: list[Session] = []
        self.stated: list[Stated] = []
        self.anomalies: list[Anomaly] = []
        self._facts = facts
        self._met = False  # whether an on or an off was met
        self._terminated = False
        self._on = False
        self._start = 0  # of the open session, as the next three
        self._last_on = 0
        self._events: list[Micros] = []
        self._confirmed_start = 0
        self._covered_until = 0  # by the sightings launched by now, as the next
        self._last_shown = 0

    def resume(self, session: Session) -> None:
        """Go back to the state just after the start of a session."""
        self._met = True
        for sighting in self._facts.sightings:
            if sighting.launch_time <= session.start:
                self._launch(sighting)
        if session.end == session.start and not session.end_latest:
            self.sessions.append(session)
        else:
            self._open(session.start)

    def restate(self, at: Micros, facts: list[Fact]) -> None:
        """Take from the instant of the resumed start what it says beside the start itself."""
        _, ons, offs, _ = _apart(facts)
        self._state(at, ons, 0)
        self._terminated = not self._on and any(off.termination for off in offs)

    def step(self, at: Micros, facts: list[Fact]) -> None:
        """Sweep one instant."""
        if len(facts) == 1 and facts[0].kind is EventKind.POWER_ON:
            self._power_on(at, facts)  # type: ignore[arg-type] # what is a power-on is a Start
            return
        shown, ons, offs, changes = _apart(facts)
        if changes:
            first = changes[0].event_id
            self.stated.append(Stated(at, _settle(changes), change=True, event_id=first))
        if shown:
            self.stated.append(Stated(at, _settle(shown), change=False))
        if offs and self._covered_until > at:
            self._odd(AnomalyKind.OFF_INSIDE_SIGHTING, at, offs)
            offs = []
        if offs:
            self._power_off(at, offs, ons)
        elif ons:
            self._power_on(at, ons)
        elif self._on and changes:
            self._events.append(at)

    def finish(self) -> None:
        """Give the session that is still open its end if its instance is lost, else none."""
        if not self._on:
            return
        if self._gone(FOREVER) or self._unwatched(FOREVER):
            self._end_unseen(FOREVER)
        else:
            self._append(0, 0, self._covered_until)

    # What happens at an instant

    def _state(self, at: Micros, ons: Sequence[Start], session: int) -> None:
        attributes = _settle(ons)
        if attributes is not NOTHING:
            self.stated.append(Stated(at, attributes, change=False, session=session))

    def _power_on(self, at: Micros, ons: Sequence[Start]) -> None:
        if self._on and at - self._start > SAME_START:
            fresh = [on for on in ons if on.fresh]
            if fresh or self._gone(at) or self._unwatched(at):
                self._end_unseen(at)
        for on in ons:
            if type(on) is Sighting:
                self._launch(on)
        if self._terminated:
            self._odd(AnomalyKind.ON_AFTER_TERMINATION, at, ons)
            self._state(at, ons, -1)
            return
        if self._on:
            self._last_on = at
            self._events.append(at)
        else:
            self._open(at)
        self._state(at, ons, len(self.sessions))

    def _power_off(self, at: Micros, offs: Sequence[Event], ons: Sequence[Start]) -> None:
        """Take the offs of an instant, and its ons: off and on again, or on and off again."""
        final = [off for off in offs if off.termination]
        if self._on:
            if _was_stopped(offs):
                self._end_unseen(at)
            elif _may_have_been_stopped(offs):
                self._append(at, 0, min(at, self._covered_until))
            else:
                self._end(at)
        elif ons and not self._terminated and not any(type(on) is Sighting for on in ons):
            self._power_on(at, ons)
            self._end(at)
            ons = []
        elif not ons and not self._met:
            self._odd(AnomalyKind.OFF_WITHOUT_ON, at, offs)
        self._met = True
        self._terminated = self._terminated or bool(final)
        if ons:
            self._power_on(at, ons)

    def _launch(self, sighting: Sighting) -> None:
        """Take up a sighting at its launch."""
        confirmed = sighting.last_listing - DESCRIBE_LAG
        at = sighting.launch_time
        if confirmed > at and (not self._confirmed_start or self._covered_until < at):
            self._confirmed_start = at
        self._covered_until = max(self._covered_until, confirmed)
        self._last_shown = max(self._last_shown, sighting.last_listing)

    # Sessions

    def _open(self, at: Micros) -> None:
        self._on = self._met = True
        self._start = self._last_on = at
        self._events = [at]
        self._confirmed_start = at if self._covered_until > at else 0

    def _end(self, at: Micros) -> None:
        """End the open session by an off that was observed."""
        self._confirmed_start = self._start
        self._append(at, 0, at)

    def _end_unseen(self, at: Micros) -> None:
        """End the open session at its last confirmed instant, since by `at` its off was missed."""
        gone, unwatched = self._gone(at), self._unwatched(at)
        limit = gone[0] if gone else at
        end = 0
        if unwatched and not (gone and gone[1] <= unwatched[0]):
            # Everything was known when tracking ended, so it counts until then.
            limit, end = min(limit, unwatched[0]), unwatched[1]
        last_event = self._events[bisect_right(self._events, limit) - 1]
        end = max(end, last_event, min(limit, self._covered_until))
        self._append(end, gone[0] if gone else at, min(end, self._covered_until))

    def _append(self, end: Micros, latest: Micros, confirmed_end: Micros) -> None:
        self._on = end == 0 and self._on
        first = self._confirmed_start
        if not first or confirmed_end <= first:
            first = confirmed_end = 0
        self.sessions.append(Session(self._start, end, latest, first, confirmed_end))

    def _gone(self, before: Micros) -> tuple[Micros, Micros] | None:
        """Give the first two listings that lacked it after its last on or sighting (rule 4)."""
        listings = self._facts.listings
        since = max(self._last_on, self._last_shown) + DESCRIBE_LAG
        if not listings or before <= since:
            return None
        first = bisect_left(listings, since)
        if first + 1 < len(listings) and listings[first + 1] < before:
            return listings[first], listings[first + 1]
        return None

    def _unwatched(self, before: Micros) -> tuple[Micros, Micros] | None:
        """Say since when nobody watched, and through when all was known by then (rule 9)."""
        since = max(self._start, self._last_shown)
        for gap in self._facts.gaps:
            began = max(gap.ended_at, since)
            if began < before and (not gap.resumed_at or gap.resumed_at > since):
                return began, gap.confirmed_through
        return None

    def _odd(self, kind: AnomalyKind, at: Micros, facts: Sequence[Fact]) -> None:
        event = next((f for f in facts if isinstance(f, Event)), None)
        self.anomalies.append(Anomaly(kind, at, event.event_id if event else ""))


def _apart(
    facts: list[Fact],
) -> tuple[list[Statement], list[Start], list[Event], list[Event]]:
    """Part the facts of an instant by kind, each kind in order of precedence."""
    if len(facts) > 1:
        facts.sort(key=_precedence)
    apart: tuple[list[Any], ...] = ([], [], [], [])
    for fact in facts:
        apart[fact.kind].append(fact)
    shown, ons, offs, changes = apart
    return shown, ons, offs, changes


def _was_stopped(offs: Sequence[Event]) -> bool:
    """Whether the offs of an instant say that it was stopped already, by the best that tells."""
    said = [off.previous_state for off in offs if off.previous_state]
    return said[:1] == ["stopped"]


def _may_have_been_stopped(offs: Sequence[Event]) -> bool:
    """Whether all that is known is that describe showed it terminated: it may have been stopped."""
    return all(
        off.source is Source.DESCRIBE and off.termination and not off.previous_state for off in offs
    )
