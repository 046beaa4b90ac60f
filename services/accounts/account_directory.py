"""Knows which cloud accounts events may be stored for, by our ids and by AWS's."""

from collections.abc import Collection
from dataclasses import dataclass, field

from services.accounts.cloud_accounts import State
from services.accounts.copying import array
from services.accounts.database import Database

_FIND = """
SELECT id, partition, aws_account_id FROM cloud_account
WHERE verified_at <> 0 AND state <> %s
  AND (id = ANY(%s::bigint[]) OR (partition, aws_account_id) IN (
      SELECT * FROM unnest(%s::text[], %s::text[])))
"""


@dataclass(frozen=True, slots=True)
class KnownAccounts:
    """Verified accounts."""

    ids: frozenset[int] = frozenset()
    by_aws_id: dict[tuple[str, str], int] = field(default_factory=dict)
    """By partition and AWS's id, of which at most one is verified."""


class AccountDirectory:
    """Looks accounts up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, ids: Collection[int], aws_ids: Collection[tuple[str, str]]) -> KnownAccounts:
        """Return those of the accounts that are verified and not removed."""
        wanted = sorted(aws_ids)
        with self._database.transaction() as cursor:
            cursor.execute(
                _FIND,
                (State.DELETED.value, array(ids), [p for p, _ in wanted], [a for _, a in wanted]),
            )
            rows = cursor.fetchall()
        return KnownAccounts(
            frozenset(number for number, _, _ in rows),
            {(partition, aws_id): number for number, partition, aws_id in rows},
        )
