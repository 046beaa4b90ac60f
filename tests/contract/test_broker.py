"""What both brokers promise: one suite, run against the one in memory and against RabbitMQ."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
import structlog

from libs.common.broker import (
    DELIVERY_LIMIT,
    LIMIT_REACHED,
    REQUEST_ID,
    Broker,
    BrokerUnavailable,
    DeadLetter,
    Message,
    Requeue,
    Unroutable,
    dead,
    dead_reason,
)
from tests.support.brokers import (
    BACKENDS,
    SECONDS,
    Inbox,
    MakeBroker,
    broker_maker,
    consuming,
    wait_until,
)


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest) -> MakeBroker:
    """Make a broker of each backend."""
    return broker_maker(request)


@pytest.fixture
def queue() -> str:
    """Name a work queue that no other test uses."""
    return f"work.{uuid4()}"


@pytest.fixture
def broker(make: MakeBroker, queue: str) -> Iterator[Broker]:
    """Open a broker with that one work queue."""
    with make([queue]) as broker:
        yield broker


def message(name: str, body: bytes = b"") -> Message:
    """Make a message with that id."""
    return Message("cloudigrade.test.v1.Thing", name, body, {REQUEST_ID: f"trace-{name}"})


def test_a_message_arrives_as_it_was_sent(broker: Broker, queue: str) -> None:
    """Type, id, body and headers reach the handler unchanged."""
    inbox = Inbox()
    sent = Message("cloudigrade.test.v1.Thing", "m-1", b"\x00\xff" * 300_000, {"a": "1", "b": "ü"})
    with consuming(broker, queue, inbox):
        broker.publish(queue, sent)
        assert inbox.next() == sent


def test_messages_wait_for_a_consumer(broker: Broker, queue: str) -> None:
    """What is published while nobody consumes is delivered later, in order."""
    for name in ("m-1", "m-2", "m-3"):
        broker.publish(queue, message(name))
    inbox = Inbox()
    with consuming(broker, queue, inbox):
        assert [one.message_id for one in inbox.take(3)] == ["m-1", "m-2", "m-3"]


def test_a_message_whose_handler_returned_is_gone(broker: Broker, queue: str) -> None:
    """The next consumer sees the next message, not the one that is done."""
    done = Inbox()
    broker.publish(queue, message("m-1"))
    with consuming(broker, queue, done):
        done.next()
    broker.publish(queue, message("m-2"))
    later = Inbox()
    with consuming(broker, queue, later):
        assert later.next().message_id == "m-2"


def test_a_message_is_held_until_its_handler_returns(make: MakeBroker, queue: str) -> None:
    """A handler that has not returned when its consumer ends leaves its message to the next."""
    hang, begun = threading.Event(), threading.Event()

    def never_ends(_: Message) -> None:
        begun.set()
        hang.wait(SECONDS)

    with make([queue], grace=0.0) as broker:
        broker.publish(queue, message("m-1"))
        with consuming(broker, queue, never_ends):
            assert begun.wait(SECONDS)
        later = Inbox()
        with consuming(broker, queue, later):
            assert later.next().message_id == "m-1"
        hang.set()


def test_handlers_have_the_grace_time_to_end(broker: Broker, queue: str) -> None:
    """A handler that ends after `stop` but in time has its message acknowledged."""
    ending, begun = threading.Event(), threading.Event()

    def ends_after_stop(_: Message) -> None:
        begun.set()
        ending.wait(SECONDS)

    broker.publish(queue, message("m-1"))
    with consuming(broker, queue, ends_after_stop) as stop:
        assert begun.wait(SECONDS)
        stop.set()
        ending.set()
    broker.publish(queue, message("m-2"))
    later = Inbox()
    with consuming(broker, queue, later):
        assert later.next().message_id == "m-2"


@pytest.mark.parametrize("failure", [Requeue("not now"), ValueError("a bug")])
def test_a_failed_message_comes_again(broker: Broker, queue: str, failure: Exception) -> None:
    """What a handler answers with Requeue, or fails on, is delivered again until it returns."""
    failures = iter([failure, failure])

    def fails_twice(_: Message) -> None:
        if this := next(failures, None):
            raise this

    inbox = Inbox(fails_twice)
    broker.publish(queue, message("m-1"))
    with consuming(broker, queue, inbox):
        assert inbox.take(3) == [message("m-1")] * 3
        broker.publish(queue, message("m-2"))
        assert inbox.next().message_id == "m-2"


def test_a_poison_message_goes_to_the_dead_queue_while_others_go_on(
    broker: Broker, queue: str
) -> None:
    """After five more deliveries it moves on, unchanged, and says why; all others are handled."""

    def fails_on_poison(received: Message) -> None:
        if received.message_id == "poison":
            raise ValueError("it kills me")

    names = ["m-1", "poison", "m-2", "m-3"]
    inbox, graveyard = Inbox(fails_on_poison), Inbox()
    with (
        consuming(broker, queue, inbox, prefetch=2),
        consuming(broker, dead(queue), graveyard),
    ):
        for name in names:
            broker.publish(queue, message(name, b"body"))
        buried = graveyard.next()
        handled = [one.message_id for one in inbox.take(3 + 1 + DELIVERY_LIMIT)]
    assert (buried.type, buried.message_id, buried.body) == (
        "cloudigrade.test.v1.Thing",
        "poison",
        b"body",
    )
    assert buried.headers[REQUEST_ID] == "trace-poison"
    assert dead_reason(buried) == LIMIT_REACHED
    assert sorted(handled) == ["m-1", "m-2", "m-3", *["poison"] * 6]
    assert inbox.received.empty()


def test_a_handler_can_bury_a_message_with_a_reason(broker: Broker, queue: str) -> None:
    """DeadLetter moves the message to the dead queue at once, with the handler's own words."""

    def refuses(_: Message) -> None:
        raise DeadLetter("it cannot be parsed: truncated")

    inbox, graveyard = Inbox(refuses), Inbox()
    broker.publish(queue, message("m-1", b"body"))
    with consuming(broker, queue, inbox), consuming(broker, dead(queue), graveyard):
        buried = graveyard.next()
    assert dead_reason(buried) == "it cannot be parsed: truncated"
    assert (buried.message_id, buried.body) == ("m-1", b"body")
    assert len(inbox.take(1)) == 1
    assert inbox.received.empty()


