"""Who publishes images for whom: the owner's account and the form of the image's name, together.

Neither is enough alone. Anybody can give an image any name, and public code even spreads wrong
account ids; a publisher's account may hold other things. An account id belongs to its partition:
the same digits in another one are somebody else.

Account ids were collected on 2026-11-22 from what uses them with care (kops' documentation and
code, moto's recorded images, cloudigrade 1.0's settings, the tests of aws-parallelcluster) or from
many independent users; names from the same places and from images listed in public. That
"-Hourly2-" is RHEL on AWS's bill and "-Access2-" RHEL on a subscription of one's own is from
cloudigrade 1.0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.accounts.billing import LicenseModel

_AWS, _GOV, _CHINA = "aws", "aws-us-gov", "aws-cn"
# EC2 sets an owner's alias from a list that Amazon keeps (EC2 API reference, Image, 2026-11).
_AMAZON = "amazon"
_MARKETPLACE_ALIAS = "aws-marketplace"
_MARKETPLACE = "AWS Marketplace, which sells for others"
# They publish for others, under those others' names: they tell nothing of who made an image.
_SELLERS = {
    (_AWS, "679593333241"): _MARKETPLACE,
    # In public code it stands for Debian, CentOS and Rocky alike, and for makers of appliances.
    (_CHINA, "336777782633"): "one that publishes for several",
}
_LICENSES = {"Hourly2": LicenseModel.INCLUDED, "Access2": LicenseModel.BYOS}


@dataclass(frozen=True, slots=True)
class Published:
    """What an image's publisher says of it; all empty when the name is of no form known here.

    `claimed` is the publisher whose form the name has. `trouble` says why that claim is not
    believed, and then nothing is said of the image; `is_false` when the owner is somebody else.
    """

    distribution: str = ""
    version: str = ""
    license_model: LicenseModel | None = None
    products: tuple[str, ...] = ()
    claimed: str = ""
    trouble: str = ""
    is_false: bool = False


@dataclass(frozen=True, slots=True)
class _Publisher:
    """A form of names, whose groups may be version, service_pack, license, ha, sap and pro."""

    name: str
    distribution: str
    form: re.Pattern[str]
    accounts: Mapping[str, frozenset[str]]
    unverified: frozenset[tuple[str, str]] = frozenset()
    # Partitions where it is known by its alias alone.
    by_alias: frozenset[str] = frozenset()


def _ids(aws: str, gov: str = "", china: str = "") -> dict[str, frozenset[str]]:
    """Return account ids by partition, from texts with spaces between them."""
    return {
        partition: frozenset(ids.split())
        for partition, ids in ((_AWS, aws), (_GOV, gov), (_CHINA, china))
    }


_AMAZON_LINUX = _ids("137112412989 591542846629 898082745236")
_FEDORA_PROJECT = _ids("125523088429")

_PUBLISHERS = (
    _Publisher(
        "Red Hat",
        "rhel",
        # RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3, RHEL_HA-8.5.0_HVM-..., RHEL-SAP-8.2.0_HVM
        re.compile(
            r"RHEL(?P<ha>_HA)?(?P<sap>-SAP)?-(?P<version>[0-9]+\.[0-9]+)[0-9.]*_HVM[-_].*?"
            r"(?:-(?P<license>Hourly2|Access2)-.*)?"
        ),
        _ids("309956199498", "219670896067", "841258680906"),
    ),
    _Publisher(
        "Canonical",
        "ubuntu",
        # ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20241011, ubuntu-pro-server/...
        re.compile(
            r"ubuntu(?P<pro>-pro)?(?:-[a-z]+)*/.*"
            r"ubuntu-[a-z]+-(?P<version>[0-9]{2}\.[0-9]{2})-.*"
        ),
        _ids("099720109477", "", "837727238323"),
        # One public source has it, unconfirmed.
        unverified=frozenset({(_GOV, "513442679011")}),
    ),
    _Publisher(
        "SUSE",
        "sles",
        # suse-sles-15-sp5-v20230620-hvm-ssd-x86_64, suse-sles-sap-15-sp3-byos-v20210623-...
        re.compile(
            r"suse-sles(?P<sap>-sap)?-(?P<version>[0-9]+)(?:-sp(?P<service_pack>[0-9]+))?-.*hvm.*"
        ),
        _ids("013907871322", "", "841869936221"),
    ),
    _Publisher(
        "Debian",
        "debian",
        # debian-12-amd64-20230711-1438, debian-stretch-hvm-x86_64-gp2-2022-07-01-66430
        re.compile(r"debian-(?:(?P<version>[0-9]+)|[a-z]+)-(?:backports-)?(?:amd64|arm64|hvm)-.*"),
        _ids("136693071363 379101102735"),
    ),
    _Publisher(
        "Amazon",
        "amzn",
        # al2023-ami-2023.5.20240730.0-kernel-6.1-x86_64, amzn2-ami-kernel-5.10-hvm-2.0.2023...
        re.compile(r"al(?P<version>2023)-ami-.*"),
        _AMAZON_LINUX,
        by_alias=frozenset({_GOV, _CHINA}),
    ),
    _Publisher(
        "Amazon",
        "amzn",
        re.compile(r"amzn(?P<version>2)-ami-.*"),
        _AMAZON_LINUX,
        by_alias=frozenset({_GOV, _CHINA}),
    ),
    _Publisher(
        "Amazon",
        "amzn",
        # amzn-ami-hvm-2018.03.0.20230404.0-x86_64-gp2, amzn-ami-2018.03.i-amazon-ecs-optimized
        re.compile(r"amzn-ami-(?:[a-z-]*)(?P<version>[0-9]{4}\.[0-9]{2})\..*"),
        _AMAZON_LINUX,
        by_alias=frozenset({_GOV, _CHINA}),
    ),
    _Publisher(
        "Amazon",
        "amzn",
        # Deep Learning AMI (Amazon Linux 2) Version 55.0; others of them are of Ubuntu
        re.compile(r"Deep Learning .*\(Amazon Linux(?: (?P<version>[0-9]+))?\).*"),
        _AMAZON_LINUX,
        by_alias=frozenset({_GOV, _CHINA}),
    ),
    _Publisher(
        "Amazon",
        "windows",
        # Windows_Server-2022-English-Full-Base-2023.10.11
        re.compile(r"Windows_Server-(?P<version>[0-9]{4})-.*"),
        _ids("801119661308", "", "016951021795"),
    ),
    _Publisher(
        "Rocky",
        "rocky",
        # Rocky-9-EC2-Base-9.4-20240523.0.x86_64, Rocky-8-ec2-8.6-20220515.0.x86_64
        re.compile(r"Rocky-[0-9]+-(?:EC2|ec2)-(?:[A-Za-z]+-)?(?P<version>[0-9]+\.[0-9]+)-.*"),
        _ids("792107900819"),
    ),
    _Publisher(
        "AlmaLinux",
        "almalinux",
        # AlmaLinux OS 9.4.20240513 x86_64
        re.compile(r"AlmaLinux OS (?P<version>[0-9]+\.[0-9]+)\..*"),
        _ids("764336703387"),
    ),
    _Publisher(
        "CentOS",
        "centos",
        # CentOS Stream 9 x86_64 20230418, CentOS 7.9.2009 x86_64
        re.compile(r"CentOS (?:Stream )?(?P<version>[0-9]+)[0-9.]* (?:x86_64|aarch64).*"),
        _FEDORA_PROJECT,
    ),
    _Publisher(
        "Fedora",
        "fedora",
        # Fedora-Cloud-Base-38-1.6.x86_64-hvm-..., Fedora-Cloud-Base-AmazonEC2.x86_64-43-...,
        # fedora-coreos-38.20230806.3.0-x86_64
        re.compile(
            r"(?:Fedora-Cloud-Base-(?:AmazonEC2\.[a-z0-9_]+-)?|fedora-coreos-)(?P<version>[0-9]+)[-.].*"
        ),
        _FEDORA_PROJECT,
    ),
    _Publisher(
        "Oracle",
        "ol",
        # OL8.7-x86_64-HVM-2023-01-05; discontinued, and still to be launched
        re.compile(r"OL(?P<version>[0-9]+\.[0-9]+)-[a-z0-9_]+-HVM-.*"),
        _ids("131827586825"),
    ),
    _Publisher(
        "Flatcar",
        "flatcar",
        # Flatcar-stable-3510.2.0-hvm
        re.compile(r"Flatcar-[a-z]+-(?P<version>[0-9]+\.[0-9]+\.[0-9]+)-.*"),
        _ids("075585003325"),
    ),
)


def published(partition: str, owner_id: str, owner_alias: str, name: str) -> Published:
    """Return what an image's publisher says of it, by its owner and its name in their partition.

    Nothing is said for an owner of unknown partition, and nothing by the alias of AWS Marketplace.
    """
    for publisher in _PUBLISHERS:
        match = publisher.form.fullmatch(name)
        if match is None:
            continue
        trouble, is_false = _doubt(publisher, partition, owner_id, owner_alias)
        if trouble:
            return Published(claimed=publisher.name, trouble=trouble, is_false=is_false)
        return _verdict(publisher, match)
    return Published()


def _doubt(
    publisher: _Publisher, partition: str, owner_id: str, owner_alias: str
) -> tuple[str, bool]:
    """Say why an owner is not the publisher that the name claims, and whether that is sure."""
    if owner_id in publisher.accounts.get(partition, frozenset()):
        return "", False
    if owner_alias == _AMAZON and partition in publisher.by_alias:
        return "", False
    if (partition, owner_id) in publisher.unverified:
        return f"account {owner_id} of {partition} is said to be theirs, unconfirmed", False
    seller = _SELLERS.get((partition, owner_id))
    if seller is None and owner_alias == _MARKETPLACE_ALIAS:
        seller = _MARKETPLACE
    if seller is not None:
        return f"account {owner_id} of {partition} is {seller}", False
    if not owner_id or not partition:
        return "who owns it is not known", False
    return f"account {owner_id} of {partition} is not theirs", True


def _verdict(publisher: _Publisher, match: re.Match[str]) -> Published:
    groups = match.groupdict()
    version = groups.get("version") or ""
    if pack := groups.get("service_pack"):
        version = f"{version}.{pack}"
    products = {"ha": "rhel-ha", "sap": "sap", "pro": "ubuntu-pro"}
    return Published(
        publisher.distribution,
        version,
        _LICENSES.get(groups.get("license") or ""),
        tuple(product for group, product in products.items() if groups.get(group)),
        publisher.name,
    )
