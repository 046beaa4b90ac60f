"""Packages in SQLite, of rpm 4.16 and later: RHEL 9 and later, Fedora since 33.

Read by SQLite itself from memory: whoever inspects a disk may write no file, and leaves none. The
log beside the database is put into it before.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from services.inspector.disk.errors import DamagedError
from services.inspector.rpm.wal import apply_wal

_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
# 1: the database is read and written without a log; 2, with one, which would have to be a file.
_WITHOUT_LOG = bytes((1, 1))
_FORMATS_AT = 18
# In thousands of SQLite's instructions: a thousand packages take about ten.
_MAX_STEPS = 50_000
_STEP = 1000
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ})
_TABLE = "Packages"
_DAMAGED = "SQLite finds it damaged"


def recognises(data: bytes) -> bool:
    """Say whether a file begins as a SQLite database does."""
    return data.startswith(_MAGIC)


def blobs(data: bytes, log: bytes, most: int) -> Iterator[bytes]:
    """Give every package's header; DamagedError when the database or its table is damaged.

    `log` is the content of its -wal, empty for none, and `most` the bytes that both together may
    make.
    """
    database = bytearray(data)
    apply_wal(database, log, most)
    if len(database) < _HEADER_SIZE:
        raise DamagedError("is cut off")
    _check_size(database)
    database[_FORMATS_AT : _FORMATS_AT + 2] = _WITHOUT_LOG
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            yield from _rows(connection, database)
    except sqlite3.Error as error:
        raise DamagedError(f"SQLite says: {error}") from error
    except UnicodeDecodeError as error:
        # Of a message of SQLite's with names from the database in it.
        raise DamagedError(_DAMAGED) from error


def _check_size(database: bytearray) -> None:
    page_size = int.from_bytes(database[16:18], "big")
    pages = int.from_bytes(database[28:32], "big")
    size = pages * (65536 if page_size == 1 else page_size)
    # The size stands there if the two counters of changes agree (sqlite.org/fileformat2.html, 1.3).
    if database[24:28] == database[92:96] and len(database) < size:
        raise DamagedError(f"is cut off: {len(database):,} of {size:,} bytes")


def _rows(connection: sqlite3.Connection, database: bytearray) -> Iterator[bytes]:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return int(steps > _MAX_STEPS)

    connection.text_factory = bytes
    connection.deserialize(database)
    # What is computed may be of any size; what is stored is never larger than the whole.
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, len(database))
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA query_only = ON")
    connection.set_progress_handler(count, _STEP)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != (b"ok",):
        raise DamagedError(_DAMAGED)
    # A schema can hold anything that SQL can say: only its plain table is read.
    connection.set_authorizer(_permit)
    left = len(database)
    for (blob,) in connection.execute(f"SELECT blob FROM {_TABLE}"):  # noqa: S608  # a constant
        if not isinstance(blob, bytes):
            raise DamagedError("holds a package that is none")
        left -= len(blob)
        if left < 0:
            raise DamagedError("holds packages that are larger than it is")
        yield blob


def _permit(action: int, *_: object) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
