"""What an image and a run of it are, and who decides it, field by field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.billing import LicenseModel, decode, decode_platform
from services.accounts.classification import (
    Authority,
    Classification,
    Evidence,
    ImageCodes,
    Installed,
    Strength,
    classify,
    classify_run,
    owes_nothing,
)
from services.accounts.products import BY_CODE

INCLUDED, BYOS, FREE, UNKNOWN = LicenseModel
DISK, BILLING, PUBLISHER, NONE = (
    Authority.DISK,
    Authority.BILLING,
    Authority.PUBLISHER,
    Authority.NONE,
)

RED_HAT = "309956199498"
HOURLY = "RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3"
ACCESS = "RHEL-9.4.0_HVM-20240605-x86_64-82-Access2-GP3"
RHEL_CODE = "6cd5fxzrad0cu2j23p692xytz"
RHEL_CODE_EMEA = "6t1yup6mik9ng3ge36n33xqhw"
RHEL_SAP_CODE = "du6111oq9lwrc996awt04qyql"
CENTOS_CODE = "aw0evgkw8e5c1q413zgy5pjce"
PLAIN, RHEL_PAID, RHEL_BYOS = "RunInstances", "RunInstances:0010", "RunInstances:00g0"


def red_hats(name: str, usage_operation: str = "") -> ImageCodes:
    """Give what AWS says of an image in Red Hat's own account."""
    return ImageCodes(owner_id=RED_HAT, name=name, partition="aws", usage_operation=usage_operation)


def said(image: Classification, signal: str) -> list[tuple[str, Strength]]:
    """Give the values of one kind of evidence."""
    return [(each.value, each.strength) for each in image.evidence if each.signal == signal]


def license_of(image: Classification) -> tuple[LicenseModel, Authority]:
    """Give how it is paid for, and who says so."""
    return image.license_model, image.license_authority


def test_the_disk_decides_the_distribution_and_the_bill_the_license() -> None:
    """Rocky on disk under a RHEL code is Rocky, billed as RHEL, and both are kept."""
    evidence = Evidence("os-release.ID", "/etc/os-release", "rocky", Strength.DECISIVE)
    installed = Installed("rocky", "9.3", products=("sap",), evidence=(evidence,))
    image = classify(ImageCodes(usage_operation="RunInstances:1010"), installed)
    assert (image.distribution, image.version) == ("rocky", "9.3")
    assert image.distribution_authority is DISK
    assert (image.installed_distribution, image.billed_distribution) == ("rocky", "rhel")
    assert license_of(image) == (INCLUDED, BILLING)
    assert image.products == ("rhel-ha", "sap")
    assert [(each.signal, each.value, each.strength) for each in image.evidence] == [
        ("os-release.ID", "rocky", Strength.DECISIVE),
        ("usage-operation", "RunInstances:1010", Strength.DECISIVE),
    ]


@pytest.mark.parametrize("installed", [None, Installed("unknown", unknown_reason="LUKS")])
def test_without_an_answer_from_the_disk_the_bill_decides(installed: Installed | None) -> None:
    """An image not read, or read in vain, is what its billing code says."""
    image = classify(ImageCodes(usage_operation=RHEL_PAID), installed)
    assert (image.distribution, image.version) == ("rhel", "")
    assert image.distribution_authority is BILLING
    assert image.installed_distribution == (installed.distribution if installed else "")


@pytest.mark.parametrize("installed", [None, Installed("unknown", unknown_reason="LUKS")])
@pytest.mark.parametrize("operation", ["", PLAIN, "RunInstances:0011"])
def test_without_disk_and_bill_the_publisher_decides(
    installed: Installed | None, operation: str
) -> None:
    """Of Red Hat's own image only owner and name may be known; the bill decides nothing then."""
    image = classify(red_hats(ACCESS, operation), installed)
    assert (image.distribution, image.version) == ("rhel", "9.4")
    assert (image.distribution_authority, image.published_distribution) == (PUBLISHER, "rhel")
    assert (image.billed_distribution, license_of(image)) == ("", (BYOS, PUBLISHER))
    assert said(image, "publisher") == [
        (f"Red Hat's account {RED_HAT} of aws: {ACCESS}", Strength.DECISIVE)
    ]