def test_a_dead_message_is_never_dropped(broker: Broker, queue: str) -> None:
    """A dead queue has no limit, and DeadLetter there only gives the message back."""
    answers: list[Exception] = [Requeue("later")] * (DELIVERY_LIMIT + 2)
    answers += [DeadLetter("no"), ValueError("a bug")]

    def fails_nine_times(_: Message) -> None:
        if answers:
            raise answers.pop()

    graveyard = Inbox(fails_nine_times)
    broker.publish(dead(queue), message("m-1"))
    with consuming(broker, dead(queue), graveyard):
        assert [one.message_id for one in graveyard.take(10)] == ["m-1"] * 10


def test_a_dead_message_keeps_its_reason_however_often_it_comes(broker: Broker, queue: str) -> None:
    """A consumer of the dead queue that fails on it twice reads the same words the third time."""

    def refuses(_: Message) -> None:
        raise DeadLetter("it cannot be parsed")

    failures = iter([ValueError("a bug"), Requeue("later")])

    def fails_twice(_: Message) -> None:
        if this := next(failures, None):
            raise this

    graveyard = Inbox(fails_twice)
    broker.publish(queue, message("m-1"))
    with consuming(broker, queue, refuses), consuming(broker, dead(queue), graveyard):
        buried = graveyard.take(3)
    assert {dead_reason(each) for each in buried} == {"it cannot be parsed"}


