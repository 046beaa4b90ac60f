"""Jobs from the queue, through both brokers: answered first, acknowledged then, and never lost."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from cloudigrade.inspector.v1 import evidence_pb2, inspection_pb2
from libs.common.aws import AwsConfig, AwsSessions
from libs.common.broker import (
    INSPECTION_JOBS,
    INSPECTION_RESULTS,
    Broker,
    BrokerUnavailable,
    Message,
    Unroutable,
    dead,
    dead_reason,
)
from libs.common.workers import Worker
from services.accounts.jobs import State
from services.accounts.results import Results
from services.inspector import worker
from services.inspector.inspection import InspectionLimits, Progress
from services.inspector.inspector import ImageInspector, Inspected, ReadingConfig, Target
from services.inspector.worker import JobWorker
from tests.support.brokers import Inbox, consuming, wait_until
from tests.support.inspections import Outbox
from tests.support.inspector import REGION, Images
from tests.support.local_aws import CUSTOMER, Role
from tests.support.rabbitmq import RabbitNode

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

LIMITS = InspectionLimits()


@contextmanager
def working(
    broker: Broker, limits: InspectionLimits = LIMITS, at_once: int = 2
) -> Iterator[Worker]:
    """Run the inspector's work on jobs."""
    with ExitStack() as stack:
        sessions = stack.enter_context(AwsSessions(AwsConfig(max_attempts=2)))
        inspector = stack.enter_context(ImageInspector(sessions, ReadingConfig(), LIMITS))
        yield stack.enter_context(Worker("jobs", JobWorker(broker, inspector, at_once)))


def job(role: Role, image_id: str, number: int = 1, **given: object) -> Message:
    """Order an inspection as accounts does."""
    ordered = inspection_pb2.InspectionJob(
        job_id=number,
        attempt=1,
        account_id=7,
        aws_account_id=CUSTOMER,
        role_arn=role.arn,
        external_id=role.external_id,
        region=REGION,
        image_id=image_id,
        **given,  # type: ignore[arg-type]  # names of its fields
    )
    name = f"inspection-{number}-1"
    return Message(worker.JOB, name, ordered.SerializeToString(), {"x-request-id": name})


def result(message: Message) -> inspection_pb2.InspectionResult:
    """Read a result as accounts does."""
    assert message.type == "cloudigrade.inspector.v1.InspectionResult"
    return inspection_pb2.InspectionResult.FromString(message.body)


def test_a_job_is_answered_with_its_finding(
    inspection_broker: Broker, images: Images, customer_role: Role
) -> None:
    """Everything that accounts keeps: the finding with its evidence, the snapshot, the cost."""
    snapshot_id = images.snapshot("centos-stream-9")
    image_id = images.register(snapshot_id)
    inbox = Inbox()
    with working(inspection_broker), consuming(inspection_broker, INSPECTION_RESULTS, inbox):
        inspection_broker.publish(INSPECTION_JOBS, job(customer_role, image_id, 41))
        message = inbox.next()
    answer = result(message)
    assert message.message_id == "41/1"
    assert message.headers == {"x-request-id": "inspection-41-1"}
    assert (answer.job_id, answer.attempt, answer.account_id) == (41, 1, 7)
    assert (answer.image_id, answer.snapshot_id) == (image_id, snapshot_id)
    assert answer.cost.listings == 1
    assert answer.cost.blocks >= 1
    assert answer.cost.bytes == answer.cost.blocks * 512 * 1024
    assert answer.cost.elapsed.ToTimedelta().total_seconds() > 0
    found = answer.finding
    assert (found.distribution, found.version, found.pretty_name) == (
        "centos",
        "9",
        "CentOS Stream 9",
    )
    assert found.layout == "GPT, 3 partitions; root: XFS on partition 3"
    assert found.journal_state == evidence_pb2.JOURNAL_STATE_CLEAN
    first, second = found.evidence[:2]
    assert (first.signal, first.path, first.value, first.strength) == (
        "os-release.ID",
        "/etc/os-release",
        "centos",
        evidence_pb2.Evidence.STRENGTH_DECISIVE,
    )
    assert second.strength == evidence_pb2.Evidence.STRENGTH_SUPPORTING


