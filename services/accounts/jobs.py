"""Inspection jobs: one for each image, and what may become of it.

    PENDING --publish--> PUBLISHED --answer--> DONE
                          |  ^   |
          passing failure |  |   | lease over: published again, as a new attempt
                          v  |   v
                         RETRY  DEAD (its attempts are used up, or it killed its workers)
                                 | redrive (also of a DONE job whose answer was a failure)
                                 v
                              PENDING, with new attempts

An attempt is one publication with a number of its own; a crash between publishing and noting it
publishes the same attempt twice. An answer counts by these rules, so that duplicates and answers
that come late change nothing that is already settled:

- A finding is true whenever it comes, since an image never changes: it ends any job that has none,
  whichever attempt it belongs to, and whatever the state of its cloud account. Only with an erased
  account its jobs are gone, and what comes for them is dropped.
- A failure, or the end of a message in a dead queue, counts only for the attempt under way.

A job of an account that is not enabled waits, and is due at once when the account is enabled again.

Instants are microseconds since the Unix epoch, UTC.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from libs.common.errors import FailedPrecondition
from libs.common.instants import Micros
from services.accounts.classification import Installed

SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
LONGEST_REASON = 2_000
NO_ANSWER = "No inspector answered"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an inspection is waited for, how often it is tried, and how many are under way.

    `lease`: how long an attempt may go without an answer. `delays`: how long after a passing
    failure of the first, second, ... attempt the next one is due; the attempt after the last delay
    is the last. `out`: how many jobs may be with the inspectors; the others wait where waiting
    costs them no attempt.
    """

    lease: Micros = 60 * MINUTE
    delays: tuple[Micros, ...] = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE)
    out: int = 100

    @property
    def attempts(self) -> int:
        """How often a job is tried before it is given up."""
        return len(self.delays) + 1


class State(IntEnum):
    """Where a job stands; the numbers are those of the proto and of the database."""

    PENDING = 1
    PUBLISHED = 2
    RETRY = 3
    DONE = 4
    DEAD = 5


OPEN = frozenset({State.PENDING, State.PUBLISHED, State.RETRY})


@dataclass(frozen=True, slots=True)
class Job:
    """The inspection of one image; `due_at` is when to publish it (again), 0 once it is settled.

    `attempts` counts those begun, and is the number of the last; those up to `round_start` belong
    to rounds before the last redrive. `reason` says why there is no finding, or the last failure.
    """

    account_id: int
    id: int
    image_id: int
    state: State
    attempts: int
    round_start: int
    reason: str
    updated_at: Micros
    due_at: Micros


@dataclass(frozen=True, slots=True)
class Inspection:
    """A job as it is shown."""

    id: int
    account_id: int
    ami_id: str
    state: State
    attempts: int
    reason: str
    created_at: Micros
    updated_at: Micros
    due_at: Micros


