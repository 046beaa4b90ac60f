"""Answers that accounts takes, drops or keeps aside, through both brokers."""

from collections.abc import Callable
from functools import partial

import pytest
from structlog.testing import capture_logs

from cloudigrade.inspector.v1 import evidence_pb2, inspection_pb2
from libs.common.broker import (
    INSPECTION_JOBS,
    INSPECTION_RESULTS,
    REQUEST_ID,
    Broker,
    Message,
    dead,
)
from libs.common.workers import Worker
from services.accounts.audit import Author
from services.accounts.classification import Authority
from services.accounts.inspection_convert import answer_from_message
from services.accounts.job_store import JobStore
from services.accounts.jobs import OPEN, Answer, Patience, State
from services.inspector.finding import Finding, JournalState
from services.inspector.inspector import ImageInspector, Inspected, Target
from services.inspector.outcome import Cost, Outcome
from services.inspector.worker import JobWorker
from tests.support.brokers import Inbox, consuming, wait_until
from tests.support.inspecting import Inspector, accounts, quarantined
from tests.support.inspections import (
    EVERYBODY,
    MINUTES,
    Outbox,
    failed,
    found,
    result_message,
)

Job = inspection_pb2.InspectionJob
ENABLED, PAUSED, DISABLED, DELETED = 2, 3, 4, 5


def delivered(outbox: Outbox, broker: Broker, *messages: Message, aside: int = 0) -> None:
    """Have accounts take these results, and one more at the end that shows when it is through.

    `aside` is how many of them it keeps aside.
    """
    last = outbox.image("ami-last")
    (job,) = [job for job in handed_out(outbox) if job.image_id == "ami-last"]
    with accounts(outbox, broker):
        for message in (*messages, found(job)):
            broker.publish(INSPECTION_RESULTS, message)
        wait_until(lambda: outbox.inspection(last).state is State.DONE)
        wait_for_quarantine(outbox, aside)


def handed_out(outbox: Outbox) -> list[Job]:
    """Publish what is due to nobody, and return it."""
    jobs: list[Job] = []
    outbox.store.publish_due(
        lambda order: jobs.append(
            Job(
                job_id=order.job_id,
                attempt=order.attempt,
                account_id=order.account_id,
                image_id=order.ami_id,
            )
        ),
        outbox.now,
        100,
    )
    return jobs


def is_done(outbox: Outbox, image: int) -> bool:
    """Say whether an image's inspection has ended."""
    return outbox.inspection(image).state is State.DONE


def set_state(outbox: Outbox, state: int) -> None:
    """Change the account's state."""
    with outbox.database.transaction() as cursor:
        cursor.execute("UPDATE cloud_account SET state = %s", (state,))


