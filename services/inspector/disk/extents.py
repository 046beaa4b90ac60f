"""Where the bytes of a file lie: runs of blocks, read with holes as zeros."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.source import MAX_READ, Source

# Reads one block of the volume by its number.
ReadBlock = Callable[[int], bytes]

# Blocks of one file's map that are read at most. A map of one level fewer covers MAX_READ.
MAX_MAP_BLOCKS = 4000


@dataclass(frozen=True, slots=True)
class Extent:
    """`count` blocks from the file's block `logical` on, at byte `offset` of the volume.

    An unwritten extent has its place but reads as zeros.
    """

    logical: int
    count: int
    offset: int
    unwritten: bool = False


def read_extents(
    source: Source, extents: Iterator[Extent], block_size: int, offset: int, length: int
) -> bytes:
    """Read `length` bytes from `offset` of the file; the extents come in ascending order.

    Raises DamagedError when there are too many bytes to hold.
    """
    if length > MAX_READ:
        raise DamagedError(f"a file of {length:,} bytes where a small one belongs")
    parts: list[bytes] = []
    at, end = offset, offset + length
    for extent in extents:
        start = extent.logical * block_size
        stop = start + extent.count * block_size
        if stop <= at or extent.unwritten:
            continue
        if start >= end:
            break
        parts.append(bytes(max(start - at, 0)))
        at = max(at, start)
        piece = min(stop, end) - at
        parts.append(source.read(extent.offset + at - start, piece))
        at += piece
    parts.append(bytes(end - at))
    return b"".join(parts)


def bounded(read_block: ReadBlock) -> ReadBlock:
    """Let one file's map read only so many blocks: pointers may all lead to the same few."""
    left = MAX_MAP_BLOCKS

    def read(number: int) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise DamagedError("the map of a file's blocks is beyond all measure")
        return read_block(number)

    return read


def ascending(extents: Iterator[Extent]) -> Iterator[Extent]:
    """Pass the extents on; DamagedError when two overlap or turn back, as loops in a tree do."""
    reached = 0
    for extent in extents:
        if extent.logical < reached or extent.count <= 0:
            raise DamagedError("the map of a file's blocks contradicts itself")
        reached = extent.logical + extent.count
        yield extent
