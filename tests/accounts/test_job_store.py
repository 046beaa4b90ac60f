"""Inspection jobs and what is answered, in a real PostgreSQL."""

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from libs.common.broker import BrokerUnavailable
from libs.common.errors import FailedPrecondition, NotFound
from services.accounts.audit import Author
from services.accounts.billing import LicenseModel
from services.accounts.classification import Authority, Evidence, Installed, Strength, Syspurpose
from services.accounts.classification_store import reclassify
from services.accounts.database import Database, lock_accounts, next_recorded_at
from services.accounts.job_store import JobStore, want_inspections
from services.accounts.jobs import Answer, Failure, Order, State
from tests.support.brokers import wait_until
from tests.support.inspections import EVERYBODY, MINUTES, Outbox

ROOT = Path(__file__).parents[2]
RHEL = Installed(
    "rhel",
    "9.4",
    pretty_name="Red Hat Enterprise Linux 9.4 (Plow)",
    products=("sap",),
    architecture="x86_64",
    layout="GPT, 3 partitions",
    journal=1,
    syspurpose=Syspurpose("Server", "Premium", "Production"),
    snapshot_id="snap-0123456789abcdef0",
    evidence=(Evidence("os-release.ID", "/etc/os-release", "rhel", Strength.DECISIVE),),
)

# Publishes one job, says so, and hangs before it can be noted.
DYING_RELAY = """
import sys
from services.accounts.database import Database
from services.accounts.job_store import JobStore

def publish(order):
    print(order.job_id, order.attempt, flush=True)
    sys.stdin.read()

JobStore(Database(sys.argv[1])).publish_due(publish, int(sys.argv[2]), 20)
"""


def published(outbox: Outbox) -> list[Order]:
    """Publish what is due, and return it."""
    orders: list[Order] = []
    outbox.store.publish_due(orders.append, outbox.now, 100)
    return orders


def answer(outbox: Outbox, order: Order, outcome: Installed | Failure) -> bool:
    """Record an answer to an order."""
    reply = Answer(order.job_id, order.attempt, order.account_id, order.ami_id, outcome)
    return outbox.store.record(reply, outbox.now)


