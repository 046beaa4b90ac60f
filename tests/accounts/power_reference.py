"""Rules 1 to 4, 8 and 9 once more: facts sorted and swept, all of them searched at each step."""

from collections.abc import Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any

from services.accounts.facts import InstanceFacts

LAG, SAME, NEVER = 300_000_000, 30_000_000, 253_402_300_799_999_999
SHOWN, CHANGE, ON, OFF = range(4)


def _rows(facts: InstanceFacts) -> list[SimpleNamespace]:
    """Give facts as `at`, `kind`, `fact`, in the order of rule 1."""
    kinds = {1: ON, 2: OFF, 3: CHANGE}
    shown: list[tuple[int, int, Any]] = [(s.launch_time, ON, s) for s in facts.sightings]
    shown += [(at, SHOWN, s) for s in facts.statements for at in (s.first_listing, s.last_listing)]
    rows = [(at, kind, (0, "", s.first_listing, repr(s.attributes)), s) for at, kind, s in shown]
    rows += [(e.occurred_at, kinds[e.kind], (e.source, e.event_id, 0, ""), e) for e in facts.events]
    ordered = sorted(rows, key=lambda row: row[:3])
    return [SimpleNamespace(at=at, kind=kind, fact=fact) for at, kind, _, fact in ordered]


class History:
    """One instance's sessions (start, end, latest, sure), and anomalies (when, kind, event)."""

    def __init__(self, facts: InstanceFacts) -> None:
        self.facts, self.rows = facts, _rows(facts)
        self.seen = [(s.launch_time, s.last_listing - LAG) for s in facts.sightings]
        self.sessions: list[SimpleNamespace] = []
        self.anomalies: set[tuple[int, int, str]] = set()
        self.met = self.dead = self.doubt = start = 0
        for at, rows in groupby(self.rows, key=lambda row: row.at):
            start = self._step(start, at, list(rows))
        if start and self._lost(start, NEVER):
            self._end_unseen(start, NEVER)
        elif start:
            self._end(start, 0, 0)

    def _step(self, start: int, at: int, rows: Sequence[SimpleNamespace]) -> int:
        """Sweep one instant of a session that began at `start`, 0 while off; return the same."""
        on, every = ([row.fact for row in rows if row.kind == kind] for kind in (ON, OFF))
        inside, launch = any(a < at < b for a, b in self.seen), at in dict(self.seen)
        off = [e for e in every if not inside and not (launch and e.termination)]
        self.odd(1, at, [e for e in every if e not in off])
        before = next((e.previous_state for e in off if e.previous_state), "")
        vague = all(e.source == 1 and e.termination and not e.previous_state for e in off)
        blip = off and on and not start and not launch and not self.dead
        if off and start:
            self._end(start, at, 0, sure=not vague)
            if before == "stopped":
                self.sessions.pop()
                self._end_unseen(start, at)
            self.doubt, start = at if vague else 0, 0
        elif before and 0 < self.doubt <= at <= self.doubt + SAME:
            self.sessions[-1].sure = True
            if before == "stopped":
                self._end_unseen(self.sessions.pop().start, self.doubt)
            self.doubt = 0
        elif blip:
            self._end(at, at, 0, sure=True)
        self.odd(2, at, [] if on or self.met else off)
        self.dead = self.dead or at * any(e.termination for e in off)
        fresh = any(fact.fresh for fact in on)
        if on and start and at - start > SAME and (fresh or self._lost(start, at)):
            self._end_unseen(start, at)
            start = 0
        self.odd(3, at, on if self.dead and not blip else [])
        self.met = self.met or bool(on or off)
        return start or (at if on and not self.dead and not blip else 0)

    def odd(self, kind: int, at: int, facts: Sequence[Any]) -> None:
        """Note facts of one instant that do not fit, by the first of them that is an event."""
        ids = [getattr(fact, "event_id", "") for fact in facts]
        self.anomalies |= {(at, kind, next(filter(None, ids), "")) for _ in ids[:1]}

    def _lost(self, start: int, now: int) -> tuple[int, int, int] | None:
        """How sight of a session was lost before now, if it was: when, least end, latest end."""
        shown = [s.last_listing for s in self.facts.sightings if s.launch_time < now]
        ons = [row.at for row in self.rows if row.kind == ON and start <= row.at < now]
        gone = [x for x in self.facts.listings if max(shown + ons) + LAG <= x < now][:2]
        since, latest = max([start, *shown]), gone[0] if gone[1:] else now
        ways = [(gone[1], 0, latest)] if gone[1:] else []
        for gap in self.facts.gaps:
            if max(gap.ended_at, since) < now and not 0 < gap.resumed_at <= since:
                ways.append((max(gap.ended_at, since), gap.confirmed_through, latest))  # noqa: PERF401 (plain)
        return min(ways, key=lambda way: way[0], default=None)

    def _end_unseen(self, start: int, now: int) -> None:
        """End a session at its last confirmed instant."""
        when, least, latest = self._lost(start, now) or (now, 0, now)
        told = [row.at for row in self.rows if row.kind in (CHANGE, ON) and start <= row.at < now]
        alive = [at for at in told if at <= min(when, latest)]
        alive += [min(when, latest, b) for a, b in self.seen if a < now]
        self._end(start, max(least, *alive), latest)

    def _end(self, start: int, end: int, latest: int, *, sure: bool = False) -> None:
        self.sessions.append(SimpleNamespace(start=start, end=end, latest=latest, sure=sure))
