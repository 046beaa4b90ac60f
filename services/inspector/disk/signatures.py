"""What lies on a volume, told by its magic numbers; nothing is read but its first block.

Offsets and magics follow util-linux's libblkid and the kernel's own headers (read 2026-11).
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.inspector.disk.source import Source

_HEAD = 264 * 1024
_EXT_END = 2048
_EXT_MAX_BLOCK_LOG = 6
_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)


@dataclass(frozen=True, slots=True)
class Signature:
    """A format: its name, and whether a Linux root can lie in it."""

    name: str
    may_hold_root: bool = True


EXT = Signature("ext")
XFS = Signature("XFS")
BTRFS = Signature("btrfs")
LVM = Signature("LVM")
FAT = Signature("FAT", may_hold_root=False)
EMPTY = Signature("nothing", may_hold_root=False)
NTFS = Signature("NTFS")


def recognise(source: Source) -> Signature | None:
    """Tell the format by the first block; None when it tells of none known here.

    Containers come before file systems: what they hold may show through at their start.
    """
    head = source.read(0, min(_HEAD, source.size))
    if not head.strip(b"\0"):
        return EMPTY
    for signature, matches in _TESTS:
        if matches(head):
            return signature
    return None


def _at(*places: tuple[int, bytes]) -> Callable[[bytes], bool]:
    return lambda head: any(head.startswith(magic, offset) for offset, magic in places)


def _ext(head: bytes) -> bool:
    # Two bytes of magic prove little where a boot loader may lie: the fields beside it must fit.
    if len(head) < _EXT_END or head[1080:1082] != b"\x53\xef":
        return False
    block_size_log = int.from_bytes(head[1048:1052], "little")
    revision = int.from_bytes(head[1100:1104], "little")
    return block_size_log <= _EXT_MAX_BLOCK_LOG and revision <= 1


def _fat(head: bytes) -> bool:
    if head[510:512] != b"\x55\xaa":
        return False
    short = head.startswith((b"FAT12   ", b"FAT16   ", b"MSDOS"), 54)
    return short or head.startswith(b"FAT32  ", 82)


def _swap(head: bytes) -> bool:
    return any(head.startswith((b"SWAPSPACE2", b"SWAP-SPACE"), page - 10) for page in _PAGE_SIZES)


def _zfs(head: bytes) -> bool:
    # The ring of uberblocks of the first label begins at 128 KiB, one in each KiB.
    magics = (b"\x0c\xb1\xba\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\xba\xb1\x0c")
    return any(head.startswith(magics, offset) for offset in range(128 * 1024, _HEAD, 1024))


_TESTS: tuple[tuple[Signature, Callable[[bytes], bool]], ...] = (
    (Signature("LUKS (encrypted)"), _at((0, b"LUKS\xba\xbe"))),
    (Signature("BitLocker (encrypted)"), _at((3, b"-FVE-FS-"))),
    (LVM, _at(*((sector * 512 + 24, b"LVM2 001") for sector in range(4)))),
    (Signature("Linux RAID"), _at((0, b"\xfc\x4e\x2b\xa9"), (4096, b"\xfc\x4e\x2b\xa9"))),
    (Signature("Stratis"), _at((512, b"!Stra0tis\x86\xff\x02"))),
    (Signature("VDO"), _at((0, b"dmvdo001"))),
    (Signature("bcache"), _at((4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f"))),
    (Signature("bcachefs"), _at((4120, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf"))),
    (Signature("Ceph BlueStore", may_hold_root=False), _at((0, b"bluestore block device"))),
    (XFS, _at((0, b"XFSB"))),
    (BTRFS, _at((65600, b"_BHRfS_M"))),
    (EXT, _ext),
    (Signature("SquashFS"), _at((0, b"hsqs"), (0, b"sqsh"), (0, b"shsq"), (0, b"qshs"))),
    (Signature("EROFS"), _at((1024, b"\xe2\xe1\xf5\xe0"))),
    (Signature("F2FS"), _at((1024, b"\x10\x20\xf5\xf2"))),
    (Signature("JFS"), _at((32768, b"JFS1"))),
    (
        Signature("ReiserFS"),
        _at(*((base + 52, b"ReIsEr") for base in (8192, 65536))),
    ),
    (Signature("Reiser4"), _at((65536, b"ReIsEr4"))),
    (Signature("NILFS2"), _at((1030, b"\x34\x34"))),
    (Signature("GFS2"), _at((65536, b"\x01\x16\x19\x70"))),
    (Signature("OCFS2"), _at(*((2 * size, b"OCFSV2") for size in (512, 1024, 2048, 4096)))),
    (Signature("ZFS"), _zfs),
    (NTFS, _at((3, b"NTFS    "))),
    (Signature("ReFS"), _at((3, b"ReFS\0"))),
    (Signature("exFAT", may_hold_root=False), _at((3, b"EXFAT   "))),
    (Signature("APFS"), _at((32, b"NXSB"))),
    (Signature("HFS+"), _at((1024, b"H+\0\x04"), (1024, b"HX\0\x05"))),
    (Signature("swap", may_hold_root=False), _swap),
    (Signature("ISO 9660", may_hold_root=False), _at((32769, b"CD001"))),
    (Signature("UDF", may_hold_root=False), _at((32769, b"BEA01"), (32769, b"NSR0"))),
    (FAT, _fat),
)
