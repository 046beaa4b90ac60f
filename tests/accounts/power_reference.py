"""Rules 1 to 4, 8 and 9 once more, in another style: stateless searches over sorted facts."""

from typing import Any, NamedTuple

from services.accounts.facts import InstanceFacts

LAG, SAME, NEVER = 300_000_000, 30_000_000, 253_402_300_799_999_999
CHANGE, SHOWN, ON, OFF = range(4)


class Row(NamedTuple):
    """A fact at the instant at which it took effect, in the order of rule 1."""

    at: int
    order: int
    precedence: tuple[int, str, int, str]
    fact: Any


class Span(NamedTuple):
    """A session."""

    start: int
    end: int
    latest: int
    observed: bool
    sure: bool = True


class History:
    """One instance's facts, and its sessions found by searching them again and again."""

    def __init__(self, facts: InstanceFacts) -> None:
        order = {1: ON, 2: OFF, 3: CHANGE}
        rows = [
            Row(e.occurred_at, order[e.kind], (e.source, e.event_id, 0, ""), e)
            for e in facts.events
        ]
        shown = [(s.launch_time, ON, s) for s in facts.sightings]
        for s in facts.statements:
            shown += [(at, SHOWN, s) for at in (s.first_listing, s.last_listing)]  # type: ignore[misc] # either has what is used of it
        rows += [Row(at, o, (0, "", s.first_listing, repr(s.attributes)), s) for at, o, s in shown]
        self.rows = sorted(rows, key=lambda row: row[:3])
        self.facts = facts
        self.seen = [(s.launch_time, s.last_listing - LAG) for s in facts.sightings]
        self.deaths: list[int] = []
        self.spans = self._spans()

    def _spans(self) -> list[Span]:
        spans: list[Span] = []
        start = 0
        for at in sorted({row.at for row in self.rows}):
            on = [row.fact for row in self.rows if row[:2] == (at, ON)]
            off = [row.fact for row in self.rows if row[:2] == (at, OFF)]
            off = [] if any(a < at < b for a, b in self.seen) else off
            blip = off and on and not start and not any(a == at for a, _ in self.seen)
            if off and start:
                late = [e.previous_state for e in off if e.previous_state][:1] == ["stopped"]
                sure = any(e.source != 1 or not e.termination or e.previous_state for e in off)
                spans.append(self._unseen(start, at) if late else Span(start, at, 0, True, sure))
                start = 0
            if blip and not self.deaths:
                spans.append(Span(at, at, 0, True))
            self.deaths += [at for e in off if e.termination]
            old = on and start and at - start > SAME
            if old and (any(fact.fresh for fact in on) or self._lost(start, at)):
                spans.append(self._unseen(start, at))
                start = 0
            start = start or (at if on and not self.deaths and not blip else 0)
        if start:
            lost = self._lost(start, NEVER)
            spans.append(self._unseen(start, NEVER) if lost else Span(start, 0, 0, False))
        return spans

    def _lost(self, start: int, now: int) -> tuple[int, int, int] | None:
        """How sight of a session was lost before now, if it was: when, least end, latest end."""
        shown = [s.last_listing for s in self.facts.sightings if s.launch_time < now]
        ons = [r.at for r in self.rows if r.order == ON and start <= r.at < now]
        gone = [x for x in self.facts.listings if max(shown + ons) + LAG <= x < now][:2]
        since, latest = max([start, *shown]), gone[0] if gone[1:] else now
        ways = [(gone[1], 0, latest)] if gone[1:] else []
        for gap in self.facts.gaps:
            if max(gap.ended_at, since) < now and not 0 < gap.resumed_at <= since:
                ways.append((max(gap.ended_at, since), gap.confirmed_through, latest))  # noqa: PERF401 (plain)
        return min(ways, key=lambda way: way[0], default=None)

    def _unseen(self, start: int, now: int) -> Span:
        """End a session at its last confirmed instant."""
        when, least, latest = self._lost(start, now) or (now, 0, now)
        limit = min(when, latest)
        told = [r.at for r in self.rows if r.order in (CHANGE, ON) and start <= r.at < now]
        alive = [at for at in told if at <= limit]
        alive += [min(limit, b) for a, b in self.seen if a < now]
        return Span(start, max(least, *alive), latest, False)

    def confirmed(self, i: int) -> tuple[int, int]:
        """Give the confirmed part of a session: of stretches that touch, the last."""
        span, low, high = self.spans[i], 0, 0
        following = self.spans[i + 1].start if self.spans[i + 1 :] else NEVER
        for a, b in sorted(self.seen):
            first, last = max(a, span.start), min(b, span.end or NEVER)
            if first < last and a < following:
                low, high = (low if low and first <= high else first), max(last, high)
        return (span.start, span.end) if span.observed and span.sure else (low, high)
