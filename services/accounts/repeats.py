"""Calls that create something, made harmless to repeat by their request_id (AIP-155)."""

from dataclasses import dataclass

from libs.common.errors import InvalidRequest
from services.accounts.database import Cursor


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Names one call for ever: whose, by which id; `digest` tells its content."""

    caller_id: int
    request_id: str
    digest: bytes


def made_before(cursor: Cursor, key: RequestKey | None) -> int | None:
    """Return the id of what an earlier call with this key made, None when this is the first.

    Of two such calls at once the second waits for the first's transaction. Raises InvalidRequest
    when the id was used for another content.
    """
    if key is None:
        return None
    cursor.execute(
        "INSERT INTO answered_request (caller_id, request_id, digest) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (key.caller_id, key.request_id, key.digest),
    )
    if cursor.rowcount == 1:
        return None
    cursor.execute(
        "SELECT digest, resource_id FROM answered_request WHERE caller_id = %s AND request_id = %s",
        (key.caller_id, key.request_id),
    )
    digest, resource_id = cursor.fetchone() or (b"", 0)
    if bytes(digest) != key.digest:
        raise InvalidRequest(
            "was used for another request", field="request_id", reason="REQUEST_ID_REUSED"
        )
    return int(resource_id)


def remember(
    cursor: Cursor, key: RequestKey | None, resource_id: int, *, account_id: int = 0
) -> None:
    """Keep what the first call with this key made, in the same transaction.

    What is made in a cloud account names it, and is forgotten when that is erased.
    """
    if key is not None:
        cursor.execute(
            "UPDATE answered_request SET resource_id = %s, account_id = %s"
            " WHERE caller_id = %s AND request_id = %s",
            (resource_id, account_id, key.caller_id, key.request_id),
        )