def test_an_image_gets_one_job_however_often_it_is_listed(outbox: Outbox) -> None:
    """Wanting it again makes no second job and does not disturb the first."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    with outbox.database.transaction() as cursor:
        want_inspections(cursor, outbox.account_id, [image, image], outbox.now)
    assert outbox.inspection(image).state is State.PUBLISHED
    answer(outbox, order, RHEL)
    with outbox.database.transaction() as cursor:
        want_inspections(cursor, outbox.account_id, [image], outbox.now)
    assert outbox.inspection(image).state is State.DONE
    assert published(outbox) == []


def test_a_job_exists_only_if_its_transaction_was_committed(outbox: Outbox) -> None:
    """The outbox row belongs to the transaction that made it necessary."""
    with suppress(RuntimeError), outbox.database.transaction() as cursor:
        want_inspections(cursor, outbox.account_id, [17], outbox.now)
        raise RuntimeError
    assert outbox.store.inspections(outbox.account_id, EVERYBODY, None, None, 10) == []


def test_an_order_says_all_that_an_inspector_needs(outbox: Outbox) -> None:
    """Account, role, ExternalId, Region, image and snapshot, and which attempt it is."""
    outbox.image("ami-1")
    (order,) = published(outbox)
    assert order == Order(
        job_id=order.job_id,
        attempt=1,
        account_id=outbox.account_id,
        aws_account_id="123456789012",
        role_arn="arn:aws:iam::123456789012:role/cloudigrade",
        external_id="external",
        region="eu-west-1",
        ami_id="ami-1",
        root_snapshot_id="snap-0123456789abcdef0",
    )


def test_two_relays_publish_each_job_once_per_lease(outbox: Outbox) -> None:
    """While one holds its batch, the other gets what is left, and after that nothing is due."""
    for number in range(6):
        outbox.image(f"ami-{number}")
    holding, leave = threading.Event(), threading.Event()
    first: list[Order] = []

    def slowly(order: Order) -> None:
        first.append(order)
        holding.set()
        assert leave.wait(30)

    relay = threading.Thread(
        target=outbox.store.publish_due, args=(slowly, outbox.now, 4), daemon=True
    )
    relay.start()
    assert holding.wait(30)
    second = published(outbox)
    leave.set()
    relay.join(30)
    assert (len(first), len(second)) == (4, 2)
    assert len({order.job_id for order in [*first, *second]}) == 6
    assert published(outbox) == []


def test_a_relay_killed_before_it_noted_a_publication_repeats_it(
    outbox: Outbox, database_url: str
) -> None:
    """After kill -9 between the two the job is due again, as the same attempt."""
    image = outbox.image("ami-1")
    with subprocess.Popen(
        [sys.executable, "-c", DYING_RELAY, database_url, str(outbox.now)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            job_id, attempt = map(int, process.stdout.readline().split())
        finally:
            process.kill()
    assert outbox.inspection(image).state is State.PENDING
    (order,) = published_when_unlocked(outbox)
    assert (order.job_id, order.attempt) == (job_id, attempt) == (order.job_id, 1)


def published_when_unlocked(outbox: Outbox) -> list[Order]:
    """Publish what is due once PostgreSQL has noticed that another client died."""
    for _ in range(600):
        if orders := published(outbox):
            return orders
        threading.Event().wait(0.05)
    raise AssertionError("the rows stayed locked")


def test_what_was_published_before_the_broker_went_away_is_noted(outbox: Outbox) -> None:
    """The first of three is PUBLISHED, the others stay due and follow later."""
    for number in range(3):
        outbox.image(f"ami-{number}")
        outbox.advance(1)
    sent: list[Order] = []

    def one_only(order: Order) -> None:
        if sent:
            raise BrokerUnavailable("away")
        sent.append(order)

    with pytest.raises(BrokerUnavailable):
        outbox.store.publish_due(one_only, outbox.now, 10)
    assert [order.ami_id for order in sent] == ["ami-0"]
    assert [order.ami_id for order in published(outbox)] == ["ami-1", "ami-2"]


def test_jobs_of_an_account_that_is_not_enabled_wait(outbox: Outbox) -> None:
    """While an account is paused nothing of it is published."""
    outbox.image("ami-1")
    set_state(outbox, 3)
    assert published(outbox) == []
    set_state(outbox, 2)
    assert len(published(outbox)) == 1


def set_state(outbox: Outbox, state: int) -> None:
    """Change the account's state."""
    with outbox.database.transaction() as cursor:
        cursor.execute("UPDATE cloud_account SET state = %s", (state,))


def test_a_lease_that_is_over_brings_another_attempt_five_times_in_all(outbox: Outbox) -> None:
    """Without any answer attempts 1 to 5 are published an hour apart, then the job is dead."""
    image = outbox.image("ami-1")
    attempts = []
    for _ in range(7):
        attempts += [order.attempt for order in published(outbox)]
        assert published(outbox) == []
        outbox.advance(60)
    assert attempts == [1, 2, 3, 4, 5]
    inspection = outbox.inspection(image)
    assert (inspection.state, inspection.attempts, inspection.due_at) == (State.DEAD, 5, 0)
    assert inspection.reason.startswith(
        "No inspector answered 5 attempts, each within 60 min. Is one running,"
    )


def test_a_finding_is_stored_with_its_evidence_and_its_time(outbox: Outbox) -> None:
    """The image is what its disk says from then on; asked for before, it is what it was."""
    image = outbox.image("ami-1", "RunInstances:0010")
    before = outbox.now
    (order,) = published(outbox)
    outbox.advance(10)
    assert answer(outbox, order, RHEL)
    known = outbox.classified(image)
    assert (known.distribution, known.version) == ("rhel", "9.4")
    assert (known.distribution_authority, known.license_model) == (
        Authority.DISK,
        LicenseModel.INCLUDED,
    )
    assert known.products == ("sap",)
    assert known.syspurpose == Syspurpose("Server", "Premium", "Production")
    assert known.evidence[0] == RHEL.evidence[0]
    earlier = outbox.classified(image, as_of=before)
    assert (earlier.version, earlier.distribution_authority) == ("", Authority.BILLING)
    assert outbox.rows(image) == 2
    assert revision(outbox) == outbox.now


