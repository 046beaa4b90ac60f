"""Parts the tables of accounts by account, with PostgreSQL's own hash partitioning.

Every table whose key begins with the account and goes on is converted, with its keys and indexes;
those that have one row for each account are not worth it. What reads and writes them stays as it
is. Maintenance with the service stopped: rows are copied, so there must be room for a second copy
of them all until it is done.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from psycopg2 import errors, sql

from libs.common.config import StartError
from services.accounts.database import Cursor, Database

FEWEST, MOST = 2, 256
"""Partitions of one table: each has a lock and a plan of its own in statements of many accounts."""

_IDENTITY_SINCE = 170000
"""PostgreSQL 17 is the first whose partitioned tables can have identity columns, says
https://www.postgresql.org/docs/release/17.0/, read 2026-11-22."""

_TABLES = """
SELECT c.relname, c.relkind = 'p', coalesce(array_to_string(c.reloptions, ', '), '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
WHERE i.indisprimary AND i.indnkeyatts > 1 AND a.attname = 'account_id' AND NOT c.relispartition
  AND c.relnamespace = current_schema()::regnamespace
ORDER BY c.relname
"""
_KEYS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::regclass AND contype IN ('p', 'u') ORDER BY contype, conname
"""
# Those of keys are made with their keys.
_INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index i
WHERE indrelid = %s::regclass
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid) ORDER BY indexrelid
"""
_NUMBERED = """
SELECT attname, pg_get_serial_sequence(%s, attname) FROM pg_attribute
WHERE attrelid = %s::regclass AND attidentity <> ''
"""


class Parted(NamedTuple):
    """A table that was converted."""

    table: str
    rows: int


class _Table(NamedTuple):
    name: str
    parted: bool
    options: str
    """Storage options, which its partitions take."""


def partition(database: Database, into: int) -> list[Parted]:
    """Part every table of accounts into so many partitions, in one transaction, and name them.

    Nobody else reads or writes them meanwhile; readers and writers wait. Raises StartError when
    they are parted already, or PostgreSQL is too old or has too few locks, and nothing is changed;
    Unavailable when the database cannot be reached.
    """
    if not FEWEST <= into <= MOST:
        raise StartError(f"a table is parted into {FEWEST} to {MOST} partitions, not {into}")
    with _telling(), database.transaction() as cursor:
        tables = _lock(cursor)
        parted = [table.name for table in tables if table.parted]
        if parted:
            raise StartError(f"parted already: {', '.join(parted)}. Nothing was changed.")
        return [Parted(table.name, _part(cursor, table, into)) for table in tables]


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except errors.OutOfMemory as error:
        raise StartError(
            "PostgreSQL has too few locks for so many partitions: raise max_locks_per_transaction, "
            "or have fewer. Nothing was changed."
        ) from error


def _lock(cursor: Cursor) -> list[_Table]:
    cursor.execute("SELECT current_setting('server_version_num')::int")
    (version,) = cursor.fetchone() or (0,)
    if version < _IDENTITY_SINCE:
        raise StartError("only PostgreSQL 17 and later can part these tables")
    cursor.execute(_TABLES)
    names = [name for name, *_ in cursor.fetchall()]
    cursor.execute(
        sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(
            sql.SQL(", ").join(map(sql.Identifier, names))
        )
    )
    # What another conversion did before it gave the locks up is seen only now.
    cursor.execute(_TABLES)
    return [_Table(*row) for row in cursor.fetchall()]


def _part(cursor: Cursor, table: _Table, into: int) -> int:
    """Convert one table and return how many rows it has."""
    name, whole = table.name, f"{table.name}_whole"
    keys = _rows(cursor, _KEYS, name)
    indexes = _rows(cursor, _INDEXES, name)
    numbered = _rows(cursor, _NUMBERED, name, name)
    reached = [(column, sequence, *_reached(cursor, sequence)) for column, sequence in numbered]
    _run(cursor, "ALTER TABLE {} RENAME TO {}", name, whole)
    # INDEXES and STATISTICS are made when the rows are there; storage options are the partitions'.
    _run(
        cursor,
        "CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)"
        " PARTITION BY HASH (account_id)",
        *(name, whole),
    )
    options = sql.SQL(f" WITH ({table.options})" if table.options else "")
    for number in range(into):
        cursor.execute(
            sql.SQL(
                "CREATE TABLE {} PARTITION OF {} FOR VALUES WITH (MODULUS {}, REMAINDER {}){}"
            ).format(
                *(sql.Identifier(f"{name}_{number}"), sql.Identifier(name)),
                *(sql.Literal(into), sql.Literal(number), options),
            )
        )
    _run(cursor, "INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}", name, whole)
    rows = cursor.rowcount
    _run(cursor, "DROP TABLE {}", whole)
    for constraint, definition in keys:
        statement = "ALTER TABLE {} ADD CONSTRAINT {} " + definition
        _run(cursor, statement, name, constraint)
    for (definition,) in indexes:
        cursor.execute(definition)
    for column, sequence, last, called in reached:
        _number_on(cursor, name, column, sequence, last, called=called)
    _run(cursor, "ANALYZE {}", name)
    return rows


def _reached(cursor: Cursor, sequence: str) -> tuple[int, bool]:
    # Its name comes from PostgreSQL, quoted and with its schema.
    ((last, called),) = _rows(cursor, f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
    return last, called


def _number_on(
    cursor: Cursor, table: str, column: str, was: str, last: int, *, called: bool
) -> None:
    """Have a column's numbers go on where they were, under the sequence's old name."""
    ((sequence,),) = _rows(cursor, "SELECT pg_get_serial_sequence(%s, %s)", table, column)
    cursor.execute("SELECT setval(%s, %s, %s)", (sequence, last, called))
    if sequence != was:
        old = was.rpartition(".")[2]
        cursor.execute(f"ALTER SEQUENCE {sequence} RENAME TO {old}")


def _rows(cursor: Cursor, statement: str, *arguments: str) -> list[tuple[Any, ...]]:
    cursor.execute(statement, arguments or None)
    return cursor.fetchall()


def _run(cursor: Cursor, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
