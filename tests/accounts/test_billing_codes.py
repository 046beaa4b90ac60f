"""What AWS's billing fields say: the whole published table, and whatever else may come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.billing import Billing, LicenseModel, decode, decode_platform

INCLUDED, BYOS = LicenseModel.INCLUDED, LicenseModel.BYOS
RHEL = "Red Hat Enterprise Linux"
# EC2 user guide, "AMI billing information fields": details, suffix, and what they say by hand.
PUBLISHED = [
    ("Linux/UNIX", "", "", None, ()),
    ("Red Hat BYOL Linux", ":00g0", "rhel", BYOS, ()),
    (RHEL, ":0010", "rhel", INCLUDED, ()),
    (f"{RHEL} with HA", ":1010", "rhel", INCLUDED, ("rhel-ha",)),
    (
        *(f"{RHEL} with SQL Server Standard and HA", ":1014", "rhel", INCLUDED),
        ("rhel-ha", "sql-server-standard"),
    ),
    (
        *(f"{RHEL} with SQL Server Enterprise and HA", ":1110", "rhel", INCLUDED),
        ("rhel-ha", "sql-server-enterprise"),
    ),
    (f"{RHEL} with SQL Server Standard", ":0014", "rhel", INCLUDED, ("sql-server-standard",)),
    (f"{RHEL} with SQL Server Web", ":0210", "rhel", INCLUDED, ("sql-server-web",)),
    (f"{RHEL} with SQL Server Enterprise", ":0110", "rhel", INCLUDED, ("sql-server-enterprise",)),
    ("SQL Server Enterprise", ":0100", "", None, ("sql-server-enterprise",)),
    ("SQL Server Standard", ":0004", "", None, ("sql-server-standard",)),
    ("SQL Server Web", ":0200", "", None, ("sql-server-web",)),
    ("SUSE Linux", ":000g", "sles", INCLUDED, ()),
    ("Ubuntu Pro", ":0g00", "ubuntu", INCLUDED, ("ubuntu-pro",)),
    ("Windows", ":0002", "windows", INCLUDED, ()),
    ("Windows BYOL", ":0800", "windows", BYOS, ()),
    (
        "Windows with SQL Server Enterprise",
        ":0102",
        "windows",
        INCLUDED,
        ("sql-server-enterprise",),
    ),
    ("Windows with SQL Server Standard", ":0006", "windows", INCLUDED, ("sql-server-standard",)),
    ("Windows with SQL Server Web", ":0202", "windows", INCLUDED, ("sql-server-web",)),
]
# Each bit alone, in AWS's digits: g is 16.
BITS = {
    "0002": 0x2,
    "0004": 0x4,
    "000g": 0x10,
    "0010": 1 << 5,
    "00g0": 16 << 5,
    "0100": 1 << 10,
    "0200": 2 << 10,
    "0800": 8 << 10,
    "0g00": 16 << 10,
    "1000": 1 << 15,
}
SYSTEMS = {"0002", "000g", "0010", "00g0", "0800", "0g00"}


def encode(bits: int) -> str:
    """Write bits as a usage operation has them: four digits of five bits."""
    digits = "0123456789abcdefghijklmnopqrstuv"
    return "RunInstances:" + "".join(digits[bits // 32**place % 32] for place in (3, 2, 1, 0))


@pytest.mark.parametrize(
    ("details", "suffix", "distribution", "license_model", "products"),
    PUBLISHED,
    ids=[row[0] for row in PUBLISHED],
)
def test_every_published_row_is_read_from_either_column(
    details: str,
    suffix: str,
    distribution: str,
    license_model: LicenseModel | None,
    products: tuple[str, ...],
) -> None:
    """AWS's 19 rows, by UsageOperation and by PlatformDetails: both say the same."""
    billing = decode(f"RunInstances{suffix}")
    assert (billing.distribution, billing.license_model) == (distribution, license_model)
    assert sorted(billing.products) == sorted(products)
    assert (billing.stated, billing.trouble) == (True, "")
    assert decode_platform(details) == billing


def test_high_availability_in_full_is_read_too() -> None:
    """The EC2 API reference also spells it out."""
    assert decode_platform(f"{RHEL} with High Availability") == decode("RunInstances:1010")


