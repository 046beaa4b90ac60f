"""The message broker's contract: durable queues between services, held by RabbitMQ or in memory.

Both adapters (`broker_rabbitmq`, `broker_memory`) pass one suite, `tests/contract/test_broker.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Event
from types import TracebackType
from typing import ClassVar, Self

import structlog

INSPECTION_JOBS = "inspection.jobs"
INSPECTION_RESULTS = "inspection.results"
QUEUES = (INSPECTION_JOBS, INSPECTION_RESULTS)

DELIVERY_LIMIT = 5
"""How often a message is delivered again after its first delivery failed."""

DEAD_REASON = "x-dead-reason"
REQUEST_ID = "x-request-id"
LIMIT_REACHED = (
    f"delivered {DELIVERY_LIMIT + 1} times, and its handler failed or died each time"
    " (delivery limit)"
)


def dead(queue: str) -> str:
    """Name the queue that takes what `queue` gives up on."""
    return f"{queue}.dead"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a serialized protobuf and what is needed to route and trace it.

    `type` is the protobuf's full name. `message_id` identifies the message to people and logs; the
    broker does not use it to tell duplicates. `headers` carries the trace (`REQUEST_ID`).
    """

    type: str
    message_id: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Message], None]


class BrokerError(Exception):
    """The broker did not take a message."""


class BrokerUnavailable(BrokerError):
    """The broker did not confirm the message: it may or may not hold it. Publish again later."""


class Unroutable(BrokerError):
    """No such queue is declared; the broker does not hold the message."""


class Requeue(Exception):
    """Raised by a handler: deliver the message again. It counts towards the delivery limit."""


class DeadLetter(Exception):
    """Raised by a handler: this message can never be handled; move it to the dead queue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Broker(ABC):
    """Durable work queues, each with a dead queue; at-least-once delivery.

    A broker is made with the names of its work queues and declares them, and `dead(queue)` for
    each, whenever it connects. It is a context manager: publish and consume inside it.

    What holds, whatever fails (of a durable broker; the others forget everything when their
    process ends): a message whose `publish` returned is delivered until a handler has
    returned for it, or it is in the dead queue. It may be delivered more than once, also at the
    same time as an earlier delivery whose connection broke, and in any order; handlers must be
    idempotent.

    Every method may be called from any thread.
    """

    durable: ClassVar[bool]
    """Whether messages outlive the process that published them."""

    @abstractmethod
    def publish(self, queue: str, message: Message) -> None:
        """Put a message into a queue; return when the broker has confirmed that it holds it.

        Raises `Unroutable` when the queue is not declared, and `BrokerUnavailable` when the broker
        is away, refuses, or does not confirm in time. Never blocks for longer than the publish
        timeout that the broker was made with.
        """

    @abstractmethod
    def consume(self, queue: str, handler: Handler, stop: Event, prefetch: int = 1) -> None:
        """Call `handler` with each message of a queue until `stop` is set.

        Raises `Unroutable` at once when the broker was not made with that queue.

        Up to `prefetch` handlers run at once, each in a thread of its own, for as long as they
        need: a slow handler loses no connection. What a handler does decides its message's fate:

        - It returns: the message is acknowledged, and gone.
        - It raises `DeadLetter(reason)`: the message moves to the dead queue, where its consumer
          reads the reason with `dead_reason`. A dead queue has no dead queue of its own; there it
          is as `Requeue`.
        - It raises `Requeue`, or anything else (which is logged): the message is delivered again
          after a short wait, at most `DELIVERY_LIMIT` times; then it moves to the dead queue with
          the reason `LIMIT_REACHED`. Dead queues have no such limit.
        - Its process dies or loses the broker: the same, without the wait.

        The call survives a broker that goes away, as long as that lasts, and resumes when it is
        back. After `stop` no further message is taken; handlers that run have the grace time that
        the broker was made with to end, and the messages of those that have not ended by then are
        given back. Then the call returns.
        """

    @abstractmethod
    def healthy(self) -> bool:
        """Say whether publishing would work now and every `consume` in progress is connected."""

    @abstractmethod
    def open(self) -> None:
        """Begin to connect, in the background; a broker that is away is no error."""

    @abstractmethod
    def close(self) -> None:
        """End the connection that publishes. Consumers end by their own `stop`."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def dead_reason(message: Message) -> str:
    """Say why a message from a dead queue is there, in words for a person."""
    return message.headers.get(DEAD_REASON, "no reason was given")


def answer_of(handler: Handler, queue: str, message: Message) -> Requeue | DeadLetter | None:
    """Run a handler under the message's request id; return what it answered (None: it is done).

    For the adapters. Whatever else a handler raises is logged, and answers `Requeue`.
    """
    log = structlog.get_logger().bind(queue=queue, message_id=message.message_id, type=message.type)
    request_id = message.headers.get(REQUEST_ID)
    trace = structlog.contextvars.bound_contextvars(request_id=request_id)
    with trace if request_id else nullcontext():
        try:
            handler(message)
        except Requeue as answer:
            log.info("broker.requeued", why=str(answer))
            return answer
        except DeadLetter as answer:
            log.warning("broker.dead_lettered", reason=answer.reason)
            return answer
        except Exception as error:
            log.exception("broker.handler_failed")
            return Requeue(f"{type(error).__name__} in the handler")
    return None
