"""From a disk to a finding: the right root, what else is there, and why nothing is known."""

from pathlib import Path

import pytest

from services.inspector.disk.errors import LimitError
from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.source import BlockSource, Limits, MemorySource
from services.inspector.evidence import Strength
from services.inspector.examination import examine_disk, examine_folder
from services.inspector.finding import Finding, JournalState
from services.inspector.verdict import UNKNOWN
from tests.inspector.images import (
    BIOS_BOOT,
    MIB,
    SECTOR,
    Part,
    make_ext,
    make_gpt,
    make_mbr,
    put,
    put_mbr,
)


def system(root: Path, os_release: str, **files: str) -> Path:
    """Make the folder of an installed system; underscores in names are slashes."""
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text(os_release)
    for name, text in files.items():
        (root / "etc" / name).write_text(text)
    return root


def ext4(folder: Path, name: str, tree: Path, uuid: str = "random") -> Path:
    """Make an image of an ext4 with a folder's content."""
    image = folder / name
    make_ext(image, 4 * MIB, tree, "-t", "ext4", "-b", "1024", "-U", uuid)
    return image


def examine(disk: Path, limits: Limits | None = None) -> Finding:
    """Examine an image file."""
    with ImageFile(disk) as blocks:
        return examine_disk(BlockSource(blocks, limits), lambda _: None)


ALMA = 'ID="almalinux"\nVERSION_ID="9.4"\nPRETTY_NAME="AlmaLinux 9.4"\n'
DEBIAN = 'ID=debian\nVERSION_ID="12"\n'
ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def test_the_root_is_found_among_the_partitions(tmp_path: Path) -> None:
    """A /boot of its own has no release files; the layout is said in words."""
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "vmlinuz").write_bytes(b"kernel")
    root = ext4(tmp_path, "root.img", system(tmp_path / "root", ALMA))
    disk = tmp_path / "disk"
    parts = [
        Part(2048, sectors=64, type=BIOS_BOOT),
        Part(4096, ext4(tmp_path, "boot.img", boot)),
        Part(16384, root),
    ]
    make_gpt(disk, 16 * MIB, parts)
    finding = examine(disk)
    assert (finding.distribution, finding.version) == ("almalinux", "9.4")
    assert finding.pretty_name == "AlmaLinux 9.4"
    assert finding.layout == "GPT, 3 partitions; root: ext4 on partition 3"
    assert finding.journal is JournalState.CLEAN
    assert finding.unknown_reason == ""


def test_the_root_is_found_on_a_logical_partition(tmp_path: Path) -> None:
    """MBR with an extended partition, as older images are cut."""
    root = ext4(tmp_path, "root.img", system(tmp_path / "root", DEBIAN))
    disk = tmp_path / "disk"
    make_mbr(disk, 16 * MIB, [(0x82, 2048, 100), (0x05, 4096, 20000)])
    put_mbr(disk, 4096, [(0x83, 2048, 8192)])
    put(disk, (4096 + 2048) * SECTOR, root)
    finding = examine(disk)
    assert finding.distribution == "debian"
    assert finding.layout == "MBR, 2 partitions; root: ext4 on partition 5"


def test_a_copy_on_a_data_partition_is_told_from_the_root_by_its_fstab(tmp_path: Path) -> None:
    """The copy's fstab mounts another file system as /: the root's own UUID."""
    fstab = f"# comment\nUUID={TWO} / ext4 defaults 0 1\nUUID={ONE} /data ext4 defaults 0 2\n"
    copy = ext4(tmp_path, "copy.img", system(tmp_path / "copy", DEBIAN, fstab=fstab), ONE)
    root = ext4(tmp_path, "root.img", system(tmp_path / "root", ALMA, fstab=fstab), TWO)
    disk = tmp_path / "disk"
    make_gpt(disk, 16 * MIB, [Part(2048, copy), Part(16384, root)])
    finding = examine(disk)
    assert finding.distribution == "almalinux"
    assert finding.layout.endswith("root: ext4 on partition 2")
    assert [
        (each.signal, each.path, each.value) for each in finding.evidence if "other" in each.signal
    ] == [("other system", "partition 1", "debian 12")]


def test_a_copy_beside_an_unreadable_root_decides_nothing(tmp_path: Path) -> None:
    """The real root cannot be read yet; the copy's fstab says that it is not the root."""
    lvm = tmp_path / "lvm"
    lvm.write_bytes(bytes(512) + b"LABELONE" + bytes(16) + b"LVM2 001" + bytes(MIB))
    fstab = "/dev/mapper/vg-root / xfs defaults 0 0\n"
    copy = ext4(tmp_path, "copy.img", system(tmp_path / "copy", DEBIAN, fstab=fstab))
    disk = tmp_path / "disk"
    make_gpt(disk, 16 * MIB, [Part(2048, lvm), Part(16384, copy)])
    finding = examine(disk)
    assert finding.distribution == UNKNOWN
    assert "partition 1 (LVM): the label of LVM is damaged" in finding.unknown_reason
    assert "debian 12, which mounts another file system as its root" in finding.unknown_reason


