"""The instant that an answer speaks for, and that nothing is recorded by it afterwards."""

import zlib
from collections.abc import Collection

from psycopg2.extensions import cursor as Cursor  # noqa: N812 # as the rest of accounts calls it

from libs.common.errors import InvalidRequest
from libs.common.instants import Micros

NO_ACCOUNT = 0
"""Locked as an account is, by who writes facts that belong to none: what instance types are."""
# A key of two numbers, which no account's lock, a key of one number, can meet.
_ANSWERED_LOCK = (zlib.crc32(b"cloudigrade.accounts") >> 1, 2)
_LOCKED_AT_ONCE = 500
"""PostgreSQL has room for some 6,400 locks with its defaults (max_locks_per_transaction 64)."""
_NEWEST = """
SELECT greatest(
    %s,
    (SELECT max(greatest(last_recorded_at, changed_at)) FROM cloud_account WHERE id = ANY(%s)),
    (SELECT max(recorded_at) FROM instance_type)
), (SELECT last_value FROM answered_at)
"""


def fence(
    cursor: Cursor, account_ids: Collection[int], now: Micros, asked: Micros | None
) -> Micros:
    """Let what is recorded from now on be later than the instant that is returned.

    The newest locks are still held, by the session.
    """
    ids = sorted({NO_ACCOUNT, *account_ids})
    # Who has long to write is waited for with no lock held, which would keep out other accounts'
    # writers; what is begun after that is mostly short.
    _wait(cursor, ids)
    _share(cursor, ids[:_LOCKED_AT_ONCE])
    cursor.execute(_NEWEST, (now, ids))
    newest, answered = cursor.fetchone() or (now, now)
    instant: Micros = newest if asked is None else asked
    if instant > max(newest, answered):
        raise InvalidRequest(
            "lies ahead of the server's clock; leave it out for now", field="as_of"
        )
    if instant > answered:
        _answer(cursor, instant)
    # Of accounts beyond the first, who writes now has looked at answered_at already, or will not
    # before it is moved: to wait for the former is enough, and their locks need not be kept.
    for start in range(_LOCKED_AT_ONCE, len(ids), _LOCKED_AT_ONCE):
        cursor.execute("SELECT pg_advisory_unlock_all()")
        _share(cursor, ids[start : start + _LOCKED_AT_ONCE])
    return instant


def _wait(cursor: Cursor, ids: list[int]) -> None:
    """Wait for the writers that are under way, of one account after the other."""
    cursor.execute(
        "SELECT pg_advisory_lock_shared(id), pg_advisory_unlock_shared(id)"
        " FROM unnest(%s::bigint[]) AS id",
        (ids,),
    )


def _share(cursor: Cursor, ids: list[int]) -> None:
    cursor.execute("SELECT pg_advisory_lock_shared(id) FROM unnest(%s::bigint[]) AS id", (ids,))


def _answer(cursor: Cursor, instant: Micros) -> None:
    """Move answered_at up to an instant, never down."""
    cursor.execute("SELECT pg_advisory_lock(%s, %s)", _ANSWERED_LOCK)
    cursor.execute(
        "SELECT setval('answered_at', %(instant)s) FROM answered_at WHERE last_value < %(instant)s",
        {"instant": instant},
    )
    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", _ANSWERED_LOCK)
