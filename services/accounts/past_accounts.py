"""Reads accounts and their Regions as they were known at an instant, the present one included."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts.account_rows import regions_of
from services.accounts.cloud_accounts import RegionStatus, State
from services.accounts.database import Cursor
from services.accounts.facts import DESCRIBE_LAG
from services.accounts.versions import known

_VISIBLE = """
SELECT id FROM cloud_account
WHERE (owner_id = %(owner)s OR %(owner)s = 0)
  AND (id = ANY(%(ids)s) OR cardinality(%(ids)s::bigint[]) = 0)
ORDER BY id
"""
_ACCOUNTS = """
SELECT a.id, a.aws_account_id, coalesce(v.name, ''), coalesce(v.state, %(pending)s),
       coalesce(v.verified_at, 0) <> 0, a.last_recorded_at
FROM cloud_account a LEFT JOIN LATERAL (
    SELECT a.name, a.state, a.verified_at
    WHERE a.changed_at <= %(at)s AND a.created_at <= %(at)s
    UNION ALL
    SELECT name, state, verified_at FROM cloud_account_was
    WHERE account_id = a.id AND changed_at <= %(at)s AND replaced_at > %(at)s
) v ON true
WHERE a.id = ANY(%(ids)s) ORDER BY a.id
"""
_REGIONS = f"""
SELECT r.region, coalesce(l.last - {DESCRIBE_LAG}, 0), coalesce(l.last, 0), r.trouble,
       r.trouble_since
FROM {known("region", "region, trouble, trouble_since")} r
CROSS JOIN LATERAL (
    SELECT max(started_at) AS last FROM listing
    WHERE account_id = %(account)s AND region = r.region AND complete AND recorded_at <= %(at)s
) l
ORDER BY r.region
"""  # noqa: S608 # of constants


@dataclass(frozen=True, slots=True)
class PastAccount:
    """An account as known at an instant; PENDING and without a name when it was not known."""

    id: int
    aws_account_id: str
    name: str
    state: State
    proved: bool
    """Whether anybody had proved it by then."""
    recorded_at: Micros
    """When anything about it was recorded last, which may be after the instant."""

    def changed_since(self, at: Micros) -> bool:
        """Say whether anything about it was recorded after an instant."""
        return self.recorded_at > at


def visible_ids(cursor: Cursor, owner: int, asked: Collection[int]) -> list[int]:
    """Return the accounts of those asked for, of all when none is, that an owner may see, by id.

    Raises NotFound when one is asked for that the owner may not see.
    """
    cursor.execute(_VISIBLE, {"owner": owner, "ids": list(asked)})
    visible = [account_id for (account_id,) in cursor.fetchall()]
    if missing := sorted(set(asked) - set(visible)):
        raise _not_found(missing[0])
    return visible


def accounts_at(cursor: Cursor, account_ids: Sequence[int], at: Micros) -> list[PastAccount]:
    """Return accounts as known at an instant, by id, without those that are gone for good."""
    cursor.execute(_ACCOUNTS, {"ids": account_ids, "at": at, "pending": State.PENDING.value})
    return [
        PastAccount(account_id, aws_id, name, State(state), proved, recorded_at)
        for account_id, aws_id, name, state, proved, recorded_at in cursor.fetchall()
    ]


def account_at(cursor: Cursor, account_id: int, at: Micros) -> PastAccount:
    """Return one account as known at an instant; NotFound when it is gone for good."""
    found = accounts_at(cursor, [account_id], at)
    if not found:
        raise _not_found(account_id)
    return found[0]


def regions_at(cursor: Cursor, account: PastAccount, at: Micros) -> tuple[RegionStatus, ...]:
    """Return what was known about each Region of an account at an instant, by name."""
    if not account.changed_since(at):
        return regions_of(cursor, account.id)
    cursor.execute(_REGIONS, {"account": account.id, "at": at})
    return tuple(RegionStatus(*row) for row in cursor.fetchall())


def _not_found(account_id: int) -> NotFound:
    return NotFound(
        f"There is no cloud account {account_id} that you may see.", reason="ACCOUNT_NOT_FOUND"
    )
