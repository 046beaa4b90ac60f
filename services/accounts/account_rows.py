"""Cloud accounts as they are read from the database, by who may see them.

`owner` says whose accounts the caller may see: a user's id, or EVERYBODY. What they may not see is
NotFound, as if it did not exist.
"""

from typing import Any

from libs.common.errors import NotFound
from libs.common.paging import Key
from services.accounts.cloud_accounts import CloudAccount, RegionStatus, State, Verification
from services.accounts.database import Cursor

_ACCOUNTS = (
    "SELECT id, owner_id, name, partition, aws_account_id, role_arn, external_id, state,"
    " created_at, verified_at, last_scan_at, tried_at, tried_ok, tried_detail, missing_permissions"
    " FROM cloud_account"
)
_VISIBLE = "(owner_id = %s OR %s = 0)"


def visible_account(
    cursor: Cursor, account_id: int, owner: int, *, deleted: bool = False
) -> CloudAccount:
    """Return an account with its Regions; NotFound when there is none for this caller."""
    cursor.execute(f"{_ACCOUNTS} WHERE id = %s AND {_VISIBLE}", (account_id, owner, owner))
    row = cursor.fetchone()
    account = _as_account(row, regions_of(cursor, account_id)) if row else None
    if account is None:
        raise NotFound(
            f"There is no cloud account {account_id} that you may see.",
            reason="ACCOUNT_NOT_FOUND",
        )
    if account.state is State.DELETED and not deleted:
        raise NotFound(
            f"Cloud account {account_id} was removed: its history can be read, and erased.",
            reason="ACCOUNT_NOT_FOUND",
        )
    return account


def regions_of(cursor: Cursor, account_id: int) -> tuple[RegionStatus, ...]:
    """Return what is known about each Region of an account, by name."""
    cursor.execute(
        "SELECT region, confirmed_through, last_listing_at, trouble, trouble_since"
        " FROM region WHERE account_id = %s ORDER BY region",
        (account_id,),
    )
    return tuple(RegionStatus(*row) for row in cursor.fetchall())


def visible_accounts(
    cursor: Cursor, owner: int, after: Key | None, limit: int, *, deleted: bool
) -> list[CloudAccount]:
    """Return accounts whose ids are greater than `after`, in order, without their Regions."""
    cursor.execute(
        f"{_ACCOUNTS} WHERE {_VISIBLE} AND id > %s AND (state <> %s OR %s) ORDER BY id LIMIT %s",
        (owner, owner, *(after or (0,)), State.DELETED, deleted, limit),
    )
    return [_as_account(row) for row in cursor.fetchall()]


def _as_account(row: tuple[Any, ...], regions: tuple[RegionStatus, ...] = ()) -> CloudAccount:
    (
        account_id,
        owner_id,
        name,
        partition,
        aws_account_id,
        role_arn,
        external_id,
        state,
        created_at,
        verified_at,
        last_scan_at,
        tried_at,
        tried_ok,
        detail,
        missing,
    ) = row
    return CloudAccount(
        account_id,
        owner_id,
        name,
        partition,
        aws_account_id,
        role_arn,
        external_id,
        State(state),
        created_at,
        verified_at,
        last_scan_at,
        Verification(tried_at, tried_ok, detail, tuple(missing)),
        regions,
    )
