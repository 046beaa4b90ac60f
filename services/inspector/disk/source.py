"""Where bytes come from: blocks fetched on demand, kept, counted and bounded."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.inspector.disk.errors import DamagedError, LimitError, SourceError

# The unit of the EBS direct APIs (EBS user guide, "Use EBS direct APIs", read 2026-11):
# every block read costs one request, whatever part of it is wanted.
BLOCK = 512 * 1024

# More than any structure that a reader asks for at once; a larger length is a damaged field.
MAX_READ = 64 * 1024 * 1024


class Source(Protocol):
    """A run of bytes that can be read at any place."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`; DamagedError when they are not all within."""
        ...


class Blocks(Protocol):
    """Something that hands out blocks of BLOCK bytes by index; the last may be shorter."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Get the blocks of these indexes in this order; b"" is a hole, which is all zeros.

        A hole costs nothing. Raises SourceError when a block cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a reader may take: blocks in all, seconds in all, blocks kept in memory."""

    blocks: int = 512
    seconds: float = 120.0
    cached: int = 96


class BlockSource:
    """A Source over Blocks: each block is fetched when first wanted and kept while there is room.

    `requests` counts the blocks that were really read; holes are free.
    Raises LimitError once the limits are reached.
    """

    def __init__(
        self,
        blocks: Blocks,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size = blocks.size
        self.requests = 0
        self._blocks = blocks
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._deadline = monotonic() + self._limits.seconds
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`; DamagedError when they are not all within."""
        check_range(self, offset, length)
        if length == 0:
            return b""
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        blocks = self._get(range(first, last + 1))
        start = offset - first * BLOCK
        if first == last:
            return _piece(blocks[0], start, start + length)
        parts = [_piece(blocks[0], start, BLOCK)]
        parts += [block or bytes(BLOCK) for block in blocks[1:-1]]
        parts.append(_piece(blocks[-1], 0, offset + length - last * BLOCK))
        return b"".join(parts)

    def _get(self, indexes: range) -> list[bytes]:
        if self._monotonic() > self._deadline:
            raise LimitError(f"gave up after {self._limits.seconds:g} s")
        missing = [index for index in indexes if index not in self._kept]
        if missing:
            self._fetch(missing)
        for index in indexes:
            self._kept.move_to_end(index)
        found = [self._kept[index] for index in indexes]
        while len(self._kept) > self._limits.cached:
            self._kept.popitem(last=False)
        return found

    def _fetch(self, indexes: list[int]) -> None:
        if self.requests >= self._limits.blocks:
            raise LimitError(f"gave up after reading {self.requests} blocks of 512 KiB")
        # Many at once only as far as the limit reaches: the rest would be paid for and dropped.
        wanted = indexes[: self._limits.blocks - self.requests]
        for index, block in zip(wanted, self._blocks.fetch(wanted), strict=True):
            if block and len(block) != min(BLOCK, self.size - index * BLOCK):
                raise SourceError(f"block {index} came with {len(block):,} bytes")
            self._kept[index] = block
            self.requests += 1 if block else 0
        if len(wanted) < len(indexes):
            self._fetch(indexes[len(wanted) :])


class Slice:
    """A part of another source: a partition, a volume."""

    def __init__(self, source: Source, offset: int, size: int) -> None:
        check_range(source, offset, size, at_most=source.size)
        self.size = size
        self._source = source
        self._offset = offset

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`; DamagedError when they are not all within."""
        check_range(self, offset, length)
        return self._source.read(self._offset + offset, length)


class MemorySource:
    """A Source over bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`; DamagedError when they are not all within."""
        check_range(self, offset, length)
        return self._data[offset : offset + length]


def check_range(source: Source, offset: int, length: int, *, at_most: int = MAX_READ) -> None:
    """Raise DamagedError unless these bytes lie within the source and are not too many at once."""
    if offset < 0 or length < 0 or offset + length > source.size:
        raise DamagedError(f"points at byte {offset:,}, beyond the end at {source.size:,}")
    if length > at_most:
        raise DamagedError(f"holds a structure of {length:,} bytes, more than any real one")


def _piece(block: bytes, start: int, end: int) -> bytes:
    return block[start:end] if block else bytes(end - start)
