"""What RabbitMQ adds to the contract: faults, caused for real on a private node."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from libs.common.broker import (
    LIMIT_REACHED,
    BrokerUnavailable,
    DeadLetter,
    Message,
    dead,
    dead_reason,
)
from libs.common.broker_rabbitmq import BrokerConfig, RabbitBroker
from libs.common.config import ConfigError, load
from tests.support.brokers import SECONDS, Inbox, consuming, wait_until
from tests.support.rabbitmq import RabbitNode

pytestmark = pytest.mark.rabbitmq

ROOT = Path(__file__).parents[2]

CONSUMER = """
import sys, threading
from libs.common import logs
from libs.common.broker_rabbitmq import RabbitBroker

def handle(message):
    print(message.message_id, flush=True)
    if message.message_id == "poison":
        sys.stdin.read()  # until this process is killed

url, queue = sys.argv[1:]
logs.configure("consumer")
with RabbitBroker(url, [queue]) as broker:
    broker.consume(queue, handle, threading.Event())
"""


@pytest.fixture
def queue() -> str:
    """Name a work queue that no other test uses."""
    return f"work.{uuid4()}"


@pytest.fixture
def broker(rabbit_node: RabbitNode, queue: str) -> Iterator[RabbitBroker]:
    """Open a broker with that one work queue."""
    with RabbitBroker(rabbit_node.url, [queue], requeue_wait=0.0) as broker:
        yield broker


def message(name: str) -> Message:
    """Make a message with that id."""
    return Message("cloudigrade.test.v1.Thing", name, b"body", {})


def test_confirmed_messages_survive_a_killed_broker(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """Every message whose publish returned before, during or after kill -9 is delivered."""
    broker.publish(queue, message("first"))
    rabbit_node.wait_until_saved(queue)
    killer = threading.Timer(0.3, rabbit_node.kill)
    killer.start()
    confirmed, number = ["first"], 0
    while killer.is_alive() or broker.healthy():
        try:
            broker.publish(queue, message(f"m-{number}"))
        except BrokerUnavailable:
            pass
        else:
            confirmed.append(f"m-{number}")
        number += 1
    rabbit_node.start()
    wait_until(broker.healthy)
    broker.publish(queue, message("after"))
    inbox = Inbox()
    with consuming(broker, queue, inbox, prefetch=20):
        arrived: set[str] = set()
        while not arrived.issuperset([*confirmed, "after"]):
            arrived.add(inbox.next().message_id)
    assert len(confirmed) > 10


def test_a_consumer_resumes_after_the_broker_restarts(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """The same `consume` goes on; what it held at the restart is delivered again."""
    going_down = threading.Event()

    def outlives_the_broker(received: Message) -> None:
        if received.message_id == "held" and not going_down.is_set():
            going_down.wait(SECONDS)

    inbox = Inbox(outlives_the_broker)
    with consuming(broker, queue, inbox):
        broker.publish(queue, message("held"))
        assert inbox.next().message_id == "held"
        rabbit_node.stop()
        wait_until(lambda: not broker.healthy())
        started = monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.publish(queue, message("lost"))
        assert monotonic() - started < 10.0
        going_down.set()
        rabbit_node.start()
        assert inbox.next().message_id == "held"
        wait_until(broker.healthy)
        broker.publish(queue, message("next"))
        assert inbox.next().message_id == "next"


def test_a_message_whose_consumer_was_killed_comes_again(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """A kill -9 between receiving and acknowledging loses nothing."""
    broker.publish(queue, message("poison"))
    die_of_poison(rabbit_node.url, queue)
    inbox = Inbox()
    with consuming(broker, queue, inbox):
        assert inbox.next().message_id == "poison"


def test_a_message_that_kills_its_worker_is_buried(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """Six killed processes later it is in the dead queue, and the next message is handled."""
    broker.publish(queue, message("poison"))
    broker.publish(queue, message("innocent"))
    for _ in range(6):
        die_of_poison(rabbit_node.url, queue)
    inbox, graveyard = Inbox(), Inbox()
    with consuming(broker, queue, inbox), consuming(broker, dead(queue), graveyard):
        assert inbox.next().message_id == "innocent"
        buried = graveyard.next()
    assert buried.message_id == "poison"
    assert dead_reason(buried) == LIMIT_REACHED


def test_a_handler_may_take_longer_than_the_heartbeats(rabbit_node: RabbitNode, queue: str) -> None:
    """Five seconds of work with heartbeats of one second lose no connection."""

    def works_for_five_seconds(received: Message) -> None:
        if received.message_id == "slow":
            threading.Event().wait(5.0)

    inbox = Inbox(works_for_five_seconds)
    with RabbitBroker(rabbit_node.url, [queue], heartbeat=1) as broker:
        broker.publish(queue, message("slow"))
        with consuming(broker, queue, inbox):
            inbox.next()
        broker.publish(queue, message("next"))
        with consuming(broker, queue, inbox):
            assert inbox.next().message_id == "next"


def test_publish_gives_up_on_a_broker_that_does_not_answer(
    rabbit_node: RabbitNode, queue: str
) -> None:
    """A frozen node costs the publisher its timeout and no more, and is noticed by heartbeats."""
    with RabbitBroker(rabbit_node.url, [queue], publish_timeout=1.0, heartbeat=1) as broker:
        wait_until(broker.healthy)
        rabbit_node.freeze()
        try:
            started = monotonic()
            with pytest.raises(BrokerUnavailable, match="confirmed nothing within"):
                broker.publish(queue, message("m-1"))
            assert monotonic() - started < 2.0
            wait_until(lambda: not broker.healthy())
        finally:
            rabbit_node.thaw()
        wait_until(broker.healthy)
        broker.publish(queue, message("m-2"))


def test_a_broker_without_memory_is_unavailable(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """While RabbitMQ blocks publishers, publish raises and health says so; then both recover."""
    with RabbitBroker(rabbit_node.url, [queue], publish_timeout=1.0) as impatient:
        wait_until(impatient.healthy)
        rabbit_node.control("set_vm_memory_high_watermark", "0.000001")
        try:
            # RabbitMQ tells a connection that it is blocked when it first publishes.
            with pytest.raises(BrokerUnavailable):
                impatient.publish(queue, message("m-1"))
            wait_until(lambda: not impatient.healthy())
            with pytest.raises(BrokerUnavailable, match="short of memory or disk"):
                impatient.publish(queue, message("m-2"))
        finally:
            rabbit_node.control("set_vm_memory_high_watermark", "0.4")
        wait_until(impatient.healthy)
        impatient.publish(queue, message("m-3"))


def test_a_queue_declared_otherwise_is_not_used(rabbit_node: RabbitNode, queue: str) -> None:
    """A queue of that name with other arguments makes the broker unavailable, without hanging."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_node.url))
    connection.channel().queue_declare(queue, durable=True)
    connection.close()
    with RabbitBroker(rabbit_node.url, [queue], publish_timeout=2.0) as broker:
        with pytest.raises(BrokerUnavailable):
            broker.publish(queue, message("m-1"))
        assert not broker.healthy()


