"""Buckets lie on the calendar of a time zone, whatever its clocks do."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libs.common.instants import Micros, to_datetime, to_micros
from services.reports.windows import Bucket, Window, bucket_edges, most_buckets
from services.reports.zones import UnknownZone, load_zone

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Havana",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
]
MINUTE = 60_000_000
HOUR = 60 * MINUTE


def edges(zone: str, start: str, end: str, bucket: Bucket) -> tuple[Micros, ...]:
    """Cut the window between two times of UTC."""
    window = Window(at(start), at(end))
    return bucket_edges(window, bucket, load_zone(zone))


def at(text: str) -> Micros:
    """Read a time of UTC."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def hours(cut: tuple[Micros, ...]) -> list[float]:
    """Measure the buckets."""
    return [(after - before) / HOUR for before, after in pairwise(cut)]


def shown(zone: str, cut: tuple[Micros, ...]) -> list[str]:
    """Read the zone's clock at each edge."""
    return [f"{to_datetime(it).astimezone(load_zone(zone)):%m-%d %H:%M}" for it in cut]


def test_without_buckets_the_window_is_one() -> None:
    """The whole window lies between its two ends."""
    cut = edges("Europe/Berlin", "2026-01-01T00:00", "2026-03-01T00:00", Bucket.NONE)
    assert cut == (at("2026-01-01T00:00"), at("2026-03-01T00:00"))


def test_buckets_are_clipped_to_the_window() -> None:
    """A window from 10:30 to 13:15 has quarters of hours at its ends."""
    assert hours(edges("UTC", "2026-01-01T10:30", "2026-01-01T13:15", Bucket.HOUR)) == [
        0.5,
        1,
        1,
        0.25,
    ]


def test_a_window_that_ends_on_a_mark_has_no_empty_bucket() -> None:
    """Midnight to midnight is one day."""
    assert hours(edges("UTC", "2026-01-01T00:00", "2026-01-02T00:00", Bucket.DAY)) == [24]


def test_a_day_in_berlin_has_25_hours_in_autumn() -> None:
    """2026-10-25, when the clock goes from 03:00 back to 02:00."""
    cut = edges("Europe/Berlin", "2026-10-23T22:00", "2026-10-26T23:00", Bucket.DAY)
    assert hours(cut) == [24, 25, 24]
    assert shown("Europe/Berlin", cut)[1] == "10-25 00:00"


def test_a_day_in_new_york_has_23_hours_in_spring() -> None:
    """2026-03-08, when the clock goes from 02:00 to 03:00."""
    cut = edges("America/New_York", "2026-03-07T05:00", "2026-03-10T04:00", Bucket.DAY)
    assert hours(cut) == [24, 23, 24]


def test_an_hour_that_berlin_shows_twice_is_two_hours() -> None:
    """02:00 to 03:00 of 2026-10-25 comes in summer time, then in winter time."""
    cut = edges("Europe/Berlin", "2026-10-24T23:00", "2026-10-25T02:00", Bucket.HOUR)
    assert shown("Europe/Berlin", cut) == [
        "10-25 01:00",
        "10-25 02:00",
        "10-25 02:00",
        "10-25 03:00",
    ]
    assert hours(cut) == [1, 1, 1]


def test_lord_howe_moves_its_clock_by_half_an_hour() -> None:
    """One hour lasts 90 minutes in autumn, and one 30 minutes in spring."""
    autumn = edges("Australia/Lord_Howe", "2026-04-04T13:00", "2026-04-04T17:30", Bucket.HOUR)
    assert hours(autumn) == [1, 1.5, 1, 1]
    spring = edges("Australia/Lord_Howe", "2026-10-03T13:30", "2026-10-03T17:00", Bucket.HOUR)
    assert hours(spring) == [1, 1, 0.5, 1]


def test_hours_in_kolkata_begin_at_half_past_utc() -> None:
    """Its clock is 5:30 ahead."""
    cut = edges("Asia/Kolkata", "2026-11-06T12:00", "2026-11-06T14:00", Bucket.HOUR)
    assert shown("Asia/Kolkata", cut) == [
        "11-06 17:30",
        "11-06 18:00",
        "11-06 19:00",
        "11-06 19:30",
    ]


