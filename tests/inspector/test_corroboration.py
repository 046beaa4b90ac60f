"""What a root says beside its release files: evidence, products, purpose; when packages count."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudigrade.inspector.v1 import evidence_pb2
from services.inspector import convert
from services.inspector.corroboration import Corroboration, corroborate
from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.tree import Tree
from services.inspector.evidence import Strength
from services.inspector.examination import examine_folder
from services.inspector.finding import Finding, Syspurpose
from services.inspector.inspection import InspectionLimits, inspect
from services.inspector.release_files import read_os_release, read_releases
from services.inspector.verdict import decide
from services.inspector.wire import WireError, finding_from_json, finding_to_json
from tests.inspector import rpm_databases as made
from tests.inspector.images import MIB, make_ext
from tests.inspector.test_product_certificates import product

RHEL = 'ID="rhel"\nVERSION_ID="9.4"\nNAME="Red Hat Enterprise Linux"\n'
ROCKY = 'ID="rocky"\nVERSION_ID="9.4"\nNAME="Rocky Linux"\n'
CDN = "[rhel-9-baseos]\nbaseurl=https://cdn.redhat.com/content/dist/rhel9\n"
KEY = "199e2f91fd431d51 (Red Hat, release key 2, RHEL 6 and later)"
OURS = made.v4_signature(made.RED_HAT)
PACKAGES = [
    made.package("redhat-release", OURS, version="9.4"),
    *(made.package(f"package-{number}", OURS) for number in range(82)),
    made.package("epel", made.v4_signature(made.EPEL), vendor="Fedora Project"),
    made.package("home-made", vendor=""),
]

Files = Mapping[str, str | bytes]


def lay_out(root: Path, files: Files) -> Path:
    """Write files at their paths below a root."""
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def corroborated(root: Path, files: Files, *, packages: bool = False) -> Corroboration:
    """Collect what a root with these files says."""
    tree = Tree(FolderFileSystem(lay_out(root, files)))
    os_releases = read_os_release(tree)
    verdict = decide(os_releases, read_releases(tree))
    return corroborate(tree, os_releases, verdict, packages=packages)


def told(found: Corroboration) -> list[tuple[str, str, str, Strength]]:
    """Give the evidence as tuples."""
    return [(each.signal, each.path, each.value, each.strength) for each in found.evidence]


def signals(found: Corroboration) -> set[str]:
    """Name the kinds of evidence."""
    return {each.signal for each in found.evidence}


RHEL_AGREED: Files = {
    "/etc/os-release": RHEL,
    "/etc/pki/product-default/479.pem": product(479),
    "/etc/yum.repos.d/redhat.repo": CDN,
}
DATABASE: Files = {"/var/lib/rpm/Packages": made.berkeley(PACKAGES)}


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        (RHEL_AGREED, False),
        ({"/etc/os-release": RHEL, "/etc/pki/product/69.pem": product(69)}, False),
        ({"/etc/os-release": RHEL, "/etc/yum.repos.d/rhui.repo": CDN}, False),
        ({"/etc/os-release": RHEL}, True),
        ({"/etc/os-release": RHEL, "/etc/pki/product/83.pem": product(83)}, True),
        ({"/etc/os-release": RHEL, "/etc/yum.repos.d/a.repo": CDN + "enabled=0\n"}, True),
        ({"/etc/os-release": ROCKY}, False),
        ({"/etc/os-release": ROCKY, "/etc/rocky-release": "Rocky Linux release 9.4\n"}, False),
        ({"/etc/os-release": ROCKY, "/etc/redhat-release": "CentOS release 9\n"}, True),
        ({"/etc/os-release": ROCKY, "/etc/pki/product/479.pem": product(479)}, True),
        ({"/etc/os-release": ROCKY, "/etc/yum.repos.d/redhat.repo": CDN}, True),
        (
            {
                "/etc/os-release": "ID=ol\n",
                "/etc/redhat-release": "Red Hat Enterprise Linux release 9.4 (Plow)\n",
            },
            False,
        ),
        ({"/etc/os-release": "ID=rhcos\nNAME='Red Hat Enterprise Linux CoreOS'\n"}, False),
        ({"/etc/os-release": 'ID="opensuse-leap"\n', "/etc/SuSE-release": "openSUSE 42\n"}, False),
        ({"/etc/hostname": "nothing else"}, True),
    ],
)
def test_packages_are_asked_only_when_the_others_disagree_or_are_missing(
    tmp_path: Path, files: Files, *, asked: bool
) -> None:
    """RHEL that nothing else speaks for, Red Hat's marks on something else, two names, or none."""
    assert ("rpm database" in signals(corroborated(tmp_path, {**DATABASE, **files}))) is asked


