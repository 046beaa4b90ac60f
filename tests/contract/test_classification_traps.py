"""What looks like RHEL and is not, from the files on a disk to what accounts says of the image.

Each goes the whole way: a folder is examined as a disk is, its finding crosses as the message that
an inspector publishes, and accounts classifies by it.
"""

import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudigrade.inspector.v1 import inspection_pb2
from libs.common.broker import Message
from services.accounts.billing import LicenseModel
from services.accounts.classification import (
    Authority,
    Classification,
    ImageCodes,
    Installed,
    Strength,
    classify,
)
from services.accounts.inspection_convert import RESULT_TYPE, answer_from_message
from services.inspector import convert
from services.inspector.disk.folder import FolderFileSystem
from services.inspector.examination import examine_folder
from services.inspector.inspector import Inspected
from services.inspector.outcome import Cost, Outcome
from services.scanner import ec2_answers
from tests.support.real_inputs import real_folder
from tests.support.scanner import recorded_answers

PLAIN = ImageCodes("Linux/UNIX", "RunInstances", partition="aws")
RED_HATS_WORDS = "Red Hat Enterprise Linux release 9.4 (Plow)\n"
SERVER_6 = "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n"
STREAM_8 = """NAME="CentOS Stream"
VERSION="8"
ID="centos"
ID_LIKE="rhel fedora"
VERSION_ID="8"
PLATFORM_ID="platform:el8"
PRETTY_NAME="CentOS Stream 8"
CPE_NAME="cpe:/o:centos:centos:8"
REDHAT_SUPPORT_PRODUCT="Red Hat Enterprise Linux 8"
REDHAT_SUPPORT_PRODUCT_VERSION="CentOS Stream"
"""
ORACLE_9 = """NAME="Oracle Linux Server"
VERSION="9.4"
ID="ol"
ID_LIKE="fedora"
VERSION_ID="9.4"
PRETTY_NAME="Oracle Linux Server 9.4"
CPE_NAME="cpe:/o:oracle:linux:9:4:server"
REDHAT_BUGZILLA_PRODUCT="Oracle Linux 9"
"""
REPOSITORY = """[elrepo]
name=Extra packages for RHEL / CentOS 9 - Red Hat Enterprise Linux
baseurl=https://example.com/rhel9/
enabled=1
"""
# Thirteen that build on RHEL's sources or are made to be compatible, and say so.
LIKE_RHEL = {
    "almalinux": "AlmaLinux",
    "amzn": "Amazon Linux",
    "centos": "CentOS Linux",
    "circle": "Circle Linux",
    "clearos": "ClearOS",
    "cloudlinux": "CloudLinux",
    "eurolinux": "EuroLinux",
    "miraclelinux": "MIRACLE LINUX",
    "navylinux": "Navy Linux",
    "ol": "Oracle Linux Server",
    "rocky": "Rocky Linux",
    "scientific": "Scientific Linux",
    "virtuozzo": "Virtuozzo Linux",
}


def installed_in(root: Path) -> Installed:
    """Examine a folder, publish the finding as an inspector does, and read it as accounts does."""
    finding = examine_folder(FolderFileSystem(root))
    job = inspection_pb2.InspectionJob(
        job_id=1, attempt=1, account_id=1, image_id="ami-00000000000000001"
    )
    result = convert.result(job, Inspected(Outcome(finding, Cost()), ""))
    message = Message(RESULT_TYPE, "result-1-1", result.SerializeToString(), {})
    found = answer_from_message(message).outcome
    assert isinstance(found, Installed)
    return found


def image_of(root: Path, files: dict[str, str], codes: ImageCodes = PLAIN) -> Classification:
    """Classify an image whose disk holds these files; a value that begins with -> is a link."""
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            file.symlink_to(text.removeprefix("->"))
        else:
            file.write_text(text)
    return classify(codes, installed_in(root))


def supporting(image: Classification) -> dict[str, str]:
    """Give the evidence that supports and decides nothing, by its kind."""
    return {
        each.signal: each.value for each in image.evidence if each.strength is Strength.SUPPORTING
    }