def test_apia_left_out_a_day() -> None:
    """After 2011-12-29 came 2011-12-31: the day between is no bucket, and both have 24 hours."""
    cut = edges("Pacific/Apia", "2011-12-29T10:00", "2011-12-31T10:00", Bucket.DAY)
    assert shown("Pacific/Apia", cut) == ["12-29 00:00", "12-31 00:00", "01-01 00:00"]
    assert hours(cut) == [24, 24]


def test_a_day_begins_at_one_where_the_clock_jumps_over_midnight() -> None:
    """2018-11-04 in Sao Paulo began at 01:00 and had 23 hours."""
    cut = edges("America/Sao_Paulo", "2018-11-03T03:00", "2018-11-06T02:00", Bucket.DAY)
    assert shown("America/Sao_Paulo", cut)[1] == "11-04 01:00"
    assert hours(cut) == [24, 23, 24]


def test_a_midnight_shown_twice_begins_one_day() -> None:
    """On 2010-11-07 the clock of St John's went from 00:01 back to 23:01; that day had 25 hours."""
    cut = edges("America/St_Johns", "2010-11-06T02:30", "2010-11-08T03:30", Bucket.DAY)
    assert hours(cut) == [24, 25]


def test_weeks_begin_on_monday() -> None:
    """2026-11-22 is a Sunday, so the day after begins a week (ISO 8601)."""
    cut = edges("UTC", "2026-11-22T12:00", "2026-12-01T00:00", Bucket.WEEK)
    assert shown("UTC", cut) == ["11-22 12:00", "11-23 00:00", "11-30 00:00", "12-01 00:00"]


def test_months_are_those_of_the_calendar() -> None:
    """In Kolkata December begins at 18:30 of UTC on the last of November."""
    cut = edges("Asia/Kolkata", "2026-11-15T00:00", "2027-02-15T00:00", Bucket.MONTH)
    assert [str(to_datetime(it))[:16] for it in cut[1:-1]] == [
        "2026-11-30 18:30",
        "2026-12-31 18:30",
        "2027-01-31 18:30",
    ]


@pytest.mark.parametrize(
    ("start", "end"), [("2026-01-02", "2026-01-01"), ("2026-01-01", "2026-01-01")]
)
def test_a_window_ends_after_it_starts(start: str, end: str) -> None:
    """A reversed and an empty window are refused."""
    with pytest.raises(ValueError, match="ends after it starts"):
        Window(at(start), at(end))


@pytest.mark.parametrize(
    ("start", "end"), [("1969-12-31", "2026-01-01"), ("2026-01-01", "9999-01-02")]
)
def test_a_window_lies_between_1970_and_9999(start: str, end: str) -> None:
    """Where no zone's calendar runs out."""
    with pytest.raises(ValueError, match="1970 and 9999"):
        Window(at(start), at(end))