def test_packages_are_told_when_asked_for(tmp_path: Path) -> None:
    """The number, the share of Red Hat's keys, the release package: none of it decides."""
    found = corroborated(tmp_path, {**DATABASE, **RHEL_AGREED}, packages=True)
    assert [each for each in told(found) if "rpm" in each[0] or "package" in each[0]] == [
        ("rpm database", "/var/lib/rpm/Packages", "85 packages", Strength.SUPPORTING),
        (
            "rpm signatures",
            "/var/lib/rpm/Packages",
            f"83 of 85 (97.6 %) by Red Hat's keys; 83 by {KEY}; 1 by 8a3872bf3228467c; 1 unsigned",
            Strength.SUPPORTING,
        ),
        (
            "release package",
            "/var/lib/rpm/Packages",
            f"redhat-release 9.4, vendor Red Hat, Inc., signed by {KEY}",
            Strength.SUPPORTING,
        ),
    ]


def test_a_rebuild_with_everything_of_red_hats_is_a_rebuild(tmp_path: Path) -> None:
    """Certificates, repositories and signed packages contradict; the release files decide."""
    files = {**DATABASE, **RHEL_AGREED, "/etc/os-release": ROCKY}
    finding = examine_folder(FolderFileSystem(lay_out(tmp_path, files)))
    assert (finding.distribution, finding.products) == ("rocky", ())
    decisive = [each for each in finding.evidence if each.strength is Strength.DECISIVE]
    assert [each.value for each in decisive] == ["rocky"]
    assert "83 of 85" in str(finding.evidence)


def test_packages_without_release_files_decide_nothing(tmp_path: Path) -> None:
    """The distribution stays unknown; what was found is told."""
    finding = examine_folder(FolderFileSystem(lay_out(tmp_path, DATABASE)))
    assert (finding.distribution, finding.unknown_reason) == ("unknown", "no release file")
    assert {each.strength for each in finding.evidence} == {Strength.SUPPORTING}
    assert len(finding.evidence) == 3


def test_an_unreadable_database_is_not_one_without_packages(tmp_path: Path) -> None:
    """Its reason is told, and it says nothing either way."""
    cut = made.berkeley(PACKAGES)[:-4096]
    files: Files = {"/etc/os-release": RHEL, "/var/lib/rpm/Packages": cut}
    (found,) = corroborated(tmp_path, files).evidence
    assert (found.signal, found.strength) == ("rpm database", Strength.UNREADABLE)
    assert found.value.startswith("the rpm database is cut off: ")


def test_a_database_on_a_volume_of_its_own_is_not_absent(tmp_path: Path) -> None:
    """It was not found, and /etc/fstab has /var elsewhere."""
    fstab = "# comment\nUUID=1 / xfs defaults 0 0\nUUID=2 /var xfs defaults 0 0\nUUID=3 /v xfs\n"
    found = corroborated(tmp_path, {"/etc/os-release": RHEL, "/etc/fstab": fstab})
    assert told(found) == [
        (
            "rpm database",
            "/var/lib/rpm",
            "not found; /var is a volume of its own",
            Strength.UNREADABLE,
        )
    ]
    assert told(corroborated(tmp_path, {"/etc/fstab": "UUID=1 / xfs defaults 0 0\n"})) == []


def test_the_packages_of_dpkg_and_apk_are_counted(tmp_path: Path) -> None:
    """Installed ones, not those of which only settings are left."""
    status = (
        "Package: base-files\nStatus: install ok installed\nConffiles:\n /etc/issue 7\n"
        "Version: 12.4+deb12u5\n\nPackage: gone\nStatus: deinstall ok config-files\n\n\n"
        "Package: bash\nStatus: hold ok installed\n"
    )
    apk = "C:Q1\nP:alpine-baselayout\nV:3.6.5-r0\n\nP:busybox\nV:1.36\nF:bin\n\n"
    files = {"/var/lib/dpkg/status": status, "/lib/apk/db/installed": apk}
    found = corroborated(tmp_path, {"/etc/os-release": "ID=debian\n", **files})
    assert told(found) == []
    found = corroborated(tmp_path, {}, packages=True)
    assert told(found) == [
        (
            "dpkg database",
            "/var/lib/dpkg/status",
            "2 packages, base-files 12.4+deb12u5",
            Strength.SUPPORTING,
        ),
        (
            "apk database",
            "/lib/apk/db/installed",
            "2 packages, alpine-baselayout 3.6.5-r0",
            Strength.SUPPORTING,
        ),
    ]
    empty = corroborated(tmp_path, {"/var/lib/dpkg/status": "\0" * 100}, packages=True)
    assert told(empty)[0][2:] == ("it holds no package", Strength.UNREADABLE)


