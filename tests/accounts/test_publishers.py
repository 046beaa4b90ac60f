"""Who publishes an image: owner and name together, in their partition."""

import pytest

from services.accounts.billing import LicenseModel
from services.accounts.publishers import Published, published

RHEL_NAME = "RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3"
UBUNTU_NAME = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20241011"
DEBIAN_NAME = "debian-12-amd64-20230711-1438"
ROCKY_NAME = "Rocky-9-EC2-Base-9.7-20251123.2.x86_64"
AMZN2_NAME = "amzn2-ami-hvm-2.0.20190218-x86_64-gp2"

# Names as they stand in public lists, and whose they are.
KNOWN = [
    ("aws", "309956199498", RHEL_NAME, "rhel", "9.4"),
    ("aws-us-gov", "219670896067", RHEL_NAME, "rhel", "9.4"),
    ("aws-cn", "841258680906", RHEL_NAME, "rhel", "9.4"),
    ("aws", "309956199498", "RHEL-7.3_HVM_GA-20161026-x86_64-1-Access2-GP2", "rhel", "7.3"),
    ("aws", "099720109477", UBUNTU_NAME, "ubuntu", "24.04"),
    (
        *("aws", "099720109477", "ubuntu/images/hvm-ssd/ubuntu-trusty-14.04-amd64-server-20160114"),
        *("ubuntu", "14.04"),
    ),
    ("aws-cn", "837727238323", UBUNTU_NAME, "ubuntu", "24.04"),
    ("aws", "013907871322", "suse-sles-15-sp5-v20230620-hvm-ssd-x86_64", "sles", "15.5"),
    ("aws", "013907871322", "suse-sles-12-v20200101-hvm-ssd-x86_64", "sles", "12"),
    ("aws-cn", "841869936221", "suse-sles-15-sp5-v20230620-hvm-ssd-x86_64", "sles", "15.5"),
    ("aws", "136693071363", DEBIAN_NAME, "debian", "12"),
    ("aws", "379101102735", "debian-stretch-hvm-x86_64-gp2-2022-07-01-66430", "debian", ""),
    ("aws", "137112412989", "al2023-ami-2023.5.20240730.0-kernel-6.1-x86_64", "amzn", "2023"),
    ("aws", "137112412989", AMZN2_NAME, "amzn", "2"),
    ("aws", "137112412989", "amzn-ami-hvm-2016.03.0.x86_64-gp2", "amzn", "2016.03"),
    ("aws", "591542846629", "amzn2-ami-ecs-hvm-2.0.20230906-x86_64-ebs", "amzn", "2"),
    ("aws", "898082745236", "Deep Learning AMI (Amazon Linux 2) Version 55.0", "amzn", "2"),
    ("aws", "792107900819", ROCKY_NAME, "rocky", "9.7"),
    ("aws", "792107900819", "Rocky-8-ec2-8.6-20220515.0.x86_64", "rocky", "8.6"),
    ("aws", "764336703387", "AlmaLinux OS 9.6.20250313 x86_64", "almalinux", "9.6"),
    ("aws", "125523088429", "CentOS Stream 9 x86_64 20230418", "centos", "9"),
    ("aws", "125523088429", "CentOS 7.9.2009 x86_64", "centos", "7"),
    ("aws", "125523088429", "Fedora-Cloud-Base-38-1.6.x86_64-hvm-us-east-1", "fedora", "38"),
    ("aws", "125523088429", "Fedora-Cloud-Base-AmazonEC2.x86_64-43-1.6-hvm", "fedora", "43"),
    ("aws", "125523088429", "fedora-coreos-38.20230806.3.0-x86_64", "fedora", "38"),
    ("aws", "131827586825", "OL8.7-x86_64-HVM-2023-01-05", "ol", "8.7"),
    ("aws", "075585003325", "Flatcar-stable-3510.2.0-hvm", "flatcar", "3510.2.0"),
    ("aws", "801119661308", "Windows_Server-2022-English-Full-Base-2023.10.11", "windows", "2022"),
    ("aws-cn", "016951021795", "Windows_Server-2022-English-Core-2023.10.11", "windows", "2022"),
]


@pytest.mark.parametrize(
    ("partition", "owner", "name", "distribution", "version"),
    KNOWN,
    ids=[f"{row[0]} {row[2]}" for row in KNOWN],
)
def test_an_owner_and_a_name_that_fit_say_what_it_is(
    partition: str, owner: str, name: str, distribution: str, version: str
) -> None:
    """Each publisher in each partition where its account is known."""
    found = published(partition, owner, "", name)
    assert (found.distribution, found.version, found.trouble) == (distribution, version, "")


@pytest.mark.parametrize(
    ("partition", "owner", "name"), [row[:3] for row in KNOWN], ids=[row[2] for row in KNOWN]
)
def test_a_name_alone_proves_nothing(partition: str, owner: str, name: str) -> None:
    """The same names by somebody else, by nobody known, or by the same digits elsewhere."""
    elsewhere = {"aws": "aws-cn", "aws-us-gov": "aws", "aws-cn": "aws-us-gov"}[partition]
    for where, who in ((partition, "111111111111"), (elsewhere, owner)):
        found = published(where, who, "", name)
        assert found == Published(claimed=found.claimed, trouble=found.trouble, is_false=True)
        assert found.trouble == f"account {who} of {where} is not theirs"
        assert found.claimed
    for where, who in ((partition, ""), ("", owner)):
        found = published(where, who, "", name)
        assert (found.distribution, found.is_false) == ("", False)
        assert found.trouble == "who owns it is not known"


