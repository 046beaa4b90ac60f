"""The time inside StateTransitionReason."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.state_reasons import transition_time

ZONES = ["GMT", "UTC"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("User initiated (2016-11-14 16:23:56 GMT)", "2016-11-14T16:23:56+00:00"),
        ("User initiated (2026-11-14 16:23:56 UTC)", "2026-11-14T16:23:56+00:00"),
        ("Service initiated (2026-08-10 20:37:24 GMT)", "2026-08-10T20:37:24+00:00"),
        (
            "Client.UserInitiatedShutdown: User initiated shutdown (2019-01-30 13:33:45 GMT)",
            "2019-01-30T13:33:45+00:00",
        ),
        ("User initiated (2016-11-14 16:23:56)", "2016-11-14T16:23:56+00:00"),
    ],
)
def test_the_time_is_read_in_every_form_that_aws_writes(reason: str, expected: str) -> None:
    """Each form that carries a time gives that time, in UTC."""
    assert transition_time(reason) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "User initiated",
        "Server.InternalError",
        "InternalError",
        "User initiated shutdown",
        "Server.ScheduledStop: Stopped due to scheduled retirement",
        "User initiated (2016-13-14 16:23:56 GMT)",
        "User initiated (yesterday)",
        "User initiated (2016-11-14 16:23:56 CET)",
        "(2016-11-14 16:23:56 GMT) and more",
    ],
)
def test_a_reason_without_a_time_that_can_be_read_gives_none(reason: str) -> None:
    """No time, no date, another zone or words after it: nothing is made up."""
    assert transition_time(reason) is None


@given(st.integers(min_value=1_136_073_600, max_value=4_102_444_799), st.sampled_from(ZONES))
def test_every_second_is_read_back_as_it_was_written(second: int, zone: str) -> None:
    """What EC2 writes for a second is that second."""
    moment = datetime.fromtimestamp(second, UTC)
    assert transition_time(f"User initiated ({moment:%Y-%m-%d %H:%M:%S} {zone})") == moment
