"""Repositories that are switched on, as yum, dnf and zypper would have them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.tree import Tree
from services.inspector.evidence import Strength
from services.inspector.release_files import Unreadable
from services.inspector.repositories import (
    RepositoryFile,
    evidence_of,
    parse,
    read_repositories,
)

CDN = "https://cdn.redhat.com/content/dist/rhel9/$releasever/$basearch/baseos/os"


def read(root: Path, files: dict[str, str]) -> list[RepositoryFile | Unreadable]:
    """Read the repositories of a root that holds these files."""
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return read_repositories(Tree(FolderFileSystem(root)))


def enabled(root: Path, files: dict[str, str]) -> dict[str, list[str]]:
    """Give the ids that are switched on, by file."""
    return {
        each.path: [repository.id for repository in each.enabled]
        for each in read(root, files)
        if isinstance(each, RepositoryFile)
    }


@pytest.mark.parametrize(
    ("setting", "on"),
    [
        ("", True),
        ("enabled=1", True),
        ("enabled = yes", True),
        ("enabled=0", False),
        ("Enabled = FALSE", False),
        ("enabled: no", False),
        ("enabled=off", False),
        ("enabled=1\nenabled=0", False),
        ("#enabled=0", True),
        ("; enabled=0", True),
        ("name=enabled=0", True),
        ("enabled=", True),
    ],
)
def test_a_repository_is_on_unless_it_is_switched_off(
    tmp_path: Path, setting: str, *, on: bool
) -> None:
    """`enabled` absent means enabled; of two the last counts; comments do not."""
    text = f"[base]\nname=Base\nbaseurl=http://example.com/\n{setting}\n"
    path = "/etc/yum.repos.d/base.repo"
    assert enabled(tmp_path, {path: text}) == {path: ["base"] if on else []}


def test_every_place_of_every_program_is_looked_into(tmp_path: Path) -> None:
    """The folders of yum and dnf, the main files themselves, and zypper's."""
    text = "[{}]\nbaseurl=http://example.com/{}\n"
    files = {
        "/etc/yum.conf": "[main]\ngpgcheck=1\n" + text.format("in-yum", 1),
        "/etc/dnf/dnf.conf": "[main]\n",
        "/etc/yum.repos.d/a.repo": text.format("a", 2),
        "/etc/yum/repos.d/b.repo": text.format("b", 3),
        "/etc/distro.repos.d/c.repo": text.format("c", 4),
        "/etc/zypp/repos.d/d.repo": text.format("d", 5),
        "/etc/yum.repos.d/not-a-repository.rpmsave": text.format("no", 6),
    }
    assert enabled(tmp_path, files) == {
        "/etc/yum.conf": ["in-yum"],
        "/etc/yum/repos.d/b.repo": ["b"],
        "/etc/yum.repos.d/a.repo": ["a"],
        "/etc/distro.repos.d/c.repo": ["c"],
        "/etc/zypp/repos.d/d.repo": ["d"],
    }


def test_reposdir_says_where_to_look_instead(tmp_path: Path) -> None:
    """Of the program whose main file says it; with commas, spaces and lines that go on."""
    files = {
        "/etc/dnf/dnf.conf": "[main]\nreposdir=/srv/one, /srv/two/\n   file:///srv/three\n",
        "/etc/yum.conf": "[main]\nreposdir=/srv/one\n",
        "/srv/one/a.repo": "[a]\n",
        "/srv/two/b.repo": "[b]\n",
        "/srv/three/c.repo": "[c]\n",
        "/etc/yum.repos.d/not-read.repo": "[d]\n",
    }
    assert enabled(tmp_path, files) == {
        "/srv/one/a.repo": ["a"],
        "/srv/two/b.repo": ["b"],
        "/srv/three/c.repo": ["c"],
    }


