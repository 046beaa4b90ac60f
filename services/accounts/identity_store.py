"""Users and tokens in the database; each method is one transaction."""

import dataclasses
from typing import Any

from psycopg2 import errors

from libs.common.errors import AlreadyExists, FailedPrecondition, NotFound, Unauthenticated
from libs.common.identity import Role
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts import audit
from services.accounts.audit import OUTSIDE_ACCOUNTS, AuditEntry, Author
from services.accounts.database import Cursor, Database
from services.accounts.repeats import RequestKey, made_before, remember
from services.accounts.users import StoredUser, Token, digest_of

_ROLES = {Role.ADMIN: 1, Role.MEMBER: 2}
_ROLE_OF = {number: role for role, number in _ROLES.items()}
_USERS = "SELECT id, name, role, created_at FROM app_user"
_MOST_NAMED = 10
_TOKENS = "SELECT id, user_id, label, created_at, expires_at, revoked_at FROM token"
# Taken by whoever might remove the last admin or the last token of one, so that two who remove each
# other do not both succeed. It comes first, before any row is held.
_ADMINS_LOCK = "SELECT pg_advisory_xact_lock(hashtext('cloudigrade.admins'), 2)"


class IdentityStore:
    """Keeps users, and tokens by their digests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_user(
        self, name: str, role: Role, author: Author, key: RequestKey | None = None
    ) -> StoredUser:
        """Make a user, or return the one that an earlier call with the key made.

        Raises AlreadyExists when the name is taken.
        """
        with self._database.transaction() as cursor:
            before = made_before(cursor, key)
            if before is not None:
                return _user(cursor, before)
            cursor.execute(
                "INSERT INTO app_user (name, role, created_at) VALUES (%s, %s, %s)"
                " ON CONFLICT (name) DO NOTHING RETURNING id",
                (name, _ROLES[role], author.at),
            )
            row = cursor.fetchone()
            if row is None:
                raise AlreadyExists(
                    "Another user has this name. Choose another.", reason="USER_EXISTS"
                )
            remember(cursor, key, row[0])
            audit.record(cursor, author, OUTSIDE_ACCOUNTS, "user.created", name, role.value)
            return StoredUser(row[0], name, role, author.at)

    def user(self, user_id: int) -> StoredUser:
        """Return a user; NotFound when there is none."""
        with self._database.transaction() as cursor:
            return _user(cursor, user_id)

    def user_named(self, name: str) -> StoredUser:
        """Return the user of a name; NotFound when there is none."""
        with self._database.transaction() as cursor:
            cursor.execute(f"{_USERS} WHERE name = %s", (name,))
            return _found(cursor)

    def users(self, after: Key | None, limit: int) -> list[StoredUser]:
        """Return the users whose ids are greater than `after`, in order."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"{_USERS} WHERE id > %s ORDER BY id LIMIT %s", (*(after or (0,)), limit)
            )
            return [_as_user(row) for row in cursor.fetchall()]

    def change_role(self, user_id: int, role: Role, author: Author) -> StoredUser:
        """Give a user another role.

        Raises NotFound, and FailedPrecondition when no admin with a good token would be left.
        """
        with self._database.transaction() as cursor:
            cursor.execute(_ADMINS_LOCK)
            old = _user(cursor, user_id)
            if role is old.role:
                return old
            cursor.execute("UPDATE app_user SET role = %s WHERE id = %s", (_ROLES[role], user_id))
            if old.role is Role.ADMIN:
                _check_admins(cursor, author.at)
            said = f"{old.role.value} to {role.value}"
            audit.record(cursor, author, OUTSIDE_ACCOUNTS, "user.role_changed", old.name, said)
            return dataclasses.replace(old, role=role)

    def delete_user(self, user_id: int, author: Author) -> None:
        """Delete a user and their tokens.

        Raises NotFound, and FailedPrecondition for an owner of accounts and when no admin with a
        good token would be left.
        """
        try:
            with self._database.transaction() as cursor:
                cursor.execute(_ADMINS_LOCK)
                user = _user(cursor, user_id)
                _check_owns_none(cursor, user_id)
                cursor.execute("DELETE FROM app_user WHERE id = %s", (user_id,))
                if user.role is Role.ADMIN:
                    _check_admins(cursor, author.at)
                audit.record(
                    *(cursor, author, OUTSIDE_ACCOUNTS, "user.deleted", user.name),
                    f"user {user_id}, {user.role.value}",
                )
        except errors.ForeignKeyViolation:
            # One that was registered meanwhile.
            raise _owns("an account") from None

    def create_token(
        self, user_id: int, secret: str, label: str, expires_at: Micros, author: Author
    ) -> Token:
        """Keep a new token's digest; NotFound when there is no such user."""
        with self._database.transaction() as cursor:
            user = _user(cursor, user_id)
            cursor.execute(
                "INSERT INTO token (user_id, digest, label, created_at, expires_at)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                (user_id, digest_of(secret), label, author.at, expires_at),
            )
            (token_id,) = cursor.fetchone() or (0,)
            audit.record(
                *(cursor, author, OUTSIDE_ACCOUNTS, "token.created", user.name),
                _token_told(token_id, label),
            )
            return Token(token_id, user_id, label, author.at, expires_at)

    def tokens(self, user_id: int, after: Key | None, limit: int) -> list[Token]:
        """Return a user's tokens whose ids are greater than `after`; NotFound without the user."""
        with self._database.transaction() as cursor:
            _user(cursor, user_id)
            cursor.execute(
                f"{_TOKENS} WHERE user_id = %s AND id > %s ORDER BY id LIMIT %s",
                (user_id, *(after or (0,)), limit),
            )
            return [Token(*row) for row in cursor.fetchall()]

    def revoke_token(self, token_id: int, owner_id: int | None, author: Author) -> Token:
        """Revoke a token, of this owner if one is named; NotFound when there is none.

        One that was revoked before stays as it is. Raises FailedPrecondition when it is the last
        good one of any admin.
        """
        with self._database.transaction() as cursor:
            cursor.execute(_ADMINS_LOCK)
            cursor.execute(f"{_TOKENS} WHERE id = %s FOR UPDATE", (token_id,))
            row = cursor.fetchone()
            token = Token(*row) if row else None
            if token is None or owner_id not in {None, token.user_id}:
                raise NotFound(f"There is no token {token_id}.")
            if token.revoked_at:
                return token
            cursor.execute("UPDATE token SET revoked_at = %s WHERE id = %s", (author.at, token_id))
            user = _user(cursor, token.user_id)
            if user.role is Role.ADMIN and token.expires_at > author.at:
                _check_admins(cursor, author.at)
            audit.record(
                *(cursor, author, OUTSIDE_ACCOUNTS, "token.revoked", user.name),
                _token_told(token_id, token.label),
            )
            return dataclasses.replace(token, revoked_at=author.at)

    def audit(self, before: Key | None, limit: int) -> list[AuditEntry]:
        """Return who changed what outside accounts, newest first, from below an id."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT id, at, actor, action, subject, detail FROM audit"
                " WHERE account_id = %s AND id < %s ORDER BY id DESC LIMIT %s",
                (OUTSIDE_ACCOUNTS, *(before or (2**62,)), limit),
            )
            return [AuditEntry(*row) for row in cursor.fetchall()]

    def bearer(self, secret: str, now: Micros) -> tuple[StoredUser, Micros]:
        """Return whose a secret is and when it expires; Unauthenticated when it is no good."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT u.id, u.name, u.role, u.created_at, t.expires_at, t.revoked_at"
                " FROM token t JOIN app_user u ON u.id = t.user_id WHERE t.digest = %s",
                (digest_of(secret),),
            )
            row = cursor.fetchone()
        if row is None:
            raise Unauthenticated("The token is not known.", reason="TOKEN_UNKNOWN")
        *user, expires_at, revoked_at = row
        if revoked_at:
            raise Unauthenticated("The token was revoked.", reason="TOKEN_REVOKED")
        if expires_at <= now:
            raise Unauthenticated("The token has expired.", reason="TOKEN_EXPIRED")
        return _as_user(tuple(user)), expires_at