def revision(outbox: Outbox) -> int:
    """Return the last recorded_at of the account."""
    with outbox.database.transaction() as cursor:
        cursor.execute("SELECT last_recorded_at FROM cloud_account")
        (last,) = cursor.fetchone() or (0,)
    return int(last)


def test_a_finding_counts_once(outbox: Outbox) -> None:
    """The same answer again stores nothing and changes no revision."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    assert answer(outbox, order, RHEL)
    noted = revision(outbox)
    outbox.advance(1)
    assert not answer(outbox, order, RHEL)
    assert (outbox.rows(image), revision(outbox)) == (2, noted)


def test_two_consumers_store_the_same_finding_once(outbox: Outbox) -> None:
    """Of eight that record it at the same moment one counts."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    start = threading.Barrier(8)
    counted: list[bool] = []

    def record() -> None:
        start.wait(30)
        counted.append(answer(outbox, order, RHEL))

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(counted) == [False] * 7 + [True]
    assert outbox.rows(image) == 2


def test_a_late_finding_of_an_older_attempt_counts_and_a_late_failure_does_not(
    outbox: Outbox,
) -> None:
    """While attempt 2 is under way, attempt 1 may still find something but fails nothing."""
    image = outbox.image("ami-1")
    (first,) = published(outbox)
    outbox.advance(60)
    (second,) = published(outbox)
    assert second.attempt == 2
    assert not answer(outbox, first, Failure("too late", passing=True))
    assert outbox.inspection(image).state is State.PUBLISHED
    assert answer(outbox, first, RHEL)
    assert outbox.inspection(image).state is State.DONE
    assert not answer(outbox, second, Failure("after the end", passing=True))
    assert outbox.inspection(image).state is State.DONE


def test_passing_failures_come_again_after_growing_waits(outbox: Outbox) -> None:
    """After a failure nothing is due for a minute; the fifth failure ends it with the reason."""
    image = outbox.image("ami-1")
    for wait in (1, 5, 15, 60):
        (order,) = published(outbox)
        assert answer(outbox, order, Failure("AWS throttled", passing=True))
        assert outbox.inspection(image).state is State.RETRY
        assert outbox.inspection(image).due_at == outbox.now + wait * MINUTES
        outbox.advance(wait - 0.01)
        assert published(outbox) == []
        outbox.advance(0.01)
    (order,) = published(outbox)
    assert order.attempt == 5
    assert answer(outbox, order, Failure("AWS throttled", passing=True))
    inspection = outbox.inspection(image)
    assert (inspection.state, inspection.reason) == (
        State.DEAD,
        "Given up after 5 attempts: AWS throttled",
    )


def test_a_disk_that_cannot_be_read_is_an_answer(outbox: Outbox) -> None:
    """The job is DONE with the reason, and the image stays what its bill says."""
    image = outbox.image("ami-1", "RunInstances:0010")
    (order,) = published(outbox)
    assert answer(outbox, order, Failure("kms:Decrypt is missing", passing=False))
    inspection = outbox.inspection(image)
    assert (inspection.state, inspection.reason) == (State.DONE, "kms:Decrypt is missing")
    assert outbox.classified(image).distribution_authority is Authority.BILLING
    assert outbox.rows(image) == 1


def test_an_answer_for_a_job_that_is_gone_changes_nothing(outbox: Outbox) -> None:
    """Neither a job nor an account that there is not is an error."""
    assert not outbox.store.record(Answer(99, 1, outbox.account_id, "ami-1", RHEL), outbox.now)
    assert not outbox.store.record(Answer(99, 1, 4711, "ami-1", RHEL), outbox.now)
    assert not outbox.store.bury(4711, 99, 1, "died", outbox.now)