def test_the_publisher_gives_the_version_that_the_bill_cannot() -> None:
    """The bill decides RHEL; Red Hat's name of the image says which, a name of Debian's cannot."""
    image = classify(red_hats(HOURLY, RHEL_PAID), None)
    assert (image.distribution, image.version) == ("rhel", "9.4")
    assert image.distribution_authority is BILLING
    debians = ImageCodes(
        usage_operation=RHEL_PAID,
        owner_id="136693071363",
        name="debian-12-amd64-20230711-1438",
        partition="aws",
    )
    image = classify(debians, None)
    assert (image.distribution, image.version, image.published_distribution) == (
        "rhel",
        "",
        "debian",
    )


def test_the_disk_comes_before_the_publisher() -> None:
    """All that is said is kept; the license of a pattern is of what the pattern names."""
    image = classify(red_hats(ACCESS), Installed("centos", "9"))
    assert (image.distribution, image.version, image.distribution_authority) == (
        "centos",
        "9",
        DISK,
    )
    assert (image.installed_distribution, image.published_distribution) == ("centos", "rhel")
    assert license_of(image) == (UNKNOWN, NONE)


def test_a_false_claim_gives_no_verdict_and_stays_in_evidence() -> None:
    """A name of Red Hat's form by an account that public code wrongly calls Red Hat's."""
    codes = ImageCodes(owner_id="309956199834", name=HOURLY, partition="aws")
    image = classify(codes, None)
    assert (image.distribution, image.published_distribution) == ("unknown", "")
    assert license_of(image) == (UNKNOWN, NONE)
    assert said(image, "publisher-mismatch") == [
        (
            f"a name of Red Hat's form, but account 309956199834 of aws is not theirs: {HOURLY}",
            Strength.SUPPORTING,
        )
    ]


def test_nobody_knows_is_unknown() -> None:
    """A plain code and no disk: distribution and license are unknown, and nobody decided."""
    image = classify(ImageCodes(usage_operation=PLAIN, platform_details="Linux/UNIX"), None)
    assert (image.distribution, image.version) == ("unknown", "")
    assert (image.distribution_authority, license_of(image)) == (NONE, (UNKNOWN, NONE))
    assert classify(ImageCodes(), None).evidence == ()


@pytest.mark.parametrize(
    ("operation", "distribution", "license_model", "products"),
    [
        ("RunInstances:0002", "windows", INCLUDED, ()),
        ("RunInstances:0800", "windows", BYOS, ()),
        ("RunInstances:0202", "windows", INCLUDED, ("sql-server-web",)),
        ("RunInstances:0g00", "ubuntu", INCLUDED, ("ubuntu-pro",)),
        ("RunInstances:000g", "sles", INCLUDED, ()),
        ("RunInstances:1110", "rhel", INCLUDED, ("rhel-ha", "sql-server-enterprise")),
        ("RunInstances:0010:SV006", "rhel", INCLUDED, ()),
        ("RunInstances:0100", "unknown", UNKNOWN, ("sql-server-enterprise",)),
    ],
)
def test_systems_and_products_of_the_bill(
    operation: str, distribution: str, license_model: LicenseModel, products: tuple[str, ...]
) -> None:
    """Windows, SQL Server, HA and Ubuntu Pro; SQL Server alone runs on who knows what."""
    image = classify(ImageCodes(usage_operation=operation), None)
    assert (image.distribution, image.license_model) == (distribution, license_model)
    assert image.products == products


