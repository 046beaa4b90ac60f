"""Background work: a function that takes an Event and runs in a named thread until it is set."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import structlog

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0


class Worker:
    """Runs `function(stop)` in a thread of its own until it returns or `stop` is set.

    The function waits by `stop.wait(seconds)` and returns soon after `stop` is set. When it raises,
    that is logged and it is called again: after 1 s, then 2, 4 and so on up to 30, and from 1 again
    once it has run for 30 s. As a context manager it starts on entry, and stops and joins on exit.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[threading.Event], None],
        *,
        first_delay: timedelta = timedelta(seconds=_FIRST_DELAY),
        patience: timedelta = timedelta(seconds=30),
    ) -> None:
        self.name = name
        self._function = function
        self._first_delay = first_delay.total_seconds()
        self._patience = patience.total_seconds()
        self._stop = threading.Event()
        self._log = structlog.get_logger().bind(worker=name)
        # The trace id goes along; the maker's principal and deadline do not outlive its call.
        bound = structlog.contextvars.get_contextvars()
        self._bound = {"worker": name, **_only("request_id", bound)}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; a worker is started once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the function to return; any thread may, more than once."""
        self._stop.set()

    def join(self, timeout: timedelta | None = None) -> bool:
        """Wait until the thread has ended, at most so long; return whether it has."""
        if self._thread.ident is not None:
            self._thread.join(None if timeout is None else timeout.total_seconds())
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if not self.join(timedelta(seconds=self._patience)):
            self._log.error("worker.stuck", waited_seconds=self._patience)

    def _run(self) -> None:
        structlog.contextvars.bind_contextvars(**self._bound)
        delay = self._first_delay
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._function(self._stop)
            except Exception:  # noqa: BLE001  # whatever it is, the work must go on
                if time.monotonic() - began >= _LONGEST_DELAY:
                    delay = self._first_delay
                self._log.exception("worker.failed", again_in_seconds=delay)
                self._stop.wait(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
            else:
                return


def _only(key: str, values: dict[str, Any]) -> dict[str, Any]:
    return {key: values[key]} if key in values else {}


def every(interval: timedelta, task: Callable[[], None]) -> Callable[[threading.Event], None]:
    """Return a worker's function that does a task at once and then after each interval."""

    def function(stop: threading.Event) -> None:
        while not stop.is_set():
            task()
            stop.wait(interval.total_seconds())

    return function