def test_an_answer_about_another_image_is_refused(outbox: Outbox) -> None:
    """A finding under the number of another image's job is not stored."""
    outbox.image("ami-1")
    image = outbox.image("ami-2")
    order = next(each for each in published(outbox) if each.ami_id == "ami-2")
    with pytest.raises(NotFound, match=r"is for the image ami-2, not for 'ami-1'"):
        outbox.store.record(Answer(order.job_id, 1, outbox.account_id, "ami-1", RHEL), outbox.now)
    assert outbox.inspection(image).state is State.PUBLISHED


def test_new_codes_keep_what_the_disk_said(outbox: Outbox) -> None:
    """When AWS describes the image otherwise, a row is added that has both; the same adds none."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    answer(outbox, order, RHEL)
    describe(outbox, image, "RunInstances:00g0")
    known = outbox.classified(image)
    assert (known.distribution, known.version, known.billed_distribution, known.license_model) == (
        "rhel",
        "9.4",
        "rhel",
        LicenseModel.BYOS,
    )
    assert outbox.rows(image) == 3
    describe(outbox, image, "RunInstances:00g0")
    assert outbox.rows(image) == 3


def test_what_one_transaction_learns_of_an_image_is_one_row(outbox: Outbox) -> None:
    """An image named first and described later in the same transaction is what it is at its end."""
    image = outbox.image("ami-1")
    with outbox.database.transaction() as cursor:
        lock_accounts(cursor, [outbox.account_id])
        recorded_at = next_recorded_at(cursor, outbox.account_id, outbox.now)
        for code in ("RunInstances:000g", "RunInstances:0010"):
            cursor.execute("UPDATE image SET usage_operation = %s", (code,))
            reclassify(cursor, outbox.account_id, [image], Author("service:scanner", recorded_at))
    assert outbox.classified(image).distribution == "rhel"
    assert outbox.rows(image) == 2


def describe(outbox: Outbox, image: int, usage_operation: str) -> None:
    """Store what a listing says of the image."""
    with outbox.database.transaction() as cursor:
        lock_accounts(cursor, [outbox.account_id])
        cursor.execute(
            "UPDATE image SET usage_operation = %s WHERE image_id = %s", (usage_operation, image)
        )
        recorded_at = next_recorded_at(cursor, outbox.account_id, outbox.now)
        reclassify(cursor, outbox.account_id, [image], Author("service:scanner", recorded_at))


def test_a_buried_job_is_dead_and_a_redrive_gives_it_a_new_attempt(outbox: Outbox) -> None:
    """Redriving publishes attempt 2 at once, and is written into the audit log."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    assert outbox.store.bury(outbox.account_id, order.job_id, 1, "delivered 6 times", outbox.now)
    assert outbox.inspection(image).state is State.DEAD
    author = Author("ada", outbox.now)
    (redriven,) = outbox.store.redrive(outbox.account_id, EVERYBODY, [order.job_id], author)
    assert (redriven.state, redriven.ami_id) == (State.PENDING, "ami-1")
    assert [each.attempt for each in published(outbox)] == [2]
    assert not outbox.store.bury(outbox.account_id, order.job_id, 1, "again", outbox.now)
    with outbox.database.transaction() as cursor:
        cursor.execute("SELECT actor, action, subject, detail FROM audit")
        assert cursor.fetchall() == [
            (
                "ada",
                "inspection.redriven",
                "ami-1",
                (
                    "The inspection was given up: delivered 6 times. The inspectors' logs of job"
                    f" {order.job_id}, attempt 1, say more. Redrive when the cause is gone."
                ),
            )
        ]


def test_a_redrive_takes_all_that_is_named_or_nothing(outbox: Outbox) -> None:
    """A job that is not dead, or not there, refuses the whole; without names all dead are taken."""
    dead = [outbox.image("ami-1"), outbox.image("ami-2")]
    orders = published(outbox)
    for order in orders:
        outbox.store.bury(outbox.account_id, order.job_id, 1, "died", outbox.now)
    outbox.image("ami-3")
    (alive,) = published(outbox)
    author = Author("ada", outbox.now)
    ids = [order.job_id for order in orders]
    with pytest.raises(FailedPrecondition, match="PUBLISHED"):
        outbox.store.redrive(outbox.account_id, EVERYBODY, [*ids, alive.job_id], author)
    with pytest.raises(NotFound, match="no inspection 4711"):
        outbox.store.redrive(outbox.account_id, EVERYBODY, [*ids, 4711], author)
    assert {outbox.inspection(image).state for image in dead} == {State.DEAD}
    redriven = outbox.store.redrive(outbox.account_id, EVERYBODY, [], author)
    assert [each.id for each in redriven] == ids
    assert outbox.store.redrive(outbox.account_id, EVERYBODY, [], author) == []