@pytest.mark.parametrize("operation", ["", "RunInstances:0011", "RunInstances:00G0"])
def test_platform_details_decide_when_the_usage_operation_cannot(operation: str) -> None:
    """Missing, with unknown bits, or damaged: PlatformDetails are read by the same table."""
    codes = ImageCodes(
        usage_operation=operation, platform_details="Red Hat Enterprise Linux with HA"
    )
    image = classify(codes, None)
    assert (image.distribution, image.billed_distribution) == ("rhel", "rhel")
    assert (image.products, license_of(image)) == (("rhel-ha",), (INCLUDED, BILLING))
    assert said(image, "platform-details") == [
        ("Red Hat Enterprise Linux with HA", Strength.DECISIVE)
    ]


def test_an_unreadable_code_is_kept_as_it_stands() -> None:
    """The raw text and what is unknown in it are evidence, and decide nothing."""
    codes = ImageCodes(usage_operation="RunInstances:0011", platform_details="Plan 9")
    image = classify(codes, Installed("debian", "12"))
    assert [(each.signal, each.value, each.strength) for each in image.evidence] == [
        (
            "usage-operation",
            "RunInstances:0011 (nobody has published the bits 0001 in it)",
            Strength.UNREADABLE,
        ),
        (
            "platform-details",
            "Plan 9 (it is not among those that AWS has published)",
            Strength.UNREADABLE,
        ),
    ]
    assert (image.distribution, image.billed_distribution) == ("debian", "")
    # Something may be owed for what the unknown bit stands for.
    assert license_of(image) == (UNKNOWN, NONE)


def test_when_both_fields_contradict_the_usage_operation_wins_and_it_is_said() -> None:
    """RHEL by its usage operation and Windows by its details."""
    codes = ImageCodes(usage_operation=RHEL_PAID, platform_details="Windows")
    image = classify(codes, None)
    assert (image.distribution, image.billed_distribution) == ("rhel", "rhel")
    assert said(image, "billing-mismatch") == [
        (
            "RunInstances:0010 and Windows contradict each other: the usage operation counts",
            Strength.SUPPORTING,
        )
    ]
    agreed = ImageCodes(usage_operation=RHEL_PAID, platform_details="Red Hat Enterprise Linux")
    assert not said(classify(agreed, None), "billing-mismatch")


def test_platform_tells_of_windows_when_nothing_else_does() -> None:
    """Old answers have Platform alone; with a bill it only supports, and shows a contradiction."""
    image = classify(ImageCodes(platform="windows"), None)
    assert (image.distribution, image.distribution_authority) == ("windows", BILLING)
    assert license_of(image) == (UNKNOWN, NONE)
    image = classify(ImageCodes(platform="windows", usage_operation=PLAIN), Installed("debian"))
    assert (image.distribution, image.license_model) == ("debian", UNKNOWN)


@pytest.mark.parametrize("code", [RHEL_CODE, RHEL_CODE_EMEA])
@pytest.mark.parametrize("operation", [PLAIN, RHEL_BYOS, ""])
def test_rhel_that_red_hat_sells_is_paid_for_whatever_the_usage_operation(
    code: str, operation: str
) -> None:
    """License Manager's guide: its bill goes by the product code, under RunInstances or 00g0."""
    codes = ImageCodes(
        usage_operation=operation, platform_details="Linux/UNIX", product_codes=(code,)
    )
    image = classify(codes, None)
    assert (image.distribution, image.billed_distribution) == ("rhel", "rhel")
    assert (image.distribution_authority, license_of(image)) == (BILLING, (INCLUDED, BILLING))
    assert said(image, "product-code") == [(f"{code} (RHEL sold by Red Hat)", Strength.DECISIVE)]


