"""The demo's disks are real ones: our readers find each distribution on its own."""

from pathlib import Path

import pytest

from demo.disks import BLOCK_BYTES, Disk, disk, disk_names
from services.inspector.disk.errors import DamagedError
from services.inspector.disk.tree import Tree
from services.inspector.disk.volumes import open_disk

# The table, the place of the root, its file system, and os-release's ID and VERSION_ID.
EXPECTED = {
    "almalinux-8": ("gpt", "partition 3", "XFS", "almalinux", "8.10"),
    "amazon-2023": ("gpt", "partition 3", "XFS", "amzn", "2023"),
    "centos-stream-9": ("gpt", "partition 3", "XFS", "centos", "9"),
    "debian-12": ("none", "whole disk", "ext4", "debian", "12"),
    "oracle-9": ("mbr", "partition 5", "ext4", "ol", "9.4"),
    "rhel-10": ("gpt", "partition 3", "XFS", "rhel", "10.1"),
    "rhel-7": ("mbr", "partition 1", "XFS", "rhel", "7.9"),
    "rhel-8": ("mbr", "partition 1", "XFS", "rhel", "8.10"),
    "rhel-9": ("gpt", "partition 3", "XFS", "rhel", "9.4"),
    "rocky-9": ("gpt", "partition 3", "XFS", "rocky", "9.4"),
    "ubuntu-22.04": ("gpt", "partition 1", "ext4", "ubuntu", "22.04"),
}


class DiskSource:
    """A demo disk as the readers take it."""

    def __init__(self, held: Disk) -> None:
        self._disk = held
        self.size = held.volume_gib << 30

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly so many bytes."""
        if offset < 0 or offset + length > self.size:
            raise DamagedError("beyond the disk")
        return self._disk.read(offset, length)


def test_every_disk_is_expected_here() -> None:
    """No disk is left out of these tests."""
    assert disk_names() == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_our_readers_find_the_distribution(name: str) -> None:
    """Partition table, file system and os-release (a link into /usr/lib) are read."""
    contents = open_disk(DiskSource(disk(name)))
    [root] = [volume for volume in contents.volumes if volume.filesystem is not None]
    assert root.filesystem is not None
    lines = Tree(root.filesystem).read("/etc/os-release", 65536).decode().splitlines()
    told = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    found = (
        contents.table.scheme.name.lower(),
        root.where,
        root.format,
        told["ID"],
        told["VERSION_ID"],
    )
    assert found == EXPECTED[name]


def test_the_disks_are_small() -> None:
    """Each is ten gibibytes of which a few blocks are written, and all files are small."""
    for name in disk_names():
        held = disk(name)
        assert held.volume_gib == 10
        assert 1 < len(held.blocks) < 32
    folder = Path(__file__).parents[2] / "demo" / "disk_images"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000


def test_a_disk_reads_zeros_where_nothing_is_written() -> None:
    """Reads cross from a block into a hole, and end with the disk."""
    held = Disk(1, {1: b"x" * BLOCK_BYTES})
    assert held.read(BLOCK_BYTES - 2, 4) == b"\0\0xx"
    assert held.read(2 * BLOCK_BYTES - 2, 4) == b"xx\0\0"
    assert held.read((1 << 30) - 2, 4) == b"\0\0"


def test_a_saved_disk_is_the_same_when_loaded(tmp_path: Path) -> None:
    """Saving and loading keep size, indexes and data."""
    held = Disk(3, {5: b"a" * BLOCK_BYTES, 0: b"b" * BLOCK_BYTES})
    held.save(tmp_path / "some.disk.xz")
    assert Disk.load(tmp_path / "some.disk.xz") == held
