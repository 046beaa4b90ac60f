"""Runs and anomalies as they followed from what was known at an instant.

Rows of `run` and `anomaly` hold what follows from everything known now. Those of an instance whose
rows have not changed since the instant are what they were then; the others are derived again.
"""

from collections.abc import Iterator, Sequence

from libs.common.deadlines import check_deadline
from libs.common.instants import Micros
from services.accounts.database import Cursor
from services.accounts.past_facts import PastFacts
from services.accounts.runs import Derived, derive

_AT_ONCE = 2_000
"""Instances whose facts are in memory together."""


def derived_at(
    cursor: Cursor, account_id: int, at: Micros, instance_ids: Sequence[int]
) -> Iterator[tuple[int, Derived]]:
    """Yield of each instance what followed from the facts known at an instant, in their order.

    Raises DeadlineExceeded when the caller no longer waits.
    """
    facts = PastFacts(cursor, account_id, at)
    for start in range(0, len(instance_ids), _AT_ONCE):
        check_deadline()
        some = instance_ids[start : start + _AT_ONCE]
        for instance_id, known in zip(some, facts.read(some), strict=True):
            yield instance_id, derive(known)


def changed_since(
    cursor: Cursor, account_id: int, at: Micros, instance_id: int, table: str
) -> bool:
    """Say whether an instance's rows of `run` or `anomaly` have changed since an instant."""
    cursor.execute(
        f"SELECT EXISTS (SELECT FROM {table} WHERE account_id = %(account)s"  # noqa: S608 # of two
        " AND instance_id = %(instance)s AND recorded_at > %(at)s)"
        " OR EXISTS (SELECT FROM taken_away WHERE account_id = %(account)s"
        " AND instance_id = %(instance)s AND recorded_at > %(at)s)",
        {"account": account_id, "instance": instance_id, "at": at},
    )
    (changed,) = cursor.fetchone() or (False,)
    return bool(changed)
