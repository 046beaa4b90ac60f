"""Runtime in a window, by bucket and group, with everything that is said of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from libs.common.instants import Micros
from services.reports.columns import UNKNOWN, Codes, Fleet, Mask, Runs, Shape, Times
from services.reports.dealing import Dealer
from services.reports.distinct import distinct
from services.reports.grid import bucket_of
from services.reports.groups import Dimension, Groups, Key, Kinds, divide, group
from services.reports.peaks import peaks
from services.reports.sweep import Block, sweep
from services.reports.timelines import Timelines

Counts = NDArray[np.int64]
# Python's integers: sums of microseconds times MiB pass 64 bits.
Sums = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Table:
    """Measures by bucket and group.

    Times are microseconds, `vcpu_time` times vCPUs and `memory_time` times MiB; what is unknown of
    either is not in it but in `vcpu_unknown` or `memory_unknown`. `unconfirmed` is part of
    `runtime`, `possible` is beyond it. `instances` and `images` are the distinct ones seen. An
    instant of a peak of 0 has no meaning.
    """

    runtime: Sums
    unconfirmed: Sums
    possible: Sums
    vcpu_time: Sums
    vcpu_unknown: Sums
    memory_time: Sums
    memory_unknown: Sums
    instances: Counts
    images: Counts
    peak_instances: Counts
    peak_instances_at: Times
    peak_vcpus: Counts
    peak_vcpus_at: Times


@dataclass(frozen=True, slots=True)
class Report:
    """An answer: `rows` by bucket and group, and `totals` by bucket alone, over all groups.

    Bucket `i` lies between `edges[i]` and `edges[i + 1]`. What is in several groups is in the
    totals once.
    """

    edges: tuple[Micros, ...]
    keys: tuple[Key, ...]
    rows: Table
    totals: Table

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds: a Python integer takes 32 and its place 8."""
        cells = self.rows.runtime.size + self.totals.runtime.size
        return 40 * len(fields(Table)) * cells


def report(
    fleet: Fleet,
    timelines: Timelines,
    by: Sequence[Dimension],
    edges: Sequence[Micros],
    as_of: Micros,
    *,
    counted: Mask | None = None,
    most_groups: int,
) -> Report:
    """Return the runtime between ascending edges, up to `as_of`, of the runs that count.

    Every group that occurs has a row in every bucket. Raises TooManyGroups.
    """
    real = [edge for edge in edges[:-1] if edge < as_of]
    marks = np.array([*real, min(edges[-1], max(as_of, edges[0]))], np.int64)
    kinds = divide(fleet, by, counted)
    seen = _seen(fleet.runs, kinds, marks)
    occurring = _occurring(timelines, kinds, seen, marks)
    groups = group(fleet, by, kinds, occurring, most_groups)
    rows, totals = (
        _Measuring(fleet, kinds, each, marks) for each in (groups, Groups.one(occurring))
    )
    _measure_times(timelines, kinds, marks, (rows, totals))
    _count_distinct(fleet, timelines, kinds, seen, marks, (rows, totals))
    buckets = len(edges) - 1
    return Report(tuple(edges), groups.keys, rows.table(buckets), totals.table(buckets))


