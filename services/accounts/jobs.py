"""Inspection jobs: one for each image, and what may become of it.

    PENDING --publish--> PUBLISHED --answer--> DONE
                          |  ^   |
          passing failure |  |   | lease over: published again, as a new attempt
                          v  |   v
                         RETRY  DEAD (its attempts are used up, or it killed its workers)
                                 | redrive
                                 v
                              PENDING, with new attempts

An attempt is one publication with a number of its own; a crash between publishing and noting it
publishes the same attempt twice. An answer counts by these rules, so that duplicates and answers
that come late change nothing that is already settled:

- A finding is true whenever it comes, since an image never changes: it ends any job that is not
  DONE, whichever attempt it belongs to.
- A failure, or the end of a message in the dead queue, counts only for the attempt under way.

Instants are microseconds since the Unix epoch, UTC.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from libs.common.errors import FailedPrecondition
from libs.common.instants import Micros

MINUTE: Micros = 60 * 1_000_000
MAX_ATTEMPTS = 5
DELAYS: tuple[Micros, ...] = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE)
"""How long after a passing failure of the first, second, ... attempt the next one is due."""


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


def exhausted(job: Job) -> bool:
    """Say whether a job that is due has no attempt left."""
    return job.attempts - job.round_start >= MAX_ATTEMPTS


def published(job: Job, now: Micros, lease: Micros) -> Job:
    """Return a due job after its next attempt was published: an answer must come in its lease."""
    return replace(
        job,
        state=State.PUBLISHED,
        attempts=job.attempts + 1,
        updated_at=now,
        due_at=now + lease,
    )


def unanswered(job: Job, now: Micros) -> Job:
    """Return a due job that is exhausted: given up, since nobody answered its last attempt."""
    return _dead(
        job,
        job.attempts,
        f"No inspector answered attempt {job.attempts} in time. See that inspectors run and reach "
        "the broker, then redrive.",
        now,
    )


def found(job: Job, now: Micros) -> Job | None:
    """Return a job after a finding; None when it changes nothing."""
    if job.state is State.DONE:
        return None
    return replace(job, state=State.DONE, reason="", updated_at=now, due_at=0)


def failed(job: Job, attempt: int, failure: Failure, now: Micros) -> Job | None:
    """Return a job after a failure of an attempt; None when it changes nothing."""
    if not _under_way(job, attempt):
        return None
    if not failure.passing:
        return replace(
            job,
            state=State.DONE,
            attempts=attempt,
            reason=failure.reason,
            updated_at=now,
            due_at=0,
        )
    tried = attempt - job.round_start
    if tried >= MAX_ATTEMPTS:
        return _dead(job, attempt, f"Given up after {tried} attempts: {failure.reason}", now)
    return replace(
        job,
        state=State.RETRY,
        attempts=attempt,
        reason=failure.reason,
        updated_at=now,
        due_at=now + DELAYS[tried - 1],
    )


def buried(job: Job, attempt: int, reason: str, now: Micros) -> Job | None:
    """Return a job after its message went to the dead queue; None when it changes nothing."""
    if not _under_way(job, attempt):
        return None
    return _dead(job, attempt, f"The inspection was given up: {reason}", now)


def redriven(job: Job, now: Micros) -> Job:
    """Return a dead job with a new round of attempts; FailedPrecondition for any other."""
    if job.state is not State.DEAD:
        raise FailedPrecondition(
            f"Inspection {job.id} is {job.state.name}. Only one that was given up can be redriven.",
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


def _dead(job: Job, attempt: int, reason: str, now: Micros) -> Job:
    return replace(job, state=State.DEAD, attempts=attempt, reason=reason, updated_at=now, due_at=0)