def test_nothing_says_nothing_and_plain_says_that_nothing_is_charged() -> None:
    """A missing field is not the same as plain Linux/UNIX."""
    assert decode("") == decode_platform("") == Billing()
    assert decode("RunInstances") == decode_platform("Linux/UNIX") == Billing(stated=True)


@pytest.mark.parametrize(
    ("code", "same"),
    [
        ("RunInstances:SV001", "RunInstances"),
        ("RunInstances:0010:SV006", "RunInstances:0010"),
        ("RunInstances:0002:SV052", "RunInstances:0002"),
    ],
)
def test_the_codes_of_spot_instances_in_cost_reports_are_read(code: str, same: str) -> None:
    """A third part says how it was bought, and nothing of what it is."""
    assert decode(code) == decode(same)


@pytest.mark.parametrize(
    "code",
    [
        *("RunInstances:00G0", "runinstances:0010", "RunInstances:0010 ", " RunInstances"),
        *("RunInstances :0010", "RunInstances:", "RunInstances:010", "RunInstances:00100"),
        *("RunInstances:00w0", "RunInstances:0010:", "RunInstances:0010:sv006", "RunInstances\n"),
        *("RunInstances:\u0660010", "RunInstances:0010:SV6", "Hourly", "RunInstances:-010"),
    ],
)
def test_a_damaged_code_is_not_guessed(code: str) -> None:
    """Another case, a space, a digit too few: it says nothing, and that it has no known form."""
    assert decode(code) == Billing(trouble="it has no form that AWS has published")


@pytest.mark.parametrize("details", ["linux/unix", " Windows", "red hat enterprise linux", "RHEL"])
def test_damaged_platform_details_are_not_guessed(details: str) -> None:
    """What is not in the table word for word says nothing."""
    assert decode_platform(details) == Billing(
        trouble="it is not among those that AWS has published"
    )


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("RunInstances:0011", "nobody has published the bits 0001 in it"),
        ("RunInstances:0030", "nobody has published the bits 0020 in it"),
        ("RunInstances:v010", "nobody has published the bits u000 in it"),
        ("RunInstances:0012", "it names several systems at once"),
        ("RunInstances:00h0", "it names several systems at once"),
        ("RunInstances:1000", "it names Red Hat's high availability without RHEL"),
        ("RunInstances:1002", "it names Red Hat's high availability without RHEL"),
    ],
)
def test_what_nobody_published_says_nothing_and_why(code: str, trouble: str) -> None:
    """RHEL with an unknown bit may be something else than RHEL: the bits are named, not guessed."""
    assert decode(code) == Billing(trouble=trouble)


@given(st.sets(st.sampled_from(sorted(BITS))))
def test_any_published_bits_together_are_read_bit_by_bit(names: set[str]) -> None:
    """Of every subset: no product is lost or invented, and at most one system is named."""
    billing = decode(encode(sum(BITS[name] for name in names)))
    systems = names & SYSTEMS
    if len(systems) > 1 or ("1000" in names and not names & {"0010", "00g0"}):
        assert not billing.stated
        assert billing.trouble
        assert (billing.distribution, billing.license_model, billing.products) == ("", None, ())
        return
    alone = [decode(encode(BITS[name])) for name in names - {"1000"}]
    assert billing.stated
    assert billing.distribution == "".join(each.distribution for each in alone)
    assert set(billing.products) == {
        *(product for each in alone for product in each.products),
        *({"rhel-ha"} if "1000" in names else ()),
    }


@given(st.integers(0, 2**20 - 1))
def test_any_suffix_is_read_or_named_as_unknown(bits: int) -> None:
    """Bits beyond the published ones never come through as something, whichever they are."""
    billing = decode(encode(bits))
    unknown = bits & ~sum(BITS.values())
    assert billing.stated is (billing.trouble == "")
    if unknown:
        assert encode(unknown).removeprefix("RunInstances:") in billing.trouble
        assert not billing.distribution


@given(st.text())
def test_any_text_is_taken_for_a_code(text: str) -> None:
    """Whatever stands there, it is read, or said to be unreadable; nothing is raised."""
    for billing in (decode(text), decode_platform(text), decode(f"RunInstances:{text}")):
        assert billing.stated or billing == Billing(trouble=billing.trouble)
