"""The runs of an account in bulk, as columns: as they are, or as they were at an instant.

Rows come by COPY in binary form, whose columns here are all of fixed width and never NULL, so that
NumPy reads them without looking at a single one: a million in about half a second, where fetching
them as Python objects takes several.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.common.instants import Micros
from services.accounts.database import Cursor
from services.accounts.label_store import LabelStore
from services.accounts.past_runs import derived_at
from services.accounts.runs import Run

_COLUMNS = (
    *(("start_at", "i8"), ("end_at", "i8"), ("session_start", "i8")),
    *(("confirmed_start", "i8"), ("confirmed_end", "i8"), ("end_latest", "i8")),
    *(("instance_id", "i8"), ("instance_type", "i4"), ("usage_operation", "i4"), ("vcpu", "i4")),
)
RunRows = NDArray[np.void]
"""Runs by instance and start: a structured array with the columns above."""

# https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format", read 2026-11-22: a header of
# 19 bytes, rows of a field count and length-prefixed big-endian fields, and a trailer of 2 bytes.
_HEADER, _TRAILER = 19, 2
_DATED = (*_COLUMNS, ("recorded_at", "i8"))
_ROW = np.dtype(list(_COLUMNS))
_TAKEN_AWAY = (
    "SELECT DISTINCT instance_id FROM taken_away WHERE account_id = %s AND recorded_at > %s"
)
_FEW = 50_000
"""Derived rows that are Python objects at a time."""


def runs_now(cursor: Cursor, account_id: int) -> RunRows:
    """Return an account's runs as they follow from everything in the snapshot."""
    return _copy(cursor, account_id, _COLUMNS)


def runs_at(cursor: Cursor, account_id: int, at: Micros, labels: LabelStore) -> RunRows:
    """Return an account's runs as they followed from what was known at an instant.

    Raises DeadlineExceeded when the caller no longer waits.
    """
    rows = _copy(cursor, account_id, _DATED)
    cursor.execute(_TAKEN_AWAY, (account_id, at))
    taken = np.array([number for (number,) in cursor.fetchall()], np.int64)
    again = np.union1d(rows["instance_id"][rows["recorded_at"] > at], taken)
    if not len(again):
        return rows
    kept = ~np.isin(rows["instance_id"], again)
    derived = list(_derived(cursor, account_id, at, labels, again.tolist()))
    unchanged = int(kept.sum())
    every = np.empty(unchanged + sum(map(len, derived)), _ROW)
    for name, _ in _COLUMNS:
        every[name][:unchanged] = rows[name][kept]
    del rows, kept
    for part in derived:
        every[unchanged : unchanged + len(part)] = part
        unchanged += len(part)
    return every[np.lexsort((every["start_at"], every["instance_id"]))]


def _derived(
    cursor: Cursor, account_id: int, at: Micros, labels: LabelStore, instance_ids: list[int]
) -> Iterator[RunRows]:
    few: list[tuple[int, Run]] = []
    for instance_id, derived in derived_at(cursor, account_id, at, instance_ids):
        few += ((instance_id, run) for run in derived.runs)
        if len(few) >= _FEW:
            yield _rows(cursor, labels, few)
            few = []
    yield _rows(cursor, labels, few)


def _rows(cursor: Cursor, labels: LabelStore, runs: list[tuple[int, Run]]) -> RunRows:
    texts = {text for _, run in runs for text in (run.instance_type, run.usage_operation)}
    numbers = labels.numbers(cursor, texts)
    return np.array(
        [
            (
                *run[:6],
                instance_id,
                numbers[run.instance_type],
                numbers[run.usage_operation],
                run.vcpu,
            )
            for instance_id, run in runs
        ],
        _ROW,
    )


def _copy(cursor: Cursor, account_id: int, columns: tuple[tuple[str, str], ...]) -> RunRows:
    names = ", ".join(name for name, _ in columns)
    read = BytesIO()
    cursor.copy_expert(  # COPY takes no parameters.
        f"COPY (SELECT {names} FROM run WHERE account_id = {int(account_id)}"  # noqa: S608 # numbers
        " ORDER BY instance_id, start_at) TO STDOUT (FORMAT binary)",
        read,
    )
    form = _form(columns)
    content = read.getbuffer()
    count, rest = divmod(len(content) - _HEADER - _TRAILER, form.itemsize)
    if rest:
        raise ValueError("rows of COPY are not of the width that they were made for")
    return np.frombuffer(content, form, count, _HEADER)


def _form(columns: tuple[tuple[str, str], ...]) -> np.dtype[Any]:
    return np.dtype(
        [
            ("fields", ">i2"),
            *(
                part
                for name, form in columns
                for part in ((f"{name} length", ">i4"), (name, f">{form}"))
            ),
        ]
    )
