"""What runtime is grouped by, and which runs fall into which group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.reports.columns import (
    UNKNOWN,
    Classification,
    Codes,
    Dictionary,
    Fleet,
    Instances,
    Mask,
)

Key = tuple[str, ...]


class Dimension(Enum):
    """What runtime can be grouped by."""

    DISTRIBUTION = "distribution"
    VERSION = "version"
    LICENSE_MODEL = "license_model"
    PRODUCT = "product"
    ARCHITECTURE = "architecture"
    INSTANCE_TYPE = "instance_type"
    REGION = "region"
    ACCOUNT = "account"
    IMAGE = "image"
    INSTANCE = "instance"
    SYSPURPOSE_ROLE = "syspurpose_role"
    SYSPURPOSE_SLA = "syspurpose_sla"
    SYSPURPOSE_USAGE = "syspurpose_usage"


_OF_CLASSIFICATION: dict[Dimension, Callable[[Classification], Key]] = {
    Dimension.DISTRIBUTION: lambda it: (it.distribution,),
    Dimension.VERSION: lambda it: (it.version,),
    Dimension.LICENSE_MODEL: lambda it: (it.license_model,),
    Dimension.PRODUCT: lambda it: it.products or ("",),
    Dimension.SYSPURPOSE_ROLE: lambda it: (it.role,),
    Dimension.SYSPURPOSE_SLA: lambda it: (it.sla,),
    Dimension.SYSPURPOSE_USAGE: lambda it: (it.usage,),
}

_OF_INSTANCE = {
    Dimension.ARCHITECTURE: "architecture",
    Dimension.REGION: "region",
    Dimension.ACCOUNT: "account",
    Dimension.IMAGE: "image",
}


class TooManyGroups(Exception):
    """More groups occur than an answer may have; `groups` is how many at least."""

    def __init__(self, groups: int) -> None:
        super().__init__(f"{groups} groups")
        self.groups = groups


@dataclass(frozen=True, slots=True)
class Kinds:
    """Runs sorted into kinds: what is added up first, and told apart no further.

    Runs of one kind have one shape and fall into the same groups. `of_run` is -1 for a run that
    does not count. `classification` and `instance` are one of each kind, to speak for all of it.
    """

    of_run: Codes
    classification: NDArray[np.int64]
    instance: NDArray[np.int64]
    shape: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of an answer, in the order of their keys, and the kinds of run in each.

    `kind` and `group` are pairs, by group: a kind with several products is in several groups.
    """

    keys: tuple[Key, ...]
    kind: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def one(cls, kinds: Mask) -> Self:
        """Return all these kinds, which may be none, as one group."""
        kind = np.flatnonzero(kinds)
        return cls(((),), kind, np.zeros(len(kind), np.int64))


