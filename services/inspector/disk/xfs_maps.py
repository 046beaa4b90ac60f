"""How an XFS inode says where its blocks lie: a list of extents, or a B+tree of them."""

import struct
from collections.abc import Iterator
from itertools import pairwise

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.extents import Extent, ReadBlock
from services.inspector.disk.xfs_inode import Format, XfsInode
from services.inspector.disk.xfs_superblock import XfsSuperblock

_RECORD = 16
_HEADERS = {b"BMAP": 24, b"BMA3": 72}
# xfs_btree.h, XFS_BTREE_MAXLEVELS.
_MAX_LEVELS = 9


def data_extents(
    inode: XfsInode, superblock: XfsSuperblock, read_block: ReadBlock, end: int
) -> Iterator[Extent]:
    """Find the extents of a data fork that begin before the file's block `end`."""
    if inode.format == Format.EXTENTS:
        if inode.extents * _RECORD > len(inode.fork):
            raise DamagedError("the extents of a file do not fit its inode")
        yield from _records(inode.fork[: inode.extents * _RECORD], superblock)
    elif inode.format == Format.BTREE:
        level, count = struct.unpack_from(">HH", inode.fork)
        room = (len(inode.fork) - 4) // _RECORD
        if not 0 < level < _MAX_LEVELS or count > room:
            raise DamagedError("the extent tree of a file is damaged")
        tree = _Tree(superblock, read_block, end)
        yield from tree.below(inode.fork[4:], count, room, level)
    else:
        raise DamagedError("a file holds its data in an unknown form")


class _Tree:
    """Walks the tree from left to right, no further than the block `end` of the file."""

    def __init__(self, superblock: XfsSuperblock, read_block: ReadBlock, end: int) -> None:
        self._superblock = superblock
        self._read_block = read_block
        self._end = end

    def below(self, node: bytes, count: int, room: int, level: int) -> Iterator[Extent]:
        """Give what lies under a node: `count` keys, then their pointers after `room` keys."""
        keys = struct.unpack_from(f">{count}Q", node)
        pointers = struct.unpack_from(f">{count}Q", node, room * 8)
        if any(left >= right for left, right in pairwise(keys)):
            raise DamagedError("the extent tree of a file is damaged")
        for key, pointer in zip(keys, pointers, strict=True):
            if key >= self._end:
                return
            yield from self._block(pointer, level - 1)

    def _block(self, number: int, level: int) -> Iterator[Extent]:
        block = self._read_block(number)
        header = _HEADERS.get(block[:4], 0)
        own_level, count = struct.unpack_from(">HH", block, 4)
        room = (len(block) - header) // _RECORD
        # A level below its parent's ends every walk, wherever damaged pointers lead.
        if not header or own_level != level or not 0 < count <= room:
            raise DamagedError("the extent tree of a file is damaged")
        if level:
            yield from self.below(block[header:], count, room, level)
        else:
            yield from _records(block[header : header + count * _RECORD], self._superblock)


def _records(raw: bytes, superblock: XfsSuperblock) -> Iterator[Extent]:
    """Unpack 128-bit records: 1 bit unwritten, 54 logical, 52 physical, 21 count."""
    for high, low in struct.iter_unpack(">QQ", raw):
        logical = high >> 9 & (1 << 54) - 1
        block = (high & 0x1FF) << 43 | low >> 21
        count = low & (1 << 21) - 1
        yield Extent(logical, count, superblock.block_offset(block), unwritten=bool(high >> 63))
