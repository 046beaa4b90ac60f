"""btrfs: subvolumes and their files, by the kernel's btrfs_tree.h and its manual (read 2026-11)."""

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from services.inspector.disk.btrfs_chunks import CHUNK_ITEM, ChunkMap, parse_chunk, system_chunks
from services.inspector.disk.btrfs_files import read_items
from services.inspector.disk.btrfs_superblock import (
    SUPERBLOCK_OFFSETS,
    SUPERBLOCK_SIZE,
    BtrfsSuperblock,
    parse_superblock,
)
from services.inspector.disk.btrfs_trees import Item, Key, Trees
from services.inspector.disk.errors import (
    ContentError,
    DamagedError,
    MissingError,
    UnsupportedError,
    WrongKindError,
)
from services.inspector.disk.filesystem import (
    MAX_DIRECTORY,
    MAX_LINK,
    Kind,
    LogState,
    Node,
    kind_of,
)
from services.inspector.disk.source import Source

TOP = 5
"""The subvolume that is always there, and holds the others somewhere below it."""

_INODE, _DIRECTORY_ITEM, _DIRECTORY_INDEX, _EXTENT, _ROOT = 1, 84, 96, 108, 132
_FIRST = 256
"""Number of the first inode, and of the first subvolume that was made."""
_LAST = 2**64 - 1
_LATEST_SUBVOLUME = 2**64 - 256
_INODE_ITEM = struct.Struct("<QQQ28xI")
_ENTRY = struct.Struct("<QBQQHHB")
_ROOT_ITEM = struct.Struct("<176xQ54xB")
_NAMED_DEFAULT = b"default"


class _Root(NamedTuple):
    """A tree's root: its address and level."""

    address: int
    level: int


