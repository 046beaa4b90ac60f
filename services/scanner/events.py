"""Power events: what happened to an instance, when, and who says so."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from services.scanner.instances import Instance, State
from services.scanner.state_reasons import transition_time


class Kind(Enum):
    """What happened."""

    POWER_ON = "power_on"
    POWER_OFF = "power_off"
    ATTRIBUTE_CHANGE = "attribute_change"


class Source(Enum):
    """Who says so."""

    DESCRIBE = "describe"
    CLOUDTRAIL = "cloudtrail"
    LOOKUP = "lookup"
    EVENTBRIDGE = "eventbridge"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is stated about an instance; what is empty is not stated."""

    instance_type: str = ""
    vcpus: int = 0
    usage_operation: str = ""
    usage_operation_time: datetime | None = None
    """From when on `usage_operation` holds; None: from the fact's own time."""


NO_ATTRIBUTES = Attributes()


@dataclass(frozen=True, slots=True)
class Event:
    """One power event or change of attributes of one instance."""

    event_id: str
    """Made by its source so that the same happening told twice has the same id."""
    instance_id: str
    region: str
    kind: Kind
    occurred: datetime
    source: Source
    account_id: int = 0
    """The account by cloudigrade's id; 0 where only AWS's is known."""
    aws_account_id: str = ""
    fresh: bool = False
    """Of an on: it proves a start from off."""
    terminated: bool = False
    """Of an off: the instance will never be on again."""
    state: str = ""
    previous_state: str = ""
    raw_id: str = ""
    """Where the source says so, for whoever wants to look it up."""
    attributes: Attributes = NO_ATTRIBUTES
    image_id: str = ""


def describe_events(instance: Instance, region: str) -> Iterator[Event]:
    """Yield what one described instance tells of its power.

    A fresh on at LaunchTime in every state; an off at the time in StateTransitionReason in
    stopping, stopped, shutting-down and terminated, but none where the reason holds no time, or
    one from before LaunchTime, which an earlier session left behind; and a change at
    `UsageOperationUpdateTime` where the licence was converted since LaunchTime.
    An instance of unknown state or without LaunchTime tells nothing.

    The id is made of kind and time, and so is all the rest: whatever state the instance is met
    in, one id has one content. What it shows of its attributes stands in `shown_attributes`.
    """
    if instance.launch_time is None or instance.state is State.UNKNOWN:
        return
    yield _event(instance, region, Kind.POWER_ON, instance.launch_time, raw_id="LaunchTime")
    converted = instance.usage_operation_update_time
    if converted is not None and converted > instance.launch_time:
        yield _event(
            instance,
            region,
            Kind.ATTRIBUTE_CHANGE,
            converted,
            raw_id="UsageOperationUpdateTime",
            attributes=Attributes(usage_operation=instance.usage_operation),
        )
    off = off_time(instance)
    if off is not None:
        raw_id = f"StateTransitionReason: {instance.transition_reason}"
        yield _event(instance, region, Kind.POWER_OFF, off, raw_id=raw_id)


def shown_attributes(instance: Instance) -> Attributes:
    """Return the attributes that the instance shows.

    While it is on, they hold for its session: type and CPU options change only while an instance
    is stopped (EC2 guide, "Change the instance type", 2026-11). A licence converted since
    LaunchTime does not hold for all of the session, so it is left out: its change says from when.
    Once the instance is off, they may be newer than the session that has ended.
    """
    updated, launched = instance.usage_operation_update_time, instance.launch_time
    if instance.state.is_on and updated is not None and launched is not None and updated > launched:
        return Attributes(instance.instance_type, instance.vcpus)
    return Attributes(instance.instance_type, instance.vcpus, instance.usage_operation, updated)


def off_time(instance: Instance) -> datetime | None:
    """Return when the session begun at LaunchTime ended, or None while it is on or unknown.

    The reason has whole seconds, so a stop in the very second of the launch is set to LaunchTime.
    """
    if not instance.state.is_off or instance.launch_time is None:
        return None
    off = transition_time(instance.transition_reason)
    if off is None or off + timedelta(seconds=1) <= instance.launch_time:
        return None
    return max(off, instance.launch_time)


def _event(
    instance: Instance,
    region: str,
    kind: Kind,
    occurred: datetime,
    *,
    raw_id: str,
    attributes: Attributes = NO_ATTRIBUTES,
) -> Event:
    terminated = kind is Kind.POWER_OFF and instance.state.is_final
    moment = occurred.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Event(
        event_id=f"describe:{'termination' if terminated else kind.value}:{moment}",
        instance_id=instance.instance_id,
        region=region,
        kind=kind,
        occurred=occurred,
        source=Source.DESCRIBE,
        fresh=kind is Kind.POWER_ON,
        terminated=terminated,
        raw_id=raw_id,
        attributes=attributes,
    )