@pytest.mark.parametrize(
    "name", ["Europe/Atlantis", "europe/berlin", "/etc/passwd", "../UTC", "localtime"]
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    """Names are those of the IANA database, letter by letter; none is a path."""
    with pytest.raises(UnknownZone, match="no time zone"):
        load_zone(name)


def test_an_empty_zone_is_utc() -> None:
    """So that nobody has to name one."""
    assert load_zone("").key == "UTC"


def test_zones_come_from_the_pinned_package(tmp_path: Path) -> None:
    """A machine whose own files say otherwise does not move a midnight."""
    (tmp_path / "Europe").mkdir()
    utc = resources.files("tzdata").joinpath("zoneinfo", "UTC").read_bytes()
    (tmp_path / "Europe" / "Vienna").write_bytes(utc)
    zoneinfo.reset_tzpath([tmp_path])
    try:
        zone = load_zone("Europe/Vienna")
    finally:
        zoneinfo.reset_tzpath()
    assert to_datetime(at("2026-01-01T00:00")).astimezone(zone).hour == 1


starts = st.integers(at("1990-01-01T00:00") // MINUTE, at("2037-01-01T00:00") // MINUTE)


@given(st.sampled_from(ZONES), starts, st.integers(1, 4 * 24 * 60))
@example("America/Havana", at("2026-10-31T20:00") // MINUTE, 3000)
@example("America/St_Johns", at("2010-11-06T12:00") // MINUTE, 3000)
@example("Pacific/Apia", at("2011-12-29T00:00") // MINUTE, 5000)
@settings(max_examples=60, deadline=None)
def test_days_equal_looking_at_every_minute(zone: str, first: int, minutes: int) -> None:
    """A day begins in the first minute whose date was not reached before."""
    window = Window(first * MINUTE, (first + minutes) * MINUTE)
    reached, found = date.min, [window.start]
    for minute in range(first - 2 * 24 * 60, first + minutes):
        today = to_datetime(minute * MINUTE).astimezone(load_zone(zone)).date()
        if today > reached and minute > first:
            found.append(minute * MINUTE)
        reached = max(reached, today)
    assert bucket_edges(window, Bucket.DAY, load_zone(zone)) == (*found, window.end)


@given(st.sampled_from(ZONES), starts, st.integers(1, 2 * 24 * 60))
@example("Australia/Lord_Howe", at("2026-10-03T10:00") // MINUTE, 600)
@example("Australia/Lord_Howe", at("2026-04-04T10:00") // MINUTE, 600)
@example("Europe/Berlin", at("2026-10-24T20:00") // MINUTE, 600)
@example("Europe/Berlin", at("2026-03-28T20:00") // MINUTE, 600)
@example("America/St_Johns", at("2010-11-06T20:00") // MINUTE, 900)
@settings(max_examples=60, deadline=None)
def test_hours_equal_looking_at_every_minute(zone: str, first: int, minutes: int) -> None:
    """An hour begins when the clock shows a full one, or has jumped over it."""
    window = Window(first * MINUTE, (first + minutes) * MINUTE)
    found = [window.start]
    for minute in range(first + 1, first + minutes):
        before, now = (
            to_datetime(each * MINUTE).astimezone(load_zone(zone)).replace(tzinfo=None)
            for each in (minute - 1, minute)
        )
        if now.minute == 0 or now.replace(minute=0) > before:
            found.append(minute * MINUTE)
    assert bucket_edges(window, Bucket.HOUR, load_zone(zone)) == (*found, window.end)


@given(
    st.sampled_from(ZONES),
    st.sampled_from([Bucket.WEEK, Bucket.MONTH]),
    starts,
    st.integers(1, 400 * 24 * 60),
)
@settings(max_examples=60, deadline=None)
def test_weeks_and_months_are_made_of_days(
    zone: str, bucket: Bucket, first: int, minutes: int
) -> None:
    """Their edges are those of days on which a week or a month begins."""
    window = Window(first * MINUTE, (first + minutes) * MINUTE)
    inner = bucket_edges(window, Bucket.DAY, load_zone(zone))[1:-1]
    days = [(it, to_datetime(it).astimezone(load_zone(zone)).date()) for it in inner]
    expected = [
        instant
        for instant, day in days
        if (day.weekday() == 0 if bucket is Bucket.WEEK else day.day == 1)
    ]
    assert list(bucket_edges(window, bucket, load_zone(zone))[1:-1]) == expected


@given(st.sampled_from(ZONES), st.sampled_from(Bucket), starts, st.integers(1, 60 * 24 * 60))
@settings(max_examples=60, deadline=None)
def test_the_number_of_buckets_is_known_beforehand(
    zone: str, bucket: Bucket, first: int, minutes: int
) -> None:
    """There are at most as many as was said without laying them out, and no fewer than two less."""
    window = Window(first * MINUTE, (first + minutes) * MINUTE)
    buckets = len(bucket_edges(window, bucket, load_zone(zone))) - 1
    assert buckets <= most_buckets(window, bucket)


def test_a_bucket_is_never_empty() -> None:
    """Edges ascend strictly, in every zone, over the whole year in which Apia lost a day."""
    for zone in ZONES:
        for bucket in Bucket:
            cut = edges(zone, "2011-06-01T00:00", "2012-06-01T00:00", bucket)
            assert all(before < after for before, after in pairwise(cut))
            assert cut[-1] - cut[0] == timedelta(days=366) // timedelta(microseconds=1)
