"""Inspection jobs out to inspectors and their answers back, through both brokers."""

import contextlib

import pytest
from structlog.testing import capture_logs

from cloudigrade.inspector.v1 import inspection_pb2
from libs.common.broker import (
    INSPECTION_JOBS,
    INSPECTION_RESULTS,
    LIMIT_REACHED,
    Broker,
    Message,
)
from libs.common.broker_memory import MemoryBroker
from libs.common.embedded_postgres import EmbeddedPostgres
from services.accounts.audit import Author
from services.accounts.database import Database
from services.accounts.jobs import State
from tests.support.brokers import Inbox, consuming, wait_until
from tests.support.inspecting import NEVER, Inspector, accounts, quarantined
from tests.support.inspections import (
    EVERYBODY,
    Outbox,
    failed,
    found,
    job_of,
    outbox_in,
    result_message,
)


def test_a_job_goes_out_and_its_finding_comes_back(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """The inspector is told all it needs, and the image is what it found."""
    image = outbox.image("ami-1")
    inspector = Inspector(inspection_broker)
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inspector),
    ):
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
    (job,) = inspector.jobs
    assert (job.attempt, job.account_id, job.aws_account_id) == (
        1,
        outbox.account_id,
        "123456789012",
    )
    assert (job.role_arn, job.external_id, job.region, job.image_id, job.root_snapshot_id) == (
        "arn:aws:iam::123456789012:role/cloudigrade",
        "external",
        "eu-west-1",
        "ami-1",
        "snap-0123456789abcdef0",
    )
    known = outbox.classified(image)
    assert (known.distribution, known.version) == ("rhel", "9.4")


def test_the_message_can_be_traced(outbox: Outbox, inspection_broker: Broker) -> None:
    """Type, message id and request id name the job and the attempt."""
    outbox.image("ami-1")
    inbox = Inbox()
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inbox),
    ):
        message = inbox.next()
    name = f"inspection-{job_of(message).job_id}-1"
    assert message.type == "cloudigrade.inspector.v1.InspectionJob"
    assert (message.message_id, message.headers) == (name, {"x-request-id": name})


def test_a_relay_that_is_woken_publishes_at_once(outbox: Outbox, inspection_broker: Broker) -> None:
    """It would look only every hour, but is told that there is something."""
    inbox = Inbox()
    with (
        accounts(outbox, inspection_broker, NEVER) as relay,
        consuming(inspection_broker, INSPECTION_JOBS, inbox),
    ):
        outbox.image("ami-1")
        relay.wake()
        assert job_of(inbox.next()).image_id == "ami-1"


def test_a_passing_failure_is_tried_again_when_its_time_has_come(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """Attempt 1 fails; a minute later attempt 2 is published and finds something."""

    def fails_first(job: inspection_pb2.InspectionJob) -> list[Message]:
        return [failed(job) if job.attempt == 1 else found(job)]

    image = outbox.image("ami-1")
    inspector = Inspector(inspection_broker, fails_first)
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inspector),
    ):
        wait_until(lambda: outbox.inspection(image).state is State.RETRY)
        assert outbox.inspection(image).reason == "throttled"
        outbox.advance(1)
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
    assert inspector.attempts() == [("ami-1", 1), ("ami-1", 2)]


def test_an_answer_that_comes_three_times_counts_once(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """Duplicates of a result are taken from the queue and store nothing."""
    image, other = outbox.image("ami-1"), outbox.image("ami-2")
    inspector = Inspector(inspection_broker, lambda job: [found(job)] * 3)
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inspector),
    ):
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
        wait_until(lambda: outbox.inspection(other).state is State.DONE)
    assert (outbox.rows(image), outbox.rows(other)) == (2, 2)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (
            Message("cloudigrade.inspector.v1.InspectionResult", "bad", b"\xff", {}),
            "the body is no",
        ),
        (Message("something.Else", "bad", b"", {}), "the type is 'something.Else'"),
        (result_message(inspection_pb2.InspectionResult(job_id=1)), "must be positive"),
        (
            result_message(inspection_pb2.InspectionResult(job_id=1, attempt=1, account_id=1)),
            "neither a finding nor a failure",
        ),
    ],
)
def test_a_result_that_cannot_be_read_stops_nothing(
    outbox: Outbox, inspection_broker: Broker, bad: Message, why: str
) -> None:
    """It is kept in quarantine with a reason, and the next result is recorded."""
    image = outbox.image("ami-1")
    inspector = Inspector(inspection_broker, lambda job: [bad, found(job)])
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inspector),
    ):
        wait_until(lambda: len(quarantined(outbox.database)) == 1)
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
    (kept,) = quarantined(outbox.database)
    assert kept.content == bad.body
    assert kept.origin == (
        f"inspection.results: message {bad.message_id!r} of the type {bad.type!r}"
    )
    assert why in kept.reason


