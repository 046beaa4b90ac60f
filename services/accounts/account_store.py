"""Cloud accounts in the database; each method is one transaction.

`owner` says whose accounts the caller may see, as in account_rows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from psycopg2 import errors

from libs.common.errors import AlreadyExists, FailedPrecondition, NotFound
from libs.common.identifiers import RoleArn
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts import audit
from services.accounts.account_proof import TAKEN, keep_proof, keep_try, taken
from services.accounts.account_rows import visible_account, visible_accounts
from services.accounts.audit import OUTSIDE_ACCOUNTS, Author
from services.accounts.callers import EVERYBODY
from services.accounts.cloud_accounts import CloudAccount, State, Verification
from services.accounts.database import Cursor, Database, lock_accounts
from services.accounts.erasing import take_out
from services.accounts.history import Past
from services.accounts.repeats import RequestKey, made_before, remember
from services.accounts.tracking import begin_change, set_state

Retrack: TypeAlias = Callable[[Cursor, int, Micros, Micros], Past | None]


class AccountStore:
    """Keeps cloud accounts.

    `retrack(cursor, account_id, at, recorded_at)` derives again what depends on when an account was
    tracked, and returns how the past changed by it; it is called in the transaction that changes
    that, with the account's lock held. `erased` is called once an account was taken out whose rows
    are to be deleted.
    """

    def __init__(
        self, database: Database, retrack: Retrack, erased: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._retrack = retrack
        self._erased = erased

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

        Raises AlreadyExists when its owner has it already. Whether others have it is not told: who
        proves it first has it.
        """
        with self._database.transaction() as cursor:
            before = made_before(cursor, key)
            if before is not None:
                return visible_account(cursor, before, owner_id)
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
            begin_change(cursor, row[0], author.at)
            remember(cursor, key, row[0], account_id=row[0])
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
            return visible_accounts(cursor, owner, after, limit, deleted=deleted)

    def update(
        self,
        account_id: int,
        owner: int,
        author: Author,
        *,
        name: str | None = None,
        role_arn: str | None = None,
        owner_id: int | None = None,
    ) -> CloudAccount:
        """Change what is given; another role makes the account PENDING.

        Nobody scans a PENDING account, so tracking ends if it was ENABLED. Raises NotFound, and
        AlreadyExists when the new owner has the AWS account already.
        """
        try:
            with self._database.transaction() as cursor:
                lock_accounts(cursor, [account_id])
                # One that was removed with its history kept can still be given to somebody.
                given = owner_id is not None and name is None and role_arn is None
                old = visible_account(cursor, account_id, owner, deleted=given)
                changes = _changes(old, {"name": name, "role_arn": role_arn, "owner_id": owner_id})
                if changes:
                    recorded_at = begin_change(cursor, account_id, author.at)
                    _write(cursor, old, changes, author)
                    if "role_arn" in changes:
                        self._move(
                            *(cursor, old, State.PENDING, author, recorded_at),
                            *("account.role_changed", f"{old.role_arn} to {role_arn}"),
                        )
                return visible_account(cursor, account_id, EVERYBODY, deleted=True)
        except errors.UniqueViolation:
            raise AlreadyExists(
                "The new owner has this AWS account already.", reason="ACCOUNT_EXISTS"
            ) from None
        except errors.ForeignKeyViolation:
            raise NotFound("There is no such user.", reason="USER_NOT_FOUND") from None

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
                recorded_at = begin_change(cursor, account_id, author.at)
                action = f"account.{state.name.lower()}"
                self._move(cursor, old, state, author, recorded_at, action)
            return visible_account(cursor, account_id, owner)

    def remove(self, account_id: int, owner: int, author: Author) -> None:
        """Remove an account and keep its history, if it ever could have any; NotFound."""
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            old = visible_account(cursor, account_id, owner)
            if old.verified_at:
                recorded_at = begin_change(cursor, account_id, author.at)
                self._move(
                    *(cursor, old, State.DELETED, author, recorded_at),
                    *("account.removed", "history kept"),
                )
                return
            _take_out(cursor, old, author)
        self._erased()

    def erase(self, account_id: int, owner: int, author: Author) -> None:
        """Erase an account, a removed one too, with everything about it; NotFound.

        It is gone at once; its rows are deleted after that by somebody else.
        """
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            _take_out(cursor, visible_account(cursor, account_id, owner, deleted=True), author)
        self._erased()

    def record_verification(
        self, account_id: int, role_arn: str, found: Verification, author: Author
    ) -> CloudAccount:
        """Keep what a try to verify found, and enable the account when it was proved.

        Raises NotFound; FailedPrecondition when its role is no longer the one that was tried;
        AlreadyExists when somebody else has proved the same AWS account first, which is kept as
        what the try found.
        """
        try:
            with self._trying(account_id, role_arn) as (cursor, old):
                keep_try(cursor, account_id, found)
                if found.verified:
                    recorded_at = begin_change(cursor, account_id, author.at)
                    keep_proof(cursor, old, found)
                    if old.state is State.PENDING:
                        self._move(
                            *(cursor, old, State.ENABLED, author, recorded_at),
                            *("account.verified", old.role_arn),
                        )
                return visible_account(cursor, account_id, EVERYBODY)
        except errors.UniqueViolation:
            with self._trying(account_id, role_arn) as (cursor, _):
                keep_try(cursor, account_id, Verification(found.at, detail=TAKEN))
            raise taken() from None

    @contextmanager
    def _trying(self, account_id: int, role_arn: str) -> Iterator[tuple[Cursor, CloudAccount]]:
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            account = visible_account(cursor, account_id, EVERYBODY)
            if account.role_arn != role_arn:
                raise FailedPrecondition(
                    "The account's role was changed meanwhile. Verify it again.",
                    reason="ROLE_CHANGED",
                )
            yield cursor, account

    def _move(
        self,
        cursor: Cursor,
        old: CloudAccount,
        state: State,
        author: Author,
        recorded_at: Micros,
        action: str,
        detail: str = "",
    ) -> None:
        """Change an account's state, derive again what depends on it, and tell the audit log."""
        at = set_state(cursor, old, state, author.at, recorded_at)
        tracked = State.ENABLED in {old.state, state} and old.state is not state
        past = self._retrack(cursor, old.id, at, recorded_at) if tracked else None
        told = [detail] if detail else []
        if past is not None:
            told.append(past.told(["the change of tracking"]))
        affected = (past.since, past.until) if past else (0, 0)
        if old.verified_at and State.PENDING in {old.state, state}:
            # While an account is to be proved again, reports show nothing of it.
            affected = _all_counted(cursor, old.id, recorded_at)
        audit.record(cursor, author, old.id, action, old.name, "; ".join(told), affected)