def test_a_deleted_queue_is_declared_again_when_something_is_to_be_put_into_it(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """By publish, and by burying: neither the work queue nor its dead queue stays away."""
    broker.publish(queue, message("lost"))
    for name in (queue, dead(queue)):
        delete(rabbit_node, name)
    broker.publish(queue, message("m-1"))

    def refuses(received: Message) -> None:
        delete(rabbit_node, dead(queue))
        raise DeadLetter(f"{received.message_id} is bad")

    graveyard = Inbox()
    with consuming(broker, queue, refuses):
        wait_until(lambda: holds(rabbit_node, dead(queue)))
    with consuming(broker, dead(queue), graveyard):
        assert dead_reason(graveyard.next()) == "m-1 is bad"


def delete(node: RabbitNode, queue: str) -> None:
    """Delete a queue with all that it holds, as an operator may."""
    connection = pika.BlockingConnection(pika.URLParameters(node.url))
    connection.channel().queue_delete(queue)
    connection.close()


def holds(node: RabbitNode, queue: str) -> bool:
    """Say whether there is such a queue, and a message in it."""
    connection = pika.BlockingConnection(pika.URLParameters(node.url))
    try:
        declared = connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return False
    else:
        return bool(declared.method.message_count)
    finally:
        connection.close()


def test_messages_and_queues_are_durable(
    rabbit_node: RabbitNode, broker: RabbitBroker, queue: str
) -> None:
    """A published message is persistent, typed and in a quorum queue."""
    broker.publish(queue, message("m-1"))
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_node.url))
    channel = connection.channel()
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    channel.queue_declare(
        queue,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 5,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": f"{queue}.dead",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )  # raises when the queue has other arguments
    connection.close()
    assert body == b"body"
    assert (properties.delivery_mode, properties.type, properties.message_id) == (
        2,
        "cloudigrade.test.v1.Thing",
        "m-1",
    )


def test_a_broker_that_was_never_there_is_no_error_at_the_start() -> None:
    """Without a server, opening succeeds, health says no, and publish raises within its timeout."""
    with RabbitBroker("amqp://guest:guest@127.0.0.1:1/", ["q"], publish_timeout=5.0) as broker:
        started = monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.publish("q", message("m-1"))
        assert monotonic() - started < 5.0
        assert not broker.healthy()


@pytest.mark.parametrize("url", ["", "http://guest:hunter2@host/", "amqp://u:hunter2@host:port/"])
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    """The constructor raises ValueError, and its text holds no password."""
    with pytest.raises(ValueError, match="wants a URL such as amqp://") as raised:
        RabbitBroker(url)
    assert "hunter2" not in str(raised.value)


def test_the_configuration_makes_a_broker_and_hides_its_url() -> None:
    """With CLOUDIGRADE_BROKER_URL alone the rest has defaults; a bad URL is not shown."""
    config = load(BrokerConfig, {"CLOUDIGRADE_BROKER_URL": "amqp://u:hunter2@127.0.0.1:1/"})
    assert (config.heartbeat, config.publish_timeout) == (30, timedelta(seconds=10))
    assert isinstance(config.broker(), RabbitBroker)
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError, match="CLOUDIGRADE_BROKER_URL") as raised:
        load(BrokerConfig, {"CLOUDIGRADE_BROKER_URL": "http://u:hunter2@127.0.0.1/"})
    assert "hunter2" not in str(raised.value)


def test_everything_that_a_node_started_ends_with_it(
    tmp_path: Path, rabbit_node: RabbitNode
) -> None:
    """After close, no process runs that was started with the node's folder as its home."""
    node = RabbitNode(tmp_path)
    try:
        node.start()
        assert len(processes_at_home_in(tmp_path)) >= 2
    finally:
        node.close()
    wait_until(lambda: processes_at_home_in(tmp_path) == [])


def die_of_poison(url: str, queue: str) -> None:
    """Have a process of its own take the poison message, and kill it while it handles it."""
    with subprocess.Popen(
        [sys.executable, "-c", CONSUMER, url, queue],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"poison\n"
        finally:
            process.kill()


def processes_at_home_in(folder: Path) -> list[str]:
    """List the processes whose HOME is that folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"HOME={folder}".encode() in environment:
            found.append(entry.name)
    return found
