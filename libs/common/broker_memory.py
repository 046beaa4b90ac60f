"""The broker of the embedded default: the same contract, in memory, for one process."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Condition, Event, Thread
from time import monotonic

from libs.common.broker import (
    DEAD_REASON,
    DELIVERY_LIMIT,
    LIMIT_REACHED,
    QUEUES,
    Broker,
    BrokerUnavailable,
    DeadLetter,
    Handler,
    Message,
    Requeue,
    Unroutable,
    answer_of,
    dead,
)


@dataclass(eq=False, slots=True)
class _Entry:
    """A message in its queue, and how many of its deliveries have failed."""

    message: Message
    failures: int = 0


class MemoryBroker(Broker):
    """Queues that live as long as this object.

    What it holds is lost with the process; the job rows from which it is fed are not, and what was
    not answered is published again when its lease runs out.
    """

    durable = False

    def __init__(
        self,
        queues: Sequence[str] = QUEUES,
        *,
        requeue_wait: float = 1.0,
        grace: float = 30.0,
    ) -> None:
        """Take seconds: before a message is given back, and for handlers to end after `stop`."""
        self._requeue_wait = requeue_wait
        self._grace = grace
        self._changed = Condition()
        self._is_open = False
        self._dead_of = {queue: dead(queue) for queue in queues}
        names = [*queues, *self._dead_of.values()]
        self._queues: dict[str, deque[_Entry]] = {name: deque() for name in names}

    def open(self) -> None:
        """Take and deliver messages from now on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more messages, and deliver none, until opened again."""
        with self._changed:
            self._is_open = False

    def healthy(self) -> bool:
        """Say whether the broker is open."""
        return self._is_open

    def publish(self, queue: str, message: Message) -> None:
        """Put a message into a queue."""
        if not self._is_open:
            raise BrokerUnavailable("the in-memory broker is closed")
        self._require(queue)
        self._put(queue, _Entry(replace(message, headers=dict(message.headers))))

    def consume(self, queue: str, handler: Handler, stop: Event, prefetch: int = 1) -> None:
        """Call the handler with each message until `stop`."""
        self._require(queue)
        held: set[_Entry] = set()
        workers = [
            Thread(
                target=self._work,
                args=(queue, handler, stop, held),
                name=f"{queue}-{number}",
                daemon=True,  # a handler that never ends must not keep the process alive
            )
            for number in range(prefetch)
        ]
        for worker in workers:
            worker.start()
        stop.wait()
        with self._changed:
            self._changed.notify_all()
        deadline = monotonic() + self._grace
        for worker in workers:
            worker.join(max(0.0, deadline - monotonic()))
        for entry in tuple(held):
            self._settle(queue, entry, held, Requeue("its handler did not end in time"))

    def _work(self, queue: str, handler: Handler, stop: Event, held: set[_Entry]) -> None:
        while entry := self._take(queue, stop, held):
            answer = answer_of(handler, queue, entry.message)
            if isinstance(answer, Requeue):
                stop.wait(self._requeue_wait)
            self._settle(queue, entry, held, answer)

    def _take(self, queue: str, stop: Event, held: set[_Entry]) -> _Entry | None:
        """Wait for the next entry of a queue; None once `stop` is set."""
        entries = self._queues[queue]
        with self._changed:
            self._changed.wait_for(lambda: stop.is_set() or (self._is_open and len(entries) > 0))
            if stop.is_set():
                return None
            entry = entries.popleft()
            held.add(entry)
            return entry

    def _settle(
        self, queue: str, entry: _Entry, held: set[_Entry], answer: Requeue | DeadLetter | None
    ) -> None:
        """Do what the answer asks for, unless the entry was settled before."""
        with self._changed:
            if entry not in held:
                return
            held.discard(entry)
            if isinstance(answer, DeadLetter) and queue in self._dead_of:
                self._bury(queue, entry, answer.reason)
            elif answer is not None:
                self._give_back(queue, entry)

    def _give_back(self, queue: str, entry: _Entry) -> None:
        entry.failures += 1
        if queue in self._dead_of and entry.failures > DELIVERY_LIMIT:
            self._bury(queue, entry, LIMIT_REACHED)
        else:
            self._put(queue, entry)

    def _bury(self, queue: str, entry: _Entry, reason: str) -> None:
        headers = {**entry.message.headers, DEAD_REASON: reason}
        self._put(self._dead_of[queue], _Entry(replace(entry.message, headers=headers)))

    def _put(self, queue: str, entry: _Entry) -> None:
        with self._changed:
            self._queues[queue].append(entry)
            self._changed.notify_all()

    def _require(self, queue: str) -> None:
        if queue not in self._queues:
            raise Unroutable(f"no queue {queue!r} is declared; declared: {sorted(self._queues)}")
