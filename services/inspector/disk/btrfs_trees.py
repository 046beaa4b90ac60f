"""The trees of btrfs: items in the order of their keys."""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from services.inspector.disk.btrfs_chunks import ChunkMap
from services.inspector.disk.btrfs_superblock import BtrfsSuperblock, matches
from services.inspector.disk.errors import ContentError, DamagedError

_HEADER = 101
_CHECKSUM = 32
_PLACE = struct.Struct("<Q")
_COUNT = struct.Struct("<QQIB")
_ITEM = struct.Struct("<QBQII")
_POINTER = struct.Struct("<QBQQQ")
_MOST_KEPT = 512
_MOST_NODES = 20_000
"""Nodes that one walk may read: pointers may all lead to the same few."""


class Key(NamedTuple):
    """What items are sorted by."""

    object: int
    kind: int
    offset: int


class Item(NamedTuple):
    """An item of a leaf."""

    key: Key
    data: bytes


@dataclass(frozen=True, slots=True)
class _Node:
    level: int
    items: tuple[Item, ...]
    """Of a leaf."""
    children: tuple[tuple[Key, int], ...]
    """Of another node: the first key below each, and its address."""


class Trees:
    """Walks trees, and keeps the nodes that were read last."""

    def __init__(self, superblock: BtrfsSuperblock, chunks: ChunkMap) -> None:
        self._super = superblock
        self._chunks = chunks
        self._kept: OrderedDict[int, _Node] = OrderedDict()

    def items(self, root: int, level: int, first: Key, last: Key) -> Iterator[Item]:
        """Yield the items with keys from `first` through `last` of the tree with its root there.

        Raises DamagedError.
        """
        waiting = [(root, level)]
        left = _MOST_NODES
        while waiting:
            left -= 1
            if left < 0:
                raise DamagedError("a tree of btrfs is beyond all measure")
            node = self._node(*waiting.pop())
            for item in node.items:
                if first <= item.key <= last:
                    yield item
            below = _below(node, first, last)
            waiting.extend((address, node.level - 1) for address in reversed(below))

    def _node(self, address: int, level: int) -> _Node:
        node = self._kept.get(address)
        if node is None:
            node = self._kept[address] = self._read(address)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        if node.level != level:
            raise DamagedError("a tree of btrfs contradicts itself")
        return node

    def _read(self, address: int) -> _Node:
        """Read a node from the first copy that is whole."""
        trouble: ContentError = DamagedError(f"names the address {address:,}, which lies nowhere")
        for data in self._chunks.copies(address, self._super.node_size):
            try:
                return self._parse(address, data)
            except ContentError as error:
                trouble = error
        raise trouble

    def _parse(self, address: int, data: bytes) -> _Node:
        if _PLACE.unpack_from(data, 0x30)[0] != address:
            raise DamagedError("a node of btrfs is not what belongs there")
        if not matches(self._super.checksum, data[:_CHECKSUM], data[_CHECKSUM:]):
            raise DamagedError("a node of btrfs does not match its checksum")
        _, _, count, level = _COUNT.unpack_from(data, 0x50)
        size = _POINTER.size if level else _ITEM.size
        if _HEADER + count * size > len(data):
            raise DamagedError("a node of btrfs holds more than fits")
        places = range(_HEADER, _HEADER + count * size, size)
        if level:
            pointers = (_POINTER.unpack_from(data, place) for place in places)
            children = tuple((Key(*pointer[:3]), pointer[3]) for pointer in pointers)
            return _Node(level, (), children)
        return _Node(0, tuple(_item(data, place) for place in places), ())


def _item(data: bytes, place: int) -> Item:
    *key, offset, size = _ITEM.unpack_from(data, place)
    start = _HEADER + offset
    if start + size > len(data):
        raise DamagedError("an item of btrfs lies outside its node")
    return Item(Key(*key), data[start : start + size])


def _below(node: _Node, first: Key, last: Key) -> list[int]:
    """Return the children that can hold keys from `first` through `last`."""
    found = []
    for number, (key, address) in enumerate(node.children):
        following = node.children[number + 1][0] if number + 1 < len(node.children) else None
        if key <= last and (following is None or following > first):
            found.append(address)
    return found