class BtrfsFileSystem:
    """One subvolume of a btrfs volume, with those below it. Raises DiskError when unusable.

    Inodes are numbered by subvolume and inode, since every subvolume counts from 256.
    """

    name = "btrfs"

    def __init__(self, source: Source, subvolume: int = 0) -> None:
        """Open a subvolume by its id; 0: the default one."""
        self._super = _superblock(source)
        self.uuid = self._super.uuid
        self._chunks = ChunkMap({self._super.device: source})
        self._trees = Trees(self._super, self._chunks)
        self._learn_chunks()
        self._root_of = lru_cache(maxsize=64)(self._find_root)
        self.subvolume = subvolume or self._default_subvolume()

    def at(self, subvolume: int) -> "BtrfsFileSystem":
        """Return the same volume seen from another subvolume."""
        other = BtrfsFileSystem.__new__(BtrfsFileSystem)
        other.__dict__.update(self.__dict__)
        other.subvolume = subvolume
        return other

    def subvolume_at(self, path: str) -> int:
        """Return the id of the subvolume at a path from the top, as fstab's subvol= gives it.

        Raises MissingError, WrongKindError when something else is there.
        """
        number = _number(TOP, _FIRST)
        for name in filter(None, path.split("/")):
            found = dict(self.entries(self.node(number))).get(name.encode())
            if found is None:
                raise MissingError(f"no subvolume {path!r}")
            number = found
        subvolume, inode = _parts(number)
        if inode != _FIRST:
            raise WrongKindError(f"{path!r} is no subvolume")
        return subvolume

    def log_state(self) -> LogState:
        """Tell whether something was written by fsync that the trees do not hold yet."""
        return LogState.DIRTY if self._super.log_root else LogState.CLEAN

    def root(self) -> Node:
        """Find the root directory of the subvolume."""
        return self.node(_number(self.subvolume, _FIRST))

    def node(self, number: int) -> Node:
        """Find the inode of this number."""
        subvolume, inode = _parts(number)
        for item in self._items(subvolume, Key(inode, _INODE, 0), Key(inode, _INODE, _LAST)):
            if len(item.data) < _INODE_ITEM.size:
                raise DamagedError("an inode of btrfs is cut off")
            _, _, size, mode = _INODE_ITEM.unpack_from(item.data)
            return Node(number, kind_of(mode), size)
        raise DamagedError(f"names the inode {inode}, which there is not")

    def entries(self, directory: Node) -> Iterator[tuple[bytes, int]]:
        """Give names and inode numbers, without . and .., in the order in which they were made."""
        if directory.kind is not Kind.DIRECTORY:
            raise WrongKindError("not a directory")
        subvolume, inode = _parts(directory.number)
        total = 0
        first, last = Key(inode, _DIRECTORY_INDEX, 0), Key(inode, _DIRECTORY_INDEX, _LAST)
        for item in self._items(subvolume, first, last):
            total += len(item.data)
            if total > MAX_DIRECTORY:
                raise DamagedError(f"a directory of more than {MAX_DIRECTORY:,} bytes")
            for name, key in _entries(item):
                yield name, self._target(subvolume, key)

    def read(self, file: Node, offset: int, length: int) -> bytes:
        """Read that part of the file; less where the file ends before. Holes are zeros."""
        if file.kind is not Kind.FILE:
            raise WrongKindError("not a file")
        return self._content(file, offset, max(0, min(length, file.size - offset)))

    def read_link(self, link: Node) -> bytes:
        """Read the target of a symbolic link."""
        if link.kind is not Kind.SYMLINK:
            raise WrongKindError("not a symbolic link")
        if link.size > MAX_LINK:
            raise DamagedError("a symbolic link is longer than any path")
        return self._content(link, 0, link.size)

    def _content(self, node: Node, offset: int, length: int) -> bytes:
        subvolume, inode = _parts(node.number)
        first, last = Key(inode, _EXTENT, 0), Key(inode, _EXTENT, max(offset + length - 1, 0))
        items = self._items(subvolume, first, last)
        return read_items(items, self._chunks, self._super.sector_size, offset, length)

    def _target(self, subvolume: int, key: Key) -> int:
        if key.kind == _ROOT:
            return _number(key.object, _FIRST)
        return _number(subvolume, key.object)

    def _items(self, tree: int, first: Key, last: Key) -> Iterator[Item]:
        return self._trees.items(*self._root_of(tree), first, last)

    def _find_root(self, tree: int) -> _Root:
        top = _Root(self._super.root, self._super.root_level)
        first, last = Key(tree, _ROOT, 0), Key(tree, _ROOT, _LAST)
        for item in self._trees.items(*top, first, last):
            if len(item.data) < _ROOT_ITEM.size:
                raise DamagedError("a subvolume of btrfs is damaged")
            return _Root(*_ROOT_ITEM.unpack_from(item.data))
        raise DamagedError(f"names the subvolume {tree}, which there is not")

    def _learn_chunks(self) -> None:
        """Learn where everything lies: first the chunk tree itself, then all by that tree."""
        for chunk in system_chunks(self._super.system_chunks):
            self._chunks.add(chunk)
        root = self._super.chunk_root, self._super.chunk_root_level
        first, last = Key(_FIRST, CHUNK_ITEM, 0), Key(_FIRST, CHUNK_ITEM, _LAST)
        for item in list(self._trees.items(*root, first, last)):
            self._chunks.add(parse_chunk(item.key.offset, item.data))

    def _default_subvolume(self) -> int:
        """Return the subvolume that is mounted when none is asked for."""
        directory = self._super.root_directory
        first, last = Key(directory, _DIRECTORY_ITEM, 0), Key(directory, _DIRECTORY_ITEM, _LAST)
        root = self._super.root, self._super.root_level
        for item in self._trees.items(*root, first, last):
            for name, key in _entries(item):
                if name == _NAMED_DEFAULT and key.kind == _ROOT:
                    return key.object
        return TOP


def _superblock(source: Source) -> BtrfsSuperblock:
    """Return the first superblock that is whole."""
    trouble: ContentError = DamagedError("has no superblock of btrfs")
    for offset in SUPERBLOCK_OFFSETS:
        if offset + SUPERBLOCK_SIZE > source.size:
            break
        try:
            return parse_superblock(source.read(offset, SUPERBLOCK_SIZE), offset)
        except UnsupportedError:
            raise
        except ContentError as error:
            trouble = trouble if offset > SUPERBLOCK_OFFSETS[0] else error
    raise trouble


def _entries(item: Item) -> Iterator[tuple[bytes, Key]]:
    """Yield the names of a directory's item, and where each leads."""
    data = item.data
    while data:
        if len(data) < _ENTRY.size:
            raise DamagedError("a directory is damaged")
        *key, _, extra, length, _ = _ENTRY.unpack_from(data)
        end = _ENTRY.size + length
        name = data[_ENTRY.size : end]
        if len(name) < length or not name or b"/" in name or b"\0" in name:
            raise DamagedError("a directory is damaged")
        yield name, Key(*key)
        data = data[end + extra :]


def _number(subvolume: int, inode: int) -> int:
    if subvolume != TOP and not _FIRST <= subvolume <= _LATEST_SUBVOLUME:
        raise DamagedError(f"names the subvolume {subvolume}, which cannot be")
    return subvolume << 64 | inode


def _parts(number: int) -> tuple[int, int]:
    return number >> 64, number & _LAST
