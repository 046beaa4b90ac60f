"""Inspection jobs in the database: the outbox that a relay publishes, and where answers arrive."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from libs.common.broker import BrokerError
from libs.common.errors import NotFound
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts import audit, cloud_accounts, jobs
from services.accounts.account_store import visible_account
from services.accounts.audit import Author
from services.accounts.classification import Installed
from services.accounts.classification_store import reclassify
from services.accounts.database import Cursor, Database, lock_accounts, next_recorded_at
from services.accounts.jobs import Failure, Inspection, Job, Order, State

_JOB = """
       j.account_id, j.id, j.image_id, j.state, j.attempts, j.round_start, j.reason, j.updated_at,
       j.due_at
"""
_JOBS = f"SELECT {_JOB} FROM inspection_job j"  # noqa: S608 # of constants

_WANT = """
INSERT INTO inspection_job (account_id, image_id, state, created_at, updated_at, due_at)
SELECT %(account)s, image_id, %(pending)s, %(now)s, %(now)s, %(now)s
FROM unnest(%(images)s::bigint[]) AS image_id ORDER BY image_id
ON CONFLICT (account_id, image_id) DO NOTHING
"""

_DUE = f"""
SELECT {_JOB}, a.aws_account_id, a.role_arn, a.external_id, m.region, m.ami_id, m.root_snapshot_id
FROM inspection_job j
JOIN cloud_account a ON a.id = j.account_id
JOIN image m ON m.account_id = j.account_id AND m.image_id = j.image_id
WHERE j.state IN (1, 2, 3) AND j.due_at <= %(now)s AND a.state = %(enabled)s
ORDER BY j.due_at LIMIT %(limit)s
FOR UPDATE OF j SKIP LOCKED
"""  # noqa: S608 # of constants

_SHOWN = """
SELECT j.id, j.account_id, m.ami_id, j.state, j.attempts, j.reason, j.created_at, j.updated_at,
       j.due_at, j.image_id
FROM inspection_job j
JOIN image m ON m.account_id = j.account_id AND m.image_id = j.image_id
WHERE j.account_id = %(account)s
"""

_SAVE = """
UPDATE inspection_job SET state = %s, attempts = %s, round_start = %s, reason = %s, updated_at = %s,
       due_at = %s
WHERE account_id = %s AND id = %s
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one attempt: what is installed, or why nobody knows."""

    job_id: int
    attempt: int
    account_id: int
    ami_id: str
    outcome: Installed | Failure


def want_inspections(
    cursor: Cursor, account_id: int, image_ids: Iterable[int], now: Micros
) -> None:
    """Make a job, due now, for each image that has none; in the caller's transaction."""
    cursor.execute(
        _WANT,
        {
            "account": account_id,
            "images": list(image_ids),
            "pending": State.PENDING,
            "now": now,
        },
    )


def inspections_of(
    cursor: Cursor, account_id: int, image_ids: Iterable[int]
) -> dict[int, Inspection]:
    """Return the inspections of some images, by image id."""
    cursor.execute(
        f"{_SHOWN} AND j.image_id = ANY(%(images)s)",
        {"account": account_id, "images": list(image_ids)},
    )
    return {row[-1]: _shown(row) for row in cursor.fetchall()}


