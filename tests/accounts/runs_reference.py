"""Rules 5 and 8 once more: the runs and anomalies that follow from `power_reference`'s sessions."""

from itertools import pairwise
from typing import Any, NamedTuple

from services.accounts.facts import InstanceFacts
from tests.accounts.power_reference import CHANGE, NEVER, OFF, ON, History


class Said(NamedTuple):
    """A statement or change of one attribute, and the session whose own statement it is."""

    at: int
    kind: int
    value: Any
    own: int = -1


def reference(facts: InstanceFacts) -> tuple[list[tuple[Any, ...]], list[tuple[int, int, str]]]:
    """Give runs (start, end, session, confirmed from and to, latest, attributes), anomalies."""
    history = History(facts)
    types = _said(history, "instance_type")
    vcpus = _said(history, "vcpu")
    resets = _turns(history, types) - {said.at for said in vcpus if said.kind == CHANGE}
    vcpus = sorted(vcpus + [Said(at, CHANGE, 0) for at in resets], key=lambda said: said[:2])
    every = (types, vcpus, _said(history, "usage_operation"))
    cuts = {said.at for each in every for said in each if said.kind == CHANGE}
    runs: list[tuple[Any, ...]] = []
    for i, session in enumerate(history.sessions):
        until = session.end or NEVER
        points = [session.start, *sorted(at for at in cuts if session.start < at < until)]
        values = [[_value(history, i, at, each) for each in every] for at in points]
        kept = [k for k in range(len(points)) if not k or values[k] != values[k - 1]]
        low, high = _confirmed(history, i)
        for k, after in pairwise([*kept, len(points)]):
            start, end = points[k], [*points, session.end][after]
            sure = (max(start, low), min(end or NEVER, high))
            latest = session.latest if after == len(points) else 0
            sure = sure if sure[0] < sure[1] else (0, 0)
            held = [value or none for value, none in zip(values[k], ("", 0, ""), strict=True)]
            runs.append((start, end, session.start, *sure, latest, *held))
            if k and values[k][:2] != values[k - 1][:2]:
                changed = [r.fact for r in history.rows if (r.at, r.kind) == (start, CHANGE)]
                history.odd(4, start, changed)
    return runs, sorted(history.anomalies)


def _confirmed(history: History, i: int) -> tuple[int, int]:
    """Give the confirmed part of a session: of stretches that touch, the last."""
    session, low, high = history.sessions[i], 0, 0
    if session.sure:
        return session.start, session.end
    following = [after.start for after in history.sessions[i + 1 : i + 2]]
    for a, b in sorted(history.seen):
        first, last = max(a, session.start), min(b, session.end or NEVER)
        if first < last and a < min(following, default=NEVER):
            low, high = (low if low and first <= high else first), max(last, high)
    return low, high


def _said(history: History, name: str) -> list[Said]:
    """Everything said of an attribute; of one kind at one instant what comes first decides."""
    said: dict[tuple[int, int], Said] = {}
    for row in history.rows:
        value = getattr(row.fact.attributes, name)
        if value and row.kind != OFF:
            own = _owner(history, row.at) if row.kind == ON else -1
            said.setdefault((row.at, row.kind), Said(row.at, row.kind, value, own))
    return list(said.values())


def _owner(history: History, at: int) -> int:
    for i, session in reversed(list(enumerate(history.sessions))):
        if session.start <= at:
            ended = (not session.latest and session.end) or NEVER
            return i if at == session.start or at < min(ended, history.dead or NEVER) else -1
    return -1


def _value(history: History, i: int, at: int, said: list[Said]) -> Any:
    """Give what an attribute was at an instant of a session."""
    start = history.sessions[i].start
    changed = [s for s in said if s.kind == CHANGE and start < s.at <= at]
    own = [s for s in said if s.own == i]
    before = [s for s in said if s.at < start or (s.at == start and s.own != i)]
    ahead = [s for s in said[:1] if s.kind != CHANGE]
    return next((s.value for s in changed[-1:] or own[:1] or before[-1:] or ahead), None)


def _turns(history: History, said: list[Said]) -> set[int]:
    """When a change gave another value than held before, in a session or between two."""
    turns = set()
    every = list(enumerate(history.sessions))
    for at, _, value, _ in [s for s in said if s.kind == CHANGE]:
        within = [i for i, session in every if session.start < at < (session.end or NEVER)]
        last = [s.value for s in said if s[:2] < (at, CHANGE)][-1:]
        before = [_value(history, within[0], at - 1, said)] if within else last
        turns |= {at} if before != [value] else set()
    return turns