def test_two_systems_that_both_may_be_the_root_are_unknown(tmp_path: Path) -> None:
    """Neither is invented; both are named, and nothing in the evidence is decisive."""
    parts = [
        Part(2048, ext4(tmp_path, "one.img", system(tmp_path / "one", DEBIAN))),
        Part(16384, ext4(tmp_path, "two.img", system(tmp_path / "two", ALMA))),
    ]
    disk = tmp_path / "disk"
    make_gpt(disk, 16 * MIB, parts)
    finding = examine(disk)
    assert finding.distribution == UNKNOWN
    assert "debian 12 on partition 1, AlmaLinux 9.4 on partition 2" in finding.unknown_reason
    assert {each.strength for each in finding.evidence} == {Strength.SUPPORTING}


def test_two_copies_of_one_system_are_that_system(tmp_path: Path) -> None:
    """Images with two roots for updates carry the same distribution in both."""
    image = ext4(tmp_path, "one.img", system(tmp_path / "one", ALMA))
    disk = tmp_path / "disk"
    make_gpt(disk, 16 * MIB, [Part(2048, image), Part(16384, image)])
    assert examine(disk).distribution == "almalinux"


def test_a_partition_that_cannot_be_read_yet_is_said_beside_the_finding(tmp_path: Path) -> None:
    """Unreadable is evidence of its own strength, never an absence."""
    luks = tmp_path / "luks"
    luks.write_bytes(b"LUKS\xba\xbe\x00\x02" + bytes(MIB))
    root = ext4(tmp_path, "root.img", system(tmp_path / "root", ALMA))
    disk = tmp_path / "disk"
    make_gpt(disk, 16 * MIB, [Part(2048, luks), Part(16384, root)])
    finding = examine(disk)
    assert finding.distribution == "almalinux"
    last = finding.evidence[-1]
    assert (last.path, last.value, last.strength) == (
        "partition 1",
        "cannot read yet: LUKS (encrypted)",
        Strength.UNREADABLE,
    )


def test_a_dirty_journal_is_said(tmp_path: Path) -> None:
    """Without replay the finding may tell of the past."""
    image = ext4(tmp_path, "root.img", system(tmp_path / "root", ALMA))
    with image.open("r+b") as file:
        file.seek(1024 + 96)
        flags = int.from_bytes(file.read(4), "little") | 0x4
        file.seek(1024 + 96)
        file.write(flags.to_bytes(4, "little"))
    finding = examine(image)
    assert (finding.distribution, finding.journal) == ("almalinux", JournalState.DIRTY)


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (b"", "whole disk (nothing): no root"),
        (bytes(MIB), "whole disk (nothing): no root"),
        (b"\x17" * MIB, "whole disk (unknown): nothing known is on it"),
        (b"XFSB" + b"\xff" * MIB, "whole disk (XFS): "),
    ],
    ids=["empty", "zeros", "noise", "a damaged superblock"],
)
def test_a_disk_without_a_system_says_what_is_there(disk: bytes, reason: str) -> None:
    """Each has its own reason."""
    finding = examine_disk(MemorySource(disk), lambda _: None)
    assert finding.distribution == UNKNOWN
    assert finding.unknown_reason.startswith("no installed system was found: " + reason)


def test_a_damaged_root_directory_is_a_reason(tmp_path: Path) -> None:
    """The superblock is whole, and then there is nothing."""
    image = ext4(tmp_path, "root.img", system(tmp_path / "root", ALMA))
    with image.open("r+b") as file:
        file.seek(2048)
        file.write(bytes(3 * MIB))
    finding = examine(image)
    assert finding.distribution == UNKNOWN
    assert "whole disk (ext4): " in finding.unknown_reason


def test_reaching_a_limit_is_no_finding(tmp_path: Path) -> None:
    """It must not look as if there were nothing on the disk."""
    image = ext4(tmp_path, "root.img", system(tmp_path / "root", ALMA))
    with pytest.raises(LimitError):
        examine(image, Limits(blocks=1))


def test_a_folder_is_examined_like_a_disk(tmp_path: Path) -> None:
    """An unpacked root, or one mounted by somebody else."""
    finding = examine_folder(FolderFileSystem(system(tmp_path / "root", ALMA)))
    assert (finding.distribution, finding.layout) == ("almalinux", "folder")
    (tmp_path / "empty").mkdir()
    assert examine_folder(FolderFileSystem(tmp_path / "empty")).unknown_reason == "no release file"