class JobStore:
    """Publishes jobs, takes answers, and shows both; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish_due(
        self, publish: Callable[[Order], None], now: Micros, lease: Micros, limit: int
    ) -> int:
        """Publish up to `limit` jobs that are due or overdue; return how many were dealt with.

        Rows are held while they are published, and noted in the same transaction: of several
        relays one publishes a job, and what a crash leaves unnoted is published again as the same
        attempt. When `publish` raises a BrokerError, what was published before is noted, and the
        error is raised again.
        """
        dealt, refused = 0, None
        with self._database.transaction() as cursor:
            for job, order in _due(cursor, now, limit):
                if jobs.exhausted(job):
                    _save(cursor, jobs.unanswered(job, now))
                else:
                    try:
                        publish(order)
                    except BrokerError as error:
                        refused = error
                        break
                    _save(cursor, jobs.published(job, now, lease))
                dealt += 1
        if refused is not None:
            raise refused
        return dealt

    def reopen(self, now: Micros) -> None:
        """Make every published job due again, since its broker held it in memory that is gone."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"{_JOBS} WHERE j.state = %s ORDER BY j.account_id, j.id FOR UPDATE",
                (State.PUBLISHED,),
            )
            for row in cursor.fetchall():
                _save(cursor, jobs.reopened(_job(row), now))

    def record(self, answer: Answer, now: Micros) -> bool:
        """Take an answer; return False when it changes nothing: settled, late, or of no job.

        Raises NotFound when the job is one for another image.
        """
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [answer.account_id])
            job = _locked(cursor, answer.account_id, answer.job_id)
            if job is None:
                return False
            _check_image(cursor, job, answer.ami_id)
            if isinstance(answer.outcome, Failure):
                return _settle(cursor, jobs.failed(job, answer.attempt, answer.outcome, now))
            if not _settle(cursor, jobs.found(job, now)):
                return False
            recorded_at = next_recorded_at(cursor, job.account_id, now)
            reclassify(cursor, job.account_id, [job.image_id], recorded_at, answer.outcome)
            return True

    def bury(self, account_id: int, job_id: int, attempt: int, reason: str, now: Micros) -> bool:
        """Give a job up whose message went to the dead queue; return False if nothing changes."""
        with self._database.transaction() as cursor:
            job = _locked(cursor, account_id, job_id)
            return job is not None and _settle(cursor, jobs.buried(job, attempt, reason, now))

    def inspections(
        self, account_id: int, owner: int, state: State | None, before: Key | None, limit: int
    ) -> list[Inspection]:
        """Return an account's inspections, newest first, of one state or of all.

        Raises NotFound for an account that the owner may not see.
        """
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner, deleted=True)
            cursor.execute(
                f"{_SHOWN} AND j.id < %(before)s AND j.state = coalesce(%(state)s, j.state)"
                " ORDER BY j.id DESC LIMIT %(limit)s",
                {
                    "account": account_id,
                    "before": (before or (2**62,))[0],
                    "state": state,
                    "limit": limit,
                },
            )
            return [_shown(row) for row in cursor.fetchall()]

    def redrive(
        self, account_id: int, owner: int, ids: Sequence[int], author: Author
    ) -> list[Inspection]:
        """Give these jobs (none named: all of the account that are dead) a new round of attempts.

        All or none. Raises NotFound for an account or a job that is not there, and
        FailedPrecondition for one that is not dead.
        """
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner)
            cursor.execute(
                f"{_JOBS} WHERE j.account_id = %s AND CASE WHEN %s THEN j.id = ANY(%s)"
                " ELSE j.state = %s END ORDER BY j.id FOR UPDATE",
                (account_id, bool(ids), list(ids), State.DEAD),
            )
            found = [_job(row) for row in cursor.fetchall()]
            if missing := set(ids) - {job.id for job in found}:
                raise NotFound(
                    f"There is no inspection {min(missing)} in this account.",
                    reason="INSPECTION_NOT_FOUND",
                )
            for job in found:
                _save(cursor, jobs.redriven(job, author.at))
            shown = inspections_of(cursor, account_id, [job.image_id for job in found])
            for job in found:
                ami_id = shown[job.image_id].ami_id
                audit.record(cursor, author, account_id, "inspection.redriven", ami_id, job.reason)
            return [shown[job.image_id] for job in found]


def _due(cursor: Cursor, now: Micros, limit: int) -> list[tuple[Job, Order]]:
    cursor.execute(
        _DUE, {"now": now, "limit": limit, "enabled": cloud_accounts.State.ENABLED.value}
    )
    due = []
    for row in cursor.fetchall():
        job = _job(row[:9])
        due.append((job, Order(job.id, job.attempts + 1, job.account_id, *row[9:])))
    return due


def _locked(cursor: Cursor, account_id: int, job_id: int) -> Job | None:
    cursor.execute(
        f"{_JOBS} WHERE j.account_id = %s AND j.id = %s FOR UPDATE",
        (account_id, job_id),
    )
    row = cursor.fetchone()
    return None if row is None else _job(row)


def _check_image(cursor: Cursor, job: Job, ami_id: str) -> None:
    cursor.execute(
        "SELECT 1 FROM image WHERE account_id = %s AND image_id = %s AND ami_id = %s",
        (job.account_id, job.image_id, ami_id),
    )
    if cursor.fetchone() is None:
        raise NotFound(f"Job {job.id} is not for the image {ami_id}.", reason="IMAGE_NOT_FOUND")


def _settle(cursor: Cursor, job: Job | None) -> bool:
    if job is not None:
        _save(cursor, job)
    return job is not None


def _save(cursor: Cursor, job: Job) -> None:
    cursor.execute(
        _SAVE,
        (
            *(job.state.value, job.attempts, job.round_start, job.reason),
            *(job.updated_at, job.due_at, job.account_id, job.id),
        ),
    )


def _job(row: Sequence[object]) -> Job:
    account_id, number, image_id, state, *rest = row
    return Job(account_id, number, image_id, State(state), *rest)  # type: ignore[arg-type] # of SQL


def _shown(row: Sequence[object]) -> Inspection:
    number, account_id, ami_id, state, *rest = row[:-1]
    return Inspection(number, account_id, ami_id, State(state), *rest)  # type: ignore[arg-type] # of SQL
