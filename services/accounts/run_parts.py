"""The parts of an account's runs: each run cut where overrides begin to hold, as columns.

The same rules as `services.accounts.overrides.parts`, for a million runs at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.accounts.overrides import Overrides, Standing, Timeline
from services.accounts.run_columns import RunRows
from services.accounts.run_reader import AccountRuns

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

_TIMES = ("start_at", "end_at", "confirmed_start", "confirmed_end", "end_latest")
_OPEN = 2**62
"""The end of a run that goes on: after every instant."""


@dataclass(frozen=True, slots=True)
class Times:
    """When parts of runs began and ended, and what of them is confirmed, as `Run` has it."""

    start: Numbers
    end: Numbers
    confirmed_start: Numbers
    confirmed_end: Numbers
    end_latest: Numbers


@dataclass(frozen=True, slots=True)
class Part:
    """Some parts of runs: of which rows they are, their times, and which overrides stand."""

    rows: RunRows
    """Each part's run."""
    places: Numbers | slice
    """Where those runs are among all rows."""
    times: Times
    standing: Numbers
    """Each part's number in `Parts.standings`."""


class Parts:
    """The parts of an account's runs, in the runs' order; `len` is how many there are.

    `code_of` is the place of each row's instance in `runs.instances`.
    """

    def __init__(self, runs: AccountRuns, code_of: NDArray[np.int32]) -> None:
        self._rows = runs.rows
        self._spans = _Spans(runs)
        self.standings = self._spans.standings
        """Without any overrides just one: that none stands."""
        timeline_of = self._spans.timeline_of[code_of]
        self._first = self._spans.beginnings[timeline_of]
        self._offsets: Numbers | None = None
        if self._spans.cuts:
            self._count(timeline_of)

    def __len__(self) -> int:
        return len(self._rows) if self._offsets is None else int(self._offsets[-1])

    def between(self, start: int, end: int) -> Part:
        """Return the parts from the one to the other, which is not among them."""
        if self._offsets is None:
            places = slice(start, end)
            rows = self._rows[places]
            standing = self._spans.standing_of[self._first[places]]
            return Part(rows, places, _whole(rows), standing)
        numbers = np.arange(start, end)
        of_row = np.searchsorted(self._offsets, numbers, "right") - 1
        begun, ended = self._offsets[of_row], self._offsets[of_row + 1]
        rows = self._rows[of_row]
        span = self._first[of_row] + numbers - begun
        begins, ends = numbers == begun, numbers == ended - 1
        start_at = np.where(begins, rows["start_at"], self._spans.since[span])
        end_at = np.where(ends, rows["end_at"], self._spans.until[span])
        times = _cut(rows, start_at, end_at, begins & ends, ends)
        return Part(rows, of_row, times, self._spans.standing_of[span])

    def _count(self, timeline_of: Numbers) -> None:
        """Find each run's first span, and how many it reaches into."""
        counts = np.ones(len(self._rows), np.int64)
        # Only these can be cut, and mostly they are few.
        (cut,) = np.nonzero(self._spans.sizes[timeline_of] > 1)
        timelines, ends = timeline_of[cut], self._rows["end_at"][cut]
        first = self._spans.holding(timelines, self._rows["start_at"][cut])
        last = self._spans.ending(timelines, np.where(ends == 0, _OPEN, ends))
        last = np.maximum(last, first)
        self._first[cut] = first
        counts[cut] = last - first + 1
        if counts.max(initial=1) > 1:
            self._offsets = np.concatenate([[0], np.cumsum(counts)])


class _Spans:
    """The spans of every timeline that an account's instances have, one timeline after another."""

    def __init__(self, runs: AccountRuns) -> None:
        timelines, self.timeline_of = _timelines(runs)
        spans = [span for timeline in timelines for span in timeline]
        numbers: dict[tuple[int, ...], int] = {}
        self.standings: list[Standing] = []
        standing_of = []
        for span in spans:
            key = tuple(each.id for each in span.standing)
            if key not in numbers:
                numbers[key] = len(self.standings)
                self.standings.append(span.standing)
            standing_of.append(numbers[key])
        self.standing_of = np.array(standing_of, np.int64)
        self.since = np.array([span.since for span in spans], np.int64)
        self.until = np.append(self.since[1:], 0)
        """Of the last span of a timeline it means nothing."""
        self.sizes = np.array([len(timeline) for timeline in timelines], np.int64)
        self.beginnings = np.cumsum(self.sizes) - self.sizes
        self.cuts = len(spans) > len(timelines)
        # A timeline's number and an instant's rank among all make one number, so that one search
        # finds a span in the right timeline.
        self._instants, ranks = np.unique(self.since, return_inverse=True)
        self._keys = self._key(np.repeat(np.arange(len(timelines)), self.sizes), ranks)

    def holding(self, timelines: Numbers, instants: Numbers) -> Numbers:
        """Return the span of each timeline in which an instant lies."""
        ranks = np.searchsorted(self._instants, instants, "right") - 1
        return self._places(timelines, ranks)

    def ending(self, timelines: Numbers, instants: Numbers) -> Numbers:
        """Return the span of each timeline that holds last before an instant."""
        ranks = np.searchsorted(self._instants, instants, "left") - 1
        return self._places(timelines, ranks)

    def _places(self, timelines: Numbers, ranks: Numbers) -> Numbers:
        return np.searchsorted(self._keys, self._key(timelines, ranks), "right") - 1

    def _key(self, timelines: Numbers, ranks: Numbers) -> Numbers:
        return timelines * len(self._instants) + ranks


def _timelines(runs: AccountRuns) -> tuple[list[Timeline], Numbers]:
    """Return the timelines that occur, and the number of each instance's among them."""
    overrides: Overrides = runs.overrides
    if not overrides:
        return [overrides.timeline(0, 0)], np.zeros(len(runs.instances), np.int64)
    numbers: dict[int, int] = {}
    found: list[Timeline] = []
    of_instance = np.empty(len(runs.instances), np.int64)
    for place, each in enumerate(runs.instances):
        timeline = overrides.timeline(each.instance_id, each.image_id)
        # Equal ones are one object, and to compare objects is much faster.
        if id(timeline) not in numbers:
            numbers[id(timeline)] = len(found)
            found.append(timeline)
        of_instance[place] = numbers[id(timeline)]
    return found, of_instance


def _whole(rows: RunRows) -> Times:
    return Times(*(rows[name] for name in _TIMES))


def _cut(rows: RunRows, start: Numbers, end: Numbers, whole: Mask, last: Mask) -> Times:
    """Return the times of parts: what of each run's lies in them."""
    confirmed_start = np.maximum(start, rows["confirmed_start"])
    confirmed_end = np.where(
        end == 0, rows["confirmed_end"], np.minimum(end, rows["confirmed_end"])
    )
    some = confirmed_end > confirmed_start
    return Times(
        start,
        end,
        np.where(whole, rows["confirmed_start"], confirmed_start * some),
        np.where(whole, rows["confirmed_end"], confirmed_end * some),
        rows["end_latest"] * last,
    )