class _Measuring:
    """A table in the making, of the buckets that have begun."""

    def __init__(self, fleet: Fleet, kinds: Kinds, groups: Groups, marks: Times) -> None:
        shapes = fleet.shapes or (Shape(),)
        self.vcpus = np.array([shape.vcpus for shape in shapes], np.int64)[kinds.shape]
        self.memory = np.array([shape.memory_mib for shape in shapes], np.int64)[kinds.shape]
        self.ones = np.ones(len(kinds), np.int64)
        self.dealer = Dealer(groups, len(kinds))
        self.marks = marks
        size = (len(marks) - 1, len(groups))
        self.columns = {
            each.name: np.zeros(size, object if each.type is Sums else np.int64)
            for each in fields(Table)
        }

    def add_counted(self, block: Block) -> None:
        """Enter what a block of all that counts says."""
        here, sums = self._here(block), self.dealer.sums
        unknown_vcpus = (self.vcpus == 0).astype(np.int64)
        unknown_memory = (self.memory == 0).astype(np.int64)
        self.columns["runtime"][here] = sums(block.time, self.ones)
        self.columns["vcpu_time"][here] = sums(block.time, self.vcpus)
        self.columns["vcpu_unknown"][here] = sums(block.time, unknown_vcpus)
        self.columns["memory_time"][here] = sums(block.time, self.memory)
        self.columns["memory_unknown"][here] = sums(block.time, unknown_memory)
        marks = self.marks[here.start : here.stop + 1]
        instances, vcpus = peaks(block, self.dealer, marks, self.vcpus)
        self.columns["peak_instances"][here] = instances.most
        self.columns["peak_instances_at"][here] = instances.instant
        self.columns["peak_vcpus"][here] = vcpus.most
        self.columns["peak_vcpus_at"][here] = vcpus.instant

    def add(self, name: str, block: Block) -> None:
        """Enter the time of a block under a name."""
        self.columns[name][self._here(block)] = self.dealer.sums(block.time, self.ones)

    def table(self, buckets: int) -> Table:
        """Return the table, with zeros in the buckets that have not begun."""
        to_come = ((0, buckets - len(self.marks) + 1), (0, 0))
        return Table(**{name: np.pad(each, to_come) for name, each in self.columns.items()})

    def _here(self, block: Block) -> slice:
        return slice(block.first, block.first + len(block.open))


def _measure_times(
    timelines: Timelines, kinds: Kinds, marks: Times, tables: Sequence[_Measuring]
) -> None:
    for block in sweep(timelines.counted, kinds.of_run, len(kinds), marks):
        for table in tables:
            table.add_counted(block)
    for name, timeline in (
        ("unconfirmed", timelines.unconfirmed),
        ("possible", timelines.possible),
    ):
        for block in sweep(timeline, kinds.of_run, len(kinds), marks):
            for table in tables:
                table.add(name, block)


def _count_distinct(
    fleet: Fleet,
    timelines: Timelines,
    kinds: Kinds,
    seen: Mask,
    marks: Times,
    tables: Sequence[_Measuring],
) -> None:
    if not seen.any():
        return
    runs, buckets = fleet.runs, len(marks) - 1
    first, last = _span(runs, marks)
    image = fleet.instances.image[runs.instance]
    by_image = timelines.by_image[(seen & (image != UNKNOWN))[timelines.by_image]]
    for name, rows, item in (
        ("instances", np.flatnonzero(seen), runs.instance),
        ("images", by_image, image),
    ):
        columns = kinds.of_run[rows], item[rows], first[rows], last[rows]
        for table in tables:
            table.columns[name][:] = distinct(table.dealer, *columns, buckets)


def _seen(runs: Runs, kinds: Kinds, marks: Times) -> Mask:
    """Return which runs lie in the window, be it with no length."""
    if len(marks) == 1:
        return np.zeros(len(runs), np.bool_)
    reaches = (runs.end > marks[0]) | (runs.start >= marks[0])
    seen: Mask = (kinds.of_run >= 0) & (runs.start < marks[-1]) & reaches
    return seen


def _occurring(timelines: Timelines, kinds: Kinds, seen: Mask, marks: Times) -> Mask:
    """Return which kinds occur in the window, were it only that they possibly ran."""
    occurring = np.zeros(len(kinds) + 1, np.bool_)
    occurring[kinds.of_run[seen]] = True
    for block in sweep(timelines.possible, kinds.of_run, len(kinds), marks):
        occurring[:-1] |= (block.time > 0).any(axis=0)
    return occurring[:-1]


def _span(runs: Runs, marks: Times) -> tuple[Codes, Codes]:
    """Return the first and last bucket of each run; no meaning for those outside the window."""
    first = bucket_of(marks, np.clip(runs.start, marks[0], marks[-1] - 1))
    last = bucket_of(marks, np.clip(runs.end - 1, marks[0], marks[-1] - 1))
    return first, np.maximum(first, last)
