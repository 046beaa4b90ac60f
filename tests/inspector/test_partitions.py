"""Partition tables: GPT and its backup, MBR with logical partitions, hybrids, and none."""

from pathlib import Path

import pytest

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.partitions import (
    Partition,
    PartitionTable,
    Scheme,
    open_partition,
    read_partitions,
)
from services.inspector.disk.source import MemorySource
from tests.inspector.images import (
    BIOS_BOOT,
    LINUX,
    MIB,
    SECTOR,
    Part,
    make_ext,
    make_gpt,
    make_mbr,
    opened,
    put_mbr,
)

SIZE = 8 * MIB
TWO = [Part(2048, sectors=100, type=BIOS_BOOT), Part(4096, sectors=8000)]


def read(disk: Path) -> PartitionTable:
    """Read the table of a small disk."""
    return read_partitions(MemorySource(disk.read_bytes()))


def damage(disk: Path, offset: int, data: bytes = b"damage") -> None:
    """Overwrite a place of a disk."""
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_gpt_gives_places_types_and_names(tmp_path: Path) -> None:
    """Sizes reach to the last sector, which the table names inclusively."""
    disk = tmp_path / "disk"
    make_gpt(disk, SIZE, TWO)
    table = read(disk)
    assert table.scheme is Scheme.GPT
    assert table.troubles == ()
    boot, root = table.partitions
    assert (boot.number, boot.offset, boot.size) == (1, 2048 * 512, 100 * 512)
    assert (root.number, root.offset, root.size) == (2, 4096 * 512, 8000 * 512)
    assert (boot.type, root.type) == (str(BIOS_BOOT), str(LINUX))
    assert (boot.name, root.name) == ("part-1", "part-2")


@pytest.mark.parametrize("offset", [SECTOR + 20, 2 * SECTOR + 40], ids=["header", "entries"])
def test_a_damaged_gpt_is_read_from_its_backup(tmp_path: Path, offset: int) -> None:
    """Either checksum tells; what was done is said."""
    disk = tmp_path / "disk"
    make_gpt(disk, SIZE, TWO)
    whole = read(disk)
    damage(disk, offset)
    table = read(disk)
    assert table.partitions == whole.partitions
    assert table.troubles == ("the first GPT is damaged; its backup was read",)


def test_the_backup_of_a_disk_made_larger_is_found_by_the_first_header(tmp_path: Path) -> None:
    """After a disk has grown, its backup no longer stands at the end."""
    disk = tmp_path / "disk"
    make_gpt(disk, SIZE, TWO)
    with disk.open("r+b") as file:
        file.truncate(2 * SIZE)
    damage(disk, 2 * SECTOR + 40)
    assert [part.number for part in read(disk).partitions] == [1, 2]


def test_a_gpt_damaged_in_both_copies_is_said(tmp_path: Path) -> None:
    """The protective MBR still tells that there was one."""
    disk = tmp_path / "disk"
    make_gpt(disk, SIZE, TWO)
    damage(disk, SECTOR)
    damage(disk, SIZE - SECTOR)
    table = read(disk)
    assert table.scheme is Scheme.NONE
    assert table.troubles == ("the GPT that the MBR speaks of is damaged, both copies",)


def test_a_hybrid_mbr_yields_to_the_gpt(tmp_path: Path) -> None:
    """One protective entry beside others is enough."""
    disk = tmp_path / "disk"
    make_gpt(disk, SIZE, TWO, mbr_types=(0x83, 0xEE))
    assert read(disk).scheme is Scheme.GPT


def test_an_ordinary_mbr_over_an_old_gpt_counts(tmp_path: Path) -> None:
    """A tool that knew no GPT has partitioned the disk anew."""
    disk = tmp_path / "disk"
    make_gpt(disk, SIZE, TWO)
    put_mbr(disk, 0, [(0x83, 2048, 4000)])
    table = read(disk)
    assert table.scheme is Scheme.MBR
    assert [(part.offset, part.size) for part in table.partitions] == [(2048 * 512, 4000 * 512)]


def test_logical_partitions_are_found_along_their_chain(tmp_path: Path) -> None:
    """A logical partition lies relative to its link, a link relative to the extended partition."""
    disk = tmp_path / "disk"
    make_mbr(disk, SIZE, [(0x83, 63, 100), (0x05, 1000, 9000)])
    put_mbr(disk, 1000, [(0x83, 63, 500), (0x05, 2000, 600)])
    put_mbr(disk, 3000, [(0x8E, 10, 400)])
    table = read(disk)
    assert [(part.number, part.offset // 512, part.type) for part in table.partitions] == [
        (1, 63, "83"),
        (5, 1063, "83"),
        (6, 3010, "8e"),
    ]


def test_a_chain_that_leads_back_into_itself_ends(tmp_path: Path) -> None:
    """Each link is followed once."""
    disk = tmp_path / "disk"
    make_mbr(disk, SIZE, [(0x0F, 1000, 9000)])
    put_mbr(disk, 1000, [(0x83, 63, 500), (0x05, 1000, 600)])
    put_mbr(disk, 2000, [(0x83, 63, 500), (0x05, 0, 600)])
    assert [part.number for part in read(disk).partitions] == [5, 6]


def test_a_chain_that_leads_beyond_the_disk_is_said(tmp_path: Path) -> None:
    """The primary partitions are there all the same."""
    disk = tmp_path / "disk"
    make_mbr(disk, SIZE, [(0x83, 63, 100), (0x05, 1_000_000, 9000)])
    table = read(disk)
    assert [part.number for part in table.partitions] == [1]
    assert "beyond the end" in table.troubles[0]


def test_boot_code_of_a_file_system_is_no_partition_table(tmp_path: Path) -> None:
    """55AA alone proves nothing: the entries' flags are those of no table."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xeb\x58\x90" * 148 + b"not a table" * 6 + b"\x55\xaa" + bytes(4096))
    assert read(disk).scheme is Scheme.NONE


def test_a_file_system_over_the_whole_disk_comes_before_an_mbr(tmp_path: Path, tree: Path) -> None:
    """Ext leaves the first sector to boot loaders; what stands there may look like a table."""
    image = tmp_path / "disk"
    make_ext(image, 32 * MIB, tree, "-t", "ext4")
    put_mbr(image, 0, [(0x83, 2048, 1000)])
    with opened(image) as (disk, _):
        assert [(each.where, each.format) for each in disk.volumes] == [
            ("whole disk", "ext4"),
            ("partition 1", "nothing"),
        ]


def test_a_partition_that_ends_beyond_the_disk_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A truncated image still has the beginnings of its last partition."""
    disk = tmp_path / "disk"
    make_mbr(disk, SIZE, [(0x83, 2048, 1_000_000), (0x83, 5_000_000, 10)])
    source = MemorySource(disk.read_bytes())
    (part,) = read_partitions(source).partitions
    assert open_partition(source, part).size == SIZE - 2048 * 512


def test_a_disk_smaller_than_a_sector_has_no_table() -> None:
    """Neither an empty file nor a few bytes are an error."""
    for data in (b"", b"x" * 100, b"x" * 600):
        assert read_partitions(MemorySource(data)).scheme is Scheme.NONE


def test_a_partition_beyond_the_disk_cannot_be_opened() -> None:
    """It is said, not read as something else."""
    source = MemorySource(bytes(4096))
    with pytest.raises(DamagedError, match="beyond the end of the disk"):
        open_partition(source, Partition(1, 8192, 512, "83"))