def divide(fleet: Fleet, by: Sequence[Dimension], counted: Mask | None = None) -> Kinds:
    """Return the kinds of run that these dimensions tell apart; `counted` says which runs count."""
    pay, a_classification = _pays(fleet, by)
    place, an_instance = _places(fleet.instances, by)
    shapes = max(len(fleet.shapes), 1)
    size = len(a_classification) * len(an_instance) * shapes
    runs = fleet.runs
    raw = pay[runs.classification].astype(np.int64)
    raw *= len(an_instance)
    raw += place[runs.instance]
    raw *= shapes
    raw += runs.shape
    of_run, kinds = _dense(raw, size)
    if counted is not None:
        of_run[~counted] = UNKNOWN
    rest, shape = np.divmod(kinds, shapes)
    return Kinds(
        of_run=of_run,
        classification=a_classification[rest // max(len(an_instance), 1)],
        instance=an_instance[rest % max(len(an_instance), 1)],
        shape=shape,
    )


def _pays(fleet: Fleet, by: Sequence[Dimension]) -> tuple[Codes, NDArray[np.int64]]:
    """Return a code for each classification, and for each code a classification."""
    told_apart = [_OF_CLASSIFICATION[each] for each in by if each in _OF_CLASSIFICATION]
    values = Dictionary[tuple[Key, ...]]()
    codes = values.codes(tuple(of(it) for of in told_apart) for it in fleet.classifications)
    return codes, np.unique(codes, return_index=True)[1]


def _places(instances: Instances, by: Sequence[Dimension]) -> tuple[Codes, NDArray[np.int64]]:
    """Return a code for each instance, and for each code an instance."""
    if Dimension.INSTANCE in by:
        every = np.arange(len(instances))
        return every.astype(np.int32), every
    raw = np.zeros(len(instances), np.int64)
    for each in by:
        if each in _OF_INSTANCE:
            column: Codes = getattr(instances, _OF_INSTANCE[each])
            raw *= int(column.max(initial=0)) + 2  # the codes, and -1 for unknown
            raw += column
    _, one, codes = np.unique(raw, return_index=True, return_inverse=True)
    return codes.astype(np.int32), one


_DENSE = 2**24


def _dense(raw: NDArray[np.int64], size: int) -> tuple[Codes, NDArray[np.int64]]:
    """Return codes from 0 for the values that occur, and the values, ascending."""
    if size > _DENSE:
        values, codes = np.unique(raw, return_inverse=True)
        return codes.astype(np.int32), values
    occurs = np.zeros(size, np.bool_)
    occurs[raw] = True
    renumbered = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    return renumbered[raw], np.flatnonzero(occurs)


def group(
    fleet: Fleet, by: Sequence[Dimension], kinds: Kinds, occurring: Mask, most: int
) -> Groups:
    """Return the groups of the kinds that occur.

    Raises TooManyGroups when there are more than `most`.
    """
    kind = np.flatnonzero(occurring)
    types = Dictionary[str]().codes(
        shape.instance_type if Dimension.INSTANCE_TYPE in by else "" for shape in fleet.shapes
    )
    told_apart = np.stack(
        (kinds.classification[kind], kinds.instance[kind], types[kinds.shape[kind]])
    )
    _, one, found = np.unique(told_apart, axis=1, return_index=True, return_inverse=True)
    if len(one) > most:
        raise TooManyGroups(len(one))
    keys_of = [_keys(fleet, by, kinds, each) for each in kind[one].tolist()]
    keys = sorted({key for each in keys_of for key in each})
    if len(keys) > most:
        raise TooManyGroups(len(keys))
    number = {key: code for code, key in enumerate(keys)}
    pairs = sorted(
        (number[key], kind_code)
        for kind_code, found_code in zip(kind.tolist(), found.ravel().tolist(), strict=True)
        for key in keys_of[found_code]
    )
    paired = np.array(pairs, np.int64).reshape(-1, 2)
    return Groups(tuple(keys), kind=paired[:, 1], group=paired[:, 0])


def _keys(fleet: Fleet, by: Sequence[Dimension], kinds: Kinds, kind: int) -> list[Key]:
    classification = fleet.classifications[kinds.classification[kind]]
    values = [
        _OF_CLASSIFICATION[each](classification)
        if each in _OF_CLASSIFICATION
        else (_value(fleet, each, kinds, kind),)
        for each in by
    ]
    return list(product(*values))


def _value(fleet: Fleet, of: Dimension, kinds: Kinds, kind: int) -> str:
    if of is Dimension.INSTANCE_TYPE:
        return fleet.shapes[int(kinds.shape[kind])].instance_type
    instances, row = fleet.instances, int(kinds.instance[kind])
    if of is Dimension.INSTANCE:
        return bytes(instances.ids[row]).decode("ascii")
    code = int(getattr(instances, _OF_INSTANCE[of])[row])
    if of is Dimension.ACCOUNT:
        return str(fleet.accounts[code].id)
    if of is Dimension.IMAGE:
        return "" if code == UNKNOWN else fleet.images[code]
    return (fleet.regions if of is Dimension.REGION else fleet.architectures)[code]
