"""Merges waiting batches of events, of all streams, into transactions."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import structlog

from libs.common.errors import Aborted, CloudigradeError, DeadlineExceeded, Unavailable
from libs.common.workers import Worker
from services.accounts.new_events import Aside, NewEvent, Outcome

Record: TypeAlias = Callable[[Sequence[NewEvent], Sequence[Aside]], list[Outcome]]

MOST_EVENTS = 5_000
"""In one transaction: enough to spread its cost, few enough to answer soon."""

_TRIES = 3

_OF_ALL = (Unavailable, DeadlineExceeded)
"""Not for what a batch says: those that it was merged with would fare no better alone."""


class Promise:
    """The outcomes of one batch, which may be committed in several parts."""

    def __init__(self, size: int, parts: int) -> None:
        self.future: Future[list[Outcome]] = Future()
        self._outcomes = [Outcome.UNKNOWN_ACCOUNT] * size
        self._parts = parts
        self._lock = threading.Lock()
        if not parts:
            self.future.set_result(self._outcomes)

    def keep(self, places: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of a part that is committed."""
        with self._lock:
            for place, outcome in zip(places, outcomes, strict=True):
                self._outcomes[place] = outcome
            self._parts -= 1
            if not self._parts and not self.future.done():
                self.future.set_result(self._outcomes)

    def fail(self, error: BaseException) -> None:
        """Say that a part was not committed, so the batch is not."""
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Part:
    """The events of a batch that are committed together, and their places in it."""

    promise: Promise
    events: list[NewEvent]
    places: list[int]
    asides: list[Aside]


class Committer:
    """Commits batches by `record`, those of an account one transaction after the other.

    Accounts are spread over lanes, which work at the same time: a transaction holds the locks of
    its accounts, so others of the same ones would only wait. Memory is bounded by those who
    submit: each waits for its futures.
    """

    def __init__(self, record: Record, lanes: int = 2) -> None:
        self._lanes = [_Lane(record, number) for number in range(lanes)]
        self._stack = ExitStack()

    def submit(
        self, events: Sequence[NewEvent], asides: Sequence[Aside] = ()
    ) -> Future[list[Outcome]]:
        """Have a batch committed; the future has the outcomes of its events once it is.

        It raises Unavailable when it was not committed, and may then be submitted again.
        """
        lanes = len(self._lanes)
        groups: dict[int, tuple[list[NewEvent], list[int], list[Aside]]] = {}
        for place, event in enumerate(events):
            group = groups.setdefault(event.account_id % lanes, ([], [], []))
            group[0].append(event)
            group[1].append(place)
        for aside in asides:
            groups.setdefault(aside.account_id % lanes, ([], [], []))[2].append(aside)
        promise = Promise(len(events), len(groups))
        for number, group in groups.items():
            self._lanes[number].put(_Part(promise, *group))
        return promise.future

    def __enter__(self) -> Self:
        for lane in self._lanes:
            self._stack.enter_context(lane)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


class _Lane:
    """Commits parts one transaction after the other."""

    def __init__(self, record: Record, number: int) -> None:
        self._record = record
        self._worker = Worker(f"commit-{number}", self._run)
        self._waiting: deque[_Part] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._log = structlog.get_logger()

    def put(self, part: _Part) -> None:
        with self._changed:
            if not self._closed:
                self._waiting.append(part)
                self._changed.notify()
                return
        part.promise.fail(_closing())

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.__exit__(kind, error, trace)
        for part in self._waiting:
            part.promise.fail(_closing())

    def _run(self, _stop: threading.Event) -> None:
        while parts := self._take():
            self._commit(parts)

    def _take(self) -> list[_Part]:
        """Wait for something to commit; nothing comes once the lane is closed."""
        parts: list[_Part] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            while self._waiting and not self._closed:
                size += len(self._waiting[0].events) + len(self._waiting[0].asides)
                if parts and size > MOST_EVENTS:
                    break
                parts.append(self._waiting.popleft())
        return parts

    def _commit(self, parts: Sequence[_Part]) -> None:
        events = [event for part in parts for event in part.events]
        asides = [aside for part in parts for aside in part.asides]
        try:
            outcomes = self._try(events, asides)
        except _OF_ALL as error:
            self._fail(parts, error)
        except Exception as error:  # noqa: BLE001 # one batch must not stop the others
            if not isinstance(error, CloudigradeError):
                self._log.exception("events.not_committed", events=len(events))
            if len(parts) == 1:
                self._fail(parts, error)
                return
            for part in parts:
                self._commit([part])
        else:
            start = 0
            for part in parts:
                end = start + len(part.events)
                part.promise.keep(part.places, outcomes[start:end])
                start = end

    def _try(self, events: Sequence[NewEvent], asides: Sequence[Aside]) -> list[Outcome]:
        for _ in range(_TRIES - 1):
            try:
                return self._record(events, asides)
            except Aborted:
                continue
        try:
            return self._record(events, asides)
        except Aborted as error:
            raise Unavailable("Others change the same. Send it again.", reason="BUSY") from error

    @staticmethod
    def _fail(parts: Sequence[_Part], error: BaseException) -> None:
        for part in parts:
            part.promise.fail(error)


def _closing() -> Unavailable:
    return Unavailable("The server is shutting down. Send it again.", reason="SHUTTING_DOWN")
