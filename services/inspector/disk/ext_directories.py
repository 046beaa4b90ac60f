"""Directory entries of ext2, ext3 and ext4.

A hashed directory needs nothing special when it is read whole: its index blocks look like
blocks of unused entries to a reader that does not know them, by design.
"""

import struct
from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError

_HUGE_BLOCK = 65536


def directory_entries(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Give names and inode numbers in one block, or one inline part, of a directory."""
    place = 0
    while place + 8 <= len(block):
        number, stored, name_length = struct.unpack_from("<IHB", block, place)
        length = _record_length(stored, len(block))
        # The fourth byte is the type or, without that feature, the high byte of a length <= 255.
        if length < 8 + name_length or length % 4 or place + length > len(block):
            raise DamagedError("a directory is damaged")
        name = block[place + 8 : place + 8 + name_length]
        if number and name not in {b"", b".", b".."}:
            yield name, number
        place += length


def _record_length(stored: int, block_size: int) -> int:
    """Decode a length: one of 64 KiB does not fit its field and is written as 0 or 65535."""
    if block_size >= _HUGE_BLOCK:
        if stored in {0, 65535}:
            return block_size
        return (stored & 65532) | ((stored & 3) << 16)
    return stored
