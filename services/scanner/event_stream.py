"""Sending events to accounts: acknowledged by it, kept until then, and in bounded memory."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import Self

import grpc
import structlog

from cloudigrade.accounts.v1 import events_pb2, events_pb2_grpc
from libs.common.errors import InvalidRequest
from libs.common.workers import Worker
from services.scanner.convert import event_message
from services.scanner.events import Event
from services.scanner.leases import ScannerStops

MOST_IN_BATCH = 1000  # RecordEvents takes no more
WINDOW = 8
"""Unanswered batches kept: more bring no speed (measured: 8 and 64 the same)."""
_LONGEST_PAUSE = 10.0

Response = events_pb2.RecordEventsResponse


class Outcome(Enum):
    """What became of an event. All are final: the event may be forgotten."""

    STORED = Response.OUTCOME_STORED
    DUPLICATE = Response.OUTCOME_DUPLICATE
    UNKNOWN_ACCOUNT = Response.OUTCOME_UNKNOWN_ACCOUNT
    REJECTED = Response.OUTCOME_REJECTED
    SUPERSEDED = Response.OUTCOME_SUPERSEDED


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one event, and why if it was rejected."""

    outcome: Outcome
    reason: str = ""


@dataclass(slots=True)
class _Batch:
    message: list[events_pb2.Event]
    answer: "Future[list[Recorded]]" = field(default_factory=Future)


class EventStream:
    """Sends batches over one RecordEvents stream, and again over a new one after a break.

    Any thread may send. While entered, a thread keeps the stream: it opens one when there is
    something to send. At most `window` batches are unanswered; who sends more waits, so a slow or
    absent accounts holds up its sources and fills no memory.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        window: int = WINDOW,
        first_pause: timedelta = timedelta(seconds=0.1),
        patience: timedelta = timedelta(seconds=5),
    ) -> None:
        self._stub = events_pb2_grpc.EventServiceStub(channel)
        self._window = _Window(window)
        self._first_pause = first_pause.total_seconds()
        self._patience = patience
        self._worker = Worker("event-stream", self._keep)
        self._log = structlog.get_logger()

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, events: Sequence[Event]) -> "Future[list[Recorded]]":
        """Send 1 to 1,000 events, and return where their outcomes will be, in their order.

        Blocks while the window is full. Raises ValueError for a batch of another size, and
        ScannerStops once closed.

        Instead of outcomes there may be ScannerStops, when the stream was closed before they came,
        or InvalidRequest, when accounts refuses the batch as a whole. Then its events may or may
        not be stored, and whoever has them may send them again.
        """
        if not 1 <= len(events) <= MOST_IN_BATCH:
            raise ValueError(f"a batch holds 1 to {MOST_IN_BATCH} events, not {len(events)}")
        batch = _Batch([event_message(event) for event in events])
        self._window.add(batch)
        return batch.answer

    def close(self) -> None:
        """Take no more, and wait a while for the answers to what was sent."""
        self._worker.stop()
        self._window.close()
        if not self._worker.join(self._patience):
            self._window.cancel()
            self._worker.join()
        self._window.give_up()

    def _keep(self, stop: threading.Event) -> None:
        pause = self._first_pause
        while self._window.wait_for_batch():
            if self._stream():
                pause = self._first_pause
            stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _stream(self) -> int:
        """Hold one stream until it ends; return how many batches were answered on it."""
        attempt = _Attempt(self._window)
        responses = self._stub.RecordEvents(attempt)
        self._window.cancel = responses.cancel
        try:
            for response in responses:
                attempt.answered(response)
        except grpc.RpcError as error:
            code = _code(error)
            self._log.warning("events.stream_broken", code=code.name)
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                attempt.refused()
        except _ProtocolError as error:
            responses.cancel()
            self._log.error("events.protocol_broken", detail=str(error))
        finally:
            attempt.end()
        return attempt.answers


class _ProtocolError(Exception):
    """Accounts answered what it may not."""


class _Window:
    """The unanswered batches, in the order in which they were added."""

    def __init__(self, size: int) -> None:
        self.changed = threading.Condition()
        self.batches: deque[_Batch] = deque()
        self.closed = False
        self.suspects = 0
        """So many of the first batches are sent one at a time: accounts refused one of them."""
        self.cancel: Callable[[], object] = _nothing
        self._size = size

    def add(self, batch: _Batch) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.closed or len(self.batches) < self._size)
            if self.closed:
                raise ScannerStops
            self.batches.append(batch)
            self.changed.notify_all()

    def wait_for_batch(self) -> bool:
        """Return whether there is something to send, or False once closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or bool(self.batches))
            return not self.closed

    def remove_first(self) -> _Batch:
        """Take out the first batch; its answer is known. The caller holds `changed`."""
        self.suspects = max(self.suspects - 1, 0)
        self.changed.notify_all()
        return self.batches.popleft()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def give_up(self) -> None:
        while self.batches:
            self.batches.popleft().answer.set_exception(ScannerStops())


class _Attempt:
    """One stream's requests: the window's batches from the first on, numbered from 1."""

    def __init__(self, window: _Window) -> None:
        self._window = window
        self._sent = 0
        self.answers = 0
        self._ended = False

    def __iter__(self) -> Iterator[events_pb2.RecordEventsRequest]:
        return self

    def __next__(self) -> events_pb2.RecordEventsRequest:
        window = self._window
        with window.changed:
            window.changed.wait_for(lambda: self._ended or window.closed or self._may_send())
            if self._ended or not self._may_send():
                raise StopIteration
            batch = window.batches[self._sent - self.answers]
            self._sent += 1
            return events_pb2.RecordEventsRequest(sequence=self._sent, events=batch.message)

    def answered(self, response: events_pb2.RecordEventsResponse) -> None:
        """Hand the first unanswered batch its outcomes."""
        with self._window.changed:
            if self.answers == self._sent or response.sequence != self.answers + 1:
                raise _ProtocolError(f"sequence {response.sequence} after {self.answers}")
            outcomes = _outcomes(response, len(self._window.batches[0].message))
            batch = self._window.remove_first()
            self.answers += 1
        batch.answer.set_result(outcomes)

    def refused(self) -> None:
        """Find out which batch accounts refuses: give up the one that was sent alone."""
        with self._window.changed:
            unanswered = self._sent - self.answers
            if unanswered != 1:
                self._window.suspects = unanswered
                return
            batch = self._window.remove_first()
        batch.answer.set_exception(InvalidRequest("accounts refuses this batch of events"))

    def end(self) -> None:
        """Let go of the thread that waits for requests."""
        with self._window.changed:
            self._ended = True
            self._window.changed.notify_all()

    def _may_send(self) -> bool:
        unanswered = self._sent - self.answers
        most = 1 if self._window.suspects else len(self._window.batches)
        return unanswered < most


def _outcomes(response: events_pb2.RecordEventsResponse, expected: int) -> list[Recorded]:
    if len(response.outcomes) != expected:
        raise _ProtocolError(f"{len(response.outcomes)} outcomes for {expected} events")
    reasons = {found.index: found.description for found in response.rejections}
    try:
        return [
            Recorded(Outcome(outcome), reasons.get(index, ""))
            for index, outcome in enumerate(response.outcomes)
        ]
    except ValueError as error:
        raise _ProtocolError(str(error)) from None


def _code(error: BaseException) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def _nothing() -> None:
    """Cancel no call."""