@dataclass(frozen=True, slots=True)
class Order:
    """What an inspector is told: which image to read, and through which role."""

    job_id: int
    attempt: int
    account_id: int
    aws_account_id: str
    role_arn: str
    external_id: str
    region: str
    ami_id: str
    root_snapshot_id: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt brought no finding; `passing`: trying again later may help."""

    reason: str
    passing: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt of which job a message is about, by its own words."""

    account_id: int
    job_id: int
    attempt: int
    ami_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one attempt: what is installed, or why nobody knows."""

    job_id: int
    attempt: int
    account_id: int
    ami_id: str
    outcome: Installed | Failure


def exhausted(job: Job, patience: Patience) -> bool:
    """Say whether a job that is due has no attempt left."""
    return job.attempts - job.round_start >= patience.attempts


def published(job: Job, now: Micros, patience: Patience) -> Job:
    """Return a due job after its next attempt was published: an answer must come in its lease.

    When it was due because the lease of the attempt before was over, its reason says so.
    """
    reason = job.reason
    if job.state is State.PUBLISHED:
        reason = f"{NO_ANSWER} attempt {job.attempts} within {span(patience.lease)}.{_before(job)}"
    return replace(
        job,
        state=State.PUBLISHED,
        attempts=job.attempts + 1,
        reason=reason,
        updated_at=now,
        due_at=now + patience.lease,
    )


def unanswered(job: Job, now: Micros, patience: Patience) -> Job:
    """Return a due job that is exhausted: given up, since nobody answered its last attempt."""
    before, tried = _before(job), job.attempts - job.round_start
    which = f"attempt {job.attempts}, the last of {tried}," if before else f"{tried} attempts, each"
    return _dead(
        job,
        job.attempts,
        f"{NO_ANSWER} {which} within {span(patience.lease)}. Is one running, and is it connected to"
        f" the broker? Its log and its health name broker say. Redrive when it is.{before}",
        now,
    )


def has_finding(job: Job) -> bool:
    """Say whether a job has ended with a finding, rather than with why there is none."""
    return job.state is State.DONE and not job.reason


def found(job: Job, now: Micros) -> Job | None:
    """Return a job after a finding; None when it changes nothing."""
    if has_finding(job):
        return None
    return replace(job, state=State.DONE, reason="", updated_at=now, due_at=0)


def failed(job: Job, attempt: int, failure: Failure, now: Micros, patience: Patience) -> Job | None:
    """Return a job after a failure of an attempt; None when it changes nothing."""
    if not _under_way(job, attempt):
        return None
    if not failure.passing:
        return _ended(job, State.DONE, attempt, failure.reason, now)
    tried = attempt - job.round_start
    if tried >= patience.attempts:
        return _dead(job, attempt, f"Given up after {tried} attempts: {failure.reason}", now)
    return replace(
        job,
        state=State.RETRY,
        attempts=attempt,
        reason=_cut(failure.reason),
        updated_at=now,
        due_at=now + patience.delays[tried - 1],
    )


def buried(job: Job, attempt: int, reason: str, now: Micros) -> Job | None:
    """Return a job after its message went to the dead queue; None when it changes nothing."""
    if not _under_way(job, attempt):
        return None
    return _dead(
        job,
        attempt,
        f"The inspection was given up: {reason}. The inspectors' logs of job {job.id}, attempt"
        f" {attempt}, say more. Redrive when the cause is gone.",
        now,
    )


def redriven(job: Job, now: Micros) -> Job:
    """Return a job without a finding with a new round of attempts.

    That is one that was given up, or ended because its disk could not be read: a permission may
    have been granted since. FailedPrecondition for any other.
    """
    if job.state in OPEN or has_finding(job):
        what = "is under way" if job.state in OPEN else "has read the disk, which never changes"
        raise FailedPrecondition(
            f"Inspection {job.id} is {job.state.name}: it {what}. Only one that was given up, or"
            " whose disk could not be read, can be redriven.",
            reason="INSPECTION_NOT_DEAD",
            metadata={"id": str(job.id), "state": job.state.name},
        )
    return replace(job, state=State.PENDING, round_start=job.attempts, updated_at=now, due_at=now)


def reopened(job: Job, now: Micros) -> Job:
    """Return a published job whose broker forgot it: the same attempt is due again."""
    return replace(job, state=State.PENDING, attempts=job.attempts - 1, updated_at=now, due_at=now)


def _under_way(job: Job, attempt: int) -> bool:
    """Say whether an attempt is the one whose answer is awaited.

    Or the one after, which was published by a relay that died before it could note it.
    """
    noted = job.state is State.PUBLISHED and attempt == job.attempts
    return noted or (job.state in OPEN and attempt == job.attempts + 1)


def span(length: Micros) -> str:
    """Say how long a span is, in words for a person."""
    if length % MINUTE:
        return f"{length / SECOND:g} s"
    return f"{length // MINUTE} min"


def _before(job: Job) -> str:
    """Say what a job's last failure was that somebody told; nothing when nobody did."""
    if job.reason.startswith(NO_ANSWER):
        _, mark, cause = job.reason.partition(_BEFORE)
        return f"{mark}{cause}"
    return f"{_BEFORE}{job.reason}" if job.reason else ""


_BEFORE = " Before that: "


def _dead(job: Job, attempt: int, reason: str, now: Micros) -> Job:
    return _ended(job, State.DEAD, attempt, reason, now)


def _ended(job: Job, state: State, attempt: int, reason: str, now: Micros) -> Job:
    reason = _cut(reason)
    return replace(job, state=state, attempts=attempt, reason=reason, updated_at=now, due_at=0)


def _cut(reason: str) -> str:
    """Return a reason, which may hold what others sent, no longer than is shown."""
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 3]}..."
