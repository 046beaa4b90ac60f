"""From the facts of one instance to its sessions: when it was on (rules 1 to 4, 8 and 9).

A session is from a power-on to a power-off. The facts are swept in the order of `fact_order`.
Where it says "last confirmed instant", it is the session's latest sighting or event, and at least
its start.

Three things the rules leave open are settled so:

- Describe shows when an instance was terminated, but not whether it had been stopped before; other
  sources say so, and date the same transition a moment earlier or later. So the first off within
  SAME_START after a termination that only describe shows, if it says what the state before was,
  settles how that session ended: at its last confirmed instant if it was `stopped` already, else
  by an off that was observed.
- An off at the very LaunchTime of a sighting came before that start: it ends the session before,
  and while off it changes nothing. A termination there is as misplaced as one strictly inside,
  since what is terminated never runs again: it is ignored and kept as an anomaly (rule 3).
- Of a launch, a change and a listing that showed the instance off, all of one instant, the listing
  tells of the time before the two others.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from libs.common.instants import Micros
from services.accounts.fact_order import (
    Fact,
    Start,
    apart,
    by_instant,
    may_have_been_stopped,
    settle,
    state_before,
)
from services.accounts.facts import (
    DESCRIBE_LAG,
    NOTHING,
    Event,
    EventKind,
    InstanceFacts,
    Sighting,
)
from services.accounts.power import Anomaly, AnomalyKind, Doubt, Power, Session, Stated

FOREVER: Micros = 253_402_300_799_999_999
"""The last instant of the year 9999: nothing says when it ended."""

SAME_START: Micros = 30 * 1_000_000
"""Ons within this of a session's start are witnesses of that start (rule 2), as offs within this of
a termination are of its end."""


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
    instants = by_instant(facts)
    for at in sorted(instants):
        if at > until:
            break
        if resume is None or at > resume.start:
            sweep.step(at, instants[at])
        elif at == resume.start:
            sweep.restate(at, instants[at])
    sweep.finish()
    return Power(sweep.sessions, sweep.stated, sweep.anomalies)


class _Sweep:
    """The state of the instance just after the instant swept last."""

    __slots__ = (
        "_confirmed_start",
        "_covered_until",
        "_doubt",
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
        self._doubt: Doubt | None = None  # how the last session ended
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
        _, ons, offs, _ = apart(facts)
        self._state(at, ons, 0)
        self._terminated = not self._on and any(off.termination for off in offs)

    def step(self, at: Micros, facts: list[Fact]) -> None:
        """Sweep one instant."""
        if len(facts) == 1 and facts[0].kind is EventKind.POWER_ON:
            self._power_on(at, facts)  # type: ignore[arg-type] # what is a power-on is a Start
            return
        shown, ons, offs, changes = apart(facts)
        if shown:
            self.stated.append(Stated(at, settle(shown), change=False))
        if changes:
            first = changes[0].event_id
            self.stated.append(Stated(at, settle(changes), change=True, event_id=first))
        if offs and (misplaced := self._misplaced(at, offs, ons)):
            self._odd(AnomalyKind.OFF_INSIDE_SIGHTING, at, misplaced)
            offs = [off for off in offs if off not in misplaced]
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
            self._close(self._unseen(FOREVER))
        else:
            self._close(self._session(0, 0, self._covered_until))

    # What happens at an instant

    def _misplaced(
        self, at: Micros, offs: Sequence[Event], ons: Sequence[Start]
    ) -> Sequence[Event]:
        """Return the offs that cannot be, since listings showed the instance on about then."""
        if self._covered_until > at:
            return offs
        if any(type(on) is Sighting for on in ons):
            return [off for off in offs if off.termination]
        return ()

    def _state(self, at: Micros, ons: Sequence[Start], session: int) -> None:
        attributes = settle(ons)
        if attributes is not NOTHING:
            self.stated.append(Stated(at, attributes, change=False, session=session))

    def _power_on(self, at: Micros, ons: Sequence[Start]) -> None:
        if self._on and at - self._start > SAME_START:
            fresh = [on for on in ons if on.fresh]
            if fresh or self._gone(at) or self._unwatched(at):
                self._close(self._unseen(at))
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
        if self._on:
            if state_before(offs) == "stopped":
                self._close(self._unseen(at))
            elif may_have_been_stopped(offs):
                self._doubt = Doubt(at + SAME_START, self._unseen(at), self._observed(at))
                self._close(self._session(at, 0, min(at, self._covered_until)))
            else:
                self._close(self._observed(at))
        elif self._doubt:
            self._settle_end(self._doubt, at, offs)
        elif ons and not self._terminated and not any(type(on) is Sighting for on in ons):
            self._power_on(at, ons)
            self._close(self._observed(at))
            ons = []
        elif not ons and not self._met:
            self._odd(AnomalyKind.OFF_WITHOUT_ON, at, offs)
        self._met = True
        self._terminated = self._terminated or any(off.termination for off in offs)
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

    def _close(self, session: Session) -> None:
        self._on = False
        self.sessions.append(session)

    def _session(self, end: Micros, latest: Micros, confirmed_end: Micros) -> Session:
        first = self._confirmed_start
        if not first or confirmed_end <= first:
            first = confirmed_end = 0
        return Session(self._start, end, latest, first, confirmed_end)

    def _observed(self, at: Micros) -> Session:
        """Return the open session as an off that was observed ends it."""
        confirmed = (self._start, at) if at > self._start else (0, 0)
        return Session(self._start, at, 0, *confirmed)

    def _unseen(self, at: Micros) -> Session:
        """Return the open session as it ends, at its last confirmed instant, if no off tells when.

        By `at` it had ended.
        """
        gone, unwatched = self._gone(at), self._unwatched(at)
        limit = gone[0] if gone else at
        end = 0
        if unwatched and not (gone and gone[1] <= unwatched[0]):
            # Everything was known when tracking ended, so it counts until then.
            limit, end = min(limit, unwatched[0]), unwatched[1]
        last_event = self._events[bisect_right(self._events, limit) - 1]
        end = max(end, last_event, min(limit, self._covered_until))
        return self._session(end, gone[0] if gone else at, min(end, self._covered_until))

    def _settle_end(self, doubt: Doubt, at: Micros, offs: Sequence[Event]) -> None:
        """Take offs that may say how the session ended that only describe showed terminated."""
        before = state_before(offs)
        if before and at <= doubt.until:
            self.sessions[-1] = doubt.stopped if before == "stopped" else doubt.observed
            self._doubt = None

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