def test_inspections_are_listed_newest_first_by_pages_and_by_state(outbox: Outbox) -> None:
    """Three jobs, two a page; of those that are DONE there is one."""
    for number in (1, 2, 3):
        outbox.image(f"ami-{number}")
    order = next(each for each in published(outbox) if each.ami_id == "ami-2")
    answer(outbox, order, RHEL)
    first = outbox.store.inspections(outbox.account_id, EVERYBODY, None, None, 2)
    rest = outbox.store.inspections(outbox.account_id, EVERYBODY, None, (first[-1].id,), 2)
    done = outbox.store.inspections(outbox.account_id, EVERYBODY, State.DONE, None, 10)
    assert [each.ami_id for each in [*first, *rest]] == ["ami-3", "ami-2", "ami-1"]
    assert [each.ami_id for each in done] == ["ami-2"]


def test_inspections_are_only_their_owners_to_see(outbox: Outbox) -> None:
    """For a stranger there is no such account, to list from or to redrive in."""
    outbox.image("ami-1")
    with pytest.raises(NotFound):
        outbox.store.inspections(outbox.account_id, 4711, None, None, 10)
    with pytest.raises(NotFound):
        outbox.store.redrive(outbox.account_id, 4711, [], Author("eve", outbox.now))


def test_what_a_broker_forgot_is_published_again_as_the_same_attempt(
    outbox: Outbox, database: Database
) -> None:
    """Reopening makes published jobs due, and leaves those that are settled."""
    outbox.image("ami-1")
    outbox.image("ami-2")
    orders = published(outbox)
    answer(outbox, orders[0], RHEL)
    JobStore(database).reopen(outbox.now)
    assert [(each.ami_id, each.attempt) for each in published(outbox)] == [(orders[1].ami_id, 1)]


def test_an_answer_waits_for_whoever_writes_facts_of_its_account(outbox: Outbox) -> None:
    """What is recorded is recorded under the account's lock, held to the commit."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    recording = threading.Thread(target=answer, args=(outbox, order, RHEL))
    with outbox.database.transaction() as cursor:
        lock_accounts(cursor, [outbox.account_id])
        recording.start()
        wait_until(lambda: somebody_waits_for_a_lock(outbox))
        cursor.execute("SELECT state FROM inspection_job FOR UPDATE NOWAIT")
    recording.join(30)
    assert outbox.inspection(image).state is State.DONE


def test_a_dead_letter_does_not_undo_a_finding_of_the_same_moment(outbox: Outbox) -> None:
    """It waits until the finding is committed, sees that the job is DONE, and changes nothing."""
    image = outbox.image("ami-1")
    (order,) = published(outbox)
    buried: list[bool] = []

    def bury() -> None:
        buried.append(outbox.store.bury(outbox.account_id, order.job_id, 1, "died", outbox.now))

    burying = threading.Thread(target=bury)
    with outbox.database.transaction() as cursor:
        cursor.execute("UPDATE inspection_job SET state = %s, due_at = 0", (State.DONE.value,))
        burying.start()
        wait_until(lambda: somebody_waits_for_a_lock(outbox))
    burying.join(30)
    assert buried == [False]
    assert outbox.inspection(image).state is State.DONE


def somebody_waits_for_a_lock(outbox: Outbox) -> bool:
    """Say whether a client of the test's database waits for another."""
    found: list[bool] = []

    def look() -> None:
        with outbox.database.transaction() as cursor:
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            found.append(cursor.fetchone() is not None)

    # A thread has one transaction at a time, and the test's own is open.
    looking = threading.Thread(target=look)
    looking.start()
    looking.join(30)
    return found == [True]
