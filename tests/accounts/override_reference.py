"""What overrides say at one instant, told the long way: every one is looked at for every field."""

from collections.abc import Sequence

from hypothesis import strategies as st

from services.accounts.billing import LicenseModel
from services.accounts.overrides import Claim, Override

INSTANCE, IMAGE = 7, 3

_distributions = st.sampled_from(["rhel", "rocky"])


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    """Draw a claim of a distribution, of a license model, or of both."""
    what = draw(st.sampled_from(["distribution", "license", "both"]))
    model = draw(st.sampled_from(LicenseModel)) if what != "distribution" else None
    if what == "license":
        return Claim(license_model=model)
    return Claim(
        draw(_distributions),
        draw(st.sampled_from(["", "8", "9"])),
        model,
        draw(st.sampled_from([(), ("sap",)])),
    )


@st.composite
def known(draw: st.DrawFn) -> list[Override]:
    """Draw overrides of an instance, of its image and of others, in a crowd of 30 microseconds."""
    made = []
    for number in range(1, draw(st.integers(0, 8)) + 1):
        about = draw(
            st.sampled_from([(IMAGE, 0), (0, INSTANCE), (IMAGE + 1, 0), (0, INSTANCE + 1)])
        )
        recorded = draw(st.integers(1, 4))
        effective = draw(st.integers(0, 30))
        made.append(Override(number, *about, draw(claims()), "why", "ada", effective, recorded))
    return draw(st.permutations(made))


def said(overrides: Sequence[Override], at: int, instance: int, image: int) -> Claim:
    """Return what is claimed at an instant of an instance of an image."""
    strongest_first = sorted(
        (
            each
            for each in overrides
            if (each.effective_at == 0 or each.effective_at <= at)
            and (each.instance_id == instance if each.instance_id else each.image_id == image)
        ),
        key=lambda each: (each.instance_id != 0, each.recorded_at, each.id),
        reverse=True,
    )
    every = [each.claim for each in strongest_first]
    distribution = next((claim.distribution for claim in every if claim.distribution), "")
    same = [claim for claim in every if distribution and claim.distribution == distribution]
    return Claim(
        distribution,
        next((claim.version for claim in same if claim.version), ""),
        next((claim.license_model for claim in every if claim.license_model), None),
        next((claim.products for claim in same if claim.products), ()),
    )
