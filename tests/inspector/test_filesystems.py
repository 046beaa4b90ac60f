"""The readers of ext and XFS give every entry of a whole tree as it was put in."""

from pathlib import Path

import pytest

from services.inspector.disk.filesystem import LogState
from tests.inspector.images import (
    MIB,
    Truth,
    filesystem_of,
    log_state,
    make_ext,
    make_xfs,
    read_whole,
)

EXT = {
    "ext2": ("-t", "ext2"),
    "ext2, blocks of 2 KiB": ("-t", "ext2", "-b", "2048"),
    "ext2, first revision": ("-t", "ext2", "-r", "0"),
    "ext3": ("-t", "ext3"),
    "ext3, blocks of 1 KiB": ("-t", "ext3", "-b", "1024"),
    "ext4": ("-t", "ext4"),
    "ext4, blocks of 1 KiB": ("-t", "ext4", "-b", "1024"),
    "ext4, inline data": ("-t", "ext4", "-O", "inline_data", "-I", "1024"),
    "ext4, inline data in small inodes": ("-t", "ext4", "-O", "inline_data", "-I", "256"),
    "ext4, meta_bg": ("-t", "ext4", "-O", "meta_bg,^resize_inode", "-g", "1024", "-b", "1024"),
    "ext4, bigalloc": ("-t", "ext4", "-O", "bigalloc", "-C", "16384", "-b", "1024"),
    "ext4, 32 bits and inodes of 128 bytes": ("-t", "ext4", "-O", "^64bit", "-I", "128"),
    "ext4, sparse_super2": ("-t", "ext4", "-O", "sparse_super2,orphan_file,ea_inode"),
    "ext4, without checksums": ("-t", "ext4", "-O", "^metadata_csum,uninit_bg"),
    "ext4, casefold and large_dir": ("-t", "ext4", "-O", "casefold,large_dir,stable_inodes"),
}
XFS = {
    "v5": (),
    "v5, blocks of 1 KiB": ("-b", "size=1024"),
    "v5, directory blocks of 64 KiB": ("-n", "size=65536"),
    "v5, both": ("-b", "size=1024", "-n", "size=65536"),
    "v5, 64-bit extent counters, rmapbt": ("-i", "nrext64=1", "-m", "rmapbt=1"),
    "v5, inodes of 2 KiB, sectors of 4 KiB": ("-i", "size=2048", "-s", "size=4096"),
    "v5, without later features": ("-m", "bigtime=0,reflink=0,inobtcount=0", "-i", "sparse=0"),
    "v4": ("-m", "crc=0"),
    "v4, without file types, as RHEL 7 began": ("-m", "crc=0", "-n", "ftype=0"),
    "v4, blocks of 512 bytes": ("-m", "crc=0", "-b", "size=512"),
}


@pytest.mark.parametrize("options", EXT.values(), ids=EXT.keys())
def test_ext_gives_every_entry(
    tmp_path: Path, tree: Path, expected: Truth, options: tuple[str, ...]
) -> None:
    """Names, kinds, link targets and contents are those of the folder the image was made of."""
    image = tmp_path / "disk"
    make_ext(image, 64 * MIB, tree, *options)
    with filesystem_of(image) as filesystem:
        assert filesystem.name == options[1]
        assert read_whole(filesystem) == expected


@pytest.mark.parametrize("options", XFS.values(), ids=XFS.keys())
def test_xfs_gives_every_entry(
    tmp_path: Path, tree: Path, expected: Truth, options: tuple[str, ...]
) -> None:
    """Names, kinds, link targets and contents are those of the folder the image was made of."""
    image = tmp_path / "disk"
    make_xfs(image, tree, *options)
    with filesystem_of(image) as filesystem:
        assert read_whole(filesystem) == expected


def test_part_of_a_file_is_read_across_holes_and_up_to_its_end(tmp_path: Path, tree: Path) -> None:
    """A read from the middle gives zeros for a hole, and stops where the file ends."""
    image = tmp_path / "disk"
    make_ext(image, 64 * MIB, tree, "-t", "ext4")
    with filesystem_of(image) as filesystem:
        number = dict(filesystem.entries(filesystem.root()))[b"sparse"]
        sparse = filesystem.node(number)
        assert filesystem.read(sparse, 4_999_990, 100) == bytes(10) + b"the end"
        assert filesystem.read(sparse, 5_000_007, 100) == b""
        assert filesystem.read(sparse, 9_000_000, 100) == b""


def test_a_new_file_system_is_clean(tmp_path: Path, tree: Path) -> None:
    """What mke2fs and mkfs.xfs leave needs no replay; ext2 has no journal at all."""
    image = tmp_path / "disk"
    for kind, state in (
        ("ext2", LogState.NONE),
        ("ext3", LogState.CLEAN),
        ("ext4", LogState.CLEAN),
    ):
        make_ext(image, 32 * MIB, tree, "-t", kind)
        assert log_state(image) is state
    make_xfs(image, tree)
    assert log_state(image) is LogState.CLEAN


def test_ext_with_changes_in_its_journal_is_dirty(tmp_path: Path, tree: Path) -> None:
    """The flag that Linux sets while it is mounted says so."""
    image = tmp_path / "disk"
    make_ext(image, 32 * MIB, tree, "-t", "ext4")
    with image.open("r+b") as file:
        file.seek(1024 + 96)
        incompat = int.from_bytes(file.read(4), "little")
        file.seek(1024 + 96)
        file.write((incompat | 0x4).to_bytes(4, "little"))
    assert log_state(image) is LogState.DIRTY


def test_an_xfs_log_whose_last_record_is_no_unmount_is_dirty(tmp_path: Path, tree: Path) -> None:
    """The log's head is found, and the record before it is looked at."""
    image = tmp_path / "disk"
    make_xfs(image, tree)
    raw = image.read_bytes()
    header = raw.index(b"\xfe\xed\xba\xbe")
    # The first operation after the record's header: its flags say "unmount".
    assert raw[header + 512 + 9] == 0x20
    with image.open("r+b") as file:
        file.seek(header + 512 + 9)
        file.write(b"\x01")
    assert log_state(image) is LogState.DIRTY
