"""Instants as whole microseconds since the Unix epoch, UTC: exact, ordered, 8 bytes in a column."""

from datetime import UTC, datetime, timedelta

Micros = int

MICROS_PER_SECOND = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> Micros:
    """Return an aware datetime's instant; ValueError when it is naive."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(micros: Micros) -> datetime:
    """Return the datetime in UTC of an instant; OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=micros)
