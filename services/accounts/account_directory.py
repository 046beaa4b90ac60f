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
# Keys begin with the account, so each account is asked: what names none is rare.
_KNOWING = """
SELECT i.ec2_id, min(i.account_id)
FROM cloud_account a
CROSS JOIN unnest(%s::text[]) AS asked(ec2_id)
JOIN instance i ON i.account_id = a.id AND i.ec2_id = asked.ec2_id
WHERE a.verified_at <> 0 AND a.state <> %s
GROUP BY i.ec2_id HAVING count(*) = 1
"""


@dataclass(frozen=True, slots=True)
class KnownAccounts:
    """Verified accounts."""

    ids: frozenset[int] = frozenset()
    by_aws_id: dict[tuple[str, str], int] = field(default_factory=dict)
    """By partition and AWS's id, of which at most one is verified."""
    by_instance: dict[str, int] = field(default_factory=dict)
    """By EC2's id of an instance, the one account that knows it."""


class AccountDirectory:
    """Looks accounts up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        ids: Collection[int],
        aws_ids: Collection[tuple[str, str]],
        ec2_ids: Collection[str] = (),
    ) -> KnownAccounts:
        """Return those of the accounts that are verified and not removed.

        Also which account knows each of some instances, where that is one alone.
        """
        wanted = sorted(aws_ids)
        with self._database.transaction() as cursor:
            cursor.execute(
                _FIND,
                (State.DELETED.value, array(ids), [p for p, _ in wanted], [a for _, a in wanted]),
            )
            rows = cursor.fetchall()
            if ec2_ids:
                cursor.execute(_KNOWING, (sorted(ec2_ids), State.DELETED.value))
            knowing = cursor.fetchall() if ec2_ids else []
        return KnownAccounts(
            frozenset(number for number, _, _ in rows),
            {(partition, aws_id): number for number, partition, aws_id in rows},
            dict(knowing),
        )
