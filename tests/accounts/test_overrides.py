"""What overrides say of an instance or an image, when, and on whose word."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.instants import to_micros
from services.accounts.billing import LicenseModel
from services.accounts.classification import (
    Authority,
    Classification,
    Evidence,
    ImageCodes,
    Installed,
    Strength,
    Syspurpose,
    classify,
)
from services.accounts.inventory import StoredRun
from services.accounts.overrides import (
    BEGINNING,
    NO_OVERRIDES,
    Claim,
    Override,
    Overrides,
    Standing,
    apply,
    known_since,
    parts,
)
from tests.accounts.override_reference import IMAGE, INSTANCE, known, said
from tests.support.accounts import START
from tests.support.effort import examples

RHEL_ON_DISK = classify(
    ImageCodes(usage_operation="RunInstances:0010"),
    Installed("rhel", "9.4", products=("openshift",), syspurpose=Syspurpose(role="server")),
)
ROCKY_ON_DISK = classify(
    ImageCodes(usage_operation="RunInstances", platform_details="Linux/UNIX"),
    Installed("rocky", "9.4"),
)


def override(
    number: int = 1, *, image: int = 0, instance: int = 0, at: int = 0, **claim: object
) -> Override:
    """Write an override, recorded as its number says; of the image unless one is named."""
    about = (0, instance) if instance else (image or IMAGE, 0)
    return Override(number, *about, Claim(**claim), "we checked", "ada", at, number)  # type: ignore[arg-type]  # fields by their names


def ids(standing: Standing) -> list[int]:
    """Return the ids of what stands."""
    return [each.id for each in standing]


def steps(overrides: Sequence[Override], instance: int = INSTANCE) -> list[tuple[int, list[int]]]:
    """Return since when which overrides stand for an instance of the image."""
    timeline = Overrides(overrides).timeline(instance, IMAGE)
    return [(span.since, ids(span.standing)) for span in timeline]


def test_without_overrides_nothing_stands() -> None:
    """One span without end or begin, and what was known stays the very same."""
    assert steps([]) == [(BEGINNING, [])]
    assert apply(RHEL_ON_DISK, ()) is RHEL_ON_DISK
    assert not NO_OVERRIDES


def test_an_override_without_a_time_holds_for_all_history() -> None:
    """There is no instant before it."""
    assert steps([override(distribution="rocky")]) == [(BEGINNING, [1])]


def test_an_override_from_a_time_on_changes_nothing_before_it() -> None:
    """From 100 on it stands, up to 100 nothing does."""
    assert steps([override(distribution="rocky", at=100)]) == [(BEGINNING, []), (100, [1])]


def test_of_two_of_one_scope_the_one_recorded_last_stands() -> None:
    """Even where it holds from an earlier time on: the older word then never counts."""
    first = override(1, distribution="rocky", at=200)
    last = override(2, distribution="centos", at=100)
    assert steps([first, last]) == [(BEGINNING, []), (100, [2])]
    assert steps([replace(first, recorded_at=3), last]) == [
        (BEGINNING, []),
        (100, [2]),
        (200, [1]),
    ]


def test_an_override_of_the_instance_goes_before_one_of_its_image() -> None:
    """Also before one that was recorded later; other instances of the image have the image's."""
    own, images = (
        override(1, instance=INSTANCE, distribution="rocky"),
        override(2, distribution="ol"),
    )
    assert steps([own, images]) == [(BEGINNING, [1])]
    assert steps([own, images], instance=INSTANCE + 1) == [(BEGINNING, [2])]


def test_what_an_override_leaves_the_next_one_says() -> None:
    """The instance's says how it is paid for, its image's says what it is: both decide."""
    own = override(1, instance=INSTANCE, license_model=LicenseModel.BYOS)
    images = override(2, distribution="rhel", version="8.10", license_model=LicenseModel.INCLUDED)
    standing = Overrides([images, own]).standing(INSTANCE, IMAGE, 5)
    assert ids(standing) == [1, 2]
    found = apply(ROCKY_ON_DISK, standing)
    assert (found.distribution, found.version) == ("rhel", "8.10")
    assert (found.license_model, found.license_authority) == (
        LicenseModel.BYOS,
        Authority.OVERRIDE,
    )


def test_an_override_of_the_license_leaves_the_distribution() -> None:
    """What is installed stays the disk's word, with its products and all else."""
    found = apply(RHEL_ON_DISK, (override(license_model=LicenseModel.BYOS),))
    unchanged = replace(
        RHEL_ON_DISK,
        license_model=LicenseModel.BYOS,
        license_authority=Authority.OVERRIDE,
        evidence=found.evidence,
        override_ids=(1,),
    )
    assert found == unchanged


