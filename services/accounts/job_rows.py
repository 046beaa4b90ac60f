"""Rows of inspection jobs, read and written inside the caller's transaction."""

from collections.abc import Sequence

from services.accounts.database import Cursor
from services.accounts.jobs import Job, State

COLUMNS = """
       j.account_id, j.id, j.image_id, j.state, j.attempts, j.round_start, j.reason, j.updated_at,
       j.due_at
"""
WIDTH = 9
JOBS = f"SELECT {COLUMNS} FROM inspection_job j"  # noqa: S608 # of constants

# Also while an account is being erased: once it is gone, so are its jobs.
_LOCKED = f"""
SELECT {COLUMNS}, m.ami_id
FROM inspection_job j
JOIN cloud_account a ON a.id = j.account_id
JOIN image m ON m.account_id = j.account_id AND m.image_id = j.image_id
WHERE j.account_id = %s AND j.id = %s FOR UPDATE OF j
"""  # noqa: S608 # of constants

_SAVE = """
UPDATE inspection_job SET state = %s, attempts = %s, round_start = %s, reason = %s, updated_at = %s,
       due_at = %s
WHERE account_id = %s AND id = %s
"""


def job_of(row: Sequence[object]) -> Job:
    """Return the job in a row that begins with COLUMNS."""
    account_id, number, image_id, state, *rest = row[:WIDTH]
    return Job(account_id, number, image_id, State(state), *rest)  # type: ignore[arg-type] # of SQL


def locked(cursor: Cursor, account_id: int, job_id: int) -> tuple[Job, str] | None:
    """Return a job, which nobody changes until the transaction ends, and its image's AMI id.

    None when there is no such job, or no longer.
    """
    cursor.execute(_LOCKED, (account_id, job_id))
    row = cursor.fetchone()
    return None if row is None else (job_of(row), str(row[WIDTH]))


def save(cursor: Cursor, job: Job) -> None:
    """Keep a job as it is now."""
    cursor.execute(
        _SAVE,
        (
            *(job.state.value, job.attempts, job.round_start, job.reason),
            *(job.updated_at, job.due_at, job.account_id, job.id),
        ),
    )
