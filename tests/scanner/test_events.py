"""What one described instance tells of its power."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.events import (
    NO_ATTRIBUTES,
    Attributes,
    Kind,
    describe_events,
    shown_attributes,
)
from services.scanner.instances import State
from services.scanner.listing import Listing
from tests.support.scanner import LAUNCHED, instance

STOPPED_AT = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
STOP_REASON = "User initiated (2026-03-01 12:30:05 GMT)"
OFF_STATES = [State.STOPPING, State.STOPPED, State.SHUTTING_DOWN, State.TERMINATED]


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING])
def test_an_instance_that_is_on_started_fresh_at_its_launch_time(state: State) -> None:
    """Pending and running give one fresh on at LaunchTime."""
    (on,) = describe_events(instance(state), "eu-west-1")
    assert (on.kind, on.occurred, on.fresh, on.region) == (
        Kind.POWER_ON,
        LAUNCHED,
        True,
        "eu-west-1",
    )
    assert on.event_id == "describe:power_on:2026-03-01T10:00:00.000000Z"
    assert on.raw_id == "LaunchTime"


def test_a_running_instance_with_an_old_reason_was_not_stopped() -> None:
    """The reason of an earlier stop, left on a running instance, makes no off."""
    events = list(describe_events(instance(transition_reason=STOP_REASON), "eu-west-1"))
    assert [event.kind for event in events] == [Kind.POWER_ON]


@pytest.mark.parametrize("state", [State.STOPPING, State.STOPPED])
def test_a_stopped_instance_went_off_at_the_time_in_its_reason(state: State) -> None:
    """The on is at LaunchTime and the off at the reason's time, while it stops and afterwards."""
    on, off = describe_events(instance(state, transition_reason=STOP_REASON), "eu-west-1")
    assert (on.kind, on.occurred) == (Kind.POWER_ON, LAUNCHED)
    assert (off.kind, off.occurred, off.fresh) == (Kind.POWER_OFF, STOPPED_AT, False)
    assert off.event_id == "describe:power_off:2026-03-01T12:30:05.000000Z"
    assert off.raw_id == "StateTransitionReason: User initiated (2026-03-01 12:30:05 GMT)"
    assert not off.terminated


@pytest.mark.parametrize("state", [State.SHUTTING_DOWN, State.TERMINATED])
def test_a_terminated_instance_went_off_for_good(state: State) -> None:
    """Its off is a termination, told apart from a stop at the same time by its id."""
    off = list(describe_events(instance(state, transition_reason=STOP_REASON), "eu-west-1"))[-1]
    assert (off.kind, off.occurred, off.terminated) == (Kind.POWER_OFF, STOPPED_AT, True)
    assert off.event_id == "describe:termination:2026-03-01T12:30:05.000000Z"


@pytest.mark.parametrize("state", OFF_STATES)
@pytest.mark.parametrize("reason", ["", "User initiated", "Server.InternalError"])
def test_a_reason_without_a_time_makes_no_off(state: State, reason: str) -> None:
    """Without a time there is only the on: no moment is made up for the off."""
    events = list(describe_events(instance(state, transition_reason=reason), "eu-west-1"))
    assert [event.kind for event in events] == [Kind.POWER_ON]


def test_a_reason_from_before_the_launch_is_an_earlier_sessions() -> None:
    """A stop by AWS that left the reason of an older stop in place has no known time."""
    before = instance(State.STOPPED, transition_reason="User initiated (2026-03-01 09:59:59 GMT)")
    assert [event.kind for event in describe_events(before, "eu-west-1")] == [Kind.POWER_ON]


def test_a_stop_within_the_second_of_the_launch_is_at_the_launch() -> None:
    """The reason has whole seconds, so it may seem to lie before a launch in that second."""
    launched = LAUNCHED + timedelta(milliseconds=700)
    quick = instance(
        State.STOPPED,
        launch_time=launched,
        transition_reason="User initiated (2026-03-01 10:00:00 GMT)",
    )
    off = list(describe_events(quick, "eu-west-1"))[-1]
    assert (off.kind, off.occurred) == (Kind.POWER_OFF, launched)


