"""The superblock of XFS, versions 4 and 5, checked before anything is believed of it."""

import struct
from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from services.inspector.disk.errors import DamagedError, UnsupportedError

SUPERBLOCK_SIZE = 512
_MAGIC = b"XFSB"
_V4, _V5 = 4, 5
_DIRECTORIES_V2 = 0x2000
_MORE_BITS = 0x8000
_FILE_TYPE_V4 = 0x200


class Incompat(IntFlag):
    """Features of version 5 without whose knowledge the disk must not be read."""

    FTYPE = 0x1
    SPARSE_INODES = 0x2
    META_UUID = 0x4
    BIGTIME = 0x8
    NEEDS_REPAIR = 0x10
    NREXT64 = 0x20
    EXCHANGE_RANGE = 0x40
    PARENT = 0x80
    META_DIRECTORY = 0x100


@dataclass(frozen=True, slots=True)
class XfsSuperblock:
    """What reading needs of it; sizes in bytes, the log in file system blocks."""

    version: int
    block_size: int
    ag_blocks: int
    ag_count: int
    ag_block_log: int
    inode_size: int
    inodes_per_block_log: int
    root_inode: int
    directory_block_log: int
    has_file_type: bool
    incompat: int
    log_start: int
    log_blocks: int
    uuid: str

    @property
    def directory_block_size(self) -> int:
        """Bytes of a directory block, which may be several file system blocks."""
        return self.block_size << self.directory_block_log

    def block_offset(self, block: int) -> int:
        """Place a block by its number, which is made of its allocation group and place there."""
        group, within = block >> self.ag_block_log, block & (1 << self.ag_block_log) - 1
        if group >= self.ag_count or within >= self.ag_blocks:
            raise DamagedError(f"names the block {block}, which there is not")
        return (group * self.ag_blocks + within) * self.block_size

    def inode_offset(self, number: int) -> int:
        """Place an inode, in bytes; its number says where it lies."""
        block = number >> self.inodes_per_block_log
        index = number & (1 << self.inodes_per_block_log) - 1
        return self.block_offset(block) + index * self.inode_size


def parse_superblock(raw: bytes) -> XfsSuperblock:
    """Parse these 512 bytes; DamagedError or UnsupportedError when they are unusable."""

    def u32(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 4], "big")

    def u64(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 8], "big")

    if raw[:4] != _MAGIC:
        raise DamagedError("the XFS superblock is damaged")
    flags, _, inode_size, inodes_per_block = struct.unpack_from(">HHHH", raw, 100)
    block_log, _, inode_log, inodes_log, ag_log = struct.unpack_from(">BBBBB", raw, 120)
    version = flags & 0xF
    incompat = u32(216) if version == _V5 else 0
    _check_features(flags, incompat)
    superblock = XfsSuperblock(
        version=version,
        block_size=u32(4),
        ag_blocks=u32(84),
        ag_count=u32(88),
        ag_block_log=ag_log,
        inode_size=inode_size,
        inodes_per_block_log=inodes_log,
        root_inode=u64(56),
        directory_block_log=raw[192],
        has_file_type=bool(
            incompat & Incompat.FTYPE
            if version == _V5
            else flags & _MORE_BITS and u32(200) & _FILE_TYPE_V4
        ),
        incompat=incompat,
        log_start=u64(48),
        log_blocks=u32(96),
        uuid=str(UUID(bytes=raw[32:48])),
    )
    logs = (1 << block_log, 1 << inode_log, 1 << inodes_log)
    if logs != (superblock.block_size, inode_size, inodes_per_block):
        raise DamagedError("the XFS superblock contradicts itself")
    _check_sizes(superblock)
    return superblock


def _check_features(flags: int, incompat: int) -> None:
    version = flags & 0xF
    if version not in {_V4, _V5} or (version == _V4 and not flags & _DIRECTORIES_V2):
        raise UnsupportedError(f"cannot read yet: XFS of version {version}, from before 2002")
    if unknown := incompat & ~sum(Incompat):
        raise UnsupportedError(f"cannot read yet: XFS with the feature bits {unknown:#x}")


def _check_sizes(superblock: XfsSuperblock) -> None:
    sane = (
        512 <= superblock.block_size <= 65536  # noqa: PLR2004 - xfs_fs.h, XFS_{MIN,MAX}_BLOCKSIZE
        and 256 <= superblock.inode_size <= 2048  # noqa: PLR2004 - xfs_fs.h, XFS_DINODE_{MIN,MAX}
        and superblock.block_size == superblock.inode_size << superblock.inodes_per_block_log
        and 0 < superblock.ag_blocks <= 1 << superblock.ag_block_log <= 1 << 31
        and superblock.ag_count > 0
        and superblock.directory_block_log < 8  # noqa: PLR2004 - 64 KiB of 512-byte blocks
        and superblock.directory_block_size <= 65536  # noqa: PLR2004 - XFS_MAX_BLOCKSIZE
    )
    if not sane:
        raise DamagedError("the XFS superblock contradicts itself")
