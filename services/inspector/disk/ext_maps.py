"""How an ext inode says where its blocks lie: an extent tree, or the older block pointers."""

import struct
from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.extents import Extent, ReadBlock

_EXTENT_MAGIC = 0xF30A
_MAX_DEPTH = 5
_MAX_WRITTEN = 32768
_DIRECT = 12


def extent_tree(root: bytes, read_block: ReadBlock, block_size: int) -> Iterator[Extent]:
    """Find the extents of the tree whose root is these 60 bytes of the inode."""
    return _extents(root, read_block, block_size, _MAX_DEPTH + 1)


def _extents(node: bytes, read_block: ReadBlock, block_size: int, above: int) -> Iterator[Extent]:
    magic, count, _, depth = struct.unpack_from("<HHHH", node)
    # A depth below its parent's ends every walk, wherever damaged pointers lead.
    if magic != _EXTENT_MAGIC or depth >= above or 12 + 12 * count > len(node):
        raise DamagedError("the extent tree of a file is damaged")
    for place in range(12, 12 + 12 * count, 12):
        if depth:
            low, high = struct.unpack_from("<IH", node, place + 4)
            yield from _extents(read_block(high << 32 | low), read_block, block_size, depth)
        else:
            logical, length, high, low = struct.unpack_from("<IHHI", node, place)
            unwritten = length > _MAX_WRITTEN
            blocks = length - _MAX_WRITTEN if unwritten else length
            yield Extent(logical, blocks, (high << 32 | low) * block_size, unwritten)


def block_map(pointers: bytes, read_block: ReadBlock, block_size: int) -> Iterator[Extent]:
    """Find the extents that the 15 block pointers of an inode of ext2 or ext3 tell."""
    numbers = struct.unpack("<15I", pointers)
    yield from _runs(numbers[:_DIRECT], 0, block_size)
    fan_out = block_size // 4
    logical = _DIRECT
    for depth, number in enumerate(numbers[_DIRECT:], 1):
        if number:
            yield from _indirect(number, depth, logical, read_block, block_size)
        logical += fan_out**depth


def _indirect(
    number: int, depth: int, logical: int, read_block: ReadBlock, block_size: int
) -> Iterator[Extent]:
    fan_out = block_size // 4
    block = read_block(number)
    if not block.strip(b"\0"):
        return
    numbers = struct.unpack(f"<{fan_out}I", block)
    if depth == 1:
        yield from _runs(numbers, logical, block_size)
        return
    step = fan_out ** (depth - 1)
    for index, below in enumerate(numbers):
        if below:
            start = logical + index * step
            yield from _indirect(below, depth - 1, start, read_block, block_size)


def _runs(numbers: tuple[int, ...], logical: int, block_size: int) -> Iterator[Extent]:
    """Join neighbouring pointers to one extent; a pointer of 0 is a hole."""
    start = 0
    while start < len(numbers):
        end = start + 1
        if numbers[start]:
            while end < len(numbers) and numbers[end] == numbers[start] + end - start:
                end += 1
            yield Extent(logical + start, end - start, numbers[start] * block_size)
        start = end
