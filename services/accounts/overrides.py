"""Overrides ("challenges"): what a person says an image or an instance really is.

An override has the scope of an image or of one instance, and holds from an instant on, or for all
history. What it says it says field by field; what it leaves, it leaves to the next. For each field
and instant an override of the instance goes before one of its image, and among those of one scope
the one that was recorded last. A version and products belong to their distribution: they are taken
from whoever names the same one, and from nobody else.

Everything here speaks of the overrides that were known at one instant.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from libs.common.instants import Micros, to_datetime
from services.accounts.billing import LicenseModel
from services.accounts.classification import (
    Authority,
    Classification,
    Evidence,
    Strength,
    Syspurpose,
    owes_nothing,
)
from services.accounts.inventory import StoredRun

ALWAYS: Micros = 0
"""The `effective_at` of what holds for all history."""
BEGINNING: Micros = -(2**62)
"""Before every instant."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an override says; "", () and None are left as they are."""

    distribution: str = ""
    version: str = ""
    license_model: LicenseModel | None = None
    products: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Override:
    """A person's word, about an image or about one instance; the other's id is 0.

    Both ids are accounts' own numbers. `withdrawn_at` is 0 while it holds.
    """

    id: int
    image_id: int
    instance_id: int
    claim: Claim
    reason: str
    author: str
    effective_at: Micros
    recorded_at: Micros
    withdrawn_at: Micros = 0
    withdrawn_by: str = ""
    withdraw_reason: str = ""


Standing: TypeAlias = tuple[Override, ...]
"""The overrides that decide something at one instant, strongest first."""


class Span(NamedTuple):
    """Which overrides stand from `since` until the next span."""

    since: Micros
    standing: Standing


Timeline: TypeAlias = tuple[Span, ...]
"""By `since`; the first is from BEGINNING on, and no two that touch have the same standing."""


class Overrides:
    """The overrides of an account that were known at one instant, by what they are about."""

    def __init__(self, known: Iterable[Override] = ()) -> None:
        self._of_image: dict[int, list[Override]] = defaultdict(list)
        self._of_instance: dict[int, list[Override]] = defaultdict(list)
        for each in known:
            if each.instance_id:
                self._of_instance[each.instance_id].append(each)
            else:
                self._of_image[each.image_id].append(each)
        self._timelines: dict[tuple[int, int], Timeline] = {(0, 0): (Span(BEGINNING, ()),)}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._of_image or self._of_instance)

    def timeline(self, instance_id: int, image_id: int) -> Timeline:
        """Return what stands when for an instance of an image; 0 for the one that is not meant.

        What has the same overrides has the same timeline, as one object.
        """
        key = (
            instance_id if instance_id in self._of_instance else 0,
            image_id if image_id in self._of_image else 0,
        )
        if key not in self._timelines:
            self._timelines[key] = _timeline(
                [*self._of_instance.get(key[0], ()), *self._of_image.get(key[1], ())]
            )
        return self._timelines[key]

    def standing(self, instance_id: int, image_id: int, at: Micros) -> Standing:
        """Return what stands at an instant."""
        timeline = self.timeline(instance_id, image_id)
        return timeline[_place(timeline, at)].standing


NO_OVERRIDES = Overrides()


def parts(run: StoredRun, timeline: Timeline) -> list[tuple[StoredRun, Standing]]:
    """Cut a run where what stands changes; a run of zero length has one part.

    A part's confirmed time is what of the run's lies in it. What may have been on beyond the run's
    end belongs to its last part, as it does where an attribute changes.
    """
    first = _place(timeline, run.start_at)
    inside = [span for span in timeline[first + 1 :] if not run.end_at or span.since < run.end_at]
    if not inside:
        return [(run, timeline[first].standing)]
    starts = [run.start_at, *(span.since for span in inside)]
    ends = [*starts[1:], run.end_at]
    standings = [timeline[first].standing, *(span.standing for span in inside)]
    return [
        (_part(run, start, end), standing)
        for start, end, standing in zip(starts, ends, standings, strict=True)
    ]


def apply(base: Classification, standing: Standing) -> Classification:
    """Return what something is by the overrides that stand, and for the rest by `base`."""
    if not standing:
        return base
    found = base
    distribution = next((o.claim.distribution for o in standing if o.claim.distribution), "")
    if distribution:
        found = _as_distribution(found, distribution)
        same = [o.claim for o in standing if o.claim.distribution == distribution]
        found = replace(
            found,
            version=next((claim.version for claim in same if claim.version), found.version),
            products=next((claim.products for claim in same if claim.products), found.products),
        )
    models = [o.claim.license_model for o in standing if o.claim.license_model]
    if models:
        found = replace(found, license_model=models[0], license_authority=Authority.OVERRIDE)
    return replace(
        found,
        evidence=(*map(_evidence, standing), *base.evidence),
        override_ids=tuple(each.id for each in standing),
    )