@pytest.mark.parametrize("version", ["8", "9"])
def test_centos_stream_is_not_the_rhel_of_its_support_product(tmp_path: Path, version: str) -> None:
    """CentOS Stream 8 and 9 say REDHAT_SUPPORT_PRODUCT="Red Hat Enterprise Linux 8" and 9."""
    os_release = STREAM_8.replace("8", version)
    files = {"/usr/lib/os-release": os_release, "/etc/os-release": "->../usr/lib/os-release"}
    image = image_of(tmp_path, files)
    assert (image.distribution, image.version) == ("centos", version)
    assert (image.distribution_authority, image.license_model) == (
        Authority.DISK,
        LicenseModel.FREE,
    )
    told = supporting(image)
    assert told["os-release.REDHAT_SUPPORT_PRODUCT"] == f"Red Hat Enterprise Linux {version}"
    assert told["os-release.ID_LIKE"] == "rhel fedora"


def test_oracle_linux_is_not_the_rhel_of_its_redhat_release(tmp_path: Path) -> None:
    """Oracle Linux ships a redhat-release with Red Hat's own words, as long as it exists."""
    files = {"/etc/os-release": ORACLE_9, "/etc/redhat-release": RED_HATS_WORDS}
    files |= {"/etc/oracle-release": "Oracle Linux Server release 9.4\n"}
    image = image_of(tmp_path / "9", files)
    assert (image.distribution, image.version, image.license_model) == (
        "ol",
        "9.4",
        LicenseModel.UNKNOWN,
    )
    release_files = {"/etc/oracle-release": "Oracle Linux Server release 6.10\n"}
    image = image_of(tmp_path / "6", release_files | {"/etc/redhat-release": SERVER_6})
    assert (image.distribution, image.version) == ("ol", "6.10")
    assert supporting(image)["release file"] == SERVER_6.strip()


def test_a_repository_for_rhel_makes_no_rhel(tmp_path: Path) -> None:
    """A rebuild with a repository named "... for RHEL / CentOS", enabled, is the rebuild."""
    files = {
        "/etc/os-release": 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
        'VERSION_ID="9.4"\n',
        "/etc/yum.repos.d/elrepo.repo": REPOSITORY,
    }
    image = image_of(tmp_path, files)
    assert (image.distribution, image.version, image.license_model) == (
        "rocky",
        "9.4",
        LicenseModel.FREE,
    )


@pytest.mark.parametrize(("identity", "name"), LIKE_RHEL.items(), ids=LIKE_RHEL)
def test_what_is_like_rhel_is_not_rhel(tmp_path: Path, identity: str, name: str) -> None:
    """Thirteen with ID_LIKE="rhel", each beside a redhat-release with Red Hat's words."""
    files = {
        "/etc/os-release": f'NAME="{name}"\nID="{identity}"\nID_LIKE="rhel"\nVERSION_ID="9"\n',
        "/etc/redhat-release": RED_HATS_WORDS,
    }
    image = image_of(tmp_path, files)
    assert (image.distribution, image.version) == (identity, "9")
    assert supporting(image)["os-release.ID_LIKE"] == "rhel"


def test_a_rebuild_that_calls_itself_rhel_everywhere_but_in_its_name_is_unknown(
    tmp_path: Path,
) -> None:
    """ID="rhel" and Red Hat's release file, and a NAME that is nobody's: then nobody can tell."""
    files = {
        "/etc/os-release": 'NAME="Somebody\'s Linux"\nID="rhel"\nVERSION_ID="9.4"\n',
        "/etc/redhat-release": RED_HATS_WORDS,
    }
    image = image_of(tmp_path, files)
    assert (image.installed_distribution, image.distribution) == ("unknown", "unknown")
    reason = installed_in(tmp_path).unknown_reason
    assert reason.startswith('"Somebody\'s Linux" calls itself Red Hat Enterprise Linux elsewhere')
    assert reason.endswith("/etc/os-release, /etc/redhat-release")


