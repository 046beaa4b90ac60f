"""Where runs begin and end, in order of time: what every sweep goes along."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.reports.columns import Codes, Fleet, Mask, Runs, Times
from services.reports.ordering import stable_order, time_order


@dataclass(frozen=True, slots=True)
class Timeline:
    """Two rows for each span of a run, by time: `step` is +1 where it begins, -1 where it ends.

    At one instant ends come before beginnings: spans are half-open, and the count in between never
    exceeds what was counted before the instant or is counted after it.
    """

    time: Times
    run: Codes
    step: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the rows hold."""
        return self.time.nbytes + self.run.nbytes + self.step.nbytes

    @classmethod
    def of(cls, start: Times, end: Times, run: Codes) -> Self:
        """Return the timeline of the spans `[start, end)` of these runs."""
        time = np.concatenate((end, start))
        order = time_order(time)
        step = np.where(order < len(end), np.int8(-1), np.int8(1))
        return cls(time[order], np.concatenate((run, run))[order], step)


@dataclass(frozen=True, slots=True)
class Timelines:
    """The runs' spans: `counted` all, of them `unconfirmed`, and beyond them `possible`.

    `by_image` are the runs by image, and those of an image by start.

    They depend on the runs alone, neither on a window nor on a grouping, and so are made once.
    """

    counted: Timeline
    unconfirmed: Timeline
    possible: Timeline
    by_image: Codes

    @property
    def nbytes(self) -> int:
        """Bytes of memory that they hold."""
        spans = (self.counted, self.unconfirmed, self.possible)
        return sum(each.nbytes for each in spans) + self.by_image.nbytes

    @classmethod
    def of(cls, fleet: Fleet) -> Self:
        """Return the timelines of a fleet's runs."""
        runs = fleet.runs
        counted = Timeline.of(runs.start, runs.end, np.arange(len(runs), dtype=np.int32))
        return cls(
            counted=counted,
            unconfirmed=_unconfirmed(runs),
            possible=_where(runs.possible_end > runs.end, runs.end, runs.possible_end),
            by_image=_by_image(fleet, counted.run[counted.step > 0]),
        )


def _by_image(fleet: Fleet, by_start: Codes) -> Codes:
    image = fleet.instances.image[fleet.runs.instance[by_start]].astype(np.int64) + 1
    return by_start[stable_order(image, len(fleet.images) + 1)]


def _unconfirmed(runs: Runs) -> Timeline:
    """Return what lies before and what lies after each run's one confirmed part."""
    confirmed = runs.confirmed_end > runs.confirmed_start
    first = np.where(confirmed, runs.confirmed_start, runs.end)
    last = np.where(confirmed, runs.confirmed_end, runs.end)
    before = np.flatnonzero(runs.start < first).astype(np.int32)
    after = np.flatnonzero(last < runs.end).astype(np.int32)
    return Timeline.of(
        start=np.concatenate((runs.start[before], last[after])),
        end=np.concatenate((first[before], runs.end[after])),
        run=np.concatenate((before, after)),
    )


def _where(mask: Mask, start: Times, end: Times) -> Timeline:
    rows = np.flatnonzero(mask).astype(np.int32)
    return Timeline.of(start[rows], end[rows], rows)
