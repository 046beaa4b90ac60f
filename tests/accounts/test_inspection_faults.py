"""Faults of RabbitMQ and of those at it, caused for real: no inspection is lost or doubled."""

import contextlib
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import grpc
import pika
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from cloudigrade.inspector.v1 import inspection_pb2
from libs.common.broker import (
    INSPECTION_JOBS,
    INSPECTION_RESULTS,
    QUEUES,
    BrokerError,
    Message,
    dead,
)
from libs.common.broker_rabbitmq import RabbitBroker
from libs.common.config import load
from services.accounts.__main__ import serve
from services.accounts.config import AccountsConfig
from services.accounts.database import Database
from services.accounts.jobs import State
from tests.support.accounts import SERVICE_TOKENS
from tests.support.brokers import SECONDS, Inbox, consuming, empty, wait_until
from tests.support.inspecting import NEVER, Inspector, accounts, quarantined
from tests.support.inspections import EVERYBODY, Outbox, failed, found, job_of
from tests.support.rabbitmq import RabbitNode

pytestmark = pytest.mark.rabbitmq

ROOT = Path(__file__).parents[2]

# Records one result and is killed before the broker hears of it.
DYING_ACCOUNTS = """
import os, signal, sys
from threading import Event
from libs.common.broker import INSPECTION_RESULTS
from libs.common.broker_rabbitmq import RabbitBroker
from libs.common.clock import SystemClock
from services.accounts.database import Database
from services.accounts.job_store import JobStore
from services.accounts.results import Results

def take(message):
    results.answer(message)
    os.kill(os.getpid(), signal.SIGKILL)

with RabbitBroker(sys.argv[2]) as broker:
    results = Results(JobStore(Database(sys.argv[1])), broker, SystemClock())
    broker.consume(INSPECTION_RESULTS, take, Event())
"""


@pytest.fixture
def rabbit(rabbit_node: RabbitNode) -> Iterator[RabbitBroker]:
    """Open a broker whose queues are empty, and would survive a kill."""
    with RabbitBroker(rabbit_node.url, requeue_wait=0.0) as broker:
        wait_until(broker.healthy)
        empty(rabbit_node.url)
        for queue in (*QUEUES, *map(dead, QUEUES)):
            rabbit_node.wait_until_saved(queue)
        yield broker
    empty(rabbit_node.url)


def states(outbox: Outbox) -> Counter[State]:
    """Count the account's jobs by their states."""
    shown = outbox.store.inspections(outbox.account_id, EVERYBODY, None, None, 1000)
    return Counter(each.state for each in shown)


def waiting(node: RabbitNode, queue: str) -> int:
    """Return how many messages of a queue are with no consumer."""
    connection = pika.BlockingConnection(pika.URLParameters(node.url))
    count = connection.channel().queue_declare(queue, passive=True).method.message_count
    connection.close()
    return int(count)


def delete(node: RabbitNode, queue: str) -> None:
    """Delete a queue with all that it holds, as an operator may."""
    connection = pika.BlockingConnection(pika.URLParameters(node.url))
    connection.channel().queue_delete(queue)
    connection.close()


