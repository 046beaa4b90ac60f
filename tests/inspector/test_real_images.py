"""Disk images that others made: every format is recognised, and no damage does harm."""

import gzip
import lzma
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.inspector.disk.errors import ContentError
from services.inspector.disk.filesystem import FileSystem, Kind
from services.inspector.disk.signatures import recognise
from services.inspector.disk.source import BLOCK, BlockSource, Limits, MemorySource
from services.inspector.disk.tree import walk
from services.inspector.disk.volumes import open_disk
from services.inspector.examination import examine_disk
from services.inspector.verdict import UNKNOWN

# libblkid's name of what it saw, and ours. What is told by the end of a disk only (ISW and older
# Linux RAID, DRBD) and an external XFS log are not recognised; UDF bridges are ISO 9660 as well.
NAMES = {
    "LVM2_member": "LVM",
    "apfs": "APFS",
    "bcache": "bcache",
    "btrfs": "btrfs",
    "ceph_bluestore": "Ceph BlueStore",
    "crypto_LUKS": "LUKS (encrypted)",
    "erofs": "EROFS",
    "exfat": "exFAT",
    "ext2": "ext",
    "ext3": "ext",
    "ext4": "ext",
    "f2fs": "F2FS",
    "hfsplus": "HFS+",
    "iso9660": "ISO 9660",
    "jbd": "ext",
    "jfs": "JFS",
    "nilfs2": "NILFS2",
    "ntfs": "NTFS",
    "ocfs2": "OCFS2",
    "reiserfs": "ReiserFS",
    "squashfs": "SquashFS",
    "squashfs3": "SquashFS",
    "swap": "swap",
    "udf": "ISO 9660",
    "vdo": "VDO",
    "vfat": "FAT",
    "xfs": "XFS",
    "zfs_member": "ZFS",
}
UNTOLD = {"isw_raid_member", "drbd", "xfs_external_log"}


class Unpacked:
    """A compressed image, or its beginning, unpacked."""

    def __init__(self, path: Path, most: int = 1 << 40) -> None:
        opener = lzma.open if path.suffix == ".xz" else gzip.open
        self._blocks: list[bytes] = []
        self.size = 0
        with opener(path) as file:
            while self.size < most and (block := file.read(BLOCK)):
                # Most are sparse disks of hundreds of megabytes.
                self._blocks.append(block if block.strip(b"\0") else b"")
                self.size += len(block)

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Give blocks."""
        return [self._blocks[index] for index in indexes]


def test_every_format_is_recognised(real_inputs: Path) -> None:
    """Ours agrees with libblkid on each of its own test images."""
    folder = real_inputs / "disk-images/util-linux-blkid"
    seen = {}
    for image in sorted(folder.glob("*.img.xz")):
        expected = _filesystem_type(folder / "expected" / image.name.split(".")[0])
        if expected in NAMES:
            found = recognise(BlockSource(Unpacked(image)))
            seen[image.name] = (found.name if found else "", NAMES[expected])
    assert len(seen) >= 36
    assert {name: pair for name, pair in seen.items() if pair[0] != pair[1]} == {}


def _filesystem_type(expected: Path) -> str:
    lines = expected.read_text().splitlines() if expected.exists() else []
    found = [line.partition("=")[2] for line in lines if line.startswith("ID_FS_TYPE=")]
    return found[0] if found else ""


def _damaged(real_inputs: Path) -> Iterator[tuple[str, Unpacked]]:
    # btrfs is only recognised so far, and that by the beginning of disks of 500 MB.
    for folder, most in (("e2fsprogs", 1 << 40), ("btrfs-progs", 4 * BLOCK)):
        for image in sorted((real_inputs / "disk-images" / folder).glob("*.*z")):
            yield image.name, Unpacked(image, most)


def test_no_damaged_image_does_harm(real_inputs: Path) -> None:
    """Each ends with an answer, within a second or two; nothing but ContentError is raised."""
    seen = 0
    for name, blocks in _damaged(real_inputs):
        seen += 1
        began = time.monotonic()
        finding = examine_disk(BlockSource(blocks), lambda _: None)
        assert finding.distribution == UNKNOWN
        assert finding.unknown_reason
        for volume in open_disk(BlockSource(blocks, Limits(blocks=100_000))).volumes:
            if volume.filesystem is not None:
                _read_everything(volume.filesystem)
        assert time.monotonic() - began < 20, name
    assert seen > 180


def _read_everything(filesystem: FileSystem) -> None:
    try:
        filesystem.log_state()
        for _, node in walk(filesystem):
            if node.kind is Kind.FILE:
                filesystem.read(node, 0, 1 << 20)
            elif node.kind is Kind.SYMLINK:
                filesystem.read_link(node)
    except ContentError:
        return


def test_an_ext_without_its_first_superblock_is_read_by_a_backup(real_inputs: Path) -> None:
    """e2fsprogs' image whose first superblock is zeros holds a file and a directory tree."""
    folder = real_inputs / "disk-images/e2fsprogs"
    source = MemorySource(gzip.decompress((folder / "f_zero_super.image.gz").read_bytes()))
    (volume,) = open_disk(source).volumes
    assert volume.trouble == "the first superblock is damaged; a backup was read"
    assert volume.filesystem is not None
    assert len(list(walk(volume.filesystem))) == 6


def test_what_cannot_be_read_yet_is_named(real_inputs: Path) -> None:
    """The reason names the format; unreadable is not taken for absent."""
    for name, said in (
        ("luks2", "cannot read yet: LUKS (encrypted)"),
        ("lvm2", "it holds no copy of its volume group's metadata"),
        ("ntfs", "cannot read yet: NTFS"),
        ("squashfs4", "cannot read yet: SquashFS"),
    ):
        image = real_inputs / f"disk-images/util-linux-blkid/{name}.img.xz"
        finding = examine_disk(BlockSource(Unpacked(image)), lambda _: None)
        assert said in finding.unknown_reason
        assert [each.value for each in finding.evidence] == [said]


def test_unknown_formats_are_listed_here_honestly() -> None:
    """What this reader cannot tell is not also claimed to be told."""
    assert not UNTOLD & NAMES.keys()
