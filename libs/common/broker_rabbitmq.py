"""The broker of production: RabbitMQ 3.10 or newer, over AMQP 0-9-1 with pika."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from threading import Event, Lock
from typing import Any
from urllib.parse import urlsplit

import pika

from libs.common.amqp_link import AmqpLink
from libs.common.broker import (
    DELIVERY_LIMIT,
    QUEUES,
    Broker,
    Handler,
    Message,
    Unroutable,
    dead,
)
from libs.common.config import integer, seconds, setting
from libs.common.rabbit_consumer import Consumer
from libs.common.rabbit_publisher import Publisher

NO_LIMIT = 1_000_000_000  # RabbitMQ 4 gives a queue without a limit one of 20; 3.10 knows no -1

Arguments = dict[str, Any]


def queue_arguments(queue: str) -> dict[str, Arguments]:
    """Return the arguments of a work queue and of its dead queue, the dead queue first.

    Quorum queues with a delivery limit (RabbitMQ 3.8), whose dead letters leave only when the dead
    queue has confirmed them (at-least-once, RabbitMQ 3.10, which needs reject-publish). RabbitMQ 4
    has all of it too (its rabbit_fifo_dlx_worker.erl and rabbitmq.com/docs/4.3/nack, read
    2026-11-22); it has no classic mirroring, which is not used.
    """
    work: Arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead(queue),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return {dead(queue): {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}, queue: work}


def amqp_url(text: str) -> str:
    """Return a RabbitMQ URL as it is; ValueError, which does not show it, when it is none."""
    wanted = "wants a URL such as amqp://user:password@host:5672/"
    if urlsplit(text).scheme not in {"amqp", "amqps"}:
        raise ValueError(wanted)
    try:
        pika.URLParameters(text)
    except Exception:  # noqa: BLE001 - pika lets out whatever parsing came upon
        raise ValueError(wanted) from None
    return text


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Where RabbitMQ is, and how patient its clients are."""

    url: str = setting(
        "CLOUDIGRADE_BROKER_URL",
        parse=amqp_url,
        secret=True,
        doc="RabbitMQ's URL, amqp://user:password@host:5672/vhost or amqps://",
        why="it holds a password and differs in every installation",
    )
    heartbeat: int = setting(
        "CLOUDIGRADE_BROKER_HEARTBEAT",
        default="30",
        parse=integer(1, 600),
        doc="seconds between heartbeats",
        why="a broker that has silently gone is noticed after about 70 s, well within any lease",
    )
    publish_timeout: timedelta = setting(
        "CLOUDIGRADE_BROKER_PUBLISH_TIMEOUT",
        default="10s",
        parse=seconds,
        doc="how long a message may stay without RabbitMQ's confirm",
        why="a confirm takes milliseconds, and what is not confirmed is published again later",
    )
    grace: timedelta = setting(
        "CLOUDIGRADE_BROKER_GRACE",
        default="20s",
        parse=seconds,
        doc="how long handlers may go on after the service was told to stop",
        why="Kubernetes kills 30 s after it asked",
    )

    def broker(self) -> "RabbitBroker":
        """Make the broker that this describes."""
        return RabbitBroker(
            self.url,
            publish_timeout=self.publish_timeout.total_seconds(),
            heartbeat=self.heartbeat,
            grace=self.grace.total_seconds(),
        )


class RabbitBroker(Broker):
    """One connection that publishes, and one for each `consume`; each has a thread of its own."""

    durable = True

    def __init__(
        self,
        url: str,
        queues: Sequence[str] = QUEUES,
        *,
        publish_timeout: float = 10.0,
        heartbeat: int = 30,
        requeue_wait: float = 1.0,
        grace: float = 30.0,
    ) -> None:
        """Take an `amqp://` or `amqps://` URL, and times in seconds.

        A broker that has stopped answering is noticed after twice the heartbeat and 10 s more.
        Raises ValueError when the URL is none.
        """
        # What pika logs about a broker that is away, the link says in one line of its own.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._parameters = partial(_parameters, url, heartbeat)
        self._parameters("check")
        self._work_queues = frozenset(queues)
        self._arguments = {
            name: arguments
            for queue in queues
            for name, arguments in queue_arguments(queue).items()
        }
        self._requeue_wait = requeue_wait
        self._grace = grace
        self._publisher = Publisher(self._link("publisher"), publish_timeout)
        self._consumers: set[Consumer] = set()
        self._guard = Lock()

    def open(self) -> None:
        """Begin to connect, in the background."""
        self._publisher.link.start()

    def close(self) -> None:
        """End the connection that publishes."""
        self._publisher.closed.set()
        self._publisher.link.close()

    def healthy(self) -> bool:
        """Say whether every connection is there and RabbitMQ accepts messages."""
        with self._guard:
            links = [self._publisher.link, *(consumer.link for consumer in self._consumers)]
        return all(link.ready() for link in links)

    def publish(self, queue: str, message: Message) -> None:
        """Publish persistently and mandatorily; wait for the confirm."""
        self._publisher.publish(queue, message)

    def consume(self, queue: str, handler: Handler, stop: Event, prefetch: int = 1) -> None:
        """Call the handler with each message until `stop`, across reconnections."""
        if queue not in self._arguments:
            raise Unroutable(f"no queue {queue!r} is declared; declared: {sorted(self._arguments)}")
        consumer = Consumer(
            self._link(f"consumer-{queue}"),
            queue,
            handler,
            stop,
            bury=partial(self.publish, dead(queue)) if queue in self._work_queues else None,
            requeue_wait=self._requeue_wait,
        )
        with self._guard:
            self._consumers.add(consumer)
        try:
            consumer.run(prefetch, self._grace)
        finally:
            with self._guard:
                self._consumers.discard(consumer)

    def _link(self, name: str) -> AmqpLink:
        return AmqpLink(name, self._parameters(name), self._arguments)


def _parameters(url: str, heartbeat: int, name: str) -> pika.URLParameters:
    amqp_url(url)
    parameters = pika.URLParameters(url)
    parameters.heartbeat = heartbeat
    parameters.socket_timeout = 5.0
    parameters.stack_timeout = 10.0
    parameters.client_properties = {"connection_name": f"cloudigrade-{name}"}
    return parameters