def test_a_result_for_an_erased_account_is_dropped(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """The account is gone at once, its rows later: a finding and a failure change nothing."""
    image = outbox.image("ami-1")
    (job,) = handed_out(outbox)
    with outbox.database.transaction() as cursor:
        cursor.execute("DELETE FROM cloud_account")
    with accounts(outbox, inspection_broker), capture_logs() as logs:
        for message in (found(job), failed(job), Message("no", "such", b"")):
            inspection_broker.publish(INSPECTION_RESULTS, message)
        wait_until(lambda: len(quarantined(outbox.database)) == 1)
        wait_until(lambda: [each["event"] for each in logs].count("inspection.answered") == 2)
    assert outbox.inspection(image).state in OPEN
    assert outbox.rows(image) == 1


def test_a_result_for_another_image_is_kept_aside_and_the_job_goes_on(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """Under the number of ami-1's job it says ami-2: neither is changed, and it can be seen."""
    image, other = outbox.image("ami-1"), outbox.image("ami-2")
    one, _ = sorted(handed_out(outbox), key=lambda job: job.image_id)
    wrong = Job(job_id=one.job_id, attempt=1, account_id=one.account_id, image_id="ami-2")
    delivered(outbox, inspection_broker, found(wrong), aside=1)
    assert {outbox.inspection(each).state for each in (image, other)} == {State.PUBLISHED}
    assert (outbox.rows(image), outbox.rows(other)) == (1, 1)
    (kept,) = quarantined(outbox.database)
    assert (kept.account_id, kept.content) == (outbox.account_id, found(wrong).body)
    assert kept.reason == f"Job {one.job_id} is for the image ami-1, not for 'ami-2'."


def wait_for_quarantine(outbox: Outbox, count: int = 1) -> None:
    """Wait until the dead queue's consumer has kept what was there."""
    assert len(quarantined(outbox.database)) <= count
    wait_until(lambda: len(quarantined(outbox.database)) == count)


def test_a_failure_of_an_older_attempt_changes_nothing_and_a_finding_counts(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """While attempt 2 is under way, attempt 1's failure is late; what it found is true still."""
    late, true = outbox.image("ami-late"), outbox.image("ami-true")
    first = {job.image_id: job for job in handed_out(outbox)}
    outbox.advance(60)
    assert {job.attempt for job in handed_out(outbox)} == {2}
    delivered(outbox, inspection_broker, failed(first["ami-late"]), found(first["ami-true"]))
    inspection = outbox.inspection(late)
    assert (inspection.state, inspection.attempts) == (State.PUBLISHED, 2)
    assert inspection.reason == "No inspector answered attempt 1 within 60 min."
    assert (outbox.inspection(true).state, outbox.rows(true)) == (State.DONE, 2)


def test_a_result_that_cannot_be_taken_has_its_job_tried_again(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """A result without an outcome: kept for its account, and attempt 1 failed for that reason."""
    image = outbox.image("ami-1")
    (job,) = handed_out(outbox)
    empty = result_message(
        inspection_pb2.InspectionResult(
            job_id=job.job_id, attempt=1, account_id=job.account_id, image_id="ami-1"
        )
    )
    with accounts(outbox, inspection_broker):
        inspection_broker.publish(INSPECTION_RESULTS, empty)
        wait_until(lambda: outbox.inspection(image).state is State.RETRY)
    inspection = outbox.inspection(image)
    assert inspection.reason.startswith(
        "The inspector's answer could not be taken: neither a finding nor a failure is set (kept in"
        " quarantine as "
    )
    assert inspection.due_at == outbox.now + MINUTES
    (kept,) = quarantined(outbox.database)
    assert (kept.account_id, kept.content) == (outbox.account_id, empty.body)


def test_a_result_that_accounts_fails_on_six_times_is_kept_aside(
    outbox: Outbox, inspection_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in taking it loses neither the result nor the job, and stops no other result."""
    image, other = outbox.image("ami-1"), outbox.image("ami-2")
    record = outbox.store.record

    def defective(answer: object, now: int) -> bool:
        if getattr(answer, "ami_id", "") == "ami-1":
            raise ZeroDivisionError
        return record(answer, now)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(outbox.store, "record", defective)
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, Inspector(inspection_broker)),
    ):
        wait_until(lambda: outbox.inspection(image).state is State.RETRY)
        wait_until(lambda: outbox.inspection(other).state is State.DONE)
    assert "delivered 6 times" in outbox.inspection(image).reason
    (kept,) = quarantined(outbox.database)
    assert kept.account_id == outbox.account_id
    assert inspection_pb2.InspectionResult.FromString(kept.content).finding.distribution == "rhel"


def test_a_message_in_the_dead_queue_of_jobs_that_is_none_is_kept_aside(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """What no relay sent goes into quarantine; the job after it is given up."""
    image = outbox.image("ami-1")
    inbox = Inbox()
    stranger = Message("something.Else", "bad\0id", b"\0", {"x-dead-reason": "why\0"})
    with (
        accounts(outbox, inspection_broker),
        consuming(inspection_broker, INSPECTION_JOBS, inbox),
    ):
        message = inbox.next()
        inspection_broker.publish(dead(INSPECTION_JOBS), stranger)
        inspection_broker.publish(dead(INSPECTION_JOBS), message)
        wait_until(lambda: outbox.inspection(image).state is State.DEAD)
        wait_for_quarantine(outbox)
    (kept,) = quarantined(outbox.database)
    assert (kept.account_id, kept.content) == (0, b"\0")
    assert kept.origin == "inspection.jobs: message 'bad\\x00id' of the type 'something.Else'"
    assert kept.reason.startswith("the type is 'something.Else', not ")


class Reader(ImageInspector):
    """Stands where the inspector reads disks: every disk is RHEL 9.4."""

    def __init__(self) -> None:
        """Take nothing: no AWS is called."""

    def inspect(self, target: Target, progress: Callable[[str, int], None]) -> Inspected:
        """Find."""
        progress("reading", 0)
        finding = Finding("rhel", "9.4", "RHEL 9.4", (), "GPT", JournalState.CLEAN)
        return Inspected(Outcome(finding, Cost()), target.snapshot_id)


def test_what_cannot_be_parsed_stops_no_queue(outbox: Outbox, inspection_broker: Broker) -> None:
    """On each of the four queues: kept aside with its reason, while the job is done."""
    image = outbox.image("ami-1")
    bodies = {
        queue: f"nonsense for {queue}".encode()
        for work in (INSPECTION_JOBS, INSPECTION_RESULTS)
        for queue in (work, dead(work))
    }
    with (
        accounts(outbox, inspection_broker, 3600.0) as relay,
        Worker("jobs", JobWorker(inspection_broker, Reader(), 2)),
    ):
        for queue, body in bodies.items():
            inspection_broker.publish(
                queue, Message("nonsense.Type", queue, body, {REQUEST_ID: "r"})
            )
        relay.wake()
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
        wait_for_quarantine(outbox, 4)
    kept = {each.content: each for each in quarantined(outbox.database)}
    assert set(kept) == set(bodies.values())
    assert "a message of the type 'nonsense.Type' is no inspection job" in (
        kept[bodies[INSPECTION_JOBS]].reason
    )
    assert "the type is 'nonsense.Type'" in kept[bodies[INSPECTION_RESULTS]].reason


@pytest.mark.parametrize("inspection_broker", ["memory"], indirect=True)
def test_what_a_disk_says_is_stored_whatever_the_account_s_state(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """Jobs that were out when their account was put aside: the findings are true, and kept."""
    for state in (PAUSED, DISABLED, DELETED):
        image = outbox.image(f"ami-{state}")
        (job,) = handed_out(outbox)
        set_state(outbox, state)
        with accounts(outbox, inspection_broker):
            inspection_broker.publish(INSPECTION_RESULTS, found(job))
            wait_until(partial(is_done, outbox, image))
        known = outbox.classified(image)
        assert (known.distribution, known.distribution_authority) == ("rhel", Authority.DISK)
        set_state(outbox, ENABLED)


def test_jobs_of_an_account_that_is_put_aside_wait_and_are_due_at_once_when_it_is_enabled(
    outbox: Outbox,
) -> None:
    """Neither a lease that ends meanwhile nor the time that passes costs an attempt."""
    outbox.image("ami-out")
    assert len(handed_out(outbox)) == 1
    outbox.image("ami-new")
    for state in (PAUSED, DISABLED, DELETED):
        set_state(outbox, state)
        for _ in range(3):
            outbox.advance(60)
            assert handed_out(outbox) == []
    set_state(outbox, ENABLED)
    attempts = {job.image_id: job.attempt for job in handed_out(outbox)}
    assert attempts == {"ami-new": 1, "ami-out": 2}


def test_a_change_of_what_an_image_is_stands_in_the_audit_log(outbox: Outbox) -> None:
    """The entry names before and after, and the usage affected: 10:00 to 11:30 and 11:00 to now."""
    image = outbox.image("ami-1", "RunInstances")
    hour = 60 * MINUTES
    begun = outbox.now - 2 * hour
    runs = ((1, begun, begun + 90 * MINUTES), (2, begun + hour, 0))
    with outbox.database.transaction() as cursor:
        for number, start, end in runs:
            cursor.execute(
                "INSERT INTO instance (account_id, ec2_id, image_id, recorded_at)"
                " VALUES (%s, %s, %s, 1) RETURNING instance_id",
                (outbox.account_id, f"i-{number}", image),
            )
            (instance,) = cursor.fetchone() or (0,)
            cursor.execute(
                "INSERT INTO run (account_id, instance_id, start_at, end_at, session_start,"
                " confirmed_start, confirmed_end, end_latest, instance_type, usage_operation,"
                " vcpu, basis, recorded_at) VALUES (%s, %s, %s, %s, %s, 0, 0, 0, 0, 0, 0, 0, 1)",
                (outbox.account_id, instance, start, end, start),
            )
    (job,) = handed_out(outbox)
    outbox.advance(10)
    assert outbox.store.record(answer(job), outbox.now)
    assert not outbox.store.record(answer(job), outbox.now)
    with outbox.database.transaction() as cursor:
        cursor.execute(
            "SELECT actor, action, subject, detail, at, affected_from, affected_until FROM audit"
        )
        entries = cursor.fetchall()
    at = outbox.now
    assert entries == [
        (
            "service:inspector",
            "image.classified",
            "ami-1",
            (
                "rhel 9.4, license unknown, Red Hat Enterprise Linux Server, by job"
                f" {job.job_id}; before that unknown, license unknown"
            ),
            at,
            begun,
            at,
        )
    ]


def answer(job: Job) -> Answer:
    """Read the finding of a job as accounts does."""
    return answer_from_message(found(job))


def test_a_finding_that_changes_nothing_of_what_is_known_is_not_in_the_audit_log(
    outbox: Outbox,
) -> None:
    """The disk cannot say what it is, and the billing codes stand: no report changes."""
    outbox.image("ami-1", "RunInstances:0010")
    (job,) = handed_out(outbox)
    unknown = inspection_pb2.InspectionResult(
        job_id=job.job_id,
        attempt=1,
        account_id=job.account_id,
        image_id="ami-1",
        finding=evidence_pb2.Finding(distribution="unknown", unknown_reason="no root"),
    )
    assert outbox.store.record(answer_from_message(result_message(unknown)), outbox.now)
    with outbox.database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM audit")
        assert cursor.fetchone() == (0,)


def test_a_failure_leaves_the_billing_codes_and_says_why_until_a_redrive_reads_the_disk(
    outbox: Outbox, inspection_broker: Broker
) -> None:
    """Denied: rhel by its billing codes, with the permission named; granted and redriven: read."""
    image = outbox.image("ami-1", "RunInstances:0010")
    denied = "The role's policy must allow ebs:GetSnapshotBlock (denied in eu-west-1)."
    granted = False

    def reads(job: Job) -> list[Message]:
        return [found(job) if granted else failed(job, denied, passing=False)]

    with (
        accounts(outbox, inspection_broker) as relay,
        consuming(inspection_broker, INSPECTION_JOBS, Inspector(inspection_broker, reads)),
        capture_logs() as logs,
    ):
        wait_until(lambda: outbox.inspection(image).state is State.DONE)
        inspection, known = outbox.inspection(image), outbox.classified(image)
        assert inspection.reason == denied
        assert (known.distribution, known.distribution_authority) == ("rhel", Authority.BILLING)
        assert known.installed_distribution == ""
        granted = True
        author = Author("ada", outbox.now)
        outbox.store.redrive(outbox.account_id, EVERYBODY, [inspection.id], author)
        relay.wake()
        wait_until(lambda: outbox.classified(image).version == "9.4")
    lines = [each for each in logs if each["event"] in _LINES]
    about = {"account": outbox.account_id, "job": inspection.id, "image": "ami-1"}
    assert lines == [
        {"event": "inspection.unreadable", "log_level": "warning", **about, "reason": denied},
        {
            "event": "inspection.redriven",
            "log_level": "info",
            **about,
            "reason": denied,
            "actor": "ada",
        },
    ]


_LINES = {"inspection.unreadable", "inspection.redriven", "inspection.given_up"}


def test_a_job_that_is_given_up_is_one_line_in_the_log(outbox: Outbox) -> None:
    """With its account, job, image and reason, and without the account's ExternalId."""
    outbox.image("ami-1")
    with capture_logs() as logs:
        for _ in range(6):
            handed_out(outbox)
            outbox.advance(60)
    (line,) = [each for each in logs if each["event"] in _LINES]
    assert (line["event"], line["log_level"], line["image"]) == (
        "inspection.given_up",
        "warning",
        "ami-1",
    )
    assert line["reason"].startswith("No inspector answered 5 attempts")
    assert "external" not in str(logs)


def test_no_more_jobs_are_out_than_allowed(outbox: Outbox) -> None:
    """With three out of five allowed two wait, PENDING, until an answer makes room."""
    store = JobStore(outbox.database, Patience(out=3))
    images = [outbox.image(f"ami-{number}") for number in range(5)]
    outbox.store = store
    out = handed_out(outbox)
    assert len(out) == 3
    assert handed_out(outbox) == []
    store.record(answer(out[0]), outbox.now)
    assert len(handed_out(outbox)) == 1
    outbox.advance(60)
    # The three leases are over, so all but the finished one are due: three may go out.
    assert len(handed_out(outbox)) == 3
    assert [outbox.inspection(image).state for image in images].count(State.PENDING) <= 1