def test_jobs_that_are_out_and_results_that_wait_outlive_a_restart_of_the_broker(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Of six jobs two are answered and four in the queue when RabbitMQ stops; all are done."""
    images = [outbox.image(f"ami-{number}") for number in range(6)]
    inspector = Inspector(rabbit)
    with accounts(outbox, rabbit, NEVER) as relay:
        relay.wake()
        wait_until(lambda: states(outbox) == {State.PUBLISHED: 6})
    holding, leave = threading.Event(), threading.Event()

    def answers_two(message: Message) -> None:
        if len(inspector.jobs) < 2:
            inspector(message)
            return
        holding.set()
        assert leave.wait(SECONDS)
        raise RuntimeError("the broker is down")

    with consuming(rabbit, INSPECTION_JOBS, answers_two):
        assert holding.wait(SECONDS)  # so the first two are acknowledged
        rabbit_node.stop()
        leave.set()
    rabbit_node.start()
    wait_until(rabbit.healthy)
    assert waiting(rabbit_node, INSPECTION_RESULTS) == 2
    with accounts(outbox, rabbit, NEVER), consuming(rabbit, INSPECTION_JOBS, inspector):
        wait_until(lambda: states(outbox) == {State.DONE: 6})
    assert inspector.attempts() == [(f"ami-{number}", 1) for number in range(6)]
    assert {outbox.rows(image) for image in images} == {2}


class Killing(RabbitBroker):
    """Publishes jobs, and kills the node as it sends the 25th."""

    def __init__(self, node: RabbitNode) -> None:
        super().__init__(node.url, requeue_wait=0.0)
        self._node = node
        self._jobs = 0
        self.killed = threading.Event()

    def publish(self, queue: str, message: Message) -> None:
        """Publish a message."""
        if queue == INSPECTION_JOBS:
            self._jobs += 1
            if self._jobs == 25:
                threading.Thread(target=self._kill).start()
        super().publish(queue, message)

    def _kill(self) -> None:
        self._node.kill()
        self.killed.set()


def test_a_broker_killed_in_the_midst_of_publishing_loses_and_doubles_nothing(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Killed with -9 at the 25th of sixty, started again: all sixty are found, each once."""
    images = [outbox.image(f"ami-{number:02}") for number in range(60)]
    inspector = Inspector(rabbit)
    with (
        Killing(rabbit_node) as killing,
        accounts(outbox, killing),
        consuming(rabbit, INSPECTION_JOBS, inspector, prefetch=2),
    ):
        assert killing.killed.wait(SECONDS)
        assert states(outbox)[State.PENDING] > 0
        rabbit_node.start()
        wait_until(lambda: states(outbox) == {State.DONE: 60})
    assert {attempt for _, attempt in inspector.attempts()} == {1}
    assert {outbox.rows(image) for image in images} == {2}


def test_a_queue_that_an_operator_deleted_is_declared_again_before_a_job_is_sent(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """A job in the deleted queue comes again when its lease is over; a new one goes out at once."""
    outbox.image("ami-lost")
    with accounts(outbox, rabbit) as relay, capture_logs() as logs:
        wait_until(lambda: states(outbox) == {State.PUBLISHED: 1})
        delete(rabbit_node, INSPECTION_JOBS)
        outbox.image("ami-new")
        relay.wake()
        inspector = Inspector(rabbit)
        wait_until(lambda: states(outbox) == {State.PUBLISHED: 2})
        with consuming(rabbit, INSPECTION_JOBS, inspector):
            wait_until(lambda: states(outbox) == {State.DONE: 1, State.PUBLISHED: 1})
            outbox.advance(60)
            wait_until(lambda: states(outbox) == {State.DONE: 2})
    assert inspector.attempts() == [("ami-lost", 2), ("ami-new", 1)]
    assert "broker.queue_was_deleted" in {each["event"] for each in logs}


def test_consumers_of_a_queue_that_an_operator_deleted_go_on_with_a_new_one(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Each of the four queues is deleted while it is consumed; the next job is done as ever."""
    with accounts(outbox, rabbit), consuming(rabbit, INSPECTION_JOBS, Inspector(rabbit)):
        wait_until(rabbit.healthy)
        for queue in (*QUEUES, *map(dead, QUEUES)):
            delete(rabbit_node, queue)
        outbox.image("ami-1")
        # Only then: what is put into a queue while it is being deleted is gone with it.
        wait_until(lambda: states(outbox) == {State.DONE: 1})
        rabbit.publish(INSPECTION_RESULTS, Message("no.Result", "bad", b"bad"))
        wait_until(lambda: len(quarantined(outbox.database)) == 1)


def test_a_job_that_cannot_be_routed_stays_due(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """With a queue of that name that is not ours nothing is sent; without it the job goes out."""
    delete(rabbit_node, INSPECTION_JOBS)
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_node.url))
    connection.channel().queue_declare(INSPECTION_JOBS, exclusive=True)
    image = outbox.image("ami-1")
    with (
        RabbitBroker(rabbit_node.url, publish_timeout=2.0) as broker,
        accounts(outbox, broker) as relay,
    ):
        wait_until(lambda: not relay.healthy())
        assert not broker.healthy()
        assert outbox.inspection(image).state is State.PENDING
        connection.close()  # and with it the queue that was this connection's own
        wait_until(lambda: outbox.inspection(image).state is State.PUBLISHED)
        wait_until(lambda: relay.healthy() and broker.healthy())


def test_accounts_killed_between_recording_a_result_and_acknowledging_it_records_it_once(
    outbox: Outbox, database_url: str, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Kill -9 right after the commit: the result comes again, and changes nothing."""
    image = outbox.image("ami-1")
    with accounts(outbox, rabbit, NEVER) as relay:
        relay.wake()
        wait_until(lambda: states(outbox) == {State.PUBLISHED: 1})
    inbox = Inbox()
    with consuming(rabbit, INSPECTION_JOBS, inbox):
        rabbit.publish(INSPECTION_RESULTS, found(job_of(inbox.next())))
    died = subprocess.run(
        [sys.executable, "-c", DYING_ACCOUNTS, database_url, rabbit_node.url],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert died.returncode == -SIGKILL
    assert states(outbox) == {State.DONE: 1}
    with accounts(outbox, rabbit, NEVER), capture_logs() as logs:
        wait_until(lambda: any(each["event"] == "inspection.answered" for each in logs))
    (again,) = [each for each in logs if each["event"] == "inspection.answered"]
    assert again["counted"] is False
    assert (outbox.rows(image), classified(outbox)) == (2, 1)


def classified(outbox: Outbox) -> int:
    """Return how often the audit log says that an image was classified."""
    with outbox.database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM audit WHERE action = 'image.classified'")
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def test_two_accounts_share_the_work_and_double_nothing(
    outbox: Outbox, database_url: str, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Two relays publish each of forty jobs once; two consumers store each result once.

    Every result is sent twice, so that both consumers often have the same one at the same moment.
    """
    images = [outbox.image(f"ami-{number:02}") for number in range(40)]
    inspector = Inspector(rabbit, lambda job: [found(job)] * 2)
    with ExitStack() as stack:
        second = stack.enter_context(contextlib.closing(Database(database_url, pool_size=10)))
        broker = stack.enter_context(RabbitBroker(rabbit_node.url, requeue_wait=0.0))
        other = replace(outbox, database=second, store=type(outbox.store)(second))
        stack.enter_context(accounts(outbox, rabbit))
        stack.enter_context(accounts(other, broker))
        stack.enter_context(consuming(rabbit, INSPECTION_JOBS, inspector, prefetch=2))
        wait_until(lambda: states(outbox) == {State.DONE: 40})
        wait_until(lambda: waiting(rabbit_node, INSPECTION_RESULTS) == 0)
    assert inspector.attempts() == [(f"ami-{number:02}", 1) for number in range(40)]
    assert {outbox.rows(image) for image in images} == {2}
    assert classified(outbox) == 40


def test_accounts_that_restarts_while_jobs_are_out_takes_their_results(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Five are answered while it is away; none is sent a second time."""
    for number in range(5):
        outbox.image(f"ami-{number}")
    with accounts(outbox, rabbit):
        wait_until(lambda: states(outbox) == {State.PUBLISHED: 5})
    inspector = Inspector(rabbit)
    with consuming(rabbit, INSPECTION_JOBS, inspector):
        wait_until(lambda: waiting(rabbit_node, INSPECTION_RESULTS) == 5)
        with accounts(outbox, rabbit):
            wait_until(lambda: states(outbox) == {State.DONE: 5})
    assert inspector.attempts() == [(f"ami-{number}", 1) for number in range(5)]


def test_while_rabbitmq_is_short_of_memory_jobs_wait_and_the_health_name_broker_says_so(
    outbox: Outbox, database_url: str, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """The server stays ready; when the alarm is over the job goes out and health is good."""
    environ = {
        "CLOUDIGRADE_DATABASE_URL": database_url,
        "CLOUDIGRADE_ACCOUNTS_LISTEN": "127.0.0.1:0",
        "CLOUDIGRADE_ACCOUNTS_STOP_GRACE": "1s",
        "CLOUDIGRADE_ACCOUNTS_HEALTH_INTERVAL": "100ms",
        **{f"CLOUDIGRADE_{name.upper()}_TOKEN": token for name, token in SERVICE_TOKENS.items()},
    }
    config = load(AccountsConfig, environ, service="accounts")
    with ExitStack() as stack:
        broker = stack.enter_context(RabbitBroker(rabbit_node.url, publish_timeout=1.0))
        server = serve(config, stack, broker=broker, clock=outbox.clock)
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}"))
        health: Any = health_pb2_grpc.HealthStub(channel)  # its stub lacks the methods

        def serving(name: str) -> bool:
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
            return bool(answer.status == 1)

        wait_until(lambda: serving("broker"))
        rabbit_node.control("set_vm_memory_high_watermark", "0.000001")
        try:
            image = outbox.image("ami-1")
            wait_until(lambda: not serving("broker"))
            assert serving("")
            assert outbox.inspection(image).state is State.PENDING
            with pytest.raises(BrokerError, match="short of memory or disk"):
                broker.publish(INSPECTION_RESULTS, Message("t", "m", b""))
        finally:
            rabbit_node.control("set_vm_memory_high_watermark", "0.4")
        wait_until(lambda: outbox.inspection(image).state is State.PUBLISHED)
        wait_until(lambda: serving("broker"))


class Faulty:
    """An inspector to which everything happens that can, by a seed, but never more than 50 times.

    After that it answers every job.
    """

    def __init__(self, broker: RabbitBroker, seed: int) -> None:
        self._inspector = Inspector(broker, self._respond)
        self._random = random.Random(seed)  # noqa: S311 - it only varies the faults
        self._guard = threading.Lock()
        self.happened: Counter[str] = Counter()
        self._ways: dict[str, Callable[[inspection_pb2.InspectionJob], list[Message]]] = {
            "found": lambda job: [found(job)],
            "found twice": lambda job: [found(job)] * 2,
            "passing": lambda job: [failed(job)],
            "lasting": lambda job: [failed(job, "ebs:GetSnapshotBlock is missing", passing=False)],
            "silent": lambda _: [],
            "unreadable": lambda job: [replace(found(job), body=b"\xff")],
            "empty": lambda job: [replace(found(job), body=_without_outcome(job))],
            "other image": lambda job: [found(_of_another(job))],
            "older attempt": lambda job: [failed(_older(job)), found(job)],
            "no such job": lambda job: [found(_nobodys(job)), found(job)],
        }

    def __call__(self, message: Message) -> None:
        """Inspect, or not."""
        if job_of(message).image_id == "ami-00":
            raise MemoryError("this disk kills whoever reads it")
        self._inspector(message)

    def _respond(self, job: inspection_pb2.InspectionJob) -> list[Message]:
        with self._guard:
            way = self._random.choice(list(self._ways))
            if self.happened.total() >= 50:
                way = "found"
            self.happened[way] += 1
            if way == "found" and self._random.random() < 0.2:
                self.happened["died after it answered"] += 1
                self._inspector.broker.publish(INSPECTION_RESULTS, found(job))
                raise RuntimeError("died after it answered")
        return self._ways[way](job)


def _without_outcome(job: inspection_pb2.InspectionJob) -> bytes:
    return inspection_pb2.InspectionResult(
        job_id=job.job_id, attempt=job.attempt, account_id=job.account_id, image_id=job.image_id
    ).SerializeToString()


def _of_another(job: inspection_pb2.InspectionJob) -> inspection_pb2.InspectionJob:
    changed = inspection_pb2.InspectionJob()
    changed.CopyFrom(job)
    changed.image_id = "ami-of-somebody-else"
    return changed


def _older(job: inspection_pb2.InspectionJob) -> inspection_pb2.InspectionJob:
    changed = inspection_pb2.InspectionJob()
    changed.CopyFrom(job)
    changed.attempt = max(1, job.attempt - 1)
    return changed


def _nobodys(job: inspection_pb2.InspectionJob) -> inspection_pb2.InspectionJob:
    changed = inspection_pb2.InspectionJob()
    changed.CopyFrom(job)
    changed.account_id = changed.job_id = 4711
    return changed


def test_whatever_happens_every_job_ends_with_an_answer_or_a_reason(
    outbox: Outbox, rabbit_node: RabbitNode, rabbit: RabbitBroker
) -> None:
    """Thirty jobs, a seeded mix of every fault, RabbitMQ killed and accounts restarted on the way.

    Hours pass by the clock of the test, so that delays and leases end. The one that kills whoever
    reads it is given up; each of the others is done, and stored once if it was found.
    """
    images = {f"ami-{number:02}": outbox.image(f"ami-{number:02}") for number in range(30)}
    inspector = Faulty(rabbit, seed=20260301)
    settled = {State.DONE, State.DEAD}
    with consuming(rabbit, INSPECTION_JOBS, inspector, prefetch=4):
        for round_ in range(40):
            with accounts(outbox, rabbit):
                if round_ == 1:
                    rabbit_node.kill()
                    rabbit_node.start()
                quiet(outbox)
            if set(states(outbox)) <= settled:
                break
            outbox.advance(61)
    assert set(states(outbox)) <= settled
    ends = {name: outbox.inspection(image) for name, image in images.items()}
    assert ends["ami-00"].state is State.DEAD
    for name, end in ends.items():
        read = end.state is State.DONE and not end.reason
        assert read or end.reason, name
        assert outbox.rows(images[name]) == (2 if read else 1), name
    assert set(inspector.happened) > {"passing", "silent", "unreadable", "empty", "other image"}
    assert states(outbox)[State.DONE] >= 25


def quiet(outbox: Outbox) -> None:
    """Wait until nothing is due and nothing has changed for a moment."""
    pause, before = threading.Event(), None
    for _ in range(int(SECONDS / 0.15)):
        shown = outbox.store.inspections(outbox.account_id, EVERYBODY, None, None, 1000)
        due = any(0 < each.due_at <= outbox.now for each in shown)
        now = [(each.state, each.attempts) for each in shown]
        if now == before and not due:
            return
        before = now
        pause.wait(0.15)
    raise AssertionError("jobs kept changing")
