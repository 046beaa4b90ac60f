"""Waiting for what another thread or process brings about, with a deadline and no guessing."""

import threading
import time
from collections.abc import Callable

DEADLINE = 10.0


def wait_until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Return once the condition holds; AssertionError when it does not in time."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not true within {seconds} s"
        pause.wait(0.01)


def wait_for(event: threading.Event, seconds: float = DEADLINE) -> None:
    """Return once an event is set; AssertionError when it is not in time."""
    assert event.wait(seconds), f"not set within {seconds} s"
