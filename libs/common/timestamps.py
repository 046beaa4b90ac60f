"""Protobuf's Timestamp and Duration, to and from whole microseconds."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from libs.common.instants import MICROS_PER_SECOND, Micros

_NANOS_PER_MICRO = 1000
_NANOS_PER_SECOND = 1_000_000_000
# The years 1 to 9999, the range of google.protobuf.Timestamp (timestamp.proto).
_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799
# About 10,000 years, the range of google.protobuf.Duration (duration.proto).
_LONGEST_SECONDS = 315_576_000_000


def timestamp(micros: Micros) -> Timestamp:
    """Return the Timestamp of an instant."""
    seconds, rest = divmod(micros, MICROS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=rest * _NANOS_PER_MICRO)


def from_timestamp(message: Timestamp) -> Micros:
    """Return the instant of a Timestamp, what is finer than a microsecond cut off.

    Raises ValueError, fit for callers, outside the years 1 to 9999 or for nanos out of range.
    """
    in_range = _FIRST_SECOND <= message.seconds <= _LAST_SECOND
    if not in_range or not 0 <= message.nanos < _NANOS_PER_SECOND:
        raise ValueError("is not a time in the years 1 to 9999")
    return message.seconds * MICROS_PER_SECOND + message.nanos // _NANOS_PER_MICRO


def duration(micros: int) -> Duration:
    """Return the Duration of a span; seconds and nanos have the same sign, as its proto wants."""
    sign = -1 if micros < 0 else 1
    seconds, rest = divmod(abs(micros), MICROS_PER_SECOND)
    return Duration(seconds=sign * seconds, nanos=sign * rest * _NANOS_PER_MICRO)


def from_duration(message: Duration) -> int:
    """Return the span in microseconds, what is finer cut off towards zero.

    Raises ValueError, fit for callers, when it is out of range or its parts differ in sign.
    """
    in_range = abs(message.seconds) <= _LONGEST_SECONDS
    one_sign = message.seconds * message.nanos >= 0
    if not in_range or not one_sign or abs(message.nanos) >= _NANOS_PER_SECOND:
        raise ValueError("is not a span of at most 10,000 years")
    whole = abs(message.seconds) * MICROS_PER_SECOND + abs(message.nanos) // _NANOS_PER_MICRO
    return -whole if message.seconds < 0 or message.nanos < 0 else whole
