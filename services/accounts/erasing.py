"""Erasing an account: gone at once from every answer, its rows deleted bit by bit after that.

`take_out` is one short transaction, whatever the account holds. Rows that belong to no account in
`cloud_account` are seen by nobody, since everybody looks there first, so what follows hurries
nobody and holds no lock that others wait for.
"""

from collections.abc import Sequence

from psycopg2 import sql

from libs.common.instants import Micros
from services.accounts.database import Cursor, Database

# Every table that holds rows of accounts, as the database knows them: one that a later migration
# adds cannot be forgotten here.
_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE a.attname = 'account_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
  AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
  AND c.relname <> 'erasure'
ORDER BY c.relname
"""
_OLDER = """
SELECT FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND xact_start <= to_timestamp(%s / 1e6)
LIMIT 1
"""
# By what they are called where they are small, and go at once: the lease before the account, as
# whoever scans locks them.
_AT_ONCE = ("scan_lease", "answered_request", "cloud_account_was")


def take_out(cursor: Cursor, account_id: int, at: Micros) -> None:
    """Make an account, whose lock is held, unknown to everybody, and note that its rows are to go.

    Its AWS account is free to be registered and proved again.
    """
    for table in _AT_ONCE:
        cursor.execute(_of_account("DELETE FROM {}", table), (account_id,))
    cursor.execute("DELETE FROM cloud_account WHERE id = %s", (account_id,))
    cursor.execute("INSERT INTO erasure (account_id, asked_at) VALUES (%s, %s)", (account_id, at))


class ErasureStore:
    """Deletes the rows of accounts that were taken out; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self) -> dict[int, Micros]:
        """Return the accounts whose rows are to go, with the time of day that the database has."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT account_id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
                " FROM erasure ORDER BY asked_at, account_id"
            )
            return dict(cursor.fetchall())

    def tables(self) -> list[str]:
        """Return the names of the tables that can hold rows of an account."""
        with self._database.transaction() as cursor:
            return _tables(cursor)

    def places(self, table: str, account_id: int, most: int) -> list[str]:
        """Return where up to so many rows of an account lie in a table."""
        with self._database.transaction() as cursor:
            cursor.execute(
                _of_account("SELECT ctid FROM {}", table, " LIMIT %s"), (account_id, most)
            )
            return [place for (place,) in cursor.fetchall()]

    def delete(self, table: str, account_id: int, places: Sequence[str]) -> bool:
        """Delete rows where they lie; return False when somebody else is at this account now.

        That a commit is not waited for harms nothing: what a crash brings back is deleted again.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT FROM erasure WHERE account_id = %s FOR UPDATE SKIP LOCKED", (account_id,)
            )
            if not cursor.rowcount:
                return False
            cursor.execute("SET LOCAL synchronous_commit TO off")
            # A place may have been filled with another account's row since.
            cursor.execute(
                _of_account("DELETE FROM {}", table, " AND ctid = ANY(%s::tid[])"),
                (account_id, list(places)),
            )
            return True

    def finish(self, account_id: int, since: Micros) -> bool:
        """Forget that an account was to be erased, when nothing of it is left or can come.

        What began before it was taken out may still write a row of it. `since` is a time by the
        database's clock after that; while a transaction is older than it, this returns False.
        """
        with self._database.transaction() as cursor:
            cursor.execute(_OLDER, (since,))
            if cursor.fetchone() is not None:
                return False
            for table in _tables(cursor):
                cursor.execute(_of_account("SELECT FROM {}", table, " LIMIT 1"), (account_id,))
                if cursor.fetchone() is not None:
                    return False
            cursor.execute("DELETE FROM erasure WHERE account_id = %s", (account_id,))
            return True


def _tables(cursor: Cursor) -> list[str]:
    cursor.execute(_TABLES)
    return [name for (name,) in cursor.fetchall()]


def _of_account(statement: str, table: str, rest: str = "") -> sql.Composed:
    """Return a statement on one account's rows in a table."""
    return sql.SQL(statement + " WHERE account_id = %s" + rest).format(sql.Identifier(table))
