"""Rule 5 once more, in another style, and the runs that follow from it and `power_reference`."""

from itertools import pairwise
from typing import Any, NamedTuple

from services.accounts.facts import InstanceFacts
from tests.accounts.power_reference import CHANGE, NEVER, OFF, ON, History


class Said(NamedTuple):
    """A statement or change of one attribute, and the session whose own statement it is."""

    at: int
    order: int
    value: Any
    own: int = -1


def reference_runs(facts: InstanceFacts) -> list[tuple[Any, ...]]:
    """Start, end, session start, confirmed start and end, latest end, type, vCPU, operation."""
    history = History(facts)
    types = _said(history, "instance_type")
    vcpus = _said(history, "vcpu")
    told = {said.at for said in vcpus if said.order == CHANGE}
    resets = [Said(at, CHANGE, 0) for at in _turns(history, types) - told]
    vcpus = sorted(vcpus + resets, key=lambda said: said[:2])
    every = (types, vcpus, _said(history, "usage_operation"))
    cuts = {said.at for each in every for said in each if said.order == CHANGE}
    runs: list[tuple[Any, ...]] = []
    for i, span in enumerate(history.spans):
        points = [span.start, *sorted(at for at in cuts if span.start < at < (span.end or NEVER))]
        values = [[_value(history, i, at, each) for each in every] for at in points]
        kept = [k for k in range(len(points)) if not k or values[k] != values[k - 1]]
        low, high = history.confirmed(i)
        for k, after in pairwise([*kept, len(points)]):
            start, end = points[k], [*points, span.end][after]
            sure = (max(start, low), min(end or NEVER, high))
            sure = sure if sure[0] < sure[1] else (0, 0)
            latest = span.latest if after == len(points) else 0
            type_, vcpu, operation = values[k]
            held = (type_ or "", vcpu or 0, operation or "")
            runs.append((start, end, span.start, *sure, latest, *held))
    return runs


def _said(history: History, name: str) -> list[Said]:
    """Everything said of an attribute; of one kind at one instant what comes first decides."""
    said: list[Said] = []
    for row in history.rows:
        value = getattr(row.fact.attributes, name)
        if value and row.order != OFF and row[:2] not in [other[:2] for other in said]:
            own = _owner(history, row.at) if row.order == ON else -1
            said.append(Said(row.at, row.order, value, own))
    return said


def _owner(history: History, at: int) -> int:
    i = max((i for i, span in enumerate(history.spans) if span.start <= at), default=-1)
    if i < 0 or at == history.spans[i].start:
        return i
    ended = history.spans[i].observed and at >= history.spans[i].end
    return -1 if ended or any(death <= at for death in history.deaths) else i


def _value(history: History, i: int, at: int, said: list[Said]) -> Any:
    """Give what an attribute was at an instant of a session."""
    start = history.spans[i].start
    changed = [s for s in said if s.order == CHANGE and start < s.at <= at]
    own = [s for s in said if s.own == i]
    before = [s for s in said if s.at < start or (s.at == start and s.own != i)]
    ahead = [s for s in said[:1] if s.order != CHANGE]
    best = changed[-1:] or own[:1] or before[-1:] or ahead
    return best[0].value if best else None


def _turns(history: History, said: list[Said]) -> set[int]:
    """When a change gave another value than held before, in a session or between two."""
    turns = set()
    for at, _, value, _ in [s for s in said if s.order == CHANGE]:
        within = [
            i for i, s in enumerate(history.spans) if s.start < at and (not s.end or at < s.end)
        ]
        last = [s.value for s in said if s.at < at][-1:]
        before = [_value(history, within[0], at - 1, said)] if within else last
        turns |= {at} if before != [value] else set()
    return turns
