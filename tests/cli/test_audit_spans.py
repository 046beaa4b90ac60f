"""The day or span that `cloudigrade audit --affecting` names."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cli.auditing import span
from cli.exits import CommandError, Exit


@pytest.mark.parametrize(
    ("text", "zone", "start", "end"),
    [
        ("2026-11-01", "UTC", "2026-11-01T00:00", "2026-11-02T00:00"),
        # 25 hours: the clocks go back at 01:00 UTC.
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),
        # Midnight was skipped: the day began at 01:00, at 03:00 UTC.
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00", "2018-11-05T02:00"),
        ("2026-11-01..2026-11-03", "Asia/Tokyo", "2026-10-31T15:00", "2026-11-02T15:00"),
        (
            "2026-11-01T10:00Z..2026-11-01T11:30Z",
            "Asia/Tokyo",
            "2026-11-01T10:00",
            "2026-11-01T11:30",
        ),
    ],
)
def test_a_day_is_the_zones_and_a_span_is_half_open(
    text: str, zone: str, start: str, end: str
) -> None:
    """A day goes from midnight to midnight there; times with an offset are what they say."""
    expected = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end)]
    assert list(span(text, ZoneInfo(zone))) == expected


@pytest.mark.parametrize(
    "text", ["today", "2026-13-01", "2026-11-01T10:00", "9999-12-31", "..", "2026-11-01.."]
)
def test_what_is_no_day_is_told_so(text: str) -> None:
    """Status 2, and the option by its name."""
    with pytest.raises(CommandError, match="--affecting") as raised:
        span(text, ZoneInfo("UTC"))
    assert raised.value.status is Exit.USAGE