def test_a_folder_that_is_a_link_to_another_counts_once(tmp_path: Path) -> None:
    """As /etc/yum/repos.d is on some."""
    (tmp_path / "etc/yum").mkdir(parents=True)
    (tmp_path / "etc/yum/repos.d").symlink_to("../yum.repos.d")
    files = {"/etc/yum.repos.d/a.repo": "[a]\n", "/etc/yum.repos.d/b.repo": "[b]\n"}
    assert len(enabled(tmp_path, files)) == 2


def test_addresses_go_on_over_lines(tmp_path: Path) -> None:
    """Of baseurl, mirrorlist and metalink, all of them."""
    text = (
        "[a]\nbaseurl=http://one.example.com/,\n  http://two.example.com/\n\thttps://three/\n"
        "mirrorlist=http://four/\nmetalink=http://five/\n[b]\n  lost line\nno setting\n"
    )
    (file,) = read(tmp_path, {"/etc/yum.repos.d/a.repo": text})
    assert isinstance(file, RepositoryFile)
    assert file.repositories[0].addresses == (
        "http://one.example.com/",
        "http://two.example.com/",
        "https://three/",
        "http://four/",
        "http://five/",
    )
    assert file.repositories[1].addresses == ()


@pytest.mark.parametrize(
    ("address", "red_hats"),
    [
        (CDN, True),
        ("https://rhui.REGION.aws.ce.redhat.com/pulp/mirror/content", True),
        ("https://REDHAT.com/", True),
        ("https://mirror.example.com/redhat.com/rhel", False),
        ("https://notredhat.com/", False),
        ("https://redhat.com.example.com/", False),
        ("http://[broken", False),
        ("", False),
    ],
)
def test_only_the_host_says_whose_a_repository_is(
    tmp_path: Path, address: str, *, red_hats: bool
) -> None:
    """A name, an id or a path with Red Hat in it can be anybody's."""
    text = f"[rhel-9-baseos]\nname=Red Hat Enterprise Linux 9\nbaseurl={address}\n"
    (file,) = read(tmp_path, {"/etc/yum.repos.d/redhat.repo": text})
    assert isinstance(file, RepositoryFile)
    assert file.repositories[0].red_hats is red_hats


def test_the_evidence_names_what_is_on(tmp_path: Path) -> None:
    """All of it that can be shown; a file with nothing switched on says so."""
    many = "".join(f"[a-repository-with-a-long-name-{n:03}]\n" for n in range(100))
    off = "[a]\nenabled=0\n[b]\nenabled=0\n"
    files = {
        "/etc/yum.repos.d/1.repo": "[a]\n[b]\nenabled=0\n[c]\n",
        "/etc/yum.repos.d/2.repo": off,
        "/etc/yum.repos.d/3.repo": many,
    }
    first, second, third = map(evidence_of, read(tmp_path, files))
    assert (first.signal, first.path) == ("repositories", "/etc/yum.repos.d/1.repo")
    assert (first.value, first.strength) == ("a, c", Strength.SUPPORTING)
    assert second.value == "none of 2 is enabled"
    assert third.value.endswith("-024, and 75 more")
    assert len(third.value) < 1000


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A directory in a file's place, a file beyond all measure."""
    (tmp_path / "etc/yum.repos.d/a.repo").mkdir(parents=True)
    (tmp_path / "etc/dnf/dnf.conf").mkdir(parents=True)
    large = "#" * (2 * 1024 * 1024 + 1)
    found = read(tmp_path, {"/etc/yum.repos.d/b.repo": large})
    assert [each.reason for each in found if isinstance(each, Unreadable)] == [
        "a directory where a file belongs",
        "a directory where a file belongs",
        "2,097,153 bytes, more than the 2,097,152 that are read",
    ]
    assert {evidence_of(each).strength for each in found} == {Strength.UNREADABLE}


@given(st.text(alphabet="[]=:#; \t\nabc\x00\x85", max_size=200))
def test_any_text_can_be_parsed(text: str) -> None:
    """Whatever it is: sections of settings."""
    for settings in parse(text).values():
        assert all(name == name.lower() for name in settings)
