"""Publishing to RabbitMQ: persistent, mandatory, and not done before the broker confirmed."""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from time import monotonic
from typing import Any

import pika
import structlog
from pika.channel import Channel

from libs.common.amqp_link import FIRST_WAIT, AmqpLink, LinkAway
from libs.common.broker import BrokerUnavailable, Message, Unroutable

PERSISTENT = 2


class _Refused(BrokerUnavailable):
    """The broker said that it does not hold the message."""


@dataclass(eq=False, slots=True)
class _Publication:
    """A message on its way, until the broker confirmed or refused it."""

    queue: str
    message: Message
    outcome: Future[None] = field(default_factory=Future)
    returned: bool = False


class Publisher:
    """Publishes from any thread, any number at once, and matches the broker's confirms."""

    def __init__(self, link: AmqpLink, timeout: float) -> None:
        """Take a link that is not started, and seconds after which to give a message up."""
        self.link = link
        self.closed = Event()
        self._timeout = timeout
        self._guard = Lock()
        self._waiting: set[_Publication] = set()
        self._sent: dict[int, _Publication] = {}  # by delivery tag; the link's thread alone uses it
        self._last_tag = 0
        link.on_ready = self._begin
        link.on_lost = self._lost

    def publish(self, queue: str, message: Message) -> None:
        """Publish until it is confirmed, the time is over, or the connection is lost.

        RabbitMQ refuses what comes while a queue has no leader: just declared, or after a restart.
        A queue of ours that somebody has deleted is declared anew.
        """
        deadline = monotonic() + self._timeout
        wait = FIRST_WAIT
        declared = not self.link.declares(queue)
        while True:
            try:
                self._publish_once(_Publication(queue, message), deadline)
            except Unroutable:
                if declared:
                    raise
                declared = True
                structlog.get_logger().warning("broker.queue_was_deleted", queue=queue)
                with suppress(LinkAway):
                    self.link.declare_again(deadline - monotonic())
            except _Refused:
                if monotonic() + wait > deadline or self.closed.wait(wait):
                    raise
                wait *= 2
            else:
                return

    def _publish_once(self, publication: _Publication, deadline: float) -> None:
        if not self.link.wait_until_known(deadline - monotonic()):
            if self.link.blocked():
                raise BrokerUnavailable(
                    "RabbitMQ takes no messages now, being short of memory or disk; publish again"
                    " later"
                )
            raise BrokerUnavailable("RabbitMQ is not reachable now; publish again later")
        self._submit(publication)
        try:
            publication.outcome.result(deadline - monotonic())
        except TimeoutError:
            with self._guard:
                publication.outcome.cancel()
            raise BrokerUnavailable(
                f"RabbitMQ confirmed nothing within {self._timeout} s; publish again later"
            ) from None
        finally:
            with self._guard:
                self._waiting.discard(publication)

    def _submit(self, publication: _Publication) -> None:
        # Under the guard, so that a connection lost from now on fails this publication too.
        with self._guard:
            try:
                self.link.call(partial(self._send, publication))
            except LinkAway:
                raise BrokerUnavailable("RabbitMQ went away; publish again later") from None
            self._waiting.add(publication)

    def _begin(self, channel: Channel) -> None:
        self._sent.clear()
        self._last_tag = 0
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._answered)

    def _send(self, publication: _Publication, channel: Channel) -> None:
        if not publication.outcome.set_running_or_notify_cancel():
            return
        self._last_tag += 1
        self._sent[self._last_tag] = publication
        message = publication.message
        properties = pika.BasicProperties(
            type=message.type,
            message_id=message.message_id,
            headers=dict(message.headers),
            content_type="application/x-protobuf",
            delivery_mode=PERSISTENT,
        )
        channel.basic_publish("", publication.queue, message.body, properties, mandatory=True)

    def _returned(self, _channel: Channel, method: Any, properties: Any, _body: bytes) -> None:
        """Mark what the broker could not route; its confirm follows, and tells the publisher."""
        for publication in self._sent.values():
            if (publication.queue, publication.message.message_id) == (
                method.routing_key,
                properties.message_id,
            ):
                publication.returned = True

    def _answered(self, frame: Any) -> None:
        answer = frame.method
        tags = [answer.delivery_tag]
        if answer.multiple:
            tags = [tag for tag in self._sent if tag <= answer.delivery_tag]
        for tag in tags:
            publication = self._sent.pop(tag)
            if isinstance(answer, pika.spec.Basic.Nack):
                publication.outcome.set_exception(
                    _Refused("RabbitMQ refused the message; publish again later")
                )
            elif publication.returned:
                publication.outcome.set_exception(
                    Unroutable(f"RabbitMQ has no queue {publication.queue!r}")
                )
            else:
                publication.outcome.set_result(None)

    def _lost(self) -> None:
        error = BrokerUnavailable("RabbitMQ went away before it confirmed; publish again later")
        with self._guard:
            for publication in self._waiting:
                if not publication.outcome.done():
                    publication.outcome.set_exception(error)
