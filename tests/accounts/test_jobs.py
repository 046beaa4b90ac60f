"""What may become of an inspection job."""

from dataclasses import replace

import pytest

from libs.common.errors import FailedPrecondition
from services.accounts import jobs
from services.accounts.jobs import Failure, Job, State

MINUTE = 60_000_000
NOW = 1_000 * MINUTE
LEASE = 60 * MINUTE
PENDING = Job(1, 7, 3, State.PENDING, 0, 0, "", 0, NOW)
PASSING = Failure("AWS throttled", passing=True)
LASTING = Failure("the key is denied", passing=False)


def test_a_published_job_has_a_lease() -> None:
    """Publishing begins attempt 1, whose answer must come within the hour."""
    job = jobs.published(PENDING, NOW, LEASE)
    assert (job.state, job.attempts, job.due_at) == (State.PUBLISHED, 1, 1_060 * MINUTE)


def test_passing_failures_are_retried_after_growing_waits_and_then_given_up() -> None:
    """Five attempts: 1, 5, 15 and 60 minutes apart; the fifth failure ends the job."""
    job, waits = PENDING, []
    for attempt in (1, 2, 3, 4):
        answered = jobs.failed(jobs.published(job, NOW, LEASE), attempt, PASSING, NOW)
        assert answered is not None
        assert answered.state is State.RETRY
        waits.append((answered.due_at - NOW) // MINUTE)
        job = answered
    dead = jobs.failed(jobs.published(job, NOW, LEASE), 5, PASSING, NOW)
    assert waits == [1, 5, 15, 60]
    assert dead is not None
    assert (dead.state, dead.due_at) == (State.DEAD, 0)
    assert dead.reason == "Given up after 5 attempts: AWS throttled"


def test_a_lasting_failure_is_an_answer() -> None:
    """A disk that cannot be read ends the job with the reason, without another try."""
    job = jobs.failed(jobs.published(PENDING, NOW, LEASE), 1, LASTING, NOW)
    assert job is not None
    assert (job.state, job.reason, job.due_at) == (State.DONE, "the key is denied", 0)


def test_five_leases_without_an_answer_exhaust_a_job() -> None:
    """A job that is due a sixth time is given up, and the reason says what to look at."""
    job = PENDING
    for _ in range(5):
        assert not jobs.exhausted(job)
        job = jobs.published(job, NOW, LEASE)
    assert jobs.exhausted(job)
    dead = jobs.unanswered(job, NOW)
    assert (dead.state, dead.attempts) == (State.DEAD, 5)
    assert dead.reason.startswith("No inspector answered attempt 5 in time.")


@pytest.mark.parametrize("state", [State.PENDING, State.PUBLISHED, State.RETRY, State.DEAD])
def test_a_finding_ends_any_job_that_is_not_done(state: State) -> None:
    """An image never changes, so a finding is true however late it comes."""
    job = jobs.found(replace(PENDING, state=state, attempts=3, reason="old"), NOW)
    assert job is not None
    assert (job.state, job.attempts, job.reason) == (State.DONE, 3, "")


def test_nothing_changes_a_job_that_is_done() -> None:
    """Duplicates of findings, failures and dead letters are without effect."""
    done = replace(PENDING, state=State.DONE, attempts=1)
    assert jobs.found(done, NOW) is None
    assert jobs.failed(done, 1, PASSING, NOW) is None
    assert jobs.buried(done, 1, "died", NOW) is None


@pytest.mark.parametrize(
    ("state", "attempts", "attempt", "counts"),
    [
        (State.PUBLISHED, 2, 2, True),  # the answer that is awaited
        (State.PUBLISHED, 2, 1, False),  # late, a newer attempt is under way
        (State.RETRY, 2, 2, False),  # the same failure again
        (State.PENDING, 0, 1, True),  # published, but its relay died before it noted that
        (State.RETRY, 2, 3, True),  # the same, later
        (State.PUBLISHED, 2, 3, True),  # the same, after a lease was over
        (State.PUBLISHED, 2, 4, False),  # of no attempt that can have been made
        (State.DEAD, 2, 2, False),
        (State.DEAD, 2, 3, False),
    ],
)
def test_a_failure_counts_for_the_attempt_under_way_only(
    state: State,
    attempts: int,
    attempt: int,
    counts: bool,  # noqa: FBT001 - one of the facts
) -> None:
    """Failures and dead letters of any other attempt change nothing."""
    job = replace(PENDING, state=state, attempts=attempts)
    assert (jobs.failed(job, attempt, PASSING, NOW) is not None) is counts
    assert (jobs.buried(job, attempt, "died", NOW) is not None) is counts


def test_a_buried_job_is_dead_with_its_reason() -> None:
    """What killed its workers is given up at once."""
    job = jobs.buried(jobs.published(PENDING, NOW, LEASE), 1, "delivered 6 times", NOW)
    assert job is not None
    assert (job.state, job.reason) == (
        State.DEAD,
        "The inspection was given up: delivered 6 times",
    )


def test_a_redriven_job_has_five_more_attempts_with_new_numbers() -> None:
    """After five attempts and a redrive the next is attempt 6, and attempt 10 the last."""
    dead = replace(PENDING, state=State.DEAD, attempts=5, due_at=0, reason="why")
    job = jobs.redriven(dead, NOW)
    assert (job.state, job.attempts, job.due_at, job.reason) == (State.PENDING, 5, NOW, "why")
    for attempt in (6, 7, 8, 9, 10):
        assert not jobs.exhausted(job)
        job = jobs.published(job, NOW, LEASE)
        assert job.attempts == attempt
    assert jobs.exhausted(job)
    assert jobs.failed(job, 10, PASSING, NOW) == replace(
        job,
        state=State.DEAD,
        due_at=0,
        updated_at=NOW,
        reason="Given up after 5 attempts: AWS throttled",
    )


@pytest.mark.parametrize("state", [State.PENDING, State.PUBLISHED, State.RETRY, State.DONE])
def test_only_a_dead_job_can_be_redriven(state: State) -> None:
    """Any other is refused with INSPECTION_NOT_DEAD."""
    with pytest.raises(FailedPrecondition) as raised:
        jobs.redriven(replace(PENDING, state=state), NOW)
    assert raised.value.reason == "INSPECTION_NOT_DEAD"


def test_a_reopened_job_is_due_with_the_same_attempt() -> None:
    """What a broker in memory forgot costs no attempt."""
    job = jobs.reopened(jobs.published(PENDING, NOW, LEASE), NOW + MINUTE)
    assert (job.state, job.attempts, job.due_at) == (State.PENDING, 0, NOW + MINUTE)
