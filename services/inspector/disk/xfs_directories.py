"""Directory entries of XFS: within the inode, in one block, or in data blocks."""

import struct
from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError

# Data blocks lie below this byte of a directory's address space, its indexes above
# (xfs_da_format.h, XFS_DIR2_LEAF_OFFSET).
DATA_END = 1 << 35

_HEADERS = {b"XD2B": 16, b"XD2D": 16, b"XDB3": 64, b"XDD3": 64}
_SINGLE = {b"XDB3", b"XD2B"}
_UNUSED = 0xFFFF
_SHORTEST = 8
_SHORTEST_USED = 16


def short_entries(fork: bytes, *, has_file_type: bool) -> Iterator[tuple[bytes, int]]:
    """Give names and inode numbers of a directory that is kept within its inode."""
    if len(fork) < 6:  # noqa: PLR2004 - two counters and the parent's number
        raise DamagedError("a directory is damaged")
    count, wide = fork[0], fork[1]
    width = 8 if wide else 4
    place = 2 + width
    for _ in range(count):
        if place >= len(fork):
            raise DamagedError("a directory is damaged")
        end = place + 3 + fork[place]
        name = fork[place + 3 : end]
        end += 1 if has_file_type else 0
        if end + width > len(fork) or not name:
            raise DamagedError("a directory is damaged")
        yield name, int.from_bytes(fork[end : end + width], "big")
        place = end + width


def block_entries(block: bytes, owner: int, *, has_file_type: bool) -> Iterator[tuple[bytes, int]]:
    """Give names and inode numbers in a directory block, without . and .."""
    header = _HEADERS.get(block[:4])
    if header is None or (header == 64 and _owner(block) != owner):  # noqa: PLR2004 - version 5
        raise DamagedError("a directory is damaged")
    place, end = header, _end(block)
    while place + _SHORTEST <= end:
        if struct.unpack_from(">H", block, place)[0] == _UNUSED:
            (length,) = struct.unpack_from(">H", block, place + 2)
        elif place + _SHORTEST_USED > end:
            raise DamagedError("a directory is damaged")
        else:
            number, name_length = struct.unpack_from(">QB", block, place)
            length = 8 + 1 + name_length + (1 if has_file_type else 0) + 2
            length = length + 7 & ~7
            name = block[place + 9 : place + 9 + name_length]
            if name not in {b"", b".", b".."} and place + length <= end:
                yield name, number
        if length < _SHORTEST or length % 8 or place + length > end:
            raise DamagedError("a directory is damaged")
        place += length


def _end(block: bytes) -> int:
    """Find where the entries end: a directory of a single block has its index in its tail."""
    if block[:4] not in _SINGLE:
        return len(block)
    count = int.from_bytes(block[-8:-4], "big")
    if count * 8 + 8 > len(block):
        raise DamagedError("a directory is damaged")
    return len(block) - 8 - count * 8


def _owner(block: bytes) -> int:
    return int.from_bytes(block[40:48], "big")
