"""Clocks, instants and their protobuf forms."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import ManualClock, SystemClock
from libs.common.instants import to_datetime, to_micros
from libs.common.timestamps import duration, from_duration, from_timestamp, timestamp

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
# 1 May 2018, 12:34:56 UTC
MAY_DAY = 1_525_178_096_000_000
# The first and the last microsecond that a Timestamp can tell.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


def test_a_manual_clock_stands_still_until_advanced() -> None:
    """Both of its times move by exactly the span told."""
    clock = ManualClock(NOON)
    assert (clock.now(), clock.monotonic()) == (NOON, 0.0)
    clock.advance(timedelta(seconds=90))
    assert clock.now() == datetime(2026, 11, 22, 12, 1, 30, tzinfo=UTC)
    assert clock.monotonic() == 90.0


def test_a_manual_clock_never_goes_back() -> None:
    """A negative span is an error and changes nothing."""
    clock = ManualClock(NOON)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(timedelta(seconds=-1))
    assert clock.now() == NOON


def test_a_manual_clock_wants_an_aware_start_and_tells_utc() -> None:
    """A naive start is refused, another zone's converted."""
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2026, 11, 22))  # noqa: DTZ001  # naive on purpose
    clock = ManualClock(datetime(2026, 11, 22, 14, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now().isoformat() == "2026-11-22T12:00:00+00:00"


def test_the_system_clock_tells_aware_utc() -> None:
    """Its time of day has the zone UTC and its monotonic time never goes back."""
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_instants_are_microseconds_since_the_epoch() -> None:
    """A known moment in two zones is one known number."""
    assert to_micros(datetime(2018, 5, 1, 12, 34, 56, tzinfo=UTC)) == MAY_DAY
    berlin = timezone(timedelta(hours=2))
    assert to_micros(datetime(2018, 5, 1, 14, 34, 56, tzinfo=berlin)) == MAY_DAY
    assert to_datetime(MAY_DAY + 1).isoformat() == "2018-05-01T12:34:56.000001+00:00"


def test_a_naive_datetime_is_no_instant() -> None:
    """It is refused rather than taken for local time or UTC."""
    with pytest.raises(ValueError, match="no time zone"):
        to_micros(datetime(2018, 5, 1))  # noqa: DTZ001  # naive on purpose


@given(st.integers(FIRST, LAST))
def test_instants_survive_every_form(micros: int) -> None:
    """To datetime, Timestamp and back, no microsecond is lost."""
    assert to_micros(to_datetime(micros)) == micros
    assert from_timestamp(timestamp(micros)) == micros
    assert timestamp(micros).ToMicroseconds() == micros


def test_a_timestamp_finer_than_a_microsecond_is_cut() -> None:
    """999 ns are no microsecond."""
    assert from_timestamp(Timestamp(seconds=1, nanos=1999)) == 1_000_001


@pytest.mark.parametrize(
    "message",
    [
        Timestamp(seconds=-62_135_596_801),
        Timestamp(seconds=253_402_300_800),
        Timestamp(nanos=-1),
        Timestamp(nanos=1_000_000_000),
    ],
)
def test_a_timestamp_outside_its_range_is_refused(message: Timestamp) -> None:
    """Seconds beyond the years 1 to 9999 and nanos that are no fraction raise ValueError."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        from_timestamp(message)


@given(st.integers(-(10**17), 10**17))
def test_spans_survive_as_durations(micros: int) -> None:
    """Seconds and nanos carry one sign, and nothing is lost."""
    message = duration(micros)
    assert message.seconds * message.nanos >= 0
    assert from_duration(message) == micros
    assert message.ToMicroseconds() == micros


@pytest.mark.parametrize(
    "message",
    [
        Duration(seconds=1, nanos=-1),
        Duration(seconds=315_576_000_001),
        Duration(nanos=1_000_000_000),
    ],
)
def test_a_duration_outside_its_range_is_refused(message: Duration) -> None:
    """Mixed signs, ten thousand years and whole seconds of nanos raise ValueError."""
    with pytest.raises(ValueError, match="10,000 years"):
        from_duration(message)
