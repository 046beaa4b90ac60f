"""Time by kind of run and bucket: one pass along a timeline, whatever the number of buckets."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reports.columns import Codes, Times
from services.reports.exact import Exact
from services.reports.timelines import Timeline

# A block has at most so many cells (32 MiB a table) and, unless one bucket has more, so many rows:
# few enough that what is made of them stays in the processor's cache.
_MOST_CELLS = 2**22
_MOST_ROWS = 2**19
_BITS = 63
_LIMB = 24


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a timeline that lie in `(start, end]` of their bucket, in order of time.

    `left` is the time from a row to the end of its bucket.
    """

    bucket: Codes
    kind: Codes
    step: NDArray[np.int8]
    left: Times


@dataclass(frozen=True, slots=True)
class Block:
    """Some buckets in a row, from `first` on, and what a timeline says of them.

    `open` is how many spans are on at each bucket's start and `time` how long they are on in it,
    in microseconds, both by bucket and kind.
    """

    first: int
    open: NDArray[np.int64]
    time: Exact
    rows: Rows


def sweep(timeline: Timeline, kind_of_run: Codes, kinds: int, marks: Times) -> Iterator[Block]:
    """Yield blocks of the buckets that lie between ascending marks, in order.

    Rows whose run has the kind -1 are passed over. The work is rows plus cells, not their product.
    """
    at = np.searchsorted(timeline.time, marks, side="right")
    at[-1] = np.searchsorted(timeline.time, marks[-1], side="left")
    on = _on_after(timeline, int(at[0]), kind_of_run, kinds)
    for first, last in _blocks(at, kinds):
        here = slice(first, last + 1)
        rows = _rows(timeline, kind_of_run, marks[here], at[here])
        cell = rows.bucket.astype(np.int64) * kinds + rows.kind
        change = _table(cell, rows.step, (last - first, kinds))
        opened = on + np.cumsum(change, axis=0) - change
        yield Block(first, opened, _time(opened, np.diff(marks[here]), cell, rows), rows)
        on = opened[-1] + change[-1]


def _on_after(timeline: Timeline, rows: int, kind_of_run: Codes, kinds: int) -> NDArray[np.int64]:
    """Return how many spans of each kind are on after so many rows."""
    # The kind -1 is the place after the last.
    on = _table(kind_of_run[timeline.run[:rows]], timeline.step[:rows], (1, kinds + 1))
    return on[0, :kinds]


def _blocks(at: NDArray[np.int64], kinds: int) -> Iterator[tuple[int, int]]:
    """Yield the first bucket of each block and the one after its last."""
    first, end = 0, len(at) - 1
    while first < end:
        fitting = int(np.searchsorted(at, at[first] + _MOST_ROWS, side="right")) - 1
        last = min(max(fitting, first + 1), first + max(_MOST_CELLS // max(kinds, 1), 1), end)
        yield first, last
        first = last


def _rows(timeline: Timeline, kind_of_run: Codes, marks: Times, at: NDArray[np.int64]) -> Rows:
    rows = slice(at[0], at[-1])
    kind, time, step = kind_of_run[timeline.run[rows]], timeline.time[rows], timeline.step[rows]
    bucket = np.repeat(np.arange(len(at) - 1, dtype=np.int32), np.diff(at))
    counts = kind >= 0
    if not counts.all():
        kind, time, step, bucket = kind[counts], time[counts], step[counts], bucket[counts]
    return Rows(bucket, kind, step, marks[bucket + 1] - time)


def _time(opened: NDArray[np.int64], length: Times, cell: NDArray[np.int64], rows: Rows) -> Exact:
    """Return what is on at a bucket's start for all of it, and what changes for what is left."""
    longest = int(length.max(initial=0))
    if longest * (int(opened.sum(axis=1).max(initial=0)) + len(cell)) < 2**_BITS:
        return opened * length[:, None] + _table(cell, rows.step * rows.left, opened.shape)
    mask = 2**_LIMB - 1
    high = opened * (length >> _LIMB)[:, None]
    high += _table(cell, rows.step * (rows.left >> _LIMB), opened.shape)
    low = opened * (length & mask)[:, None]
    low += _table(cell, rows.step * (rows.left & mask), opened.shape)
    exact: Exact = high.astype(object) * 2**_LIMB + low.astype(object)
    return exact


def _table(
    cell: NDArray[np.signedinteger], value: NDArray[np.signedinteger], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    sums = np.zeros(shape, np.int64)
    # numpy adds in place tenfold faster when both sides have one type.
    np.add.at(sums.reshape(-1), cell, value.astype(np.int64, copy=False))
    return sums
