"""The inodes of XFS: versions 1 to 3, with 32-bit or 64-bit extent counters."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from services.inspector.disk.errors import DamagedError, UnsupportedError

_MAGIC = b"IN"
_CORE = {1: 100, 2: 100, 3: 176}
_V3 = 3
_REALTIME = 0x1
_NREXT64 = 0x10


class Format(IntEnum):
    """How the data fork holds its content."""

    DEVICE = 0
    LOCAL = 1
    EXTENTS = 2
    BTREE = 3


@dataclass(frozen=True, slots=True)
class XfsInode:
    """One inode: mode, size in bytes, and the data fork with its number of extents."""

    number: int
    mode: int
    size: int
    format: int
    extents: int
    fork: bytes


def parse_inode(raw: bytes, number: int) -> XfsInode:
    """Parse an inode; DamagedError when this is none, or another one."""
    magic, mode, version, fork_format = struct.unpack_from(">2sHBB", raw)
    if magic != _MAGIC or version not in _CORE:
        raise DamagedError(f"names the inode {number}, which is not there")
    core = _CORE[version]
    flags = int.from_bytes(raw[90:92], "big")
    extents = int.from_bytes(raw[76:80], "big")
    if version == _V3:
        own, flags2 = struct.unpack_from(">Q", raw, 152)[0], struct.unpack_from(">Q", raw, 120)[0]
        if own != number:
            raise DamagedError(f"finds the inode {own} where {number} belongs")
        if flags2 & _NREXT64:
            extents = int.from_bytes(raw[24:32], "big")
    if not mode:
        raise DamagedError(f"names the inode {number}, which is not in use")
    if flags & _REALTIME:
        raise UnsupportedError("cannot read yet: a file on an XFS realtime device")
    end = core + raw[82] * 8 if raw[82] else len(raw)
    if end > len(raw):
        raise DamagedError(f"finds the inode {number} damaged")
    size = int.from_bytes(raw[56:64], "big")
    return XfsInode(number, mode, size, fork_format, extents, raw[core:end])
