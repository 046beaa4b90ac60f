"""PostgreSQL's COPY in text format, the fastest way in for many rows.

The format: https://www.postgresql.org/docs/current/sql-copy.html, read 2026-11-22.
"""

import re
from collections.abc import Iterable
from io import StringIO

from services.accounts.database import Cursor

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_QUOTED, _BACKSLASHED = re.compile(r'(["\\])'), r"\\\1"


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


def line(*fields: str | int) -> str:
    """Return a line for `copy_lines` of texts and numbers as they are."""
    return "\t".join(escaped(each) if isinstance(each, str) else f"{each:d}" for each in fields)


def text_array(texts: Iterable[str]) -> str:
    """Return the literal of a PostgreSQL array of texts."""
    quoted = (f'"{_QUOTED.sub(_BACKSLASHED, text)}"' for text in texts)
    return f"{{{','.join(quoted)}}}"


def array(numbers: Iterable[int]) -> str:
    """Return the literal of a PostgreSQL array; much faster than to adapt a list."""
    return f"{{{','.join(map(str, numbers))}}}"
