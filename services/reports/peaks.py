"""The most that was on at once, by bucket and group, and the first instant at which it was."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.reports.columns import Times
from services.reports.dealing import Dealer, Hand
from services.reports.exact import Exact
from services.reports.sweep import Block, Rows

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Peaks:
    """By bucket and group: the most at once, and the first instant of it (no meaning at 0)."""

    most: Counts
    instant: Times


def peaks(block: Block, dealer: Dealer, marks: Times, vcpus: Counts) -> tuple[Peaks, Peaks]:
    """Return the peaks of instances and of vCPUs in a block's buckets, given each kind's vCPUs.

    `marks` are the block's own. What begins when something else ends is never counted with it.
    """
    rows = block.rows
    course = _Course(rows, dealer.deal(rows.kind), marks)
    ones = np.ones_like(vcpus)
    return (
        course.peaks(rows.step, dealer.sums(block.open, ones)),
        course.peaks(rows.step * vcpus[rows.kind], dealer.sums(block.open, vcpus)),
    )


class _Course:
    """Rows by group, bucket and time."""

    def __init__(self, rows: Rows, hand: Hand, marks: Times) -> None:
        self._rows, self._hand, self._marks = rows, hand, marks
        cell = hand.groups() * (len(marks) - 1) + hand.take(rows.bucket)
        self._begins = np.flatnonzero(np.concatenate(([True], cell[1:] != cell[:-1]))[: len(cell)])
        self._cells = cell[self._begins]
        # What changes at a bucket's very end is seen in the next one.
        self._at_end = hand.take(rows.left == 0)

    def peaks(self, change: NDArray[np.signedinteger], opened: Exact) -> Peaks:
        """Return the peaks of what rows change, given what is on when each bucket opens."""
        on = opened.astype(np.int64, copy=False)
        most = on.T.ravel()
        instant = np.tile(self._marks[:-1], on.shape[1])
        if len(self._begins):
            now = self._running(change, on[0])
            top = np.maximum.reduceat(now, self._begins)
            higher = top > most[self._cells]
            where = self._cells[higher]
            most[where] = top[higher]
            instant[where] = self._time(self._first(now, top)[higher])
        shape = on.shape[::-1]
        return Peaks(most.reshape(shape).T, instant.reshape(shape).T)

    def _running(self, change: NDArray[np.signedinteger], on: Counts) -> Counts:
        """Return what is on after each row, given what is on before each group's first."""
        now = np.cumsum(self._hand.take(change), dtype=np.int64)
        counts = self._hand.counts
        before = np.concatenate(([0], now))[self._hand.begins()]
        now += np.repeat(on - before, counts)
        now[self._at_end] = 0
        return now

    def _first(self, now: Counts, top: Counts) -> NDArray[np.int64]:
        """Return for each cell the first of its rows at which its top is reached."""
        lengths = np.diff(self._begins, append=len(now))
        reached = np.flatnonzero(now == np.repeat(top, lengths))
        return reached[np.searchsorted(reached, self._begins)]

    def _time(self, dealt: NDArray[np.int64]) -> Times:
        rows = dealt if self._hand.rows is None else self._hand.rows[dealt]
        return self._marks[self._rows.bucket[rows] + 1] - self._rows.left[rows]