def test_a_false_publisher_makes_no_rhel(tmp_path: Path) -> None:
    """Red Hat's name by an account that is not Red Hat's: the disk decides, or nobody does."""
    name = "RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3"
    codes = ImageCodes(
        *("Linux/UNIX", "RunInstances"), owner_id="309956199834", name=name, partition="aws"
    )
    rocky = image_of(tmp_path / "one", {"/etc/os-release": "ID=rocky\nVERSION_ID=9.4\n"}, codes)
    unread = image_of(tmp_path / "two", {"/etc/motd": "Welcome to Red Hat Enterprise Linux"}, codes)
    assert (rocky.distribution, unread.distribution) == ("rocky", "unknown")
    for image in (rocky, unread):
        assert "309956199834" in supporting(image)["publisher-mismatch"]
        assert image.published_distribution == ""


def test_rhel_itself_is_rhel(tmp_path: Path) -> None:
    """By os-release, and where there is none by its release file."""
    text = 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n'
    image = image_of(tmp_path / "9", {"/etc/os-release": text})
    assert (image.distribution, image.version) == ("rhel", "9.4")
    image = image_of(tmp_path / "6", {"/etc/redhat-release": SERVER_6})
    assert (image.distribution, image.version) == ("rhel", "6.10")


# From here on: what others collected.