def test_rhel_for_sap_is_a_product() -> None:
    """Both codes of Red Hat's RHEL for SAP with HA; an unknown code under 0010 adds no product."""
    for code in (RHEL_SAP_CODE, "952qwcsxkm430zxhpy32i7w8g"):
        image = classify(ImageCodes(usage_operation=RHEL_BYOS, product_codes=(code,)), None)
        assert (image.distribution, image.license_model) == ("rhel", INCLUDED)
        assert image.products == ("rhel-ha", "sap")
    image = classify(ImageCodes(usage_operation=RHEL_PAID, product_codes=("amazons",)), None)
    assert (image.distribution, image.products) == ("rhel", ())


@pytest.mark.parametrize(
    ("code", "distribution"),
    [
        (CENTOS_CODE, "centos"),
        ("be714bpjscoj5uvqz0of5mscl", "almalinux"),
        ("6vto7uou7jjh4um1mwoy8ov0s", "almalinux"),
    ],
)
def test_a_free_product_of_marketplace_names_and_charges_nothing(
    code: str, distribution: str
) -> None:
    """CentOS and AlmaLinux: named by the code, free, and nothing is paid for."""
    image = classify(ImageCodes(usage_operation=PLAIN, product_codes=(code,)), None)
    assert (image.distribution, image.distribution_authority) == (distribution, BILLING)
    assert (image.billed_distribution, license_of(image)) == ("", (FREE, BILLING))


def test_a_usage_operation_names_before_a_product_code() -> None:
    """CentOS from Marketplace that AWS bills as RHEL is billed as RHEL."""
    image = classify(ImageCodes(usage_operation=RHEL_PAID, product_codes=(CENTOS_CODE,)), None)
    assert (image.distribution, image.billed_distribution) == ("rhel", "rhel")
    assert image.license_model is INCLUDED


def test_codes_of_several_distributions_name_none() -> None:
    """RHEL's and CentOS's codes together: something is paid for, and nobody knows on what."""
    codes = ImageCodes(usage_operation=PLAIN, product_codes=(RHEL_CODE, CENTOS_CODE))
    image = classify(codes, None)
    assert (image.distribution, image.license_model) == ("unknown", INCLUDED)


def test_an_unknown_product_code_is_evidence_and_no_more() -> None:
    """It names nothing, and "free" cannot be said."""
    codes = ImageCodes(usage_operation=PLAIN, product_codes=("abc",))
    image = classify(codes, Installed("debian", "12"))
    assert (image.distribution, license_of(image)) == ("debian", (UNKNOWN, NONE))
    assert said(image, "product-code") == [
        ("abc (not known here: it may cost something)", Strength.SUPPORTING)
    ]
    assert classify(codes, None).distribution == "unknown"


@pytest.mark.parametrize(
    ("distribution", "operation", "details", "product_codes", "license_model"),
    [
        ("debian", PLAIN, "Linux/UNIX", (), FREE),
        ("debian", PLAIN, "", (), FREE),
        ("debian", "", "Linux/UNIX", (), FREE),
        ("debian", "RunInstances:SV001", "", (), FREE),
        ("rocky", PLAIN, "Linux/UNIX", (CENTOS_CODE,), FREE),
        ("debian", PLAIN, "", ("abc",), UNKNOWN),
        ("debian", PLAIN, "", (CENTOS_CODE, "abc"), UNKNOWN),
        ("debian", "", "", (), UNKNOWN),
        ("debian", PLAIN, "Windows", (), UNKNOWN),
        ("debian", PLAIN, "Plan 9", (), UNKNOWN),
        ("debian", "RunInstances:0011", "Linux/UNIX", (), UNKNOWN),
        ("debian", "RunInstances:0100", "", (), UNKNOWN),
        ("rhel", PLAIN, "Linux/UNIX", (), UNKNOWN),
        ("ubuntu", PLAIN, "Linux/UNIX", (), UNKNOWN),
        ("ol", PLAIN, "Linux/UNIX", (), UNKNOWN),
        ("rhel", RHEL_BYOS, "Red Hat BYOL Linux", (), BYOS),
        ("debian", RHEL_PAID, "Red Hat Enterprise Linux", (), INCLUDED),
    ],
)
def test_free_only_when_nothing_that_is_known_may_be_owed(
    distribution: str,
    operation: str,
    details: str,
    product_codes: tuple[str, ...],
    license_model: LicenseModel,
) -> None:
    """RHEL under a plain code is not free; a missing bill or an unknown code leaves it open."""
    codes = ImageCodes(details, operation, product_codes)
    assert classify(codes, Installed(distribution)).license_model is license_model