@pytest.mark.parametrize("state", list(State))
def test_an_instance_shows_its_attributes(state: State) -> None:
    """Type, vCPUs by CPU options and billing code are shown with the time of the last."""
    assert shown_attributes(instance(state, vcpus=2)) == Attributes(
        instance_type="m5.large",
        vcpus=2,
        usage_operation="RunInstances:0010",
        usage_operation_time=LAUNCHED,
    )


def test_a_licence_converted_in_the_session_is_a_change_at_its_own_time() -> None:
    """The new billing code does not reach back to LaunchTime; it dates from its update."""
    converted = datetime(2026, 3, 1, 11, 0, 0, tzinfo=UTC)
    running = instance(usage_operation_update_time=converted)
    on, change = describe_events(running, "eu-west-1")
    assert on.attributes == NO_ATTRIBUTES
    assert (change.kind, change.occurred) == (Kind.ATTRIBUTE_CHANGE, converted)
    assert change.event_id == "describe:attribute_change:2026-03-01T11:00:00.000000Z"
    assert change.attributes == Attributes(usage_operation="RunInstances:0010")
    assert shown_attributes(running) == Attributes(instance_type="m5.large")


def test_a_licence_converted_after_the_session_is_shown_with_its_time() -> None:
    """A stopped instance's new billing code is shown, and said to be newer than the session."""
    converted = datetime(2026, 3, 1, 13, 0, 0, tzinfo=UTC)
    stopped = instance(
        State.STOPPED, usage_operation_update_time=converted, transition_reason=STOP_REASON
    )
    kinds = [event.kind for event in describe_events(stopped, "eu-west-1")]
    assert kinds == [Kind.POWER_ON, Kind.ATTRIBUTE_CHANGE, Kind.POWER_OFF]
    assert shown_attributes(stopped).usage_operation_time == converted


def test_an_instance_of_which_nothing_is_known_tells_nothing() -> None:
    """Neither an unknown state nor a missing LaunchTime makes an event."""
    assert list(describe_events(instance(State.UNKNOWN), "eu-west-1")) == []
    assert list(describe_events(instance(launch_time=None), "eu-west-1")) == []


@given(
    first=st.sampled_from(list(State)),
    later=st.sampled_from(OFF_STATES),
    stopped_after=st.integers(min_value=-5, max_value=10**8),
    launch=st.floats(min_value=1_156_377_600, max_value=3_786_912_000),
)
def test_two_looks_at_one_session_tell_the_same(
    first: State, later: State, stopped_after: int, launch: float
) -> None:
    """Whatever state it is met in, one id has one content, and no session ends before it began."""
    launched = datetime.fromtimestamp(launch, UTC)
    stopped = launched + timedelta(seconds=stopped_after)
    reason = f"User initiated ({stopped:%Y-%m-%d %H:%M:%S} GMT)"
    looks = [
        list(describe_events(instance(state, launch_time=launched, transition_reason=reason), "r"))
        for state in (first, later)
    ]
    contents = {event.event_id: event for look in looks for event in look}
    offs = [event for event in looks[1] if event.kind is Kind.POWER_OFF]
    assert all(contents[event.event_id] == event for look in looks for event in look)
    assert len([event for event in contents.values() if event.kind is Kind.POWER_ON]) == 1
    assert all(off.occurred >= launched for off in offs)
    assert len(offs) == (1 if stopped_after >= 0 else 0)


def test_a_listing_names_each_image_and_type_once() -> None:
    """What is to be described of a listing has no doubles and no blanks."""
    listing = Listing(
        "eu-west-1",
        LAUNCHED,
        (
            instance(instance_id="i-1", image_id="ami-2"),
            instance(instance_id="i-2", image_id="ami-1", instance_type="t3.micro"),
            instance(instance_id="i-3", image_id="ami-2", instance_type=""),
            instance(instance_id="i-4"),
        ),
    )
    assert listing.image_ids() == {"ami-1", "ami-2"}
    assert listing.instance_types() == {"m5.large", "t3.micro"}
