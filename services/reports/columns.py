"""Runs as numpy columns: one number for each run, with codes into dictionaries."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]

# The end of a run that goes on: after every instant that a window can reach, year 9999 included.
OPEN = 2**62
UNKNOWN = -1

# About what an entry of a dictionary takes, an instance's set of tags above all.
_ENTRY = 500


@dataclass(frozen=True, slots=True)
class Runs:
    """One row for each run, by instance and then by start. Times are microseconds, UTC.

    The run counts in `[start, end)`. Of it `[confirmed_start, confirmed_end)` is confirmed; beyond
    it the instance may have been on in `[end, possible_end)`. An end is OPEN while the run goes on.
    """

    start: Times
    end: Times
    session_start: Times
    confirmed_start: Times
    confirmed_end: Times
    possible_end: Times
    instance: Codes
    shape: Codes
    classification: Codes

    def __len__(self) -> int:
        return len(self.start)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns hold."""
        return sum(getattr(self, each.name).nbytes for each in fields(self))

    @classmethod
    def empty(cls, count: int) -> Self:
        """Return columns of so many runs, to be filled."""
        columns: dict[str, Any] = {name: np.zeros(count, np.int64) for name in TIMES}
        columns.update((name, np.zeros(count, np.int32)) for name in _CODES)
        return cls(**columns)


TIMES = (
    "start",
    "end",
    "session_start",
    "confirmed_start",
    "confirmed_end",
    "possible_end",
)
_CODES = ("instance", "shape", "classification")


@dataclass(frozen=True, slots=True)
class Account:
    """A cloud account, by cloudigrade's own id."""

    id: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What an instance is made of while it runs. `vcpus` and `memory_mib` are 0 when unknown.

    vCPUs are what the CPU options say, else the type's.
    """

    instance_type: str = ""
    vcpus: int = 0
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Classification:
    """What ran: distribution, how it is paid for, and what else is in the image."""

    distribution: str = "unknown"
    version: str = ""
    license_model: str = "unknown"
    products: tuple[str, ...] = ()
    role: str = ""
    sla: str = ""
    usage: str = ""


@dataclass(frozen=True, slots=True)
class Instances:
    """One row for each instance, with codes into the fleet's dictionaries.

    `ids` are ASCII bytes, which take a quarter of what text takes in numpy. An unknown image is -1.
    """

    ids: NDArray[np.bytes_]
    account: Codes
    region: Codes
    image: Codes
    architecture: Codes
    tags: Codes

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns hold."""
        return sum(getattr(self, each.name).nbytes for each in fields(self))


Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Runs together with the dictionaries that their codes speak of."""

    runs: Runs
    instances: Instances
    shapes: tuple[Shape, ...]
    classifications: tuple[Classification, ...]
    accounts: tuple[Account, ...]
    regions: tuple[str, ...]
    images: tuple[str, ...]
    architectures: tuple[str, ...]
    tags: tuple[Tags, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it holds, those of the dictionaries guessed."""
        entries = sum(len(getattr(self, name)) for name in _DICTIONARIES)
        return self.runs.nbytes + self.instances.nbytes + _ENTRY * entries


V = TypeVar("V", bound=Hashable)


class Dictionary(dict[V, int]):
    """Values and their codes, in order of appearance."""

    def code(self, value: V) -> int:
        """Return the value's code, the next free one when it is new."""
        return self.setdefault(value, len(self))

    def codes(self, values: Iterable[V]) -> Codes:
        """Return the code of each value."""
        return np.fromiter((self.code(value) for value in values), np.int32)


def joined(fleets: Sequence[Fleet]) -> Fleet:
    """Return several accounts' runs as one fleet; what they have in common gets one code."""
    if len(fleets) == 1:
        return fleets[0]
    runs = Runs.empty(sum(len(fleet.runs) for fleet in fleets))
    merged = {name: Dictionary[Hashable]() for name in _DICTIONARIES}
    parts: list[Instances] = []
    run, instance = 0, 0
    for fleet in fleets:
        codes = {
            name: np.append(merged[name].codes(getattr(fleet, name)), np.int32(UNKNOWN))
            for name in _DICTIONARIES
        }
        rows = slice(run, run + len(fleet.runs))
        _copy_runs(runs, rows, fleet.runs, codes, instance)
        parts.append(_recoded(fleet.instances, codes))
        run, instance = rows.stop, instance + len(fleet.instances)
    return Fleet(
        runs=runs,
        instances=_concatenated(parts),
        **{name: tuple(values) for name, values in merged.items()},  # type: ignore[arg-type]  # one type of value for each name
    )


_DICTIONARIES = (
    "shapes",
    "classifications",
    "accounts",
    "regions",
    "images",
    "architectures",
    "tags",
)


def _copy_runs(
    target: Runs, rows: slice, source: Runs, codes: Mapping[str, Codes], first_instance: int
) -> None:
    for name in TIMES:
        getattr(target, name)[rows] = getattr(source, name)
    np.add(source.instance, first_instance, out=target.instance[rows], casting="unsafe")
    target.shape[rows] = codes["shapes"][source.shape]
    target.classification[rows] = codes["classifications"][source.classification]


def _recoded(instances: Instances, codes: Mapping[str, Codes]) -> Instances:
    return Instances(
        ids=instances.ids,
        account=codes["accounts"][instances.account],
        region=codes["regions"][instances.region],
        image=codes["images"][instances.image],
        architecture=codes["architectures"][instances.architecture],
        tags=codes["tags"][instances.tags],
    )


def _concatenated(parts: Sequence[Instances]) -> Instances:
    if not parts:
        none = np.zeros(0, np.int32)
        return Instances(np.zeros(0, "S1"), none, none, none, none, none)
    return Instances(
        *(np.concatenate([getattr(it, each.name) for it in parts]) for each in fields(Instances))
    )