SYSPURPOSE = "/etc/rhsm/syspurpose/syspurpose.json"


def test_what_an_installation_is_for_is_told(tmp_path: Path) -> None:
    """As `subscription-manager syspurpose` writes it."""
    text = (
        '{"role": "Red Hat Enterprise Linux Server", "service_level_agreement": "Premium",'
        ' "usage": "Production", "addons": ["x"]}'
    )
    found = corroborated(tmp_path, {**RHEL_AGREED, SYSPURPOSE: text})
    wanted = Syspurpose("Red Hat Enterprise Linux Server", "Premium", "Production")
    assert found.syspurpose == wanted
    said = "role: Red Hat Enterprise Linux Server, SLA: Premium, usage: Production"
    assert ("syspurpose", SYSPURPOSE, said, Strength.SUPPORTING) in told(found)


@pytest.mark.parametrize(
    ("text", "value", "strength"),
    [
        ("{}", "nothing is set", Strength.SUPPORTING),
        ('{"role": 7, "usage": null}', "nothing is set", Strength.SUPPORTING),
        ('{"role": "a\\u0000b"}', "role: a b", Strength.SUPPORTING),
        ("", "it is not JSON", Strength.UNREADABLE),
        ("[" * 60_000, "it is not JSON", Strength.UNREADABLE),
        ("[]", "it is no JSON object", Strength.UNREADABLE),
        ("9" * 60_000, "it is not JSON", Strength.UNREADABLE),
        (" " * 70_000, "70,000 bytes, more than the 65,536 that are read", Strength.UNREADABLE),
    ],
)
def test_a_purpose_that_is_none_does_no_harm(
    tmp_path: Path, text: str, value: str, strength: Strength
) -> None:
    """Other types, NUL, nesting without end."""
    found = corroborated(tmp_path, {"/etc/os-release": ROCKY, SYSPURPOSE: text})
    assert told(found) == [("syspurpose", SYSPURPOSE, value, strength)]


def test_a_registered_system_is_told_without_its_identity(tmp_path: Path) -> None:
    """Only that the certificate is there."""
    files = {"/etc/os-release": ROCKY, "/etc/pki/consumer/cert.pem": "CN=secret-identity"}
    (found,) = corroborated(tmp_path, files).evidence
    assert (found.signal, found.path) == ("registration", "/etc/pki/consumer/cert.pem")
    assert "registered with Red Hat" in found.value
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("os_release", "products", "strength"),
    [
        ('ID="rhcos"\nOPENSHIFT_VERSION="4.14"\n', ("openshift",), Strength.DECISIVE),
        ('ID="rhcos"\n', ("openshift",), Strength.DECISIVE),
        (RHEL + 'VARIANT_ID=coreos\nOPENSHIFT_VERSION="4.22"\n', ("openshift",), Strength.DECISIVE),
        ('ID="centos"\nOPENSHIFT_VERSION="4.22"\n', (), Strength.SUPPORTING),
        ("ID=fedora\nVARIANT_ID=coreos\n", (), None),
        (RHEL + "VARIANT_ID=coreos\n", (), None),
    ],
)
def test_core_os_of_openshift_is_openshift(
    tmp_path: Path, os_release: str, products: tuple[str, ...], strength: Strength | None
) -> None:
    """Red Hat's by its id; OKD on CentOS and Fedora CoreOS are not."""
    found = corroborated(tmp_path, {**RHEL_AGREED, "/etc/os-release": os_release})
    assert found.products == products
    signs = [each.strength for each in found.evidence if each.signal in {"product", "OpenShift"}]
    assert signs == ([strength] if strength else [])


def test_signs_of_openshifts_nodes_support_only(tmp_path: Path) -> None:
    """OKD's nodes have the same files."""
    files = {
        "/etc/os-release": ROCKY,
        "/etc/machine-config-daemon/currentconfig": "{}",
        "/etc/origin/node/node-config.yaml": "",
    }
    found = corroborated(tmp_path, files)
    assert found.products == ()
    assert [(each.signal, each.strength) for each in found.evidence] == [
        ("OpenShift", Strength.SUPPORTING)
    ] * 2


