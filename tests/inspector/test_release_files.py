"""What release files say, of every distribution whose files are at hand."""

import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.tree import Tree
from services.inspector.evidence import Strength
from services.inspector.release_files import (
    OsRelease,
    Release,
    Unreadable,
    parse_os_release,
    read_os_release,
    read_releases,
)
from services.inspector.verdict import UNKNOWN, Verdict, decide


def verdict_of(root: Path, files: dict[str, str]) -> Verdict:
    """Judge a root that holds these files; a value that begins with -> is a link."""
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            file.symlink_to(text.removeprefix("->"))
        else:
            file.write_text(text)
    tree = Tree(FolderFileSystem(root))
    return decide(read_os_release(tree), read_releases(tree))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('ID="rhel"\nVERSION_ID="9.4"\n', {"ID": "rhel", "VERSION_ID": "9.4"}),
        ("ID=debian\n# ID=no\n\n  VERSION_ID='12'\n", {"ID": "debian", "VERSION_ID": "12"}),
        ('NAME="A \\"quoted\\" \\$name"\n', {"NAME": 'A "quoted" $name'}),
        ("ID=first\nID=second\n", {"ID": "second"}),
        ("ID=\nVERSION_ID= \n", {"ID": "", "VERSION_ID": ""}),
        ("export ID=ubuntu # a comment\n", {"ID": "ubuntu"}),
        ('ID="never closed\nnot an assignment\n=x\n9A=x\n', {"ID": "never closed"}),
        ("ID=rhel\r\nNAME=\x1b[31mred\n", {"ID": "rhel", "NAME": "[31mred"}),
    ],
)
def test_os_release_is_parsed_as_its_specification_says(text: str, values: dict[str, str]) -> None:
    """Quotes, escapes, comments, repetitions; control characters never come through."""
    assert dict(parse_os_release(text)) == values


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    """Whatever it is, the values are short and fit to be shown."""
    for value in parse_os_release(text).values():
        assert value.isprintable()
        assert len(value) <= 1000


SAID_OTHERWISE = {
    # Its ID says "rhel"; its NAME says whose it is.
    "scientificlinux__scientific-7.1.txt": "scientific",
    # "elementary OS" and "zorin OS" are no IDs: the specification allows no spaces.
    "elementary__elementary-0.4.txt": UNKNOWN,
    "zorinos__zorinos-12.txt": UNKNOWN,
}


def test_the_os_release_of_every_distribution_names_it(real_inputs: Path) -> None:
    """The ID and VERSION_ID that stand in about 150 real files."""
    folder = real_inputs / "os-release"
    seen = 0
    files = [*folder.glob("chef-os_release/*"), *folder.glob("os-release-zoo/*.txt")]
    for file in files:
        text = file.read_text()
        expected = [line for line in text.splitlines() if line.strip().startswith("ID=")]
        verdict = decide([OsRelease("/etc/os-release", parse_os_release(text))], [])
        wanted = expected[-1].partition("=")[2].strip().strip("\"'").lower()
        assert verdict.distribution == SAID_OTHERWISE.get(file.name, wanted), file.name
        is_red_hat = file.name.startswith(("redhat_", "rhel"))
        assert (verdict.distribution == "rhel") == is_red_hat, file.name
        seen += 1
    assert seen > 150


def test_what_others_parse_is_parsed_alike(real_inputs: Path) -> None:
    """Claircore's test files carry the variables that it reads from each."""
    for file in (real_inputs / "os-release/claircore-osrelease").glob("*.txtar"):
        sections = file.read_text().split("-- ")
        named = {each.partition(" --")[0]: each.partition(" --\n")[2] for each in sections}
        expected = json.loads(named.get("Parsed", "null"))
        if expected is not None:
            stripped = {key: value.strip() for key, value in expected.items()}
            assert dict(parse_os_release(named["os-release"])) == stripped


def test_links_in_real_trees_are_followed(real_inputs: Path, tmp_path: Path) -> None:
    """Archives of trees: a root with only /usr/lib/os-release has that one read."""
    archive = real_inputs / "os-release/python-distro-testdistros.tar.gz"
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    (root,) = tmp_path.rglob("usrlibosreleaseonly")
    tree = Tree(FolderFileSystem(root))
    (found,) = read_os_release(tree)
    assert isinstance(found, OsRelease)
    assert found.path == "/usr/lib/os-release"