def test_results_for_jobs_that_are_gone_stop_nothing(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """A result of a job or an account that there is not is dropped."""
    gone = inspection_pb2.InspectionJob(job_id=4711, attempt=1, account_id=4711, image_id="ami-9")
    image = outbox.image("ami-1")
    inspector = Inspector(inspection_broker, lambda job: [found(gone), failed(gone), found(job)])
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inspector),
    ):
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
    assert quarantined(outbox.database) == []


def test_a_job_that_kills_its_workers_dies_while_the_others_go_on(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """Delivered six times in vain it is DEAD with that reason; redriven it is tried again."""
    poison = outbox.image("ami-poison")
    others = [outbox.image(f"ami-{number}") for number in range(3)]
    poisonous = True

    def dies(job: inspection_pb2.InspectionJob) -> list[Message]:
        if job.image_id == "ami-poison" and poisonous:
            raise MemoryError
        return [found(job)]

    inspector = Inspector(inspection_broker, dies)
    with (
        accounts(outbox, inspection_broker) as relay,
        consuming(inspection_broker, INSPECTION_JOBS, inspector),
    ):
        wait_until(lambda: outbox.inspection(poison).state is State.DEAD)
        wait_until(lambda: {outbox.inspection(one).state for one in others} == {State.DONE})
        assert outbox.inspection(poison).reason.startswith(
            f"The inspection was given up: {LIMIT_REACHED}. The inspectors' logs of job "
        )
        assert inspector.attempts().count(("ami-poison", 1)) == 6
        poisonous = False
        outbox.store.redrive(outbox.account_id, EVERYBODY, [], Author("ada", outbox.now))
        relay.wake()
        wait_until(lambda: outbox.inspection(poison).state is State.DONE)
    assert inspector.attempts().count(("ami-poison", 2)) == 1


def test_while_the_broker_is_away_jobs_wait_and_health_says_so(outbox: Outbox) -> None:
    """The relay tries again and again, and publishes when the broker is back."""
    broker = MemoryBroker()
    inbox = Inbox()
    with accounts(outbox, broker) as relay:
        image = outbox.image("ami-1")
        relay.wake()
        wait_until(lambda: not relay.healthy())
        assert outbox.inspection(image).state is State.PENDING
        with broker, consuming(broker, INSPECTION_JOBS, inbox):
            assert job_of(inbox.next()).attempt == 1
            wait_until(relay.healthy)
            assert outbox.inspection(image).state is State.PUBLISHED


def test_a_new_process_publishes_what_the_memory_of_the_old_one_held(outbox: Outbox) -> None:
    """With the broker in memory, what was published but not answered goes out again at once."""
    image = outbox.image("ami-1")
    with MemoryBroker() as first, accounts(outbox, first):
        wait_until(lambda: outbox.inspection(image).state is State.PUBLISHED)
    inspector_of_second = Inbox()
    with (
        MemoryBroker() as second,
        accounts(outbox, second),
        consuming(second, INSPECTION_JOBS, inspector_of_second),
    ):
        assert job_of(inspector_of_second.next()).attempt == 1


def test_an_answer_survives_a_killed_database(private_postgres: EmbeddedPostgres) -> None:
    """While PostgreSQL is down a result is kept and tried again; after that it is recorded."""
    url = private_postgres.url("accounts")
    with contextlib.closing(Database(url)) as database, MemoryBroker(requeue_wait=0.0) as broker:
        database.migrate()
        outbox = outbox_in(database)
        image = outbox.image("ami-1")
        jobs = Inbox()
        with accounts(outbox, broker, NEVER) as relay, capture_logs() as logs:
            relay.wake()
            with consuming(broker, INSPECTION_JOBS, jobs):
                job = job_of(jobs.next())
            wait_until(lambda: outbox.inspection(image).state is State.PUBLISHED)
            private_postgres.kill()
            broker.publish(INSPECTION_RESULTS, found(job))
            wait_until(lambda: [log["event"] for log in logs].count("inspection.waiting") == 3)
            private_postgres.start()
            wait_until(database.healthy)
            wait_until(lambda: outbox.inspection(image).state is State.DONE)
        assert "broker.requeued" not in {log["event"] for log in logs}
