"""What is known of one instance, before anything is concluded from it.

Facts are only ever added (or superseded, see the store); `services.accounts.runs` derives runs from
them and from nothing else. Instants are microseconds since the Unix epoch, UTC. What is made for
every event is a named tuple here and in the modules that follow: a frozen dataclass takes six times
as long to make.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from libs.common.instants import Micros

DESCRIBE_LAG: Micros = 5 * 60 * 1_000_000
"""How far DescribeInstances may lag behind the truth: a listing speaks of this long before its
start. The figure is ours; EC2 documents "eventually consistent" without one (aws docs, 2026-11)."""


class EventKind(IntEnum):
    """What happened to the instance."""

    POWER_ON = 1
    POWER_OFF = 2
    ATTRIBUTE_CHANGE = 3


class Source(IntEnum):
    """Where an event comes from. Its value is its rank.

    Of two facts that contradict each other at one instant, the lower value holds.
    """

    DESCRIBE = 1
    CLOUDTRAIL = 2
    LOOKUP = 3
    EVENTBRIDGE = 4


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is billed for beside time. Each may be unknown for itself: empty, or zero vCPU."""

    instance_type: str = ""
    vcpu: int = 0
    """What the CPU options say (cores x threads); zero when they were not stated."""
    usage_operation: str = ""
    """AWS's billing code, such as `RunInstances:0010`."""


NOTHING = Attributes()
"""States no attribute."""


class Event(NamedTuple):
    """Something that happened to one instance at a time. Unique by its `event_id`."""

    event_id: str
    kind: EventKind
    occurred_at: Micros
    source: Source
    fresh: bool = False
    """Of a power-on: it proves a start from off (a new LaunchTime, RunInstances, StartInstances
    from `stopped`)."""
    previous_state: str = ""
    """Of a power-off: the EC2 state that the source gave as the one before; empty: not given."""
    termination: bool = False
    """Of a power-off: the instance will never be on again."""
    attributes: Attributes = NOTHING


@dataclass(frozen=True, slots=True)
class Sighting:
    """Listings that showed the instance running (or pending) with one LaunchTime.

    It was on throughout [launch_time, last_listing - DESCRIBE_LAG], and its launch was a start
    from off.
    """

    kind: ClassVar[EventKind] = EventKind.POWER_ON
    fresh: ClassVar[bool] = True

    launch_time: Micros
    first_listing: Micros
    """Start of the first complete listing that showed it so."""
    last_listing: Micros
    """Start of the last complete listing that showed it so."""
    attributes: Attributes = NOTHING


@dataclass(frozen=True, slots=True)
class Statement:
    """Listings that showed the instance while it was not running.

    Says nothing about power. What it states was true at the listing, so of the session that had
    ended by then it is only the next statement, since a stopped instance can be changed.
    """

    kind: ClassVar[int] = 0

    first_listing: Micros
    last_listing: Micros
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class TrackingGap:
    """A time in which nobody watched the account: disabled, paused, or deleted but kept."""

    ended_at: Micros
    """When tracking ended."""
    resumed_at: Micros
    """When it began again; 0: it has not."""
    confirmed_through: Micros
    """Start of the Region's last complete listing before `ended_at`, less DESCRIBE_LAG; 0: none."""


class InstanceFacts(NamedTuple):
    """Everything known of one instance, each kind in any order."""

    events: Sequence[Event] = ()
    sightings: Sequence[Sighting] = ()
    statements: Sequence[Statement] = ()
    listings: Sequence[Micros] = ()
    """Starts of the complete listings of the instance's Region, ascending. One that began after
    the last sighting did not show the instance running."""
    gaps: Sequence[TrackingGap] = ()
    """Ascending."""
