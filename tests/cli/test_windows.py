"""What `cloudigrade report` makes of the times it is given."""

from datetime import UTC, datetime

import pytest

from cli.exits import CommandError, Exit
from cli.reporting import window

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)


def test_without_options_the_window_is_the_last_30_days() -> None:
    """No option: from 30 days ago until now."""
    assert window("", "", "", "UTC", NOW) == (datetime(2026, 2, 13, 12, 30, tzinfo=UTC), NOW)


def test_last_counts_back_from_the_end() -> None:
    """--last 36h --end X begins 36 hours before X."""
    end = datetime(2026, 3, 10, tzinfo=UTC)
    assert window("", "2026-03-10", "36h", "UTC", NOW) == (
        datetime(2026, 3, 8, 12, tzinfo=UTC),
        end,
    )


def test_dates_are_midnights_of_the_zone() -> None:
    """2026-03-29 in Berlin begins at 23:00 UTC of the 28th, and the 30th at 22:00 of the 29th."""
    assert window("2026-03-29", "2026-03-30", "", "Europe/Berlin", NOW) == (
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 29, 22, tzinfo=UTC),
    )


def test_an_offset_in_the_time_wins_over_the_zone() -> None:
    """A time with an offset of its own is taken as it is."""
    assert window("2026-03-01T00:00:00+01:00", "", "", "Asia/Tokyo", NOW) == (
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        NOW,
    )


@pytest.mark.parametrize(
    ("start", "end", "last", "zone", "named"),
    [
        ("yesterday", "", "", "UTC", "--start 'yesterday'"),
        ("2026-03-01", "soon", "", "UTC", "--end 'soon'"),
        ("", "", "a while", "UTC", "--last 'a while'"),
        ("2026-03-01", "", "3d", "UTC", "--start and --last"),
        ("2026-03-01", "", "", "Europe/Bielefeld", "--zone 'Europe/Bielefeld'"),
    ],
)
def test_a_bad_option_is_named(start: str, end: str, last: str, zone: str, named: str) -> None:
    """The error says which option is wrong, and the exit status is that of wrong usage."""
    with pytest.raises(CommandError, match=named) as raised:
        window(start, end, last, zone, NOW)
    assert raised.value.status is Exit.USAGE
