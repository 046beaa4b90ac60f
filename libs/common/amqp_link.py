"""One AMQP connection with one channel, kept open by a thread of its own."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from threading import Condition, Event, Thread
from typing import Any

import pika
import structlog
from pika.channel import Channel
from pika.exceptions import AMQPError

FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0


class LinkAway(Exception):
    """The connection is not there now."""


class _State(Enum):
    """CONNECTING: no attempt has failed since the link was made or was last READY."""

    CONNECTING = "connecting"
    READY = "ready"
    AWAY = "away"
    CLOSED = "closed"


class AmqpLink:
    """Connects, declares the queues, keeps heartbeats up, and connects again when it was lost.

    All AMQP work runs in the link's thread: `on_ready(channel)` when a channel with its queues is
    there, what `call` is given, and pika's callbacks; none of it may block. `on_lost()` follows
    each `on_ready` when its channel is gone. Who uses the link sets both before `start`. Waits
    between failed attempts double from `FIRST_WAIT` to `LONGEST_WAIT` seconds.
    """

    def __init__(
        self,
        name: str,
        parameters: pika.connection.Parameters,
        queues: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Take the queues to declare, each with its arguments."""
        self.on_ready: Callable[[Channel], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None
        self._parameters = parameters
        self._queues = queues
        self._log = structlog.get_logger().bind(link=name)
        self._thread = Thread(target=self._run, name=f"amqp-{name}", daemon=True)
        self._stopping = Event()
        self._changed = Condition()
        self._state = _State.CONNECTING
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._blocked = False

    def declares(self, queue: str) -> bool:
        """Say whether a queue is among those that the link declares."""
        return queue in self._queues

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """End the connection after what was passed to `call` is done; at most `timeout` seconds."""
        with self._changed:
            self._stopping.set()
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._close_connection)
        self._thread.join(timeout)
        with self._changed:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._connection.ioloop.stop)
        self._thread.join(timeout)

    def ready(self) -> bool:
        """Say whether the channel is there and the broker accepts messages on it."""
        return self._state is _State.READY and not self._blocked

    def blocked(self) -> bool:
        """Say whether the broker has told this connection that it takes no messages for now."""
        return self._blocked

    def declare_again(self, timeout: float) -> None:
        """Declare the queues anew, since somebody has deleted one; LinkAway without a channel.

        Returns when they are there; also after `timeout` seconds, or when the channel was lost.
        """
        done = Event()
        self.call(lambda channel: self._declare(channel, done.set))
        done.wait(timeout)

    def wait_until_known(self, timeout: float) -> bool:
        """Wait for a connection attempt in progress, then say whether the link is ready."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is not _State.CONNECTING, timeout)
            return self.ready()

    def call(self, function: Callable[[Channel], None], only: Channel | None = None) -> None:
        """Have `function(channel)` called in the link's thread; raises LinkAway without a channel.

        With `only`, it is called for that channel alone and not for one that replaced it. When the
        channel is lost before its turn, it is not called; `on_lost` is.
        """
        with self._changed:
            channel = self._channel
            if channel is None or self._connection is None or (only and only is not channel):
                raise LinkAway
            self._connection.ioloop.add_callback_threadsafe(lambda: self._guard(function, channel))

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            failures = 0 if self._hold_one_connection() else failures + 1
            self._stopping.wait(min(FIRST_WAIT * 2 ** min(failures, 20), LONGEST_WAIT))
        self._become(_State.CLOSED)

    def _hold_one_connection(self) -> bool:
        """Connect and serve until the connection is gone; say whether it was ready at all."""
        connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )
        with self._changed:
            self._connection = connection
            if self._stopping.is_set():
                connection.ioloop.add_callback_threadsafe(self._close_connection)
        try:
            connection.ioloop.start()
        except Exception:  # noqa: BLE001 - a thread that ended would never connect again
            self._log.exception("broker.link_failed")
        with self._changed:
            was_ready = self._channel is not None
            self._connection = self._channel = None
            self._blocked = False
            self._become(_State.CONNECTING if was_ready else _State.AWAY)
        if was_ready:
            self.on_lost()
        connection.ioloop.close()
        return was_ready

    def _opened(self, connection: pika.SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._channel_closed)
        # RabbitMQ cancels a consumer whose queue was deleted; connecting declares it anew.
        channel.add_on_cancel_callback(lambda _: self._close_connection())
        self._declare(channel, lambda: self._channel_ready(channel))

    def _declare(self, channel: Channel, then: Callable[[], None]) -> None:
        undeclared = set(self._queues)

        def declared(frame: Any) -> None:
            undeclared.discard(frame.method.queue)
            if not undeclared:
                then()

        for queue, arguments in self._queues.items():
            channel.queue_declare(queue, durable=True, arguments=dict(arguments), callback=declared)

    def _channel_ready(self, channel: Channel) -> None:
        self._guard(self.on_ready, channel)
        with self._changed:
            self._channel = channel
            self._become(_State.READY)
        self._log.info("broker.connected")

    def _channel_closed(self, channel: Channel, reason: Exception) -> None:
        if channel.connection.is_open and not self._stopping.is_set():
            self._log.warning("broker.channel_closed", why=repr(reason))
        self._close_connection()

    def _ended(self, connection: pika.SelectConnection, reason: Exception) -> None:
        if not self._stopping.is_set():
            self._log.warning("broker.unavailable", why=repr(reason))
        connection.ioloop.stop()

    def _guard(self, function: Callable[[Channel], None], channel: Channel) -> None:
        """Call a function on the channel; an error in it costs the connection, never the thread."""
        if not channel.is_open:
            return
        try:
            function(channel)
        except Exception:  # noqa: BLE001 - logged, and the connection is made anew
            self._log.exception("broker.call_failed")
            self._close_connection()

    def _close_connection(self) -> None:
        if self._connection is not None and not self._connection.is_closing:
            # Suppressed, since what is closed already ends the loop by its own callback.
            with suppress(AMQPError):
                self._connection.close()

    def _set_blocked(self, blocked: bool) -> None:  # noqa: FBT001 - what it sets
        self._log.warning("broker.blocked" if blocked else "broker.unblocked")
        self._blocked = blocked

    def _become(self, state: _State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
