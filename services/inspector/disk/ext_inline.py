"""Small files and directories that ext4 keeps within the inode (the feature inline_data)."""

import struct

from services.inspector.disk.errors import DamagedError

# The 60 bytes of the inode that otherwise say where the blocks lie.
POINTERS = slice(40, 100)
_MAGIC = 0xEA020000
_SYSTEM = 7
_OLD_INODE = 128


def inline_parts(inode: bytes) -> tuple[bytes, bytes]:
    """Find both parts: what stands in place of the block pointers, and the attribute after."""
    return inode[POINTERS], _system_data(inode)


def _system_data(inode: bytes) -> bytes:
    """Find the extended attribute `system.data` in the inode's body; b"" when none."""
    if len(inode) <= _OLD_INODE:
        return b""
    (extra,) = struct.unpack_from("<H", inode, _OLD_INODE)
    start = _OLD_INODE + extra
    if start + 4 > len(inode) or struct.unpack_from("<I", inode, start)[0] != _MAGIC:
        return b""
    first = place = start + 4
    while place + 16 <= len(inode) and inode[place : place + 4] != bytes(4):
        name_length, index, value_offset, in_inode, size = struct.unpack_from(
            "<BBHII", inode, place
        )
        name = inode[place + 16 : place + 16 + name_length]
        if index == _SYSTEM and name == b"data":
            value = inode[first + value_offset : first + value_offset + size]
            if in_inode or len(value) != size:
                raise DamagedError("the inline data of a file is damaged")
            return value
        place += 16 + (name_length + 3 & ~3)
    return b""
