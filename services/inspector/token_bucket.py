"""How fast blocks are taken from one account, which has a use for its quota itself."""

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Lets `rate` tokens a second through, and up to a second's worth at once. Thread-safe."""

    def __init__(
        self,
        rate: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._wait = wait
        self._lock = threading.Lock()
        # When the bucket was, or will be, empty: it fills from then on.
        self._empty_at = monotonic() - 1.0

    def take(self, count: int) -> None:
        """Take so many tokens; wait until they are there. Whoever asks first is served first."""
        with self._lock:
            now = self._monotonic()
            self._empty_at = max(self._empty_at, now - 1.0) + count / self._rate
            delay = self._empty_at - now
        if delay > 0:
            self._wait(delay)