def trees(tmp_path: Path) -> Iterator[Path]:
    """Unpack the roots of about seventy systems that python-distro collected."""
    folder = real_folder("os-release")
    with tarfile.open(folder / "python-distro-distros.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    yield from sorted((tmp_path / "tests/resources/distros").iterdir())


# Of those, what is not simply the folder's name without its version.
NAMED_OTHERWISE = {
    "armbian": "debian",
    "bttcb1": "debian",
    "debiantesting": "debian",
    "kvmibm1": "kvmibm",
    "linuxmint17": "ubuntu",
    "mandriva2011": "mandrivalinux",
    "opensuse15": "opensuse-leap",
    "oracle7": "ol",
    **dict.fromkeys(("amazon2014", "amazon2016", "amazon2023"), "amzn"),
    **dict.fromkeys(("centosstream8", "centosstream9", "centosstream10"), "centos"),
    **dict.fromkeys(
        ("__shared__", "aix72", "freebsd111", "midnightbsd12", "netbsd711", "openbsd62"), "unknown"
    ),
}


def test_every_collected_tree_is_what_it_is(tmp_path: Path) -> None:
    """Five of them are RHEL, 5 to 10; no rebuild is, and six that are no Linux are unknown."""
    found = {
        root.name: classify(PLAIN, installed_in(root)).distribution for root in trees(tmp_path)
    }
    assert found == {name: NAMED_OTHERWISE.get(name, name.rstrip("0123456789")) for name in found}
    assert len(found) > 60
    assert sorted(name for name, distribution in found.items() if distribution == "rhel") == [
        *("rhel10", "rhel5", "rhel6", "rhel7", "rhel9"),
    ]


def os_releases() -> Iterator[tuple[str, str]]:
    """Yield about 165 collected os-release files: their names and texts."""
    folder = real_folder("os-release")
    for pattern in ("chef-os_release/*", "os-release-zoo/*.txt"):
        for file in sorted(folder.glob(pattern)):
            yield file.name, file.read_text()
    for file in sorted((folder / "claircore-osrelease").glob("*.txtar")):
        yield file.name, file.read_text().split("-- os-release --\n")[1].split("\n-- ")[0]


def test_no_collected_os_release_but_red_hats_is_rhel(tmp_path: Path) -> None:
    """Each beside a redhat-release with Red Hat's words, as rebuilds have it: RHEL is RHEL only."""
    rhel, others = set(), 0
    for number, (name, text) in enumerate(os_releases()):
        files = {"/etc/os-release": text, "/etc/redhat-release": RED_HATS_WORDS}
        if "NAME=" not in text:
            # Nothing stands against the release file then.
            continue
        image = image_of(tmp_path / str(number), files)
        assert image.distribution in {"unknown", image.installed_distribution}
        if image.distribution == "rhel":
            rhel.add(name)
        else:
            others += 1
    assert all(name.startswith(("redhat_", "Ubi8")) for name in rhel), rhel
    assert {"redhat_7", "redhat_8", "redhat_9", "redhat_10", "Ubi8.txtar"} <= rhel
    assert others > 140


def test_certificates_keys_and_package_databases_of_red_hat_make_no_rhel(tmp_path: Path) -> None:
    """A rebuild with 64 product certificates, Red Hat's keys, and rpm databases is that still.

    With its os-release gone it is unknown, not RHEL.
    """
    certificates = sorted(real_folder("product-certs").glob("leapp/*/*.pem"))
    assert len(certificates) == 64
    places = {
        "etc/pki/product": certificates,
        "etc/pki/rpm-gpg": sorted(real_folder("product-certs").glob("rpm-gpg/*")),
        "var/lib/rpm": [*real_folder("rpmdb").glob("*/*")],
    }
    for place, files in places.items():
        (tmp_path / place).mkdir(parents=True)
        for file in files:
            shutil.copy(file, tmp_path / place / f"{file.parent.name}-{file.name}")
    image = image_of(tmp_path, {"/etc/os-release": "ID=almalinux\nVERSION_ID=9.4\n"})
    assert (image.distribution, image.version) == ("almalinux", "9.4")
    (tmp_path / "etc/os-release").unlink()
    assert classify(PLAIN, installed_in(tmp_path)).distribution == "unknown"


def test_recorded_images_are_what_their_publishers_say() -> None:
    """Of the images that EC2 described in recordings, Amazon's and Canonical's own are known.

    Two have such names in other accounts, one of them beside the alias "amazon".
    """
    found: dict[str, str] = {}
    claimed = set()
    for answer in recorded_answers("ec2.DescribeImages"):
        for described in answer["Images"]:
            image = ec2_answers.image(described)
            codes = ImageCodes(
                image.platform_details,
                image.usage_operation,
                image.product_codes,
                image.owner_id,
                image.owner_alias,
                image.name,
                image.platform,
                "aws",
            )
            classified = classify(codes, None)
            assert classified.distribution != "rhel"
            if "publisher-mismatch" in supporting(classified):
                claimed.add(image.name)
            if classified.distribution != "unknown":
                found[image.name] = f"{classified.distribution} {classified.version}"
    assert found == {
        "amzn2-ami-hvm-2.0.20190218-x86_64-gp2": "amzn 2",
        "amzn-ami-hvm-2016.03.0.x86_64-gp2": "amzn 2016.03",
        "amzn-ami-hvm-2016.09.0.20161028-x86_64-gp2": "amzn 2016.09",
        "amzn-ami-hvm-2016.09.1.20170119-x86_64-gp2": "amzn 2016.09",
        "ubuntu/images/hvm-ssd/ubuntu-trusty-14.04-amd64-server-20160114.5": "ubuntu 14.04",
        "ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-20161020": "ubuntu 16.04",
        "ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-20170721": "ubuntu 16.04",
    }
    assert claimed == {
        "al2023-ami-2023.5.20240730.0-kernel-6.1-x86_64",
        "ubuntu/images/hvm-ssd/ubuntu-bionic-18.04-amd64-server-20180724",
    }


def test_recorded_instances_are_what_their_bills_say() -> None:
    """Of the recorded bills one is of RHEL and one of Windows; 78 are plain, 208 are missing."""
    rhel = (
        real_folder("ec2-api") / "other/describe-instances_rhel-payg-and-linux_us-east-2_2022.json"
    )
    answers = [*recorded_answers("ec2.DescribeInstances"), json.loads(rhel.read_text())]
    told: Counter[tuple[str, str, str]] = Counter()
    for answer in answers:
        for reservation in answer["Reservations"]:
            for shown in reservation["Instances"]:
                operation = shown.get("UsageOperation", "")
                image = classify(ImageCodes(shown.get("PlatformDetails", ""), operation), None)
                told[operation, image.distribution, image.license_model.name] += 1
                assert "billing-mismatch" not in supporting(image)
    assert told == {
        ("", "unknown", "UNKNOWN"): 208,
        ("RunInstances", "unknown", "UNKNOWN"): 78,
        ("RunInstances:0010", "rhel", "INCLUDED"): 1,
        ("RunInstances:0002", "windows", "INCLUDED"): 1,
    }