def test_an_override_that_agrees_keeps_version_and_products() -> None:
    """RHEL is what the disk says too; its version and products are still the disk's."""
    found = apply(RHEL_ON_DISK, (override(distribution="rhel"),))
    assert (found.version, found.products) == ("9.4", ("openshift",))
    assert found.syspurpose == Syspurpose(role="server")
    assert found.distribution_authority is Authority.OVERRIDE


def test_another_distribution_takes_nothing_over_from_the_one_before() -> None:
    """RHEL's version, products and syspurpose are not CentOS's; what is billed stays the bill's."""
    found = apply(RHEL_ON_DISK, (override(distribution="centos"),))
    assert (found.distribution, found.version, found.products) == ("centos", "", ())
    assert found.syspurpose == Syspurpose()
    assert (found.billed_distribution, found.installed_distribution) == ("rhel", "rhel")
    assert (found.license_model, found.license_authority) == (
        LicenseModel.INCLUDED,
        Authority.BILLING,
    )


def test_a_version_is_taken_from_whoever_names_the_same_distribution() -> None:
    """Two people say RHEL and one says which; the version given for Rocky is not RHEL's."""
    standing = Overrides(
        [
            override(1, distribution="rhel", version="8.10"),
            override(2, distribution="rocky", version="9.1"),
            override(3, distribution="rhel"),
        ]
    ).standing(INSTANCE, IMAGE, 0)
    assert ids(standing) == [3, 1]
    assert apply(ROCKY_ON_DISK, standing).version == "8.10"


@pytest.mark.parametrize(
    ("distribution", "model", "authority"),
    [
        ("almalinux", LicenseModel.FREE, Authority.BILLING),
        ("rhel", LicenseModel.UNKNOWN, Authority.NONE),
        ("unknown", LicenseModel.UNKNOWN, Authority.NONE),
    ],
)
def test_that_nothing_is_owed_does_not_outlive_what_it_was_concluded_from(
    distribution: str, model: LicenseModel, authority: Authority
) -> None:
    """Rocky under a plain code is free; that it is RHEL instead leaves the license unknown."""
    assert ROCKY_ON_DISK.license_model is LicenseModel.FREE
    found = apply(ROCKY_ON_DISK, (override(distribution=distribution),))
    assert (found.license_model, found.license_authority) == (model, authority)


def test_a_publishers_license_does_not_outlive_its_distribution() -> None:
    """What a publisher's images are paid by says nothing of what somebody says it is instead."""
    published = replace(
        RHEL_ON_DISK, license_model=LicenseModel.BYOS, license_authority=Authority.PUBLISHER
    )
    assert apply(published, (override(distribution="rhel"),)).license_model is LicenseModel.BYOS
    assert apply(published, (override(distribution="ol"),)).license_model is LicenseModel.UNKNOWN


def test_the_evidence_says_who_said_what_and_why() -> None:
    """It stands before all other evidence, strongest first."""
    says = Override(
        *(12, IMAGE, 0, Claim("rhel", "9.4", LicenseModel.BYOS, ("sap", "rhel-ha"))),
        *("converted in place", "ada", 0, to_micros(START)),
    )
    found = apply(ROCKY_ON_DISK, (says,))
    assert found.evidence[0] == Evidence(
        "override",
        "override 12",
        "rhel 9.4 with sap, rhel-ha, license byos: converted in place"
        " (ada, 2026-03-01 12:00:00 UTC)",
        Strength.DECISIVE,
    )
    assert found.evidence[1:] == ROCKY_ON_DISK.evidence
    assert found.override_ids == (12,)


def test_a_classification_is_known_since_the_last_word_that_decided_it() -> None:
    """The overrides count when they decide; without any, what was known before them."""
    assert known_since(5, ()) == 5
    assert known_since(5, (override(9, distribution="ol"), override(3, version=""))) == 9
    assert known_since(50, (override(9, distribution="ol"),)) == 50


def run(start: int, end: int, confirmed: tuple[int, int] = (0, 0), latest: int = 0) -> StoredRun:
    """Write a run whose session began before it."""
    return StoredRun("i-1", start, end, 1, *confirmed, latest, "m5.large", 2, "RunInstances")


def cut(whole: StoredRun, *overrides: Override) -> list[tuple[int, ...]]:
    """Return the times of a run's parts: start, end, confirmed, end_latest."""
    timeline = Overrides(overrides).timeline(INSTANCE, IMAGE)
    return [
        (part.start_at, part.end_at, part.confirmed_start, part.confirmed_end, part.end_latest)
        for part, _ in parts(whole, timeline)
    ]


