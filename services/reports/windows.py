"""Half-open windows of time, and the calendar buckets of a time zone that they are cut into."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

from libs.common.instants import Micros, to_datetime, to_micros

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_MONDAY = 0
_MONTHS = 12

EARLIEST = to_micros(datetime(1970, 1, 1, tzinfo=UTC))
LATEST = to_micros(datetime(9999, 1, 1, tzinfo=UTC))


class Bucket(Enum):
    """What a window is cut into."""

    NONE = "none"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# No bucket of the calendar is shorter on average; a window has at most this many of each, and two.
_SHORTEST = {
    Bucket.HOUR: _HOUR,
    Bucket.DAY: 24 * _HOUR,
    Bucket.WEEK: 7 * 24 * _HOUR,
    Bucket.MONTH: 28 * 24 * _HOUR,
}


@dataclass(frozen=True, slots=True)
class Window:
    """All instants from `start` on and before `end`, between the years 1970 and 9999."""

    start: Micros
    end: Micros

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("a window ends after it starts")
        if self.start < EARLIEST or self.end > LATEST:
            raise ValueError("a window lies between the years 1970 and 9999")


def most_buckets(window: Window, bucket: Bucket) -> int:
    """Return a number that a window's buckets do not exceed, without laying them out."""
    if bucket is Bucket.NONE:
        return 1
    return (window.end - window.start) // _SHORTEST[bucket] + 2


def bucket_edges(window: Window, bucket: Bucket, zone: ZoneInfo) -> tuple[Micros, ...]:
    """Return where the window's buckets begin, and last where the last one ends.

    They lie on the zone's calendar and are clipped to the window. Days begin when the zone's clock
    first reaches midnight or jumps over it, so they are 23 or 25 hours long when clocks change, and
    a day that a zone left out is no bucket. Weeks begin on Monday (ISO 8601). Hours lie between
    marks of the hour as the clock shows them, so one that a shift cuts or stretches is shorter or
    longer, and an hour shown twice is two.
    """
    inside = (mark for mark in _marks(window, bucket, zone) if window.start < mark < window.end)
    return (window.start, *sorted(set(inside)), window.end)


def _marks(window: Window, bucket: Bucket, zone: ZoneInfo) -> Iterator[Micros]:
    if bucket is Bucket.NONE:
        return iter(())
    if bucket is Bucket.HOUR:
        return _hour_marks(window, zone)
    following = {Bucket.DAY: _next_day, Bucket.WEEK: _next_monday, Bucket.MONTH: _next_month}
    instants = _date_marks(_clock(zone, window.start).date(), following[bucket], zone)
    return takewhile(lambda instant: instant < window.end, instants)


def _date_marks(day: date, following: Callable[[date], date], zone: ZoneInfo) -> Iterator[Micros]:
    while True:
        day = following(day)
        yield _reached(zone, datetime(day.year, day.month, day.day))  # noqa: DTZ001 - a clock's face


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _next_monday(day: date) -> date:
    return day + timedelta(days=7 - (day.weekday() - _MONDAY))


def _next_month(day: date) -> date:
    return date(day.year + day.month // _MONTHS, day.month % _MONTHS + 1, 1)


def _clock(zone: ZoneInfo, instant: Micros) -> datetime:
    """Return what the zone's clock shows, without a zone."""
    return to_datetime(instant).astimezone(zone).replace(tzinfo=None)


def _reached(zone: ZoneInfo, face: datetime) -> Micros:
    """Return the first instant at which the zone's clock shows this time, or jumps over it."""
    early = to_micros(face.replace(tzinfo=zone, fold=0))
    if _clock(zone, early) == face:
        return early
    # In a gap fold=0 is read with the offset from before it, which lands after it; PEP 495.
    before = to_micros(face.replace(tzinfo=zone, fold=1))
    return before + bisect_left(
        range(early - before), x=True, key=lambda past: _clock(zone, before + past) >= face
    )


def _hour_marks(window: Window, zone: ZoneInfo) -> Iterator[Micros]:
    previous = None
    for start, end in pairwise((*_shifts(window, zone), window.end)):
        offset = _offset(zone, start)
        yield from range(_full_hour(start, offset), end, _HOUR)
        if previous is not None and _full_hour(start, previous) < start + offset - previous:
            yield start  # the clock jumped over a mark
        previous = offset


def _full_hour(instant: Micros, offset: Micros) -> Micros:
    """Return the first instant, from this one on, at which a clock so offset shows a full hour."""
    return instant + -(instant + offset) % _HOUR


def _shifts(window: Window, zone: ZoneInfo) -> Iterator[Micros]:
    """Yield the window's start, then each instant in it at which the zone's offset changes."""
    yield window.start
    before = _offset(zone, window.start)
    for start in range(window.start, window.end, _HOUR):
        after = _offset(zone, start + _HOUR)
        if after != before:
            yield _change(zone, start, before)
        before = after


def _change(zone: ZoneInfo, start: Micros, before: Micros) -> Micros:
    """Return when the zone's offset changes in the hour from `start` on."""
    return start + bisect_left(
        range(_HOUR), x=True, key=lambda past: _offset(zone, start + past) != before
    )


def _offset(zone: ZoneInfo, instant: Micros) -> Micros:
    shift = to_datetime(instant).astimezone(zone).utcoffset() or timedelta()
    return shift // timedelta(microseconds=1)
