"""The slowest way to a report: look at every instant. What the fast way is held against."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.reports import Ran

Keys = Callable[[Ran], list[tuple[str, ...]]]


@dataclass
class Cell:
    """One bucket of one group."""

    runtime: int = 0
    unconfirmed: int = 0
    possible: int = 0
    vcpu_time: int = 0
    vcpu_unknown: int = 0
    memory_time: int = 0
    memory_unknown: int = 0
    instances: int = 0
    images: int = 0
    peak_instances: int = 0
    peak_instances_at: int | None = None
    peak_vcpus: int = 0
    peak_vcpus_at: int | None = None


@dataclass
class Reference:
    """A whole answer: cells by group and bucket, and the totals by bucket."""

    rows: dict[tuple[str, ...], list[Cell]] = field(default_factory=dict)
    totals: list[Cell] = field(default_factory=list)


def reference(ran: Sequence[Ran], keys: Keys, edges: Sequence[int], as_of: int) -> Reference:
    """Return the answer, one instant after the other. Instants are small integers."""
    buckets = [range(start, max(start, min(end, as_of))) for start, end in pairwise(edges)]
    occurring = sorted(
        {key for run in ran if any(_occurs(run, each) for each in buckets) for key in keys(run)}
    )
    answer = Reference(totals=[_cell(ran, each) for each in buckets])
    for key in occurring:
        of_group = [run for run in ran if key in keys(run)]
        answer.rows[key] = [_cell(of_group, each) for each in buckets]
    return answer


def _occurs(run: Ran, bucket: range) -> bool:
    return _seen(run, bucket) or any(run.last <= now < run.possible_end for now in bucket)


def _seen(run: Ran, bucket: range) -> bool:
    return any(run.start <= now < run.last or run.start == now for now in bucket)


def _cell(ran: Iterable[Ran], bucket: range) -> Cell:
    cell = Cell()
    seen = [run for run in ran if _seen(run, bucket)]
    cell.instances = len({(run.machine.account, run.machine.instance_id) for run in seen})
    cell.images = len({run.machine.image for run in seen if run.machine.image})
    for now in bucket:
        on = [run for run in ran if run.start <= now < run.last]
        cell.runtime += len(on)
        cell.unconfirmed += sum(not _confirmed(run, now) for run in on)
        cell.possible += sum(run.last <= now < run.possible_end for run in ran)
        cell.vcpu_unknown += sum(run.shape.vcpus == 0 for run in on)
        cell.memory_time += sum(run.shape.memory_mib for run in on)
        cell.memory_unknown += sum(run.shape.memory_mib == 0 for run in on)
        vcpus = sum(run.shape.vcpus for run in on)
        cell.vcpu_time += vcpus
        if len(on) > cell.peak_instances:
            cell.peak_instances, cell.peak_instances_at = len(on), now
        if vcpus > cell.peak_vcpus:
            cell.peak_vcpus, cell.peak_vcpus_at = vcpus, now
    return cell


def _confirmed(run: Ran, now: int) -> bool:
    return run.confirmed is None or run.confirmed[0] <= now < run.confirmed[1]
