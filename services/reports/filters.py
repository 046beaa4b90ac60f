"""Which runs count: a filter's conditions, joined by and."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import NotFound
from services.reports.columns import Fleet, Mask, Tags

NAME = "Name"  # AWS shows the tag of this key as the instance's name

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on runs; an empty one takes all.

    Of `tags` each must be there, with this value or, where the value is empty, with any.
    `name_pattern` is words separated by spaces, any of which may occur in the instance's name,
    without regard to case. Accounts are chosen before runs come here.
    """

    account_ids: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    tags: Tags = ()
    name_pattern: str = ""


def counted(fleet: Fleet, wanted: Filter) -> Mask | None:
    """Return which runs count, None for all.

    Raises NotFound when an image or an instance is named of which the fleet has no run.
    """
    images = set(fleet.images)
    _check_found("image", wanted.image_ids, [each in images for each in wanted.image_ids])
    instances = np.isin(_encoded(wanted.instance_ids), fleet.instances.ids).tolist()
    _check_found("instance", wanted.instance_ids, instances)
    if replace(wanted, account_ids=()) == Filter():
        return None
    mask: Mask = _of_instances(fleet, wanted)[fleet.runs.instance]
    if wanted.distributions:
        of = _where(fleet.classifications, lambda it: it.distribution in wanted.distributions)
        mask &= of[fleet.runs.classification]
    return mask


def _check_found(what: str, names: Sequence[str], found: Sequence[bool]) -> None:
    for name, is_there in zip(names, found, strict=True):
        if not is_there:
            raise NotFound(f"You have no run of the {what} {name}.", metadata={what: name})


def _encoded(ids: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([each.encode() for each in ids], "S")


def _of_instances(fleet: Fleet, wanted: Filter) -> Mask:
    instances = fleet.instances
    mask = np.ones(len(instances), np.bool_)
    if wanted.regions:
        mask &= _where(fleet.regions, lambda it: it in wanted.regions)[instances.region]
    if wanted.image_ids:
        # An unknown image is -1, the place that is added at the end.
        images = _where((*fleet.images, ""), lambda it: it in wanted.image_ids)
        mask &= images[instances.image]
    if wanted.instance_ids:
        mask &= np.isin(instances.ids, _encoded(wanted.instance_ids))
    if wanted.tags or wanted.name_pattern.split():
        mask &= _where(fleet.tags, lambda it: _carries(dict(it), wanted))[instances.tags]
    return mask


def _where(entries: Sequence[V], condition: Callable[[V], bool]) -> Mask:
    """Return for each entry of a dictionary whether it fulfils a condition."""
    return np.fromiter((condition(entry) for entry in entries), np.bool_, len(entries))


def _carries(tags: Mapping[str, str], wanted: Filter) -> bool:
    for key, value in wanted.tags:
        if key not in tags or value not in ("", tags[key]):
            return False
    words = wanted.name_pattern.casefold().split()
    name = tags.get(NAME, "").casefold()
    return not words or any(word in name for word in words)