def test_certificates_name_products_beside_the_distribution(tmp_path: Path) -> None:
    """High Availability, SAP and OpenShift; RHEL itself is none beside itself."""
    numbers = {83: "rhel-ha", 146: "sap", 241: "sap", 290: "openshift", 479: ""}
    files = {f"/etc/pki/product/{number}.pem": product(number) for number in numbers}
    finding = examine_folder(FolderFileSystem(lay_out(tmp_path, {**RHEL_AGREED, **files})))
    assert finding.distribution == "rhel"
    assert finding.products == ("openshift", "rhel-ha", "sap")
    decisive = [each for each in finding.evidence if each.strength is Strength.DECISIVE]
    # The one of the distribution first, and then each certificate that names a product.
    assert [each.signal for each in decisive] == ["os-release.ID"] + ["product"] * 4
    assert finding.evidence[: len(decisive)] == tuple(decisive)


_PATHS = (
    "/etc/os-release",
    "/etc/pki/product/69.pem",
    "/etc/yum.conf",
    "/etc/yum.repos.d/a.repo",
    SYSPURPOSE,
    "/etc/fstab",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite-wal",
    "/var/lib/rpm/Packages",
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
)
_STARTS = st.sampled_from(
    [b"", b"RpmP\0\0\0\0", b"SQLite format 3\0", bytes(12) + b"\x61\x15\x06\0", b"[main]\n", b"ID="]
)
_CONTENTS = st.builds(lambda start, rest: start + rest, _STARTS, st.binary(max_size=200))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(_PATHS), _CONTENTS))
def test_whatever_the_files_hold_is_an_answer(files: Files) -> None:
    """All that comes out is short and fit to be shown."""
    with TemporaryDirectory() as folder:
        filesystem = FolderFileSystem(lay_out(Path(folder), files))
        finding = examine_folder(filesystem, packages=True)
    for each in finding.evidence:
        assert (each.path + each.value).isprintable()
        assert len(each.value) <= 1000


def test_nothing_of_it_makes_a_plain_system_cost_more(tmp_path: Path) -> None:
    """A Debian without any of these files has no more evidence than before."""
    assert corroborated(tmp_path, {"/etc/os-release": "ID=debian\n"}) == Corroboration(
        (), (), Syspurpose()
    )


def test_a_finding_carries_all_of_it_out_of_the_child(tmp_path: Path) -> None:
    """Through a process that may write no file, from a SQLite database with its log."""
    purpose = '{"usage": "Production"}'
    root = lay_out(
        tmp_path / "root",
        {**RHEL_AGREED, "/etc/pki/product/290.pem": product(290), SYSPURPOSE: purpose},
    )
    (root / "var/lib/rpm").mkdir(parents=True)
    made.sqlite(root / "var/lib/rpm/rpmdb.sqlite", PACKAGES[:5], PACKAGES[5:])
    make_ext(tmp_path / "disk", 8 * MIB, root, "-t", "ext4")

    def run(*, packages: bool) -> Finding:
        with ImageFile(tmp_path / "disk") as blocks:
            limits = InspectionLimits()
            answer = inspect(blocks, limits, lambda _what, _blocks: None, packages=packages).answer
        assert isinstance(answer, Finding)
        return answer

    finding = run(packages=True)
    assert finding.products == ("openshift",)
    assert finding.syspurpose == Syspurpose(usage="Production")
    values = {each.signal: each.value for each in finding.evidence}
    assert values["rpm database"] == "85 packages"
    assert values["repositories"] == "rhel-9-baseos"
    assert "rpm database" not in {each.signal for each in run(packages=False).evidence}


def test_a_finding_keeps_products_and_purpose_in_every_form(tmp_path: Path) -> None:
    """As JSON between processes and as a message; a purpose that says nothing is left out."""
    root = lay_out(tmp_path, {**RHEL_AGREED, "/etc/pki/product/83.pem": product(83)})
    plain = examine_folder(FolderFileSystem(root))
    assert finding_from_json(finding_to_json(plain)) == plain
    message = convert.finding(plain)
    assert list(message.products) == ["rhel-ha"]
    assert not message.HasField("syspurpose")

    lay_out(root, {SYSPURPOSE: '{"role": "r", "service_level_agreement": "s", "usage": "u"}'})
    purposeful = examine_folder(FolderFileSystem(root))
    assert finding_from_json(finding_to_json(purposeful)) == purposeful
    expected = evidence_pb2.Syspurpose(role="r", sla="s", usage="u")
    assert convert.finding(purposeful).syspurpose == expected
    for wrong in ({"syspurpose": ["r", "s"]}, {"syspurpose": [1, 2, 3]}, {"products": [7]}):
        with pytest.raises(WireError):
            finding_from_json({**finding_to_json(plain), **wrong})
