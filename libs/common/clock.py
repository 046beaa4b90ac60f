"""Time as a dependency: what needs the time is given a clock."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day, and measures spans."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an unnamed moment; they never go back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an unnamed moment; they never go back."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until told to advance; any thread may ask it.

    Raises ValueError for a naive start.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware time")
        self._now = start.astimezone(UTC)
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Return the seconds advanced since the start."""
        with self._lock:
            return self._elapsed

    def advance(self, span: timedelta) -> None:
        """Move on by a span; ValueError when it is negative."""
        if span < timedelta(0):
            raise ValueError("a clock does not go back")
        with self._lock:
            self._now += span
            self._elapsed += span.total_seconds()
