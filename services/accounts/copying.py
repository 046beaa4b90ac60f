"""PostgreSQL's COPY in text format, the fastest way in for many rows.

The format: https://www.postgresql.org/docs/current/sql-copy.html, read 2026-11-22.
"""

from collections.abc import Iterable
from io import StringIO

from services.accounts.database import Cursor

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escaped(text: str) -> str:
    """Return a text as a field of COPY's text format; the same one if it needs nothing.

    It must hold no NUL.
    """
    if "\\" in text or not text.isprintable():
        return text.translate(_ESCAPES)
    return text


def copy_lines(cursor: Cursor, table: str, columns: str, lines: Iterable[str]) -> None:
    """Copy lines, whose fields are escaped and parted by tabs, into columns of a table."""
    text = "\n".join(lines)
    if text:
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", StringIO(text))


def array(numbers: Iterable[int]) -> str:
    """Return the literal of a PostgreSQL array; much faster than to adapt a list."""
    return f"{{{','.join(map(str, numbers))}}}"
