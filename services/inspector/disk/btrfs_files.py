"""What a file of btrfs holds: its extents, in place or by address, compressed or not."""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from backports import zstd

from services.inspector.disk import lzo
from services.inspector.disk.btrfs_chunks import ChunkMap
from services.inspector.disk.btrfs_trees import Item
from services.inspector.disk.errors import DamagedError, UnsupportedError
from services.inspector.disk.source import MAX_READ

_HEAD = struct.Struct("<QQBBHB")
_PLACE = struct.Struct("<QQQQ")
_INLINE, _PREALLOCATED = 0, 2
_LZO_WORD = 4

MOST_COMPRESSED = 128 * 1024
"""Bytes that one compressed extent unfolds to (kernel: BTRFS_MAX_UNCOMPRESSED)."""


def read_items(
    items: Iterable[Item], chunks: ChunkMap, sector_size: int, offset: int, length: int
) -> bytes:
    """Read bytes of a file by its extents' items, which come in ascending order; holes are zeros.

    Raises DamagedError, UnsupportedError.
    """
    if length > MAX_READ:
        raise DamagedError(f"a file of {length:,} bytes where a small one belongs")
    parts: list[bytes] = []
    at, end = offset, offset + length
    for item in items:
        extent = _Extent(item, chunks, sector_size)
        if extent.end <= at:
            continue
        if extent.start >= end:
            break
        parts.append(bytes(max(extent.start - at, 0)))
        at = max(at, extent.start)
        piece = min(extent.end, end) - at
        parts.append(extent.read(at - extent.start, piece))
        at += piece
    parts.append(bytes(end - at))
    return b"".join(parts)


class _Extent:
    """One extent of a file, from byte `start` to byte `end` of it."""

    def __init__(self, item: Item, chunks: ChunkMap, sector_size: int) -> None:
        data = item.data
        if len(data) < _HEAD.size:
            raise DamagedError("an extent of btrfs is cut off")
        _, self._unfolded, self._compression, encryption, encoding, self._kind = _HEAD.unpack_from(
            data
        )
        if encryption or encoding:
            raise UnsupportedError("cannot read yet: btrfs with encrypted files")
        self._data = data[_HEAD.size :]
        self._chunks = chunks
        self._sector_size = sector_size
        self._address = self._stored = self._skipped = 0
        length = self._unfolded
        if self._kind != _INLINE:
            if len(self._data) < _PLACE.size:
                raise DamagedError("an extent of btrfs is cut off")
            self._address, self._stored, self._skipped, length = _PLACE.unpack_from(self._data)
        self.start = item.key.offset
        self.end = self.start + length

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the extent."""
        if self._kind == _PREALLOCATED or (self._kind != _INLINE and not self._address):
            return bytes(length)
        if not self._compression and self._kind != _INLINE:
            return self._chunks.read(self._address + self._skipped + offset, length)
        offset += self._skipped
        return self._whole()[offset : offset + length].ljust(length, b"\0")

    def _whole(self) -> bytes:
        """Return all that the extent unfolds to."""
        stored = self._data
        if self._kind != _INLINE:
            if self._stored > MOST_COMPRESSED or self._unfolded > MOST_COMPRESSED:
                raise DamagedError("a compressed extent of btrfs is larger than any")
            stored = self._chunks.read(self._address, self._stored)
        if not self._compression:
            return stored
        unfold = _UNFOLD.get(self._compression)
        if unfold is None:
            raise UnsupportedError(f"cannot read yet: btrfs compression {self._compression}")
        return unfold(stored, min(self._unfolded, MOST_COMPRESSED), self._sector_size)


def _unfold_zlib(data: bytes, most: int, _sector_size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        raise DamagedError("data compressed with zlib are damaged") from None


def _unfold_zstd(data: bytes, most: int, _sector_size: int) -> bytes:
    try:
        # What follows the frame fills the last sector.
        return zstd.ZstdDecompressor().decompress(data, max_length=most)
    except zstd.ZstdError:
        raise DamagedError("data compressed with zstd are damaged") from None


def _unfold_lzo(data: bytes, most: int, sector_size: int) -> bytes:
    """Unfold segments of a sector each, whose lengths never cross a sector's end."""
    parts: list[bytes] = []
    total, at, room = _word(data, 0), _LZO_WORD, most
    while at < min(total, len(data)) and room > 0:
        left = -at % sector_size
        at += left if left < _LZO_WORD else 0
        size = _word(data, at)
        at += _LZO_WORD
        parts.append(lzo.decompress(data[at : at + size], min(room, sector_size)))
        room -= len(parts[-1])
        at += size
    return b"".join(parts)


def _word(data: bytes, at: int) -> int:
    if at + _LZO_WORD > len(data):
        raise DamagedError("data compressed with LZO are damaged")
    return int.from_bytes(data[at : at + _LZO_WORD], "little")


_UNFOLD: Mapping[int, Callable[[bytes, int, int], bytes]] = MappingProxyType(
    {1: _unfold_zlib, 2: _unfold_lzo, 3: _unfold_zstd}
)
