"""The superblock of ext2, ext3 and ext4, checked before anything is believed of it."""

import struct
from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from services.inspector.disk.errors import DamagedError, UnsupportedError

SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_SIZE = 1024
_MAGIC = 0xEF53
_HAS_JOURNAL = 0x4
_SPARSE_SUPER2 = 0x200
_SPARSE_SUPER = 0x1
_CLEANLY_UNMOUNTED = 0x1
_MAX_LOG_BLOCK_SIZE = 6
_MIN_INODE = 128
_MIN_DESCRIPTOR = 32


class Incompat(IntFlag):
    """Features without whose knowledge the disk must not be read."""

    COMPRESSION = 0x1
    FILETYPE = 0x2
    RECOVER = 0x4
    JOURNAL_DEV = 0x8
    META_BG = 0x10
    EXTENTS = 0x40
    SIXTY_FOUR_BIT = 0x80
    MMP = 0x100
    FLEX_BG = 0x200
    EA_INODE = 0x400
    DIRDATA = 0x1000
    CSUM_SEED = 0x2000
    LARGEDIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x10000
    CASEFOLD = 0x20000


_OLD_INCOMPAT = Incompat.FILETYPE | Incompat.RECOVER | Incompat.META_BG
# Sparse superblocks, large files and sorted directories, which ext2 and ext3 had.
_OLD_RO_COMPAT = 0x7
_READABLE = ~(Incompat.COMPRESSION | Incompat.JOURNAL_DEV | Incompat.DIRDATA) & sum(Incompat)


@dataclass(frozen=True, slots=True)
class ExtSuperblock:
    """What reading needs of it; sizes in bytes, places in blocks."""

    block_size: int
    blocks: int
    first_data_block: int
    blocks_per_group: int
    inodes: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    first_meta_group: int
    backup_groups: tuple[int, int] | None
    sparse: bool
    incompat: int
    ro_compat: int
    has_journal: bool
    clean: bool
    journal_inode: int
    uuid: str

    @property
    def version(self) -> str:
        """ext2, ext3 or ext4: what its features make it, as blkid tells them apart."""
        if self.incompat & ~_OLD_INCOMPAT or self.ro_compat & ~_OLD_RO_COMPAT:
            return "ext4"
        return "ext3" if self.has_journal else "ext2"

    def has_copy(self, group: int) -> bool:
        """Say whether that group begins with a copy of the superblock."""
        if group == 0:
            return True
        if self.backup_groups is not None:
            return group in self.backup_groups
        return not self.sparse or group == 1 or any(_is_power(group, base) for base in (3, 5, 7))


def parse_superblock(raw: bytes) -> ExtSuperblock:
    """Parse these 1024 bytes; DamagedError or UnsupportedError when they are unusable."""

    def u16(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 2], "little")

    def u32(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 4], "little")

    if u16(56) != _MAGIC:
        raise DamagedError("the ext superblock is damaged")
    compat, incompat, ro_compat = struct.unpack_from("<III", raw, 92)
    dynamic = u32(76) > 0
    if not dynamic:
        compat = incompat = ro_compat = 0
    _check_features(incompat)
    wide = bool(incompat & Incompat.SIXTY_FOUR_BIT)
    log_block_size = u32(24)
    if log_block_size > _MAX_LOG_BLOCK_SIZE:
        raise DamagedError("the ext superblock names an impossible block size")
    superblock = ExtSuperblock(
        block_size=1024 << log_block_size,
        blocks=u32(4) | (u32(336) << 32 if wide else 0),
        first_data_block=u32(20),
        blocks_per_group=u32(32),
        inodes=u32(0),
        inodes_per_group=u32(40),
        inode_size=u16(88) if dynamic else 128,
        descriptor_size=u16(254) if wide else 32,
        first_meta_group=u32(260) if incompat & Incompat.META_BG else 1 << 32,
        backup_groups=(u32(0x24C), u32(0x250)) if compat & _SPARSE_SUPER2 else None,
        sparse=bool(ro_compat & _SPARSE_SUPER),
        incompat=incompat,
        ro_compat=ro_compat,
        has_journal=bool(compat & _HAS_JOURNAL),
        clean=bool(u16(58) & _CLEANLY_UNMOUNTED),
        journal_inode=u32(224),
        uuid=str(UUID(bytes=raw[104:120])),
    )
    _check_sizes(superblock)
    return superblock


def _check_features(incompat: int) -> None:
    if incompat & Incompat.JOURNAL_DEV:
        raise UnsupportedError("an external journal of ext4, not a file system")
    if unknown := incompat & ~_READABLE:
        raise UnsupportedError(f"cannot read yet: ext4 with the feature bits {unknown:#x}")


def _check_sizes(superblock: ExtSuperblock) -> None:
    block_size, descriptor = superblock.block_size, superblock.descriptor_size
    sane = (
        _is_power(superblock.inode_size, 2)
        and _MIN_INODE <= superblock.inode_size <= block_size
        and _is_power(descriptor, 2)
        and _MIN_DESCRIPTOR <= descriptor <= block_size
        and 0 < superblock.inodes_per_group <= 8 * block_size
        and superblock.blocks_per_group > 0
        and superblock.first_data_block <= 1
        and superblock.inodes > 0
        and superblock.blocks > superblock.first_data_block
    )
    if not sane:
        raise DamagedError("the ext superblock contradicts itself")


def _is_power(number: int, base: int) -> bool:
    while number > base and number % base == 0:
        number //= base
    return number == base
