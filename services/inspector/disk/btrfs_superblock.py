"""The superblock of btrfs, checked before anything is believed of it.

Layout by the kernel's btrfs_tree.h and the btrfs developer documentation (read 2026-11).
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType
from uuid import UUID

from services.inspector.disk.checksums import crc32c
from services.inspector.disk.errors import DamagedError, UnsupportedError

SUPERBLOCK_SIZE = 4096
SUPERBLOCK_OFFSETS = (64 * 1024, 64 * 1024**2, 256 * 1024**3)
"""Of the superblock and its copies, as far as the volume reaches."""

_MAGIC = b"_BHRfS_M"
_CHECKSUM = 32
_HEAD = struct.Struct("<QQ8sQQQQQQQQQIIIIIQQQQHBBBQ")
_HEAD_AT = 0x30
_SYSTEM_CHUNKS = 0x32B
_MOST_SYSTEM_CHUNKS = 2048
_SIZES = tuple(1 << log for log in range(12, 17))
_HIGHEST_LEVEL = 7


class Incompat(IntFlag):
    """Features without whose knowledge the disk must not be read."""

    MIXED_BACKREF = 0x1
    DEFAULT_SUBVOL = 0x2
    MIXED_GROUPS = 0x4
    COMPRESS_LZO = 0x8
    COMPRESS_ZSTD = 0x10
    BIG_METADATA = 0x20
    EXTENDED_IREF = 0x40
    RAID56 = 0x80
    SKINNY_METADATA = 0x100
    NO_HOLES = 0x200
    METADATA_UUID = 0x400
    RAID1C34 = 0x800
    SIMPLE_QUOTA = 0x10000


# Of each kind of checksum that is verified here; the rest (xxhash64) is taken as it is.
CHECKSUMS: Mapping[int, Callable[[bytes], bytes]] = MappingProxyType(
    {
        0: lambda data: crc32c(data).to_bytes(4, "little"),
        2: lambda data: hashlib.sha256(data).digest(),
        3: lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    }
)


@dataclass(frozen=True, slots=True)
class BtrfsSuperblock:
    """What reading needs of it; places are logical addresses, sizes are bytes."""

    uuid: str
    generation: int
    root: int
    root_level: int
    chunk_root: int
    chunk_root_level: int
    log_root: int
    root_directory: int
    sector_size: int
    node_size: int
    checksum: int
    device: int
    system_chunks: bytes


def parse_superblock(data: bytes, offset: int) -> BtrfsSuperblock:
    """Return the superblock that was read at an offset; DamagedError, UnsupportedError."""
    (place, _, magic, generation, root, chunk_root, log_root, _, _, _, root_directory) = (
        _HEAD.unpack_from(data, _HEAD_AT)[:11]
    )
    _, sector, node, _, _, chunks, _, _, _, incompat, checksum = _HEAD.unpack_from(data, _HEAD_AT)[
        11:22
    ]
    root_level, chunk_level, _, device = _HEAD.unpack_from(data, _HEAD_AT)[22:]
    if magic != _MAGIC or place != offset:
        raise DamagedError("the superblock of btrfs is damaged")
    unknown = incompat & ~sum(Incompat)
    if unknown:
        raise UnsupportedError(f"cannot read yet: btrfs with the features {unknown:#x}")
    if not matches(checksum, data[:_CHECKSUM], data[_CHECKSUM:]):
        raise DamagedError("the superblock of btrfs does not match its checksum")
    sizes_fit = sector in _SIZES and node in _SIZES and node >= sector
    if not sizes_fit or chunks > _MOST_SYSTEM_CHUNKS:
        raise DamagedError("the superblock of btrfs has sizes that cannot be")
    if max(root_level, chunk_level) > _HIGHEST_LEVEL:
        raise DamagedError("the superblock of btrfs has trees higher than any")
    return BtrfsSuperblock(
        uuid=str(UUID(bytes=data[_CHECKSUM : _CHECKSUM + 16])),
        generation=generation,
        root=root,
        root_level=root_level,
        chunk_root=chunk_root,
        chunk_root_level=chunk_level,
        log_root=log_root,
        root_directory=root_directory,
        sector_size=sector,
        node_size=node,
        checksum=checksum,
        device=device,
        system_chunks=data[_SYSTEM_CHUNKS : _SYSTEM_CHUNKS + chunks],
    )


def matches(kind: int, stored: bytes, data: bytes) -> bool:
    """Say whether data match the checksum stored with them, as far as that can be told."""
    if kind not in CHECKSUMS:
        return True
    computed = CHECKSUMS[kind](data)
    return stored[: len(computed)] == computed