def test_a_product_on_the_disk_is_not_free() -> None:
    """OpenShift on CentOS under a plain code: who knows what is owed."""
    installed = Installed("centos", "9", products=("openshift",))
    assert classify(ImageCodes(usage_operation=PLAIN), installed).license_model is UNKNOWN
    assert (owes_nothing("centos"), owes_nothing("rhel")) == (True, False)


@pytest.mark.parametrize(
    ("name", "operation", "expected"),
    [
        (HOURLY, "", (INCLUDED, PUBLISHER)),
        (ACCESS, "", (BYOS, PUBLISHER)),
        (ACCESS, PLAIN, (BYOS, PUBLISHER)),
        # A plain bill has no RHEL on it, whatever the name.
        (HOURLY, PLAIN, (UNKNOWN, NONE)),
        (HOURLY, RHEL_BYOS, (BYOS, BILLING)),
        (ACCESS, RHEL_PAID, (INCLUDED, BILLING)),
    ],
)
def test_red_hats_pattern_comes_last(
    name: str, operation: str, expected: tuple[LicenseModel, Authority]
) -> None:
    """It decides how RHEL is paid for when no code does, and against none."""
    assert license_of(classify(red_hats(name, operation), Installed("rhel", "9.4"))) == expected


def test_a_runs_own_usage_operation_comes_before_its_images() -> None:
    """A licence converted from AWS's bill to one's own: the image's code supports, no more."""
    codes = ImageCodes("Red Hat Enterprise Linux", RHEL_PAID)
    run = classify_run(codes, Installed("rhel", "9.4"), RHEL_BYOS)
    assert license_of(run) == (BYOS, BILLING)
    assert [(each.signal, each.value, each.strength) for each in run.evidence] == [
        ("run.usage-operation", RHEL_BYOS, Strength.DECISIVE),
        ("usage-operation", RHEL_PAID, Strength.SUPPORTING),
        ("platform-details", "Red Hat Enterprise Linux", Strength.SUPPORTING),
    ]
    same = classify_run(codes, Installed("rhel", "9.4"), RHEL_PAID)
    assert (
        same
        == classify_run(codes, Installed("rhel", "9.4"), "")
        == classify(codes, Installed("rhel", "9.4"))
    )


def test_a_plain_run_of_a_paid_image_is_still_of_that_system_and_not_billed() -> None:
    """The image's code says what it is; that the run is paid for, nothing says."""
    run = classify_run(ImageCodes(usage_operation=RHEL_PAID), None, PLAIN)
    assert (run.distribution, run.distribution_authority) == ("rhel", BILLING)
    assert (run.billed_distribution, license_of(run)) == ("", (UNKNOWN, NONE))


def test_a_runs_own_plain_bill_makes_a_free_distribution_free() -> None:
    """Converted from RHEL to CentOS and billed as plain: what the image's fields say is past."""
    codes = ImageCodes("Red Hat Enterprise Linux", RHEL_PAID)
    run = classify_run(codes, Installed("centos", "9"), PLAIN)
    assert license_of(run) == (FREE, BILLING)
    damaged = classify_run(ImageCodes(usage_operation=PLAIN), Installed("centos"), "RunInstances:9")
    assert license_of(damaged) == (UNKNOWN, NONE)
    assert said(damaged, "run.usage-operation") == [
        ("RunInstances:9 (it has no form that AWS has published)", Strength.UNREADABLE)
    ]


