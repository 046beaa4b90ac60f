"""How numbers and times are shown."""

from google.protobuf.timestamp_pb2 import Timestamp

from cli.output import hours, instant
from cloudigrade.reports.v1.reports_pb2 import UsageTime


def test_spans_are_hours_minutes_and_seconds() -> None:
    """90,061 s are 25 h 1 min 1 s; days are not split off, as on an invoice."""
    assert hours(UsageTime(seconds=90_061)) == "25:01:01"


def test_microseconds_show_only_where_there_are_any() -> None:
    """An exact half second is not hidden, and a whole second carries no zeros."""
    assert hours(UsageTime(seconds=1, nanos=500_000_000)) == "0:00:01.500000"
    assert hours(UsageTime(seconds=1)) == "0:00:01"


def test_times_are_utc_and_an_absent_one_is_empty() -> None:
    """The epoch's second 86,400 is the second day of 1970; none at all is nothing."""
    assert instant(Timestamp(seconds=86_400)) == "1970-01-02 00:00:00 UTC"
    assert instant(Timestamp()) == ""
