"""Which attributes an instance had in each session, and how that is known (rule 5).

A session takes its own statement; else the last statement or change before it; else the next
statement with no change between; else they are unknown. Each attribute falls back for itself. A
change inside a session holds from then on, one between sessions from the next session on.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from libs.common.instants import Micros
from services.accounts.facts import Attributes
from services.accounts.power import Session, Stated
from services.accounts.sessions import FOREVER

Value: TypeAlias = str | int
"""Of one attribute; empty or zero: unknown."""


class Basis(IntEnum):
    """How the value of an attribute is known."""

    UNKNOWN = 0
    OWN = 1
    """Stated by the session's own facts, or changed within it."""
    BEFORE = 2
    """The last statement or change before the session."""
    NEXT = 3
    """The next statement after it, with no change between."""


class One(NamedTuple):
    """The value that one attribute had, and how that is known."""

    value: Value
    basis: Basis


class Held(NamedTuple):
    """The values that all attributes had, and how each is known."""

    instance_type: One
    vcpu: One
    usage_operation: One


UNKNOWN = Held(One("", Basis.UNKNOWN), One(0, Basis.UNKNOWN), One("", Basis.UNKNOWN))


class Said(NamedTuple):
    """A statement or a change of one attribute."""

    at: Micros
    value: Value
    change: bool
    session: int
    """Place of the session whose own statement it is, or -1."""
    event_id: str


class Change(NamedTuple):
    """An attribute that took another value inside a session."""

    at: Micros
    value: Value
    event_id: str


class Course(NamedTuple):
    """What one attribute did during one session."""

    first: One
    changes: Sequence[Change] = ()


@dataclass(frozen=True, slots=True)
class Attended:
    """What all attributes did during one session."""

    first: Held
    changes: tuple[Sequence[Change], Sequence[Change], Sequence[Change]] | None = None
    """Of type, vCPU and usage operation; None when none of them changed."""


def courses(
    sessions: Sequence[Session], stated: Sequence[Stated], resumed: Held
) -> Sequence[Attended]:
    """Follow the attributes through the sessions.

    `resumed` is what the first session had when it was derived before, or UNKNOWN.
    """
    if not stated:
        return [_untold(resumed)] * len(sessions)
    types, turns = _follow(sessions, _types(stated), resumed.instance_type)
    vcpus, _ = _follow(sessions, _vcpus(stated, turns), resumed.vcpu)
    operations, _ = _follow(sessions, _usage_operations(stated), resumed.usage_operation)
    return [_together(*each) for each in zip(types, vcpus, operations, strict=True)]


def _together(type_: Course, vcpu: Course, operation: Course) -> Attended:
    changes = (type_.changes, vcpu.changes, operation.changes)
    return Attended(
        Held(type_.first, vcpu.first, operation.first), changes if any(changes) else None
    )


@lru_cache(maxsize=256)
def _untold(resumed: Held) -> Attended:
    """Give the course of sessions about which nothing is said, from the first to the last."""
    return Attended(
        Held(*(_ahead((), one) if one.basis is not Basis.BEFORE else one for one in resumed))
    )


def _types(stated: Sequence[Stated]) -> list[Said]:
    return _said(stated, lambda attributes: attributes.instance_type)


def _usage_operations(stated: Sequence[Stated]) -> list[Said]:
    return _said(stated, lambda attributes: attributes.usage_operation)


def _vcpus(stated: Sequence[Stated], type_turns: Container[Micros]) -> list[Said]:
    """Everything said about vCPUs by CPU options.

    "When you change the instance type of an existing instance, the CPU options automatically change
    to the default CPU options for the new instance type" (EC2 user guide, rules for specifying CPU
    options, read 2026-11-22): a change of type takes back what was said of them before.
    """
    return [
        Said(s.at, s.attributes.vcpu, s.change, s.session, s.event_id)
        for s in stated
        if s.attributes.vcpu or (s.change and s.at in type_turns)
    ]


def _said(stated: Sequence[Stated], attribute: Callable[[Attributes], Value]) -> list[Said]:
    return [
        Said(s.at, value, s.change, s.session, s.event_id)
        for s in stated
        if (value := attribute(s.attributes))
    ]


def _follow(
    sessions: Sequence[Session], said: Sequence[Said], resumed: One
) -> tuple[list[Course], set[Micros]]:
    """Give the course of one attribute in each session, and when it was changed at all."""
    held = resumed if resumed.basis is Basis.BEFORE else _ahead(said, resumed)
    turns: set[Micros] = set()
    if not said:
        return [Course(held)] * len(sessions), turns
    own: dict[int, Value] = {}
    for s in said:
        if s.session >= 0:
            own.setdefault(s.session, s.value)
    each: list[Course] = []
    place, count = 0, len(said)
    for number, session in enumerate(sessions):
        start, end = session.start, session.end or FOREVER
        while place < count and said[place].at <= start and said[place].session != number:
            held = _between(said[place], held, turns)
            place += 1
        first = One(own[number], Basis.OWN) if number in own else held
        value = first.value
        changes: list[Change] = []
        while place < count and said[place].at < end:
            s = said[place]
            if s.change and s.value != value:
                changes.append(Change(s.at, s.value, s.event_id))
                turns.add(s.at)
                value = s.value
            held = One(s.value, Basis.BEFORE)
            place += 1
        each.append(Course(first, changes))
    for s in said[place:]:
        held = _between(s, held, turns)
    return each, turns


def _between(said: Said, held: One, turns: set[Micros]) -> One:
    """Take what is said between sessions."""
    if said.change and said.value != held.value:
        turns.add(said.at)
    return One(said.value, Basis.BEFORE)


def _ahead(said: Sequence[Said], resumed: One) -> One:
    """Give what is known of the sessions before anything was said."""
    if said:
        return One("", Basis.UNKNOWN) if said[0].change else One(said[0].value, Basis.NEXT)
    return resumed if resumed.basis is Basis.NEXT else One("", Basis.UNKNOWN)
