"""Events as they arrive, before they are facts, and what becomes of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts.facts import EventKind
from services.accounts.rederiving import Touch

AHEAD: Micros = 5 * 60 * 1_000_000
"""How far a time may be ahead of our clock before it is rejected."""


class Outcome(IntEnum):
    """What became of an event; the numbers are the proto's."""

    STORED = 1
    DUPLICATE = 2
    UNKNOWN_ACCOUNT = 3
    REJECTED = 4
    SUPERSEDED = 5


class Stated(NamedTuple):
    """What a message states about an instance; empty or zero: not stated."""

    instance_type: str = ""
    vcpu: int = 0
    usage_operation: str = ""
    usage_operation_at: Micros = 0
    """Since when the usage operation holds; 0: since what states it."""


class NewEvent(NamedTuple):
    """An event that is well-formed. A tuple, since half a million of them pass in a minute."""

    account_id: int
    region: str
    ec2_id: str
    event_id: str
    kind: int
    occurred_at: Micros
    source: int
    fresh: bool
    termination: bool
    state: str
    previous_state: str
    instance_type: str
    vcpu: int
    usage_operation: str
    usage_operation_at: Micros
    """Since when the usage operation holds; 0: with the event."""
    image: str
    raw_id: str

    def content(self) -> tuple[object, ...]:
        """Return what it says, without who said it and where."""
        return (self[4], self[5], *self[7:16])


@dataclass(frozen=True, slots=True)
class Aside:
    """What is kept in quarantine, because nobody understood it."""

    account_id: int
    """0 when that is not known."""
    source: int
    origin: str
    reason: str
    content: bytes


DATED = "#usage_operation"
"""Ends the id of the event that dates a usage operation which another event states."""


def with_dated(events: Iterable[NewEvent]) -> Iterator[NewEvent]:
    """Give events, each followed by the one that says since when its usage operation holds.

    Licence changes date from UsageOperationUpdateTime, not from the event that told of them.
    """
    for event in events:
        yield event
        at = event.usage_operation_at
        if at and at != event.occurred_at and event.usage_operation:
            yield event._replace(
                event_id=event.event_id + DATED,
                kind=EventKind.ATTRIBUTE_CHANGE,
                occurred_at=at,
                fresh=False,
                termination=False,
                state="",
                previous_state="",
                instance_type="",
                vcpu=0,
                usage_operation_at=0,
                image="",
            )


def touch_of(event: NewEvent) -> Touch:
    """Say what of its instance's history an event can change."""
    return Touch(
        event.occurred_at,
        event.occurred_at,
        event.instance_type != "",
        event.vcpu != 0,
        event.usage_operation != "",
    )
