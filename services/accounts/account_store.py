"""Cloud accounts in the database; each method is one transaction.

`owner` says whose accounts the caller may see: a user's id, or EVERYBODY. What they may not see is
NotFound, as if it did not exist.
"""

from collections.abc import Callable
from typing import Any

from psycopg2 import errors

from libs.common.errors import AlreadyExists, FailedPrecondition, NotFound
from libs.common.identifiers import RoleArn
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts import audit
from services.accounts.audit import Author
from services.accounts.callers import EVERYBODY
from services.accounts.cloud_accounts import CloudAccount, RegionStatus, State, Verification
from services.accounts.database import Cursor, Database, lock_accounts
from services.accounts.erasing import erase
from services.accounts.repeats import RequestKey, made_before, remember
from services.accounts.tracking import set_state

_ACCOUNTS = (
    "SELECT id, owner_id, name, partition, aws_account_id, role_arn, external_id, state,"
    " created_at, verified_at, last_scan_at, tried_at, tried_ok, tried_detail, missing_permissions"
    " FROM cloud_account"
)
_VISIBLE = "(owner_id = %s OR %s = 0)"


class AccountStore:
    """Keeps cloud accounts.

    `retrack(cursor, account_id, at)` derives again what depends on when an account was tracked; it
    is called in the transaction that changes that, with the account's lock held.
    """

    def __init__(
        self,
        database: Database,
        retrack: Callable[[Cursor, int, Micros], None] = lambda _cursor, _account_id, _at: None,
    ) -> None:
        self._database = database
        self._retrack = retrack

    def create(
        self,
        name: str,
        role: RoleArn,
        external_id: str,
        owner_id: int,
        author: Author,
        key: RequestKey | None = None,
    ) -> CloudAccount:
        """Register an account, or return the one that an earlier call with the key made.

        Raises AlreadyExists when its owner has it already, or somebody has proved it to be theirs.
        """
        with self._database.transaction() as cursor:
            before = made_before(cursor, key)
            if before is not None:
                return visible_account(cursor, before, owner_id)
            _refuse_proved(cursor, role.partition, role.account_id)
            cursor.execute(
                "INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn,"
                " external_id, state, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING id",
                (
                    owner_id,
                    name,
                    role.partition,
                    role.account_id,
                    str(role),
                    external_id,
                    State.PENDING,
                    author.at,
                ),
            )
            row = cursor.fetchone()
            if row is None:
                raise _exists()
            remember(cursor, key, row[0])
            audit.record(cursor, author, row[0], "account.created", name, str(role))
            return visible_account(cursor, row[0], owner_id)

    def account(self, account_id: int, owner: int) -> CloudAccount:
        """Return an account with its Regions, a removed one too; NotFound."""
        with self._database.transaction() as cursor:
            return visible_account(cursor, account_id, owner, deleted=True)

    def accounts(
        self, owner: int, after: Key | None, limit: int, *, deleted: bool
    ) -> list[CloudAccount]:
        """Return accounts whose ids are greater than `after`, in order, without their Regions."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"{_ACCOUNTS} WHERE {_VISIBLE} AND id > %s AND (state <> %s OR %s)"
                " ORDER BY id LIMIT %s",
                (owner, owner, *(after or (0,)), State.DELETED, deleted, limit),
            )
            return [_as_account(row) for row in cursor.fetchall()]

    def update(
        self,
        account_id: int,
        owner: int,
        author: Author,
        *,
        name: str | None = None,
        role_arn: str | None = None,
    ) -> CloudAccount:
        """Change what is given; another role makes the account PENDING. NotFound.

        Nobody scans a PENDING account, so tracking ends if it was ENABLED.
        """
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            old = visible_account(cursor, account_id, owner)
            if role_arn not in {None, old.role_arn}:
                if old.state is State.ENABLED:
                    set_state(cursor, old, State.PENDING, author.at)
                    self._retrack(cursor, account_id, author.at)
                cursor.execute(
                    "UPDATE cloud_account SET role_arn = %s, state = %s WHERE id = %s",
                    (role_arn, State.PENDING, account_id),
                )
                audit.record(
                    cursor, author, account_id, "account.role_changed", str(role_arn), old.role_arn
                )
            if name not in {None, old.name}:
                cursor.execute(
                    "UPDATE cloud_account SET name = %s WHERE id = %s", (name, account_id)
                )
                audit.record(cursor, author, account_id, "account.renamed", str(name), old.name)
            return visible_account(cursor, account_id, owner)

    def move(
        self, account_id: int, owner: int, author: Author, transition: Callable[[State], State]
    ) -> CloudAccount:
        """Take an account to the state that `transition` gives for its present one.

        Leaving ENABLED ends tracking, coming back to it begins tracking again. Raises NotFound, and
        what `transition` raises.
        """
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            old = visible_account(cursor, account_id, owner)
            state = transition(old.state)
            if state is not old.state:
                set_state(cursor, old, state, author.at)
                self._retrack(cursor, account_id, author.at)
                audit.record(cursor, author, account_id, f"account.{state.name.lower()}", old.name)
            return visible_account(cursor, account_id, owner)

    def remove(self, account_id: int, owner: int, author: Author) -> None:
        """Remove an account and keep its history, if it ever could have any; NotFound."""
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            old = visible_account(cursor, account_id, owner)
            if not old.verified_at:
                erase(cursor, old.id)
            else:
                set_state(cursor, old, State.DELETED, author.at)
                self._retrack(cursor, account_id, author.at)
            audit.record(cursor, author, account_id, "account.removed", old.name, "history kept")

    def erase(self, account_id: int, owner: int, author: Author) -> None:
        """Erase an account, a removed one too, with everything about it; NotFound."""
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            old = visible_account(cursor, account_id, owner, deleted=True)
            erase(cursor, old.id)
            audit.record(cursor, author, account_id, "account.erased", old.name)

    def record_verification(
        self, account_id: int, role_arn: str, found: Verification, author: Author
    ) -> CloudAccount:
        """Keep what a try to verify found, and enable the account when it was proved.

        Raises NotFound; FailedPrecondition when its role is no longer the one that was tried;
        AlreadyExists when somebody else has proved the same AWS account first.
        """
        try:
            with self._database.transaction() as cursor:
                lock_accounts(cursor, [account_id])
                old = visible_account(cursor, account_id, EVERYBODY)
                if old.role_arn != role_arn:
                    raise FailedPrecondition(
                        "The account's role was changed meanwhile. Verify it again.",
                        reason="ROLE_CHANGED",
                    )
                _keep_try(cursor, account_id, found)
                if found.verified and _prove(cursor, old, author):
                    self._retrack(cursor, account_id, author.at)
                return visible_account(cursor, account_id, EVERYBODY)
        except errors.UniqueViolation:
            raise _exists() from None


def visible_account(
    cursor: Cursor, account_id: int, owner: int, *, deleted: bool = False
) -> CloudAccount:
    """Return an account with its Regions; NotFound when there is none for this caller."""
    cursor.execute(f"{_ACCOUNTS} WHERE id = %s AND {_VISIBLE}", (account_id, owner, owner))
    row = cursor.fetchone()
    account = _as_account(row, regions_of(cursor, account_id)) if row else None
    if account is None or (account.state is State.DELETED and not deleted):
        raise NotFound(
            f"There is no cloud account {account_id} that you may see.",
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


def _keep_try(cursor: Cursor, account_id: int, found: Verification) -> None:
    cursor.execute(
        "UPDATE cloud_account SET tried_at = %s, tried_ok = %s, tried_detail = %s,"
        " missing_permissions = %s WHERE id = %s",
        (found.at, found.verified, found.detail, list(found.missing_permissions), account_id),
    )


def _prove(cursor: Cursor, old: CloudAccount, author: Author) -> bool:
    """Note that an account was proved; return whether that has enabled it."""
    cursor.execute("UPDATE cloud_account SET verified_at = %s WHERE id = %s", (author.at, old.id))
    if old.state is not State.PENDING:
        return False
    set_state(cursor, old, State.ENABLED, author.at)
    audit.record(cursor, author, old.id, "account.verified", old.name, old.role_arn)
    return True


def _refuse_proved(cursor: Cursor, partition: str, aws_account_id: str) -> None:
    cursor.execute(
        "SELECT FROM cloud_account WHERE partition = %s AND aws_account_id = %s"
        " AND verified_at <> 0 AND state <> %s",
        (partition, aws_account_id, State.DELETED),
    )
    if cursor.fetchone() is not None:
        raise _exists()


def _exists() -> AlreadyExists:
    return AlreadyExists(
        "This AWS account is registered already, by you or by somebody who has proved that it is "
        "theirs.",
        reason="ACCOUNT_EXISTS",
    )


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
