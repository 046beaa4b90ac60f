"""How numbers and times are shown."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cli.output import Column, Format, Output, hours, instant, table_of
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


def test_a_table_is_as_wide_as_its_longest_words_need(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a narrow terminal no id is broken, which could not be copied then; prose is folded."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    row = ["i-0123456789abcdef0", "ami-0123456789abcdef0", "words that go on and on and on and on"]
    Output(Format.TABLE).table(table_of([Column("id"), Column("image"), Column("why")], [row]))
    shown = capsys.readouterr().out
    assert row[0] in shown
    assert row[1] in shown
    assert row[2] not in shown
    assert "words" in shown