def test_a_failure_is_a_result_too(
    inspection_broker: Broker, images: Images, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """One that passes and one that does not; accounts decides on another attempt."""
    image_id = images.register(images.snapshot("rhel-9"))
    local_aws.fail("ebs:ListSnapshotBlocks", "InternalServerException", status=500, times=2)
    inbox = Inbox()
    with (
        working(inspection_broker, at_once=1),
        consuming(inspection_broker, INSPECTION_RESULTS, inbox),
    ):
        inspection_broker.publish(INSPECTION_JOBS, job(customer_role, image_id, 1))
        passing = result(inbox.next()).failure
        inspection_broker.publish(INSPECTION_JOBS, job(customer_role, "ami-01234567", 2))
        final = result(inbox.next()).failure
    assert (passing.reason, passing.passing) == (
        inspection_pb2.InspectionFailure.REASON_AWS_TROUBLE,
        True,
    )
    assert (final.reason, final.passing) == (
        inspection_pb2.InspectionFailure.REASON_NOT_FOUND,
        False,
    )
    assert "ami-01234567" in final.message


def test_a_job_that_kills_its_child_stops_no_other(
    inspection_broker: Broker,
    images: Images,
    customer_role: Role,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its reader is killed each time; the job after it is answered as ever."""
    good = images.register(images.snapshot("debian-12"))
    bad = images.register(images.snapshot("rhel-9"))
    readers: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def recorded(*given: object, **named: object) -> subprocess.Popen[bytes]:
        readers.append(start(*given, **named))  # type: ignore[call-overload]  # passed on
        return readers[-1]

    monkeypatch.setattr(subprocess, "Popen", recorded)
    inspect = ImageInspector.inspect

    def deadly(self: ImageInspector, wanted: Target, progress: Progress) -> Inspected:
        def killing(what: str, blocks: int) -> None:
            if wanted.image_id == bad and what == "reading the partition table":
                readers[-1].kill()
            progress(what, blocks)

        return inspect(self, wanted, killing)

    monkeypatch.setattr(ImageInspector, "inspect", deadly)
    inbox = Inbox()
    with (
        working(inspection_broker, at_once=1),
        consuming(inspection_broker, INSPECTION_RESULTS, inbox),
    ):
        inspection_broker.publish(INSPECTION_JOBS, job(customer_role, bad, 1))
        inspection_broker.publish(INSPECTION_JOBS, job(customer_role, good, 2))
        crashed, done = result(inbox.next()), result(inbox.next())
    assert crashed.failure.reason == inspection_pb2.InspectionFailure.REASON_CRASHED
    assert crashed.failure.passing
    assert "SIGKILL" in crashed.failure.message
    assert done.finding.distribution == "debian"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message("cloudigrade.test.v1.Other", "x", b""), "no inspection job"),
        (Message(worker.JOB, "x", b"\xff\xff"), "cannot be read"),
        (Message(worker.JOB, "x", b""), "neither an image nor a snapshot"),
    ],
)
def test_what_is_no_job_is_set_aside_with_its_reason(
    inspection_broker: Broker, message: Message, reason: str
) -> None:
    """It can never be worked on, and must not stand in the way."""
    inbox = Inbox()
    with working(inspection_broker), consuming(inspection_broker, dead(INSPECTION_JOBS), inbox):
        inspection_broker.publish(INSPECTION_JOBS, message)
        assert reason in dead_reason(inbox.next())


def test_a_result_waits_for_a_broker_that_is_away_or_has_no_such_queue(
    inspection_broker: Broker,
    images: Images,
    customer_role: Role,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is not read again for its sake; the result goes out when it can."""
    monkeypatch.setattr(worker, "_PAUSE", 0.01)
    publish = inspection_broker.publish
    refusals = iter([BrokerUnavailable("away"), Unroutable("deleted"), BrokerUnavailable("away")])

    def unreliable(queue: str, message: Message) -> None:
        if queue == INSPECTION_RESULTS and (refusal := next(refusals, None)) is not None:
            raise refusal
        publish(queue, message)

    monkeypatch.setattr(inspection_broker, "publish", unreliable)
    image_id = images.register(images.snapshot("rhel-9"))
    inbox = Inbox()
    with working(inspection_broker), consuming(inspection_broker, INSPECTION_RESULTS, inbox):
        inspection_broker.publish(INSPECTION_JOBS, job(customer_role, image_id))
        assert result(inbox.next()).finding.distribution == "rhel"
    assert images.aws.calls["ebs:ListSnapshotBlocks"] == 1


def test_a_worker_that_is_stopped_gives_its_job_back(
    inspection_broker: Broker, images: Images, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """In the midst of an inspection; the next worker does it."""
    image_id = images.register(images.snapshot("rhel-9"))
    local_aws.delay("ebs:GetSnapshotBlock", 0.2)
    inbox = Inbox()
    with consuming(inspection_broker, INSPECTION_RESULTS, inbox):
        with working(inspection_broker):
            inspection_broker.publish(INSPECTION_JOBS, job(customer_role, image_id))
            wait_until(lambda: local_aws.calls["ebs:GetSnapshotBlock"] > 0)
        assert inbox.received.empty()
        with working(inspection_broker):
            assert result(inbox.next()).finding.distribution == "rhel"


def test_as_many_jobs_are_worked_on_as_configured(
    inspection_broker: Broker,
    images: Images,
    customer_role: Role,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three inspections meet in their midst, or none of them would end."""
    image_id = images.register(images.snapshot("rhel-9"))
    together = threading.Barrier(3, timeout=20)
    inspect = ImageInspector.inspect

    def meeting(self: ImageInspector, wanted: Target, progress: Progress) -> Inspected:
        together.wait()
        return inspect(self, wanted, progress)

    monkeypatch.setattr(ImageInspector, "inspect", meeting)
    inbox = Inbox()
    with (
        working(inspection_broker, at_once=3),
        consuming(inspection_broker, INSPECTION_RESULTS, inbox),
    ):
        for number in (1, 2, 3):
            inspection_broker.publish(INSPECTION_JOBS, job(customer_role, image_id, number))
        assert sorted(result(each).job_id for each in inbox.take(3)) == [1, 2, 3]


_DYING = """
import os, signal, sys
from libs.common.aws import AwsConfig, AwsSessions
from libs.common.broker import INSPECTION_RESULTS
from libs.common.broker_rabbitmq import RabbitBroker
from services.inspector.inspection import InspectionLimits
from services.inspector.inspector import ImageInspector, ReadingConfig
from services.inspector.worker import JobWorker
import threading

class Dying(RabbitBroker):
    def publish(self, queue, message):
        super().publish(queue, message)
        if queue == INSPECTION_RESULTS:
            os.kill(os.getpid(), signal.SIGKILL)

with Dying(sys.argv[1]) as broker:
    inspector = ImageInspector(AwsSessions(AwsConfig()), ReadingConfig(), InspectionLimits())
    JobWorker(broker, inspector, 1)(threading.Event())
"""


@pytest.mark.rabbitmq
@pytest.mark.parametrize("inspection_broker", ["rabbitmq"], indirect=True)
def test_a_worker_killed_between_result_and_acknowledgement_gives_one_stored_result(
    inspection_broker: Broker,
    rabbit_node: RabbitNode,
    outbox: Outbox,
    images: Images,
    customer_role: Role,
) -> None:
    """Kill -9 right after the broker confirmed the result: the job comes again, and counts once."""
    ami_id = images.register(images.snapshot("rhel-9"))
    image = outbox.image(ami_id)
    outbox.store.publish_due(
        lambda order: inspection_broker.publish(
            INSPECTION_JOBS, _ordered(order.job_id, outbox.account_id, customer_role, ami_id)
        ),
        outbox.now,
        10,
    )
    died = subprocess.run([sys.executable, "-c", _DYING, rabbit_node.url], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    arrived = Inbox()
    results = Results(outbox.store, inspection_broker, outbox.clock)
    arrived.answer = results.answer
    with (
        working(inspection_broker),
        consuming(inspection_broker, INSPECTION_RESULTS, arrived),
    ):
        first, second = result(arrived.next()), result(arrived.next())
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
    assert (first.job_id, first.attempt) == (second.job_id, second.attempt)
    assert outbox.classified(image).distribution == "rhel"
    # The billing codes' own when the image was listed, and the inspection's.
    assert outbox.rows(image) == 2


def _ordered(job_id: int, account_id: int, role: Role, image_id: str) -> Message:
    ordered = inspection_pb2.InspectionJob(
        job_id=job_id,
        attempt=1,
        account_id=account_id,
        aws_account_id=CUSTOMER,
        role_arn=role.arn,
        external_id=role.external_id,
        region=REGION,
        image_id=image_id,
    )
    return Message(worker.JOB, f"inspection-{job_id}-1", ordered.SerializeToString())