def _user(cursor: Cursor, user_id: int) -> StoredUser:
    cursor.execute(f"{_USERS} WHERE id = %s", (user_id,))
    return _found(cursor)


def _found(cursor: Cursor) -> StoredUser:
    row = cursor.fetchone()
    if row is None:
        raise NotFound("There is no such user.", reason="USER_NOT_FOUND")
    return _as_user(row)


def _as_user(row: tuple[Any, ...]) -> StoredUser:
    user_id, name, role, created_at = row
    return StoredUser(user_id, name, _ROLE_OF[role], created_at)


def _check_admins(cursor: Cursor, now: Micros) -> None:
    """Raise FailedPrecondition unless there is an admin who can still call, with their lock held.

    An admin can be made on the server too (`create-admin`), but that is a way out, not a habit.
    """
    cursor.execute(
        "SELECT count(DISTINCT u.id), count(t.id) FROM app_user u LEFT JOIN token t"
        " ON t.user_id = u.id AND t.revoked_at = 0 AND t.expires_at > %s WHERE u.role = %s",
        (now, _ROLES[Role.ADMIN]),
    )
    admins, tokens = cursor.fetchone() or (0, 0)
    if not admins:
        raise FailedPrecondition(
            "This is the last admin. Make another one first.", reason="LAST_ADMIN"
        )
    if not tokens:
        raise FailedPrecondition(
            "No admin would have a token that is good. Make another token for one first.",
            reason="LAST_ADMIN_TOKEN",
        )


def _check_owns_none(cursor: Cursor, user_id: int) -> None:
    cursor.execute(
        "SELECT id FROM cloud_account WHERE owner_id = %s ORDER BY id LIMIT %s",
        (user_id, _MOST_NAMED + 1),
    )
    owned = [str(number) for (number,) in cursor.fetchall()]
    if owned:
        more = ", ..." if len(owned) > _MOST_NAMED else ""
        raise _owns(", ".join(owned[:_MOST_NAMED]) + more)


def _owns(accounts: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The user owns cloud accounts (ids {accounts}). Give them to another user or erase them,"
        " removed ones too.",
        reason="USER_OWNS_ACCOUNTS",
    )


def _token_told(token_id: int, label: str) -> str:
    return f"token {token_id}: {label}" if label else f"token {token_id}"