def test_a_run_is_cut_where_an_override_begins_to_hold() -> None:
    """[100, 300), confirmed in [120, 250), may have gone on until 400; an override from 200 on."""
    says = override(distribution="ol", at=200)
    whole = run(100, 300, (120, 250), 400)
    assert cut(whole, says) == [(100, 200, 120, 200, 0), (200, 300, 200, 250, 400)]
    both = parts(whole, Overrides([says]).timeline(INSTANCE, IMAGE))
    assert [ids(standing) for _, standing in both] == [[], [1]]
    assert {part.session_start for part, _ in both} == {1}


def test_a_part_without_confirmed_time_has_none() -> None:
    """Confirmed only up to 200, where the second part begins."""
    says = override(distribution="ol", at=200)
    assert cut(run(100, 300, (100, 200)), says) == [(100, 200, 100, 200, 0), (200, 300, 0, 0, 0)]


def test_an_open_run_stays_open_in_its_last_part() -> None:
    """It goes on, and is confirmed up to 250."""
    says = override(distribution="ol", at=200)
    assert cut(run(100, 0, (100, 250)), says) == [(100, 200, 100, 200, 0), (200, 0, 200, 250, 0)]


@pytest.mark.parametrize("at", [100, 300, 350])
def test_a_run_is_not_cut_at_its_start_nor_from_its_end_on(at: int) -> None:
    """Half-open [100, 300): what begins to hold at 100 holds for all of it, from 300 on for none.

    What may have been on beyond the end belongs to the part before it.
    """
    assert cut(run(100, 300, (120, 250), 400), override(distribution="ol", at=at)) == [
        (100, 300, 120, 250, 400)
    ]


def test_a_run_of_zero_length_is_what_holds_at_its_instant() -> None:
    """At 200, where an override begins to hold, it is what that says."""
    says = override(distribution="ol", at=200)
    [(part, standing)] = parts(run(200, 200), Overrides([says]).timeline(INSTANCE, IMAGE))
    assert ((part.start_at, part.end_at), ids(standing)) == ((200, 200), [1])


BASES = st.sampled_from([RHEL_ON_DISK, ROCKY_ON_DISK, classify(ImageCodes(), None)])


@examples(300)
@given(known(), BASES)
def test_at_every_microsecond_the_strongest_claim_holds(
    overrides: list[Override], base: Classification
) -> None:
    """Field by field as the reference says, which looks at every override for every instant."""
    index = Overrides(overrides)
    for instance, image in [(INSTANCE, IMAGE), (0, IMAGE), (INSTANCE, 0), (INSTANCE + 2, IMAGE)]:
        timeline = index.timeline(instance, image)
        assert all(one.standing != two.standing for one, two in pairwise(timeline))
        for at in range(-1, 33):
            claim = said(overrides, at, instance, image)
            found = apply(base, index.standing(instance, image, at))
            kept = claim.distribution in {"", base.distribution}
            assert found.distribution == (claim.distribution or base.distribution)
            assert found.version == (claim.version or (base.version if kept else ""))
            assert found.products == (claim.products or (base.products if kept else ()))
            if claim.license_model:
                assert found.license_model is claim.license_model
            elif kept:
                assert found.license_model is base.license_model


@examples(300)
@given(
    known(),
    st.integers(1, 30),
    st.one_of(st.none(), st.integers(0, 12)),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_the_parts_of_a_run_are_the_run_instant_by_instant(
    overrides: list[Override], start: int, length: int | None, around: tuple[int, int]
) -> None:
    """They touch, cover it, are confirmed where it is, and each is one thing all along."""
    end = 0 if length is None else start + length
    confirmed = (max(start, min(around)), min(end or 99, max(around)))
    confirmed = confirmed if confirmed[0] < confirmed[1] else (0, 0)
    whole = run(start, end, confirmed, 90 if end else 0)
    index = Overrides(overrides)
    found = parts(whole, index.timeline(INSTANCE, IMAGE))
    every = [part for part, _ in found]
    assert [part.start_at for part in every] == [start, *(part.end_at for part in every[:-1])]
    assert (every[-1].end_at, every[-1].end_latest) == (end, whole.end_latest)
    assert all(part.end_latest == 0 for part in every[:-1])
    for part, standing in found:
        for at in range(part.start_at, part.end_at or 45):
            assert standing == index.standing(INSTANCE, IMAGE, at)
            inside = part.confirmed_start <= at < part.confirmed_end
            assert inside == (confirmed[0] <= at < confirmed[1])
    if length == 0:
        assert [standing for _, standing in found] == [index.standing(INSTANCE, IMAGE, start)]
