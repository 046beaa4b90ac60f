"""The log of XFS: whether it was left as an unmount leaves it.

The log is a ring of 512-byte blocks, each stamped with the number of its turn (its cycle), so
that the head is where the number falls (kernel, fs/xfs/xfs_log_recover.c, read 2026-11).
"""

import struct

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.source import Source

_BLOCK = 512
_RECORD_MAGIC = 0xFEEDBABE
_UNMOUNT = 0x20
# A record holds at most 256 KiB, and is padded to a stripe of at most as much.
_MAX_BACK = 1040
_HEADER_COVERS = 32 * 1024


def log_is_clean(source: Source, offset: int, size: int) -> bool:
    """Say whether the log's last record is that of an unmount; a log never written is clean."""
    log = _Log(source, offset, size)
    head = log.head()
    if head is None:
        return True
    return log.ends_with_unmount(head)


class _Log:
    def __init__(self, source: Source, offset: int, size: int) -> None:
        self._source = source
        self._offset = offset
        self._blocks = size // _BLOCK
        if self._blocks < 2:  # noqa: PLR2004 - a record and its header
            raise DamagedError("the XFS log has no size")

    def head(self) -> int | None:
        """Find the block after the newest record; None when nothing was ever written."""
        first, last = self._cycle(0), self._cycle(self._blocks - 1)
        if first == 0:
            return None
        if first == last:
            return self._blocks
        low, high = 0, self._blocks - 1
        # Invariant: `low` is of the newest turn, `high` of an older one or never written.
        while high - low > 1:
            middle = (low + high) // 2
            if self._cycle(middle) == first:
                low = middle
            else:
                high = middle
        return high

    def ends_with_unmount(self, head: int) -> bool:
        """Say whether the record just before the head is the only entry of an unmount."""
        for back in range(1, min(_MAX_BACK, self._blocks) + 1):
            start = (head - back) % self._blocks
            header = self._read(start)
            if int.from_bytes(header[:4], "big") == _RECORD_MAGIC:
                return self._is_unmount(header, start, back)
        return False

    def _is_unmount(self, header: bytes, start: int, length: int) -> bool:
        version, data = struct.unpack_from(">II", header, 8)
        (entries,) = struct.unpack_from(">I", header, 40)
        (buffer,) = struct.unpack_from(">I", header, 320)
        headers = -(-buffer // _HEADER_COVERS) if version & 2 and buffer else 1
        if entries != 1 or headers + -(-data // _BLOCK) != length:
            return False
        operation = self._read((start + headers) % self._blocks)
        return bool(operation[9] & _UNMOUNT)

    def _cycle(self, block: int) -> int:
        raw = self._read(block)
        place = 4 if int.from_bytes(raw[:4], "big") == _RECORD_MAGIC else 0
        return int.from_bytes(raw[place : place + 4], "big")

    def _read(self, block: int) -> bytes:
        return self._source.read(self._offset + block * _BLOCK, _BLOCK)
