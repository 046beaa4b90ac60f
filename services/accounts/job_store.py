"""Inspection jobs in the database: the outbox that a relay publishes, and where answers arrive."""

from collections.abc import Callable, Iterable, Sequence

import structlog

from libs.common.broker import BrokerError
from libs.common.errors import NotFound
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts import audit, cloud_accounts, jobs
from services.accounts.account_rows import visible_account
from services.accounts.answering import Settled, bury, set_aside, take
from services.accounts.audit import Author
from services.accounts.database import Cursor, Database, lock_accounts
from services.accounts.job_rows import COLUMNS, JOBS, WIDTH, job_of, save
from services.accounts.jobs import Answer, Attempt, Inspection, Job, Order, Patience, State
from services.accounts.new_events import Aside

_WANT = """
INSERT INTO inspection_job (account_id, image_id, state, created_at, updated_at, due_at)
SELECT %(account)s, image_id, %(pending)s, %(now)s, %(now)s, %(now)s
FROM unnest(%(images)s::bigint[]) AS image_id ORDER BY image_id
ON CONFLICT (account_id, image_id) DO NOTHING
"""

_DUE = f"""
SELECT {COLUMNS},
       a.aws_account_id, a.role_arn, a.external_id, m.region, m.ami_id, m.root_snapshot_id
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

_OUT = """
SELECT count(*) FROM (
    SELECT FROM inspection_job WHERE state = 2 AND due_at > %s LIMIT %s
) AS waited_for
"""


def want_inspections(cursor: Cursor, account_id: int, image_ids: Iterable[int], now: Micros) -> int:
    """Make a job, due now, for each image that has none; return how many are made.

    In the caller's transaction; who commits it wakes the relay.
    """
    cursor.execute(
        _WANT,
        {
            "account": account_id,
            "images": list(image_ids),
            "pending": State.PENDING,
            "now": now,
        },
    )
    return cursor.rowcount


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
    """Publishes jobs, takes answers, and shows both; each method is one transaction.

    What ends without a finding is logged once it is committed, one line for each job.
    """

    def __init__(self, database: Database, patience: Patience = Patience()) -> None:  # noqa: B008 # frozen
        self._database = database
        self._patience = patience
        self._log = structlog.get_logger()

    def publish_due(self, publish: Callable[[Order], None], now: Micros, limit: int) -> int:
        """Publish up to `limit` jobs that are due or overdue; return how many were dealt with.

        No more than may be under way at one time. Rows are held while they are published, and noted
        in the same transaction: of several relays one publishes a job, and what a crash leaves
        unnoted is published again as the same attempt. When `publish` raises a BrokerError, what
        was published before is noted, and the error is raised again.
        """
        dealt, refused = 0, None
        given_up: list[Settled] = []
        with self._database.transaction() as cursor:
            for job, order in _due(cursor, now, min(limit, self._room(cursor, now))):
                if jobs.exhausted(job, self._patience):
                    given_up.append(
                        Settled(jobs.unanswered(job, now, self._patience), order.ami_id)
                    )
                    save(cursor, given_up[-1].job)
                else:
                    try:
                        publish(order)
                    except BrokerError as error:
                        refused = error
                        break
                    save(cursor, jobs.published(job, now, self._patience))
                dealt += 1
        for each in given_up:
            self._tell(each)
        if refused is not None:
            raise refused
        return dealt

    def reopen(self, now: Micros) -> None:
        """Make every published job due again, since its broker held it in memory that is gone."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"{JOBS} WHERE j.state = %s ORDER BY j.account_id, j.id FOR UPDATE",
                (State.PUBLISHED,),
            )
            for row in cursor.fetchall():
                save(cursor, jobs.reopened(job_of(row), now))

    def record(self, answer: Answer, now: Micros) -> bool:
        """Take an answer; return False when it changes nothing: settled, late, or of no job.

        Raises NotFound when the job is one for another image.
        """
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [answer.account_id])
            settled = take(cursor, answer, now, self._patience)
        return self._tell(settled)

    def bury(self, account_id: int, job_id: int, attempt: int, reason: str, now: Micros) -> bool:
        """Give a job up whose message went to the dead queue; return False if nothing changes."""
        with self._database.transaction() as cursor:
            settled = bury(cursor, account_id, job_id, attempt, reason, now)
        return self._tell(settled)

    def set_aside(self, item: Aside, answered: Attempt | None, now: Micros) -> int:
        """Keep a message in quarantine that could not be taken, and return its id there.

        With the attempt that it answers, if that can be told, so that it is tried again.
        """
        with self._database.transaction() as cursor:
            if answered is not None:
                lock_accounts(cursor, [answered.account_id])
            kept, settled = set_aside(cursor, item, answered, now, self._patience)
        self._tell(settled)
        return kept

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
        FailedPrecondition for one that is under way or has its finding.
        """
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner)
            cursor.execute(
                f"{JOBS} WHERE j.account_id = %s AND CASE WHEN %s THEN j.id = ANY(%s)"
                " ELSE j.state = %s END ORDER BY j.id FOR UPDATE",
                (account_id, bool(ids), list(ids), State.DEAD),
            )
            found = [job_of(row) for row in cursor.fetchall()]
            if missing := set(ids) - {job.id for job in found}:
                raise NotFound(
                    f"There is no inspection {min(missing)} in this account.",
                    reason="INSPECTION_NOT_FOUND",
                )
            for job in found:
                save(cursor, jobs.redriven(job, author.at))
            shown = inspections_of(cursor, account_id, [job.image_id for job in found])
            for job in found:
                ami_id = shown[job.image_id].ami_id
                audit.record(cursor, author, account_id, "inspection.redriven", ami_id, job.reason)
        for job in found:
            self._log.info(
                "inspection.redriven",
                account=account_id,
                job=job.id,
                image=shown[job.image_id].ami_id,
                reason=job.reason,
                actor=author.actor,
            )
        return [shown[job.image_id] for job in found]

    def _room(self, cursor: Cursor, now: Micros) -> int:
        """Return how many jobs may still be handed out."""
        cursor.execute(_OUT, (now, self._patience.out))
        (out,) = cursor.fetchone() or (0,)
        return self._patience.out - int(out)

    def _tell(self, settled: Settled | None) -> bool:
        """Log how a job ended without a finding; say whether anything was settled."""
        if settled is None:
            return False
        job = settled.job
        told = {"account": job.account_id, "job": job.id, "image": settled.ami_id}
        if job.state is State.DEAD:
            self._log.warning("inspection.given_up", **told, reason=job.reason)
        elif job.state is State.RETRY:
            self._log.info(
                "inspection.again_later", **told, attempt=job.attempts, reason=job.reason
            )
        elif not jobs.has_finding(job):
            self._log.warning("inspection.unreadable", **told, reason=job.reason)
        return True


def _due(cursor: Cursor, now: Micros, limit: int) -> list[tuple[Job, Order]]:
    cursor.execute(
        _DUE, {"now": now, "limit": limit, "enabled": cloud_accounts.State.ENABLED.value}
    )
    due = []
    for row in cursor.fetchall():
        job = job_of(row)
        due.append((job, Order(job.id, job.attempts + 1, job.account_id, *row[WIDTH:])))
    return due


def _shown(row: Sequence[object]) -> Inspection:
    number, account_id, ami_id, state, *rest = row[:-1]
    return Inspection(number, account_id, ami_id, State(state), *rest)  # type: ignore[arg-type] # of SQL
