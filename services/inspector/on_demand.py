"""An inspection that a person asked for and watches."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from threading import BoundedSemaphore, Event
from typing import Self

from libs.common.errors import ResourceExhausted
from services.inspector.inspector import ImageInspector, Inspected, Target

_INTERVAL = 0.5
"""Seconds between two steps told: at most twice a second."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done, and the blocks fetched so far."""

    what: str
    blocks: int


class Unwanted(Exception):  # nothing went wrong: nobody waits any more
    """Nobody wants the inspection's end any more."""


class InspectOnDemand:
    """Runs inspections in threads of its own, only so many at one time."""

    def __init__(self, inspector: ImageInspector, at_once: int) -> None:
        self._inspector = inspector
        self._slots = BoundedSemaphore(at_once)
        self._executor = ThreadPoolExecutor(at_once, thread_name_prefix="inspect-on-demand")
        self._stopping = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._executor.shutdown()

    def inspect(self, target: Target, wanted: Callable[[], bool]) -> Iterator[Step | Inspected]:
        """Yield steps on the way and then the outcome; end early when `wanted` says no.

        Raises ResourceExhausted when as many are under way as may be.
        """
        if not self._slots.acquire(blocking=False):
            raise ResourceExhausted(
                "Too many inspections are under way: try again in a minute.",
                reason="INSPECTIONS_UNDER_WAY",
            )
        watched = _Watched(self._stopping)
        future = self._executor.submit(copy_context().run, self._run, target, watched)
        # Given back when the thread ends, which may be after its watcher has gone.
        future.add_done_callback(lambda _: self._slots.release())
        try:
            yield from watched.until_done(future, wanted)
        finally:
            watched.unwanted.set()

    def _run(self, target: Target, watched: "_Watched") -> Inspected:
        return self._inspector.inspect(target, watched.progress)


class _Watched:
    """The latest step of an inspection, and whether anybody watches it still."""

    def __init__(self, stopping: Event) -> None:
        self.unwanted = Event()
        self._stopping = stopping
        self._latest: Step | None = None

    def progress(self, what: str, blocks: int) -> None:
        if self.unwanted.is_set() or self._stopping.is_set():
            raise Unwanted
        self._latest = Step(what, blocks)

    def until_done(
        self, future: "Future[Inspected]", wanted: Callable[[], bool]
    ) -> Iterator[Step | Inspected]:
        told: Step | None = None
        while wanted():
            done = wait([future], _INTERVAL).done
            if done:
                yield future.result()
                return
            if self._latest is not None and self._latest != told:
                told = self._latest
                yield told