@pytest.mark.parametrize("name", ["golden-image", "rhel-9-base", "RHEL9", "my ubuntu/images", ""])
def test_a_publishers_account_alone_proves_nothing(name: str) -> None:
    """Red Hat's and Canonical's accounts with names of no form of theirs; nothing is claimed."""
    for owner in ("309956199498", "099720109477"):
        assert published("aws", owner, "", name) == Published()


@pytest.mark.parametrize(
    ("owner", "name", "claimed"),
    [
        ("309956199834", RHEL_NAME, "Red Hat"),
        ("792107900699", ROCKY_NAME, "Rocky"),
        ("131827586825", DEBIAN_NAME, "Debian"),
    ],
)
def test_the_wrong_ids_of_public_code_are_nobodys(owner: str, name: str, claimed: str) -> None:
    """Ids that public code gives for Red Hat, Rocky and Debian; the last is Oracle's."""
    found = published("aws", owner, "", name)
    assert (found.claimed, found.distribution, found.is_false) == (claimed, "", True)


@pytest.mark.parametrize("name", [DEBIAN_NAME, ROCKY_NAME, "CentOS Stream 9 x86_64 20230418"])
def test_the_account_that_publishes_for_several_in_china_decides_nothing(name: str) -> None:
    """336777782633 stands for Debian, CentOS and Rocky alike: it supports, whatever the name."""
    found = published("aws-cn", "336777782633", "", name)
    assert found.trouble == "account 336777782633 of aws-cn is one that publishes for several"
    assert (found.distribution, found.is_false) == ("", False)


def test_an_unconfirmed_account_only_supports() -> None:
    """Canonical's account in GovCloud is known from one unconfirmed source."""
    found = published("aws-us-gov", "513442679011", "", UBUNTU_NAME)
    assert (found.claimed, found.distribution, found.is_false) == ("Canonical", "", False)
    assert "unconfirmed" in found.trouble


@pytest.mark.parametrize(
    ("owner", "alias"),
    [("679593333241", ""), ("679593333241", "aws-marketplace"), ("1", "aws-marketplace")],
)
def test_the_marketplace_never_decides(owner: str, alias: str) -> None:
    """By its account or by its alias, it sells under the names of others."""
    found = published("aws", owner, alias, RHEL_NAME)
    assert (found.distribution, found.license_model, found.is_false) == ("", None, False)
    assert found.trouble.endswith("is AWS Marketplace, which sells for others")


@pytest.mark.parametrize(
    ("partition", "name", "distribution"),
    [
        ("aws-cn", AMZN2_NAME, "amzn"),
        ("aws-us-gov", AMZN2_NAME, "amzn"),
        ("aws", AMZN2_NAME, ""),
        ("aws-cn", RHEL_NAME, ""),
        ("aws-cn", "something", ""),
    ],
)
def test_the_alias_amazon_stands_for_amazon_linux_where_no_account_is_known(
    partition: str, name: str, distribution: str
) -> None:
    """EC2 sets it, also for Amazon's partners: with the name's form, and never for Red Hat's."""
    assert published(partition, "141808717104", "amazon", name).distribution == distribution


@pytest.mark.parametrize(
    ("name", "license_model", "products"),
    [
        (RHEL_NAME, LicenseModel.INCLUDED, ()),
        ("RHEL-9.6.0_HVM-20251030-x86_64-0-Access2-GP3", LicenseModel.BYOS, ()),
        ("RHEL-8.6.0_HVM_BETA-20220330-x86_64-0", None, ()),
        ("RHEL_HA-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3", LicenseModel.INCLUDED, ("rhel-ha",)),
        ("RHEL-SAP-8.2.0_HVM-20211007-x86_64-0-Hourly2-GP2", LicenseModel.INCLUDED, ("sap",)),
    ],
)
def test_red_hats_names_say_how_it_is_paid_for(
    name: str, license_model: LicenseModel | None, products: tuple[str, ...]
) -> None:
    """Hourly2 is on AWS's bill and Access2 on one's own subscription, in Red Hat's account only."""
    found = published("aws", "309956199498", "", name)
    assert (found.distribution, found.license_model, found.products) == (
        "rhel",
        license_model,
        products,
    )
    assert published("aws", "111111111111", "", name).license_model is None


def test_products_in_the_names_of_others() -> None:
    """Ubuntu Pro by Canonical, and SLES for SAP by SUSE."""
    pro = "ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-22.04-amd64-pro-server-20241113"
    assert published("aws", "099720109477", "", pro).products == ("ubuntu-pro",)
    sap = published("aws", "013907871322", "", "suse-sles-sap-15-sp3-v20210623-hvm-ssd-x86_64")
    assert (sap.distribution, sap.version, sap.products) == ("sles", "15.3", ("sap",))


@pytest.mark.parametrize(
    "name", ["ubuntu" + "-pro" * 250, "RHEL-9.4_HVM-" + "-Hourly2" * 120, "ubuntu-a/" * 110]
)
def test_a_long_hostile_name_is_read_at_once(name: str) -> None:
    """Anybody can name an image: no pattern takes more than a look at each letter or two."""
    assert published("aws", "111111111111", "", name).distribution == ""