OLDER = {
    "RHEL 6": (
        {"/etc/redhat-release": "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n"},
        ("rhel", "6.10"),
    ),
    "RHEL 5": (
        {"/etc/redhat-release": "Red Hat Enterprise Linux Server release 5.11 (Tikanga)\n"},
        ("rhel", "5.11"),
    ),
    "RHEL 4": (
        {"/etc/redhat-release": "Red Hat Enterprise Linux ES release 4 (Nahant Update 9)\n"},
        ("rhel", "4.9"),
    ),
    "CentOS 6": (
        {
            "/etc/centos-release": "CentOS release 6.10 (Final)\n",
            "/etc/redhat-release": "->centos-release",
        },
        ("centos", "6.10"),
    ),
    "CentOS 5, before centos-release": (
        {"/etc/redhat-release": "CentOS release 5.11 (Final)\n"},
        ("centos", "5.11"),
    ),
    "CentOS 7, which speaks of Red Hat": (
        {
            "/etc/redhat-release": "CentOS Linux release 7.1.1503 (Core)\n"
            "Derived from Red Hat Enterprise Linux 7.1 (Source)\n"
        },
        ("centos", "7.1.1503"),
    ),
    "Oracle Linux 6, whose redhat-release says Red Hat": (
        {
            "/etc/oracle-release": "Oracle Linux Server release 6.10\n",
            "/etc/redhat-release": "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n",
        },
        ("ol", "6.10"),
    ),
    "Oracle Linux 5": (
        {
            "/etc/enterprise-release": "Enterprise Linux Enterprise Linux Server release 5.11"
            " (Carthage)\n",
            "/etc/redhat-release": "Red Hat Enterprise Linux Server release 5.11 (Tikanga)\n",
        },
        ("ol", "5.11"),
    ),
    "Scientific Linux 6": (
        {"/etc/redhat-release": "Scientific Linux release 6.5 (Carbon)\n"},
        ("scientific", "6.5"),
    ),
    "Amazon Linux 1 of 2011": (
        {"/etc/system-release": "Amazon Linux AMI release 2011.09\n"},
        ("amzn", "2011.09"),
    ),
    "SLES 11": (
        {
            "/etc/SuSE-release": "SUSE Linux Enterprise Server 11 (x86_64)\n"
            "VERSION = 11\nPATCHLEVEL = 3\n"
        },
        ("sles", "11.3"),
    ),
    "openSUSE 11": (
        {"/etc/SuSE-release": "openSUSE 11.4 (x86_64)\nVERSION = 11.4\nCODENAME = Celadon\n"},
        ("opensuse", "11.4"),
    ),
    "Ubuntu 10.04": (
        {
            "/etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\n"
            'DISTRIB_DESCRIPTION="Ubuntu 10.04.4 LTS"\n',
            "/etc/debian_version": "squeeze/sid\n",
        },
        ("ubuntu", "10.04"),
    ),
    "Debian 6": ({"/etc/debian_version": "6.0.10\n"}, ("debian", "6.0.10")),
    "Alpine 3.1": ({"/etc/alpine-release": "3.1.4\n"}, ("alpine", "3.1.4")),
    "Red Hat Linux 9, which is no RHEL": (
        {"/etc/redhat-release": "Red Hat Linux release 9 (Shrike)\n"},
        (UNKNOWN, ""),
    ),
    "something of its own": (
        {"/etc/system-release": "Unknown Distro release 1.0 (Codename)\n"},
        (UNKNOWN, ""),
    ),
}


@pytest.mark.parametrize(("files", "expected"), OLDER.values(), ids=OLDER.keys())
def test_older_systems_are_told_by_their_release_files(
    tmp_path: Path, files: dict[str, str], expected: tuple[str, str]
) -> None:
    """Systems from before os-release; a rebuild's own file comes before redhat-release."""
    verdict = verdict_of(tmp_path, files)
    assert (verdict.distribution, verdict.version) == expected
    decisive = [each for each in verdict.evidence if each.strength is Strength.DECISIVE]
    assert len(decisive) == (expected[0] != UNKNOWN)