def test_failed_deliveries_count_whoever_has_the_message(broker: Broker, queue: str) -> None:
    """Three by one consumer and the rest by the next: after six in all it is in the dead queue."""

    def fails(_: Message) -> None:
        raise ValueError("it kills me")

    first, second, graveyard = Inbox(fails), Inbox(fails), Inbox()
    broker.publish(queue, message("poison"))
    with consuming(broker, queue, first) as stop:
        first.take(3)
        stop.set()
    with consuming(broker, queue, second), consuming(broker, dead(queue), graveyard):
        assert dead_reason(graveyard.next()) == LIMIT_REACHED
    # One more that the first took while it was told to stop is given back, and counts.
    assert 2 <= second.received.qsize() <= 3 - first.received.qsize()


def test_a_message_is_buried_also_when_the_handler_of_another_runs(
    broker: Broker, queue: str
) -> None:
    """What is buried waits for nobody: the slow handler beside it still has its message."""
    leave = threading.Event()

    def slow_or_refuses(received: Message) -> None:
        if received.message_id == "bad":
            raise DeadLetter("bad")
        leave.wait(SECONDS)

    inbox, graveyard = Inbox(slow_or_refuses), Inbox()
    with (
        consuming(broker, queue, inbox, prefetch=2),
        consuming(broker, dead(queue), graveyard),
    ):
        broker.publish(queue, message("slow"))
        broker.publish(queue, message("bad"))
        assert graveyard.next().message_id == "bad"
        leave.set()


def test_an_undeclared_queue_is_unroutable(broker: Broker, queue: str) -> None:
    """Publishing to a queue that nobody declared raises, and so does consuming from it."""
    with pytest.raises(Unroutable, match=r"nobody\.declared\.this"):
        broker.publish("nobody.declared.this", message("m-1"))
    with pytest.raises(Unroutable, match=r"nobody\.declared\.this"):
        broker.consume("nobody.declared.this", Inbox(), threading.Event())
    broker.publish(queue, message("m-2"))  # the broker works on


def test_up_to_prefetch_handlers_run_at_once(broker: Broker, queue: str) -> None:
    """With a prefetch of 3, three handlers meet; a fourth message waits until one is done."""
    meeting = threading.Barrier(4)
    leave = threading.Event()
    running: list[int] = []

    def meets(_: Message) -> None:
        running.append(1)
        if len(running) <= 3:
            meeting.wait(SECONDS)
            leave.wait(SECONDS)

    for number in range(4):
        broker.publish(queue, message(f"m-{number}"))
    with consuming(broker, queue, meets, prefetch=3):
        meeting.wait(SECONDS)
        assert len(running) == 3
        leave.set()
        wait_until(lambda: len(running) == 4)


def test_a_slow_handler_holds_up_nobody_else(broker: Broker, queue: str) -> None:
    """While one handler works, the others of the same consumer go through many messages."""
    slow = threading.Event()

    def first_is_slow(received: Message) -> None:
        if received.message_id == "slow":
            slow.wait(SECONDS)

    inbox = Inbox(first_is_slow)
    with consuming(broker, queue, inbox, prefetch=2):
        broker.publish(queue, message("slow"))
        for number in range(20):
            broker.publish(queue, message(f"m-{number}"))
        assert len(inbox.take(21)) == 21
        slow.set()


def test_consumers_share_the_messages(broker: Broker, queue: str) -> None:
    """With two consumers each message is handled once, by one of them."""
    one, other = Inbox(), Inbox()
    with consuming(broker, queue, one), consuming(broker, queue, other):
        for number in range(50):
            broker.publish(queue, message(f"m-{number}"))
        wait_until(lambda: one.received.qsize() + other.received.qsize() >= 50)
    names = [
        inbox.next().message_id for inbox in (one, other) for _ in range(inbox.received.qsize())
    ]
    assert sorted(names) == sorted(f"m-{number}" for number in range(50))


