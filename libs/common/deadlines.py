"""How long the caller of the present call still waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from libs.common.errors import DeadlineExceeded

# As in letsencrypt/boulder's interceptors (grpc/interceptors.go): what arrives with less left than
# LEAST_LEFT is refused at once, and SHAVED is kept for sending the answer.
LEAST_LEFT = 0.100
SHAVED = 0.020

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


def time_left() -> float | None:
    """Return the seconds this call may still take, never negative; None without a deadline."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(ends_at - time.monotonic(), 0.0)


def check_deadline() -> None:
    """Raise DeadlineExceeded when the caller no longer waits; long work calls this on its way."""
    if time_left() == 0.0:
        raise DeadlineExceeded("The call's deadline has passed.")


@contextmanager
def deadline(remaining: float | None) -> Iterator[None]:
    """Make a caller's remaining seconds known inside the block, SHAVED off.

    Raises DeadlineExceeded when fewer than LEAST_LEFT remain.
    """
    if remaining is not None and remaining < LEAST_LEFT:
        raise DeadlineExceeded(
            "The call came with too little time left; allow it more.", reason="DEADLINE_TOO_SHORT"
        )
    ends_at = None if remaining is None else time.monotonic() + remaining - SHAVED
    token = _ends_at.set(ends_at)
    try:
        yield
    finally:
        _ends_at.reset(token)