def test_id_decides_and_red_hats_name_elsewhere_does_not(tmp_path: Path) -> None:
    """CentOS Stream: ID_LIKE, REDHAT_SUPPORT_PRODUCT and a release file support, no more."""
    verdict = verdict_of(
        tmp_path,
        {
            "/usr/lib/os-release": 'NAME="CentOS Stream"\nID="centos"\nID_LIKE="rhel fedora"\n'
            'VERSION_ID="9"\nPRETTY_NAME="CentOS Stream 9"\n'
            'REDHAT_SUPPORT_PRODUCT="Red Hat Enterprise Linux 9"\n',
            "/etc/os-release": "->../usr/lib/os-release",
            "/etc/redhat-release": "Red Hat Enterprise Linux release 9.0\n",
        },
    )
    assert (verdict.distribution, verdict.version) == ("centos", "9")
    assert verdict.pretty_name == "CentOS Stream 9"
    assert [(each.signal, each.value, each.strength) for each in verdict.evidence] == [
        ("os-release.ID", "centos", Strength.DECISIVE),
        ("os-release.ID_LIKE", "rhel fedora", Strength.SUPPORTING),
        (
            "os-release.REDHAT_SUPPORT_PRODUCT",
            "Red Hat Enterprise Linux 9",
            Strength.SUPPORTING,
        ),
        ("release file", "Red Hat Enterprise Linux release 9.0", Strength.SUPPORTING),
    ]


def test_etc_comes_before_usr_lib(tmp_path: Path) -> None:
    """An administrator's own os-release counts, and the other is shown beside it."""
    files = {"/etc/os-release": "ID=ours\n", "/usr/lib/os-release": "ID=theirs\n"}
    verdict = verdict_of(tmp_path, files)
    assert verdict.distribution == "ours"
    assert [each.value for each in verdict.evidence] == ["ours", "theirs"]


def test_a_rebuild_that_kept_the_id_of_rhel_is_told_by_its_name(tmp_path: Path) -> None:
    """Scientific Linux 7.1 said ID="rhel"; RHEL's own NAME always begins with Red Hat's."""
    text = 'NAME="{}"\nID="rhel"\nVERSION_ID="7.1"\n'
    for name, told in (
        ("Scientific Linux", "scientific"),
        ("Somebody's Linux", UNKNOWN),
        ("Red Hat Enterprise Linux Server", "rhel"),
        ("Red Hat Enterprise Linux CoreOS", "rhel"),
    ):
        files = {"/etc/os-release": text.format(name)}
        assert verdict_of(tmp_path / name, files).distribution == told


@pytest.mark.parametrize("text", ["NAME=x\n", "ID=\n", "ID=linux\n", 'ID="../x"\n', ""])
def test_an_os_release_without_an_id_decides_nothing(tmp_path: Path, text: str) -> None:
    """Then the release files are asked; with none, it is unknown and says so."""
    verdict = verdict_of(tmp_path / "one", {"/etc/os-release": text})
    assert verdict.distribution == UNKNOWN
    assert verdict.unknown_reason == "its release files name no distribution: /etc/os-release"
    files = {"/etc/os-release": text, "/etc/redhat-release": "CentOS release 6.9 (Final)\n"}
    assert verdict_of(tmp_path / "two", files).distribution == "centos"


def test_what_cannot_be_read_is_not_absent() -> None:
    """Below an unreadable os-release no release file decides: it might be a rebuild's."""
    red_hat = Release("/etc/redhat-release", "rhel", "6.10", "Red Hat Enterprise Linux ...")
    lost = Unreadable("/etc/os-release", "a directory is damaged")
    verdict = decide([lost], [red_hat])
    assert verdict.distribution == UNKNOWN
    assert verdict.unknown_reason == "/etc/os-release: a directory is damaged"
    assert [each.strength for each in verdict.evidence] == [
        Strength.SUPPORTING,
        Strength.UNREADABLE,
    ]
    verdict = decide([], [Unreadable("/etc/oracle-release", "damaged"), red_hat])
    assert verdict.distribution == UNKNOWN


def test_the_vendors_own_os_release_decides_when_the_other_is_lost() -> None:
    """Both are of one distribution, so the damage to one hides nothing."""
    lost = Unreadable("/etc/os-release", "damaged")
    verdict = decide([lost, OsRelease("/usr/lib/os-release", {"ID": "rocky"})], [])
    assert verdict.distribution == "rocky"
    assert verdict.evidence[-1].strength is Strength.UNREADABLE
