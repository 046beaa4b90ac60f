"""Paths are followed as the installed system would follow them, and never out of its disk."""

from pathlib import Path

import pytest

from services.inspector.disk.errors import DamagedError, MissingError, WrongKindError
from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.tree import Tree, walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder to build a root in."""
    folder = tmp_path / "root"
    for path in ("etc", "usr/lib"):
        (folder / path).mkdir(parents=True)
    (folder / "usr/lib/os-release").write_text("ID=inside\n")
    return folder


def read(root: Path, path: str) -> bytes:
    """Read a file by its path within the root."""
    return Tree(FolderFileSystem(root)).read(path, 1000)


def test_links_are_followed_relative_and_absolute(root: Path) -> None:
    """An absolute target begins at the disk's own root."""
    (root / "etc/relative").symlink_to("../usr/lib/os-release")
    (root / "etc/absolute").symlink_to("/usr/lib/os-release")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/twice").symlink_to("/lib/../lib/./os-release")
    for path in ("/etc/relative", "/etc/absolute", "/lib/os-release", "/etc/twice"):
        assert read(root, path) == b"ID=inside\n"


def test_no_path_and_no_link_leads_out(root: Path) -> None:
    """The root's parent is the root; a link to this machine's files leads into the disk."""
    (root.parent / "secret").write_text("outside")
    (root / "etc/up").symlink_to("../../../../../../secret")
    (root / "etc/host").symlink_to(str(root.parent / "secret"))
    (root / "etc/folder").symlink_to("/../..")
    for path in ("/etc/up", "/etc/host", "/../secret", "/etc/folder/secret"):
        with pytest.raises(MissingError):
            read(root, path)
    assert read(root, "/etc/folder/usr/lib/os-release") == b"ID=inside\n"


def test_links_that_lead_round_in_circles_end(root: Path) -> None:
    """Two links to each other, one to itself, and one that grows."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "self").symlink_to("self/self/self")
    for path in ("/a", "/self"):
        with pytest.raises(DamagedError, match=r"circles|endless"):
            read(root, path)


def test_what_is_missing_is_told_from_what_is_something_else(root: Path) -> None:
    """A file where a directory belongs is no absence of what lies in it."""
    (root / "file").write_text("x")
    with pytest.raises(MissingError, match="'none'"):
        read(root, "/etc/none")
    with pytest.raises(WrongKindError):
        read(root, "/file/below")
    with pytest.raises(WrongKindError, match="a directory where a file belongs"):
        read(root, "/etc")
    assert Tree(FolderFileSystem(root)).exists("/usr/lib/os-release")
    assert not Tree(FolderFileSystem(root)).exists("/usr/lib/none")


def test_a_mounted_file_system_covers_its_directory(root: Path, tmp_path: Path) -> None:
    """What is mounted is seen, by links too, and .. leads back out of it."""
    other = tmp_path / "other"
    (other / "lib").mkdir(parents=True)
    (other / "lib/os-release").write_text("ID=mounted\n")
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    tree = Tree(FolderFileSystem(root))
    tree.mount("/usr", FolderFileSystem(other))
    assert tree.read("/etc/os-release", 1000) == b"ID=mounted\n"
    assert tree.names("/usr/..") == [b"etc", b"usr"]
    assert tree.names("/usr") == [b"lib"]


def test_a_walk_visits_every_entry_once(root: Path) -> None:
    """Links are given, not followed."""
    (root / "loop").symlink_to(".")
    found = {path for path, _ in walk(FolderFileSystem(root))}
    assert found == {b"/etc", b"/usr", b"/usr/lib", b"/usr/lib/os-release", b"/loop"}


def test_reading_stops_at_the_limit(root: Path) -> None:
    """A file of any size costs no more than was asked for."""
    assert Tree(FolderFileSystem(root)).read("/usr/lib/os-release", 4) == b"ID=i"
