"""The local AWS's time: that of a request's header, else the server's clock.

So a fleet's past can be acted out over HTTP, by several actors at once, while others read the
present.
"""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Lock

_asked: ContextVar[datetime | None] = ContextVar("local_aws_time", default=None)


class ServerClock:
    """What time it is where a request names none."""

    def __init__(self) -> None:
        self._now: Callable[[], datetime] = _system_time
        self._lock = Lock()

    def set(self, now: Callable[[], datetime] | None) -> None:
        """Take the time from `now`, which returns aware times; None: from the machine."""
        with self._lock:
            self._now = now or _system_time

    def now(self) -> datetime:
        """Return the time of the request being answered, in UTC, to the second as EC2 keeps it."""
        with self._lock:
            now = self._now
        return (_asked.get() or now()).astimezone(UTC).replace(microsecond=0)


def _system_time() -> datetime:
    return datetime.now(UTC)


CLOCK = ServerClock()


def utcnow() -> datetime:
    """Return the time naive, as moto wants it."""
    return CLOCK.now().replace(tzinfo=None)


def ask(header: str | None) -> None:
    """Let this thread's request happen at the header's time (ISO 8601), else at the server's."""
    _asked.set(datetime.fromisoformat(header) if header else None)