def _all_counted(cursor: Cursor, account_id: int, now: Micros) -> tuple[Micros, Micros]:
    """Return from when until now an account's runs were counted; (0, 0): it has none."""
    cursor.execute("SELECT min(start_at) FROM run WHERE account_id = %s", (account_id,))
    (since,) = cursor.fetchone() or (None,)
    return (0, 0) if since is None else (since, max(now, since + 1))


def _changes(old: CloudAccount, given: Mapping[str, str | int | None]) -> dict[str, str | int]:
    """Return what is given and differs."""
    return {
        name: value
        for name, value in given.items()
        if value is not None and value != getattr(old, name)
    }


def _write(
    cursor: Cursor, old: CloudAccount, changes: Mapping[str, str | int], author: Author
) -> None:
    cursor.execute(
        "UPDATE cloud_account SET name = %s, role_arn = %s, owner_id = %s WHERE id = %s",
        (
            changes.get("name", old.name),
            changes.get("role_arn", old.role_arn),
            changes.get("owner_id", old.owner_id),
            old.id,
        ),
    )
    if "name" in changes:
        audit.record(
            cursor, author, old.id, "account.renamed", str(changes["name"]), f"was {old.name}"
        )
    if "owner_id" in changes:
        said = f"user {old.owner_id} to user {changes['owner_id']}"
        audit.record(cursor, author, old.id, "account.given", old.name, said)


def _take_out(cursor: Cursor, account: CloudAccount, author: Author) -> None:
    """Erase an account, whose lock is held, leaving the word that it was erased and nothing else.

    That is no entry of the account's own audit log, which goes too.
    """
    take_out(cursor, account.id, author.at)
    what = f"AWS account {account.aws_account_id} ({account.partition}), {account.name}"
    audit.record(
        *(cursor, author, OUTSIDE_ACCOUNTS, "account.erased", f"account {account.id}", what)
    )


def _exists() -> AlreadyExists:
    return AlreadyExists(
        "You have registered this AWS account already. Give that one another role, or remove it.",
        reason="ACCOUNT_EXISTS",
    )