def known_since(base: Micros, standing: Standing) -> Micros:
    """Return since when a classification is known that overrides had a part in.

    `base` is since when what they were applied to is known.
    """
    return max(base, *(each.recorded_at for each in standing)) if standing else base


def words(claim: Claim) -> str:
    """Return what a claim says, such as "rhel 9.4 with openshift, license byos"."""
    what = " ".join(filter(None, (claim.distribution, claim.version)))
    if claim.products:
        what += f" with {', '.join(claim.products)}"
    paid = f"license {claim.license_model.name.lower()}" if claim.license_model else ""
    return ", ".join(filter(None, (what, paid)))


class _Sweep:
    """The strongest override for each field, of those that were added so far."""

    def __init__(self) -> None:
        self._distribution: Override | None = None
        self._license: Override | None = None
        self._version: dict[str, Override] = {}
        self._products: dict[str, Override] = {}

    def add(self, each: Override) -> None:
        claim = each.claim
        if claim.distribution:
            self._distribution = _stronger(each, self._distribution)
        if claim.license_model:
            self._license = _stronger(each, self._license)
        if claim.version:
            of_same = self._version.get(claim.distribution)
            self._version[claim.distribution] = _stronger(each, of_same)
        if claim.products:
            of_same = self._products.get(claim.distribution)
            self._products[claim.distribution] = _stronger(each, of_same)

    def standing(self) -> Standing:
        name = self._distribution.claim.distribution if self._distribution else ""
        deciding = {
            each.id: each
            for each in (
                *(self._distribution, self._license),
                *(self._version.get(name), self._products.get(name)),
            )
            if each
        }
        return tuple(sorted(deciding.values(), key=_strength, reverse=True))


def _timeline(known: Iterable[Override]) -> Timeline:
    spans = [Span(BEGINNING, ())]
    sweep = _Sweep()
    by_time = attrgetter("effective_at")
    for effective_at, added in groupby(sorted(known, key=by_time), by_time):
        for each in added:
            sweep.add(each)
        since = BEGINNING if effective_at == ALWAYS else effective_at
        standing = sweep.standing()
        if since == BEGINNING:
            spans = [Span(BEGINNING, standing)]
        elif standing != spans[-1].standing:
            spans.append(Span(since, standing))
    return tuple(spans)


def _strength(each: Override) -> tuple[bool, Micros, int]:
    return bool(each.instance_id), each.recorded_at, each.id


def _stronger(one: Override, other: Override | None) -> Override:
    return one if other is None else max(one, other, key=_strength)


def _place(timeline: Timeline, at: Micros) -> int:
    return bisect_right(timeline, at, key=lambda span: span.since) - 1


def _part(run: StoredRun, start: Micros, end: Micros) -> StoredRun:
    confirmed_start = max(start, run.confirmed_start)
    confirmed_end = min(end, run.confirmed_end) if end else run.confirmed_end
    if confirmed_end <= confirmed_start:
        confirmed_start = confirmed_end = 0
    return replace(
        run,
        start_at=start,
        end_at=end,
        confirmed_start=confirmed_start,
        confirmed_end=confirmed_end,
        end_latest=run.end_latest if end == run.end_at else 0,
    )


def _as_distribution(base: Classification, distribution: str) -> Classification:
    """Return what is left of `base` when its distribution is what a person says."""
    found = replace(base, distribution=distribution, distribution_authority=Authority.OVERRIDE)
    if distribution == base.distribution:
        return found
    found = replace(found, version="", products=(), syspurpose=Syspurpose())
    # What nobody charges was concluded from what it was held to be.
    concluded = base.license_authority is Authority.PUBLISHER or (
        base.license_model is LicenseModel.FREE and not owes_nothing(distribution)
    )
    if concluded:
        found = replace(found, license_model=LicenseModel.UNKNOWN, license_authority=Authority.NONE)
    return found


def _evidence(each: Override) -> Evidence:
    when = to_datetime(each.recorded_at).strftime("%Y-%m-%d %H:%M:%S UTC")
    value = f"{words(each.claim)}: {each.reason} ({each.author}, {when})"
    return Evidence("override", f"override {each.id}", value, Strength.DECISIVE)
