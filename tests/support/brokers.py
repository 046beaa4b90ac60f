"""What tests of brokers share: brokers with queues of their own, consumers in the background."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue

import pika
import pytest

from libs.common.broker import QUEUES, Broker, Handler, Message, dead
from libs.common.broker_memory import MemoryBroker
from libs.common.broker_rabbitmq import RabbitBroker

SECONDS = 30.0
"""How long a test waits for what must happen; nothing ever takes that long."""

BACKENDS = ["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]


@dataclass
class Inbox:
    """A handler that keeps what it is given; `answer` may raise in its place."""

    answer: Handler = lambda _: None
    received: "Queue[Message]" = field(default_factory=Queue)

    def __call__(self, message: Message) -> None:
        """Handle a message."""
        self.received.put(message)
        self.answer(message)

    def next(self) -> Message:
        """Wait for the next message."""
        return self.received.get(timeout=SECONDS)

    def take(self, count: int) -> list[Message]:
        """Wait for so many messages."""
        return [self.next() for _ in range(count)]


@contextmanager
def consuming(
    broker: Broker, queue: str, handler: Handler, prefetch: int = 1
) -> Iterator[threading.Event]:
    """Consume in a thread; give the event that stops it, and stop and join it at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=broker.consume, args=(queue, handler, stop, prefetch))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(SECONDS)
        assert not thread.is_alive(), "consume did not return after its stop"


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, where there is no event to wait for."""
    pause = threading.Event()
    for _ in range(int(SECONDS / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("what was waited for did not happen")


MakeBroker = Callable[..., Broker]


def broker_maker(request: pytest.FixtureRequest) -> MakeBroker:
    """Return the constructor of the backend that a fixture is parametrized with."""
    if request.param == "memory":
        return lambda queues, **options: MemoryBroker(queues, requeue_wait=0.0, **options)
    url = request.getfixturevalue("rabbit_node").url
    return lambda queues, **options: RabbitBroker(url, queues, requeue_wait=0.0, **options)


@pytest.fixture(params=BACKENDS)
def inspection_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Open a broker of each backend with the queues of inspections, empty."""
    if request.param == "memory":
        with MemoryBroker(requeue_wait=0.0) as memory:
            yield memory
        return
    url = request.getfixturevalue("rabbit_node").url
    with RabbitBroker(url, requeue_wait=0.0) as rabbit:
        wait_until(rabbit.healthy)
        empty(url)
        yield rabbit
    empty(url)


def empty(url: str) -> None:
    """Throw away what the queues of inspections on a RabbitMQ hold."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    for queue in QUEUES:
        connection.channel().queue_purge(queue)
        connection.channel().queue_purge(dead(queue))
    connection.close()
