"""Consuming from RabbitMQ: handlers in threads, each message answered when its handler is done."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any

from pika.channel import Channel

from libs.common.amqp_link import AmqpLink, LinkAway
from libs.common.broker import (
    DEAD_REASON,
    LIMIT_REACHED,
    BrokerError,
    DeadLetter,
    Handler,
    Message,
    Requeue,
    answer_of,
)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A message as received: on which channel it must be answered, and under which tag."""

    message: Message
    channel: Channel
    tag: int


class Consumer:
    """One call of `consume`: its connection, and the threads that run its handlers."""

    def __init__(
        self,
        link: AmqpLink,
        queue: str,
        handler: Handler,
        stop: Event,
        *,
        bury: Callable[[Message], None] | None,
        requeue_wait: float,
    ) -> None:
        self.link = link
        self._queue = queue
        self._handler = handler
        self._stop = stop
        self._bury = bury
        self._requeue_wait = requeue_wait
        self._prefetch = 1
        self._deliveries: SimpleQueue[_Delivery | None] = SimpleQueue()
        link.on_ready = self._begin

    def run(self, prefetch: int, grace: float) -> None:
        """Consume until `stop`, then let running handlers end within `grace` seconds."""
        self._prefetch = prefetch
        workers = [
            Thread(
                target=self._work,
                name=f"{self._queue}-{number}",
                daemon=True,  # a handler that never ends must not keep the process alive
            )
            for number in range(prefetch)
        ]
        for worker in workers:
            worker.start()
        self.link.start()
        self._stop.wait()
        with suppress(LinkAway):
            self.link.call(lambda channel: channel.basic_cancel(self._queue))
        for _ in workers:
            self._deliveries.put(None)
        deadline = monotonic() + grace
        for worker in workers:
            worker.join(max(0.0, deadline - monotonic()))
        self.link.close()

    def _begin(self, channel: Channel) -> None:
        channel.basic_qos(prefetch_count=self._prefetch)
        channel.basic_consume(self._queue, self._received, consumer_tag=self._queue)

    def _received(self, channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        self._deliveries.put(_Delivery(_message(properties, body), channel, method.delivery_tag))

    def _work(self) -> None:
        while delivery := self._deliveries.get():
            # What waited while its connection broke is delivered again, maybe to somebody else.
            if delivery.channel.is_open and not self._stop.is_set():
                self._settle(delivery, answer_of(self._handler, self._queue, delivery.message))

    def _settle(self, delivery: _Delivery, answer: Requeue | DeadLetter | None) -> None:
        if isinstance(answer, DeadLetter):
            answer = self._bury_with(delivery.message, answer.reason)
        if isinstance(answer, Requeue):
            self._stop.wait(self._requeue_wait)
        # Without its channel the delivery is void, and the message is delivered again.
        with suppress(LinkAway):
            self.link.call(partial(_answer, delivery.tag, answer), only=delivery.channel)

    def _bury_with(self, message: Message, reason: str) -> Requeue | None:
        """Move a message to the dead queue: there first, so that it is never nowhere."""
        if self._bury is None:
            return Requeue("a dead queue has no dead queue")
        try:
            self._bury(replace(message, headers={**message.headers, DEAD_REASON: reason}))
        except BrokerError as error:
            return Requeue(str(error))
        return None


def _answer(tag: int, answer: Requeue | None, channel: Channel) -> None:
    if answer is None:
        channel.basic_ack(tag)
    else:
        # Not nack: since RabbitMQ 4.3 that does not count towards the delivery limit.
        channel.basic_reject(tag, requeue=True)


def _message(properties: Any, body: bytes) -> Message:
    """Convert what was received; of the broker's own headers the dead reason is kept."""
    received = properties.headers or {}
    headers = {
        name: value
        for name, value in received.items()
        if isinstance(value, str) and not name.startswith(("x-first-death-", "x-last-death-"))
    }
    if deaths := received.get("x-death"):
        cause = deaths[0].get("reason")
        headers[DEAD_REASON] = LIMIT_REACHED if cause == "delivery_limit" else f"broker: {cause}"
    return Message(properties.type or "", properties.message_id or "", body, headers)