def test_an_unreadable_usage_operation_of_a_run_leaves_it_to_the_images() -> None:
    """The next authority is asked when one cannot tell."""
    run = classify_run(ImageCodes(usage_operation=RHEL_PAID), None, "RunInstances:0011")
    assert (run.distribution, run.billed_distribution, run.license_model) == (
        "rhel",
        "rhel",
        INCLUDED,
    )


def test_a_runs_own_product_codes_take_the_place_of_its_images() -> None:
    """License Manager gives an instance the code of RHEL sold by Red Hat, and takes it away."""
    paid, sold = ImageCodes(usage_operation=RHEL_PAID), (RHEL_CODE,)
    assert classify_run(paid, None, RHEL_BYOS, sold).license_model is INCLUDED
    assert classify_run(paid, None, RHEL_BYOS, ()).license_model is BYOS
    from_marketplace = ImageCodes(usage_operation=PLAIN, product_codes=sold)
    back = classify_run(from_marketplace, None, RHEL_PAID, ())
    assert (back.license_model, said(back, "product-code")) == (INCLUDED, [])
    assert classify_run(from_marketplace, None, PLAIN).license_model is INCLUDED


TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            *("", PLAIN, RHEL_PAID, RHEL_BYOS, "RunInstances:0011", "RunInstances:0012", "rhel"),
            *("Red Hat Enterprise Linux", "Linux/UNIX", "Windows", "windows", "red hat", "RHEL"),
            *(HOURLY, ACCESS, RED_HAT, "219670896067", "309956199834", "amazon", "aws-marketplace"),
            *("aws", "aws-cn", RHEL_CODE, CENTOS_CODE, RHEL_SAP_CODE),
        ]
    ),
)
CODES = st.builds(
    ImageCodes,
    *(TEXTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS),
)
INSTALLED = st.none() | st.builds(
    Installed,
    st.sampled_from(["unknown", "rocky", "centos", "ol", "rhel"]),
    TEXTS,
    TEXTS,
    st.lists(TEXTS, max_size=2).map(tuple),
)


def names_rhel(codes: ImageCodes, own: str, product_codes: tuple[str, ...] | None) -> bool:
    """Say whether a decisive signal for RHEL is among these: a code, or Red Hat's own image."""
    theirs = {("aws", RED_HAT), ("aws-us-gov", "219670896067"), ("aws-cn", "841258680906")}
    sold = codes.product_codes if product_codes is None else product_codes
    return (
        "rhel" in {decode(own).distribution, decode(codes.usage_operation).distribution}
        or decode_platform(codes.platform_details).distribution == "rhel"
        or any(BY_CODE[code].distribution == "rhel" for code in sold if code in BY_CODE)
        or ((codes.partition, codes.owner_id) in theirs and codes.name in {HOURLY, ACCESS})
    )


@given(CODES, INSTALLED, TEXTS, st.none() | st.lists(TEXTS, max_size=2).map(tuple))
def test_nothing_is_rhel_without_a_decisive_signal(
    codes: ImageCodes,
    installed: Installed | None,
    usage_operation: str,
    product_codes: tuple[str, ...] | None,
) -> None:
    """Whatever texts come, nothing is raised, and the disk is never overruled."""
    found = classify_run(codes, installed, usage_operation, product_codes)
    if installed and installed.distribution != "unknown":
        assert (found.distribution, found.version) == (installed.distribution, installed.version)
        assert found.distribution_authority is DISK
    elif found.distribution == "rhel":
        assert names_rhel(codes, usage_operation, product_codes)
        assert any(each.strength is Strength.DECISIVE for each in found.evidence)
    assert (found.distribution == "unknown") is (found.distribution_authority is NONE)
    assert (found.license_model is UNKNOWN) is (found.license_authority is NONE)
    assert all(each.value.isprintable() and len(each.value) <= 1000 for each in found.evidence)
