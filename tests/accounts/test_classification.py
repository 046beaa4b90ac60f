"""What an image is, by its disk and by AWS's billing codes."""

import pytest

from services.accounts.billing import Billing, LicenseModel, decode
from services.accounts.classification import (
    Authority,
    Evidence,
    ImageCodes,
    Installed,
    Strength,
    classify,
)

INCLUDED, BYOS = LicenseModel.INCLUDED, LicenseModel.BYOS


@pytest.mark.parametrize(
    ("suffix", "distribution", "license_model", "products"),
    [
        ("00g0", "rhel", BYOS, ()),
        ("0010", "rhel", INCLUDED, ()),
        ("1010", "rhel", INCLUDED, ("rhel-ha",)),
        ("1014", "rhel", INCLUDED, ("rhel-ha", "sql-server-standard")),
        ("1110", "rhel", INCLUDED, ("rhel-ha", "sql-server-enterprise")),
        ("0014", "rhel", INCLUDED, ("sql-server-standard",)),
        ("0210", "rhel", INCLUDED, ("sql-server-web",)),
        ("0110", "rhel", INCLUDED, ("sql-server-enterprise",)),
        ("0100", "", None, ("sql-server-enterprise",)),
        ("0004", "", None, ("sql-server-standard",)),
        ("0200", "", None, ("sql-server-web",)),
        ("000g", "sles", INCLUDED, ()),
        ("0g00", "ubuntu", INCLUDED, ("ubuntu-pro",)),
        ("0002", "windows", INCLUDED, ()),
        ("0800", "windows", BYOS, ()),
        ("0102", "windows", INCLUDED, ("sql-server-enterprise",)),
        ("0006", "windows", INCLUDED, ("sql-server-standard",)),
        ("0202", "windows", INCLUDED, ("sql-server-web",)),
    ],
)
def test_every_published_code_is_read(
    suffix: str, distribution: str, license_model: LicenseModel | None, products: tuple[str, ...]
) -> None:
    """The rows of AWS's table of usage operations, one by one."""
    billing = decode(f"RunInstances:{suffix}")
    assert (billing.distribution, billing.license_model) == (distribution, license_model)
    assert sorted(billing.products) == sorted(products)
    assert not billing.unknown


@pytest.mark.parametrize("code", ["", "RunInstances"])
def test_a_plain_code_says_nothing(code: str) -> None:
    """Plain Linux/UNIX, and no code at all, name no distribution."""
    assert decode(code) == Billing()


@pytest.mark.parametrize(
    "code",
    [
        "RunInstances:0001",
        "RunInstances:00h0",
        "RunInstances:010",
        "Other:0010",
        "RunInstances:0030",
    ],
)
def test_a_code_that_nobody_published_is_unknown(code: str) -> None:
    """Unknown bits, digits and operations decide nothing, and are said to be unknown."""
    billing = decode(code)
    assert (billing.distribution, billing.license_model, billing.unknown) == ("", None, True)


def test_the_disk_decides_the_distribution_and_the_bill_the_license() -> None:
    """Rocky on disk under a RHEL code is Rocky, billed as RHEL, and both are kept."""
    evidence = Evidence("os-release.ID", "/etc/os-release", "rocky", Strength.DECISIVE)
    installed = Installed("rocky", "9.3", products=("sap",), evidence=(evidence,))
    image = classify(ImageCodes(usage_operation="RunInstances:1010"), installed)
    assert (image.distribution, image.version) == ("rocky", "9.3")
    assert image.distribution_authority is Authority.DISK
    assert (image.installed_distribution, image.billed_distribution) == ("rocky", "rhel")
    assert (image.license_model, image.license_authority) == (INCLUDED, Authority.BILLING)
    assert image.products == ("rhel-ha", "sap")
    assert [(each.signal, each.value) for each in image.evidence] == [
        ("os-release.ID", "rocky"),
        ("usage-operation", "RunInstances:1010"),
    ]


@pytest.mark.parametrize("installed", [None, Installed("unknown", unknown_reason="LUKS")])
def test_without_an_answer_from_the_disk_the_bill_decides(installed: Installed | None) -> None:
    """An image not read, or read in vain, is what its billing code says."""
    image = classify(ImageCodes(usage_operation="RunInstances:0010"), installed)
    assert (image.distribution, image.version) == ("rhel", "")
    assert image.distribution_authority is Authority.BILLING


def test_nobody_knows_is_unknown() -> None:
    """A plain code and no disk: distribution and license are unknown, and nobody decided."""
    image = classify(ImageCodes(usage_operation="RunInstances"), None)
    assert (image.distribution, image.license_model) == ("unknown", LicenseModel.UNKNOWN)
    assert (image.distribution_authority, image.license_authority) == (
        Authority.NONE,
        Authority.NONE,
    )


@pytest.mark.parametrize(
    ("distribution", "operation", "product_codes", "license_model"),
    [
        ("debian", "RunInstances", (), LicenseModel.FREE),
        ("debian", "RunInstances", ("abc",), LicenseModel.UNKNOWN),
        ("debian", "", (), LicenseModel.UNKNOWN),
        ("rhel", "RunInstances", (), LicenseModel.UNKNOWN),
        ("rhel", "RunInstances:00g0", (), LicenseModel.BYOS),
    ],
)
def test_a_free_distribution_under_a_plain_code_is_free(
    distribution: str, operation: str, product_codes: tuple[str, ...], license_model: LicenseModel
) -> None:
    """RHEL under a plain code is not free, and a product code makes it doubtful."""
    codes = ImageCodes(usage_operation=operation, product_codes=product_codes)
    assert classify(codes, Installed(distribution)).license_model is license_model
