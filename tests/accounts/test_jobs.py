"""What may become of an inspection job."""

from dataclasses import replace

import pytest

from libs.common.config import ConfigError, load
from libs.common.errors import FailedPrecondition
from services.accounts import jobs
from services.accounts.config import InspectionConfig
from services.accounts.jobs import Failure, Job, Patience, State

MINUTE = 60_000_000
NOW = 1_000 * MINUTE
PATIENCE = Patience()
PENDING = Job(1, 7, 3, State.PENDING, 0, 0, "", 0, NOW)
PASSING = Failure("AWS throttled", passing=True)
LASTING = Failure("the key is denied", passing=False)


def test_a_published_job_has_a_lease() -> None:
    """Publishing begins attempt 1, whose answer must come within the hour."""
    job = jobs.published(PENDING, NOW, PATIENCE)
    assert (job.state, job.attempts, job.due_at) == (State.PUBLISHED, 1, 1_060 * MINUTE)


def test_passing_failures_are_retried_after_growing_waits_and_then_given_up() -> None:
    """Five attempts: 1, 5, 15 and 60 minutes apart; the fifth failure ends the job."""
    job, waits = PENDING, []
    for attempt in (1, 2, 3, 4):
        answered = jobs.failed(jobs.published(job, NOW, PATIENCE), attempt, PASSING, NOW, PATIENCE)
        assert answered is not None
        assert answered.state is State.RETRY
        waits.append((answered.due_at - NOW) // MINUTE)
        job = answered
    dead = jobs.failed(jobs.published(job, NOW, PATIENCE), 5, PASSING, NOW, PATIENCE)
    assert waits == [1, 5, 15, 60]
    assert dead is not None
    assert (dead.state, dead.due_at) == (State.DEAD, 0)
    assert dead.reason == "Given up after 5 attempts: AWS throttled"


def test_a_lasting_failure_is_an_answer() -> None:
    """A disk that cannot be read ends the job with the reason, without another try."""
    job = jobs.failed(jobs.published(PENDING, NOW, PATIENCE), 1, LASTING, NOW, PATIENCE)
    assert job is not None
    assert (job.state, job.reason, job.due_at) == (State.DONE, "the key is denied", 0)


def test_five_leases_without_an_answer_exhaust_a_job() -> None:
    """A job that is due a sixth time is given up, and the reason says what to look at."""
    job = PENDING
    for _ in range(5):
        assert not jobs.exhausted(job, PATIENCE)
        job = jobs.published(job, NOW, PATIENCE)
    assert jobs.exhausted(job, PATIENCE)
    dead = jobs.unanswered(job, NOW, PATIENCE)
    assert (dead.state, dead.attempts) == (State.DEAD, 5)
    assert dead.reason == (
        "No inspector answered 5 attempts, each within 60 min. Is one running, and is it connected"
        " to the broker? Its log and its health name broker say. Redrive when it is."
    )


def test_a_job_whose_lease_is_over_says_so_while_it_is_tried_again() -> None:
    """Attempt 2 is under way and the reason tells of attempt 1; what failed before that is kept."""
    job = jobs.published(jobs.published(PENDING, NOW, PATIENCE), NOW, PATIENCE)
    assert job.reason == "No inspector answered attempt 1 within 60 min."
    throttled = jobs.failed(job, 2, PASSING, NOW, PATIENCE)
    assert throttled is not None
    job = jobs.published(throttled, NOW, PATIENCE)
    assert job.reason == "AWS throttled"
    for attempt in (3, 4):
        job = jobs.published(job, NOW, PATIENCE)
        assert job.reason == (
            f"No inspector answered attempt {attempt} within 60 min. Before that: AWS throttled"
        )
    dead = jobs.unanswered(job, NOW, PATIENCE)
    assert dead.reason.startswith(
        "No inspector answered attempt 5, the last of 5, within 60 min. Is one running,"
    )
    assert dead.reason.endswith("Before that: AWS throttled")


def test_patience_is_configured() -> None:
    """With a lease of 90 s and two delays there are three attempts, and the reason says 90 s."""
    patience = Patience(90_000_000, (MINUTE, 2 * MINUTE))
    job = jobs.published(PENDING, NOW, patience)
    assert job.due_at == NOW + 90_000_000
    for attempt, wait in ((1, 1), (2, 2)):
        retry = jobs.failed(job, attempt, PASSING, NOW, patience)
        assert retry is not None
        assert (retry.state, retry.due_at) == (State.RETRY, NOW + wait * MINUTE)
        job = jobs.published(retry, NOW, patience)
    assert jobs.exhausted(job, patience)
    assert "within 90 s" in jobs.unanswered(job, NOW, patience).reason
    dead = jobs.failed(job, 3, PASSING, NOW, patience)
    assert dead is not None
    assert dead.reason == "Given up after 3 attempts: AWS throttled"


def test_an_operator_can_set_lease_delays_and_how_many_are_out() -> None:
    """By variables; without any, the rules' own defaults hold: an hour, five tries, 100 out."""
    given = {
        "CLOUDIGRADE_ACCOUNTS_INSPECTION_LEASE": "90s",
        "CLOUDIGRADE_ACCOUNTS_INSPECTION_DELAYS": "1m, 2h",
        "CLOUDIGRADE_ACCOUNTS_INSPECTIONS_OUT": "7",
    }
    expected = Patience(90_000_000, (MINUTE, 120 * MINUTE), 7)
    assert load(InspectionConfig, given).patience() == expected
    assert load(InspectionConfig, {}).patience() == Patience()
    assert load(
        InspectionConfig, {"CLOUDIGRADE_ACCOUNTS_INSPECTION_DELAYS": "none"}
    ).patience() == Patience(delays=())


@pytest.mark.parametrize(
    ("name", "value"),
    [("_INSPECTION_LEASE", "10ms"), ("_INSPECTION_DELAYS", "1m,x"), ("_INSPECTIONS_OUT", "0")],
)
def test_a_setting_of_inspections_that_cannot_be_used_is_refused(name: str, value: str) -> None:
    """The error names the variable."""
    variable = f"CLOUDIGRADE_ACCOUNTS{name}"
    with pytest.raises(ConfigError, match=variable):
        load(InspectionConfig, {variable: value})


def test_a_reason_is_never_longer_than_2000_characters() -> None:
    """What an inspector sends as its reason may be of any length."""
    failure = Failure("x" * 3_000, passing=True)
    retry = jobs.failed(jobs.published(PENDING, NOW, PATIENCE), 1, failure, NOW, PATIENCE)
    assert retry is not None
    assert (len(retry.reason), retry.reason[-4:]) == (2_000, "x...")


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
    assert jobs.failed(done, 1, PASSING, NOW, PATIENCE) is None
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
    assert (jobs.failed(job, attempt, PASSING, NOW, PATIENCE) is not None) is counts
    assert (jobs.buried(job, attempt, "died", NOW) is not None) is counts


def test_a_buried_job_is_dead_with_its_reason() -> None:
    """What killed its workers is given up at once."""
    job = jobs.buried(jobs.published(PENDING, NOW, PATIENCE), 1, "delivered 6 times", NOW)
    assert job is not None
    assert (job.state, job.reason) == (
        State.DEAD,
        (
            "The inspection was given up: delivered 6 times. The inspectors' logs of job 7,"
            " attempt 1, say more. Redrive when the cause is gone."
        ),
    )


def test_a_redriven_job_has_five_more_attempts_with_new_numbers() -> None:
    """After five attempts and a redrive the next is attempt 6, and attempt 10 the last."""
    dead = replace(PENDING, state=State.DEAD, attempts=5, due_at=0, reason="why")
    job = jobs.redriven(dead, NOW)
    assert (job.state, job.attempts, job.due_at, job.reason) == (State.PENDING, 5, NOW, "why")
    for attempt in (6, 7, 8, 9, 10):
        assert not jobs.exhausted(job, PATIENCE)
        job = jobs.published(job, NOW, PATIENCE)
        assert job.attempts == attempt
    assert jobs.exhausted(job, PATIENCE)
    assert jobs.failed(job, 10, PASSING, NOW, PATIENCE) == replace(
        job,
        state=State.DEAD,
        due_at=0,
        updated_at=NOW,
        reason="Given up after 5 attempts: AWS throttled",
    )


def test_a_job_whose_disk_could_not_be_read_can_be_redriven_and_then_found() -> None:
    """A permission may be granted after the answer; a finding that comes late counts too."""
    denied = jobs.failed(jobs.published(PENDING, NOW, PATIENCE), 1, LASTING, NOW, PATIENCE)
    assert denied is not None
    again = jobs.redriven(denied, NOW)
    assert (again.state, again.round_start, again.due_at) == (State.PENDING, 1, NOW)
    late = jobs.found(denied, NOW)
    assert late is not None
    assert (late.state, late.reason) == (State.DONE, "")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State.PENDING, "is under way"),
        (State.PUBLISHED, "is under way"),
        (State.RETRY, "is under way"),
        (State.DONE, "has read the disk"),
    ],
)
def test_a_job_that_is_under_way_or_has_its_finding_cannot_be_redriven(
    state: State, why: str
) -> None:
    """It is refused with INSPECTION_NOT_DEAD, and the message says why."""
    with pytest.raises(FailedPrecondition, match=why) as raised:
        jobs.redriven(replace(PENDING, state=state), NOW)
    assert raised.value.reason == "INSPECTION_NOT_DEAD"


def test_a_reopened_job_is_due_with_the_same_attempt() -> None:
    """What a broker in memory forgot costs no attempt."""
    job = jobs.reopened(jobs.published(PENDING, NOW, PATIENCE), NOW + MINUTE)
    assert (job.state, job.attempts, job.due_at) == (State.PENDING, 0, NOW + MINUTE)
