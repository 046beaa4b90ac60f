"""Proving an account: what a try found, and whose the AWS account is from then on."""

from libs.common.errors import AlreadyExists
from services.accounts.cloud_accounts import CloudAccount, Verification
from services.accounts.database import Cursor

TAKEN = (
    "Another user of cloudigrade has proved this AWS account. Ask an admin to give it to you, or "
    "that user to remove it."
)


def keep_try(cursor: Cursor, account_id: int, found: Verification) -> None:
    """Keep what a try to verify an account found."""
    cursor.execute(
        "UPDATE cloud_account SET tried_at = %s, tried_ok = %s, tried_detail = %s,"
        " missing_permissions = %s WHERE id = %s",
        (found.at, found.verified, found.detail, list(found.missing_permissions), account_id),
    )


def keep_proof(cursor: Cursor, account: CloudAccount, found: Verification) -> None:
    """Note that an account was proved.

    Of two accounts with the same AWS account whose proofs are noted at once, one is; the other
    waits for it, and this raises the database's UniqueViolation (then nothing of it was proved
    before).
    """
    cursor.execute(
        "UPDATE cloud_account SET verified_at = %s WHERE id = %s", (found.at, account.id)
    )


def taken() -> AlreadyExists:
    """Return the error for an AWS account that another user has proved.

    Told to nobody but who has just proved that they hold it too.
    """
    return AlreadyExists(TAKEN, reason="ACCOUNT_EXISTS")