def test_a_busy_consumer_hoards_nothing(broker: Broker, queue: str) -> None:
    """Of five messages one is with the consumer that is busy; a second consumer gets the others."""
    leave = threading.Event()

    def stays_busy(_: Message) -> None:
        leave.wait(SECONDS)

    busy, other = Inbox(stays_busy), Inbox()
    for number in range(5):
        broker.publish(queue, message(f"m-{number}"))
    with consuming(broker, queue, busy):
        busy.next()
        with consuming(broker, queue, other):
            assert len(other.take(4)) == 4
        leave.set()


def test_many_threads_publish_at_once(broker: Broker, queue: str) -> None:
    """Eight threads publish 25 messages each; all 200 arrive, each once."""

    def publish(thread: int) -> None:
        for number in range(25):
            broker.publish(queue, message(f"m-{thread}-{number}"))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    inbox = Inbox()
    with consuming(broker, queue, inbox, prefetch=4):
        names = {one.message_id for one in inbox.take(200)}
    for thread in threads:
        thread.join(SECONDS)
    assert len(names) == 200
    assert inbox.received.empty()


def test_after_stop_no_message_is_taken(broker: Broker, queue: str) -> None:
    """What was not begun when `stop` was set is left for the next consumer."""
    with ExitStack() as stack:
        stop = threading.Event()

        def stops(_: Message) -> None:
            stop.set()

        inbox = Inbox(stops)
        for number in range(5):
            broker.publish(queue, message(f"m-{number}"))
        thread = threading.Thread(target=broker.consume, args=(queue, inbox, stop))
        thread.start()
        stack.callback(thread.join, SECONDS)
    assert inbox.next().message_id == "m-0"
    assert inbox.received.empty()
    later = Inbox()
    with consuming(broker, queue, later):
        names = {one.message_id for one in later.take(4)}
    assert names == {"m-1", "m-2", "m-3", "m-4"}


def test_a_handler_logs_under_the_request_id_of_its_message(broker: Broker, queue: str) -> None:
    """The trace that came with the message is bound while its handler runs."""
    seen: list[object] = []

    def notes(_: Message) -> None:
        seen.append(structlog.contextvars.get_contextvars().get("request_id"))

    broker.publish(queue, message("m-1"))
    with consuming(broker, queue, notes):
        wait_until(lambda: len(seen) == 1)
    assert seen == ["trace-m-1"]


def test_a_closed_broker_takes_nothing_and_is_not_healthy(make: MakeBroker, queue: str) -> None:
    """After the end of its `with`, publish raises BrokerUnavailable at once."""
    with make([queue]) as broker:
        wait_until(broker.healthy)
    assert not broker.healthy()
    with pytest.raises(BrokerUnavailable):
        broker.publish(queue, message("m-1"))


def test_a_broker_that_is_closed_while_a_handler_runs_holds_up_nobody(
    make: MakeBroker, queue: str
) -> None:
    """The handler's own publish raises BrokerUnavailable, and `consume` ends with its `stop`."""
    begun, closed = threading.Event(), threading.Event()
    refused: list[Exception] = []
    broker = make([queue])

    def answers_late(_: Message) -> None:
        begun.set()
        assert closed.wait(SECONDS)
        try:
            broker.publish(queue, message("answer"))
        except BrokerUnavailable as error:
            refused.append(error)

    with broker:
        broker.publish(queue, message("m-1"))
        with consuming(broker, queue, answers_late):
            assert begun.wait(SECONDS)
            broker.close()
            closed.set()
            wait_until(lambda: len(refused) == 1)
    assert not broker.healthy()


def test_an_idle_consumer_ends_when_stopped(broker: Broker, queue: str) -> None:
    """`consume` on an empty queue returns once its `stop` is set."""
    with consuming(broker, queue, Inbox()) as stop:
        wait_until(broker.healthy)
        stop.set()
