"""ext2, ext3 and ext4, by the kernel's Documentation/filesystems/ext4 (read 2026-11)."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.inspector.disk.errors import (
    DamagedError,
    UnsupportedError,
    WrongKindError,
)
from services.inspector.disk.ext_directories import directory_entries
from services.inspector.disk.ext_inline import POINTERS, inline_parts
from services.inspector.disk.ext_maps import block_map, extent_tree
from services.inspector.disk.ext_superblock import (
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE,
    ExtSuperblock,
    Incompat,
    parse_superblock,
)
from services.inspector.disk.extents import Extent, ascending, bounded, read_extents
from services.inspector.disk.filesystem import (
    MAX_DIRECTORY,
    MAX_LINK,
    Kind,
    LogState,
    Node,
    kind_of,
)
from services.inspector.disk.source import Source

_ROOT = 2
_ENCRYPTED = 0x800
_EXTENTS = 0x80000
_INLINE_DATA = 0x10000000
_FAST_LINK = 60
_WIDE_DESCRIPTOR = 64


@dataclass(frozen=True, slots=True)
class _Inode:
    raw: bytes
    mode: int
    flags: int
    size: int


class ExtFileSystem:
    """An ext2, ext3 or ext4 volume. Raises DiskError when its superblock is unusable."""

    def __init__(self, source: Source, superblock_offset: int = SUPERBLOCK_OFFSET) -> None:
        self._source = source
        self._is_backup = superblock_offset != SUPERBLOCK_OFFSET
        self._super = parse_superblock(source.read(superblock_offset, SUPERBLOCK_SIZE))
        self.name = self._super.version
        self.uuid = self._super.uuid

    @property
    def superblock(self) -> ExtSuperblock:
        """The superblock as read."""
        return self._super

    def log_state(self) -> LogState:
        """Tell DIRTY while the journal holds what the blocks do not; costs no request."""
        if self._is_backup:
            return LogState.UNKNOWN
        if self._super.has_journal:
            dirty = bool(self._super.incompat & Incompat.RECOVER)
            return LogState.DIRTY if dirty else LogState.CLEAN
        return LogState.NONE if self._super.clean else LogState.DIRTY

    def root(self) -> Node:
        """Find the root directory."""
        return self.node(_ROOT)

    def node(self, number: int) -> Node:
        """Find the inode of this number."""
        inode = self._inode(number)
        return Node(number, kind_of(inode.mode), inode.size)

    def entries(self, directory: Node) -> Iterator[tuple[bytes, int]]:
        """Give names and inode numbers, without . and .., in the order of the disk."""
        if directory.kind is not Kind.DIRECTORY:
            raise WrongKindError("not a directory")
        inode = self._inode(directory.number)
        if inode.flags & _INLINE_DATA:
            first, second = inline_parts(inode.raw)
            # Its first four bytes name the parent directory.
            yield from directory_entries(first[4:])
            yield from directory_entries(second)
            return
        blocks = -(-inode.size // self._super.block_size)
        read = 0
        for extent in self._extents(inode):
            for index in range(extent.count):
                if extent.logical + index >= blocks:
                    return
                read += self._super.block_size
                if read > MAX_DIRECTORY:
                    raise DamagedError(f"a directory of more than {MAX_DIRECTORY:,} bytes")
                offset = extent.offset + index * self._super.block_size
                yield from directory_entries(self._source.read(offset, self._super.block_size))

    def read(self, file: Node, offset: int, length: int) -> bytes:
        """Read that part of the file; less where the file ends before. Holes are zeros."""
        if file.kind is not Kind.FILE:
            raise WrongKindError("not a file")
        return self._content(self._inode(file.number), offset, length)

    def read_link(self, link: Node) -> bytes:
        """Read the target of a symbolic link."""
        if link.kind is not Kind.SYMLINK:
            raise WrongKindError("not a symbolic link")
        inode = self._inode(link.number)
        if inode.size > MAX_LINK:
            raise DamagedError("a symbolic link is longer than any path")
        if inode.size < _FAST_LINK and not inode.flags & (_EXTENTS | _INLINE_DATA):
            return inode.raw[POINTERS][: inode.size]
        return self._content(inode, 0, inode.size)

    def _content(self, inode: _Inode, offset: int, length: int) -> bytes:
        length = max(0, min(length, inode.size - offset))
        if inode.flags & _INLINE_DATA:
            # What is not written is zeros, here too.
            data = b"".join(inline_parts(inode.raw))[: inode.size]
            return data[offset : offset + length].ljust(length, b"\0")
        extents = self._extents(inode)
        return read_extents(self._source, extents, self._super.block_size, offset, length)

    def _extents(self, inode: _Inode) -> Iterator[Extent]:
        if inode.flags & _ENCRYPTED:
            raise UnsupportedError("encrypted by the file system")
        find = extent_tree if inode.flags & _EXTENTS else block_map
        read_block = bounded(self._read_block)
        return ascending(find(inode.raw[POINTERS], read_block, self._super.block_size))

    def _read_block(self, number: int) -> bytes:
        return self._source.read(number * self._super.block_size, self._super.block_size)

    def _inode(self, number: int) -> _Inode:
        if not 1 <= number <= self._super.inodes:
            raise DamagedError(f"names the inode {number}, which there is not")
        group, index = divmod(number - 1, self._super.inodes_per_group)
        offset = self._inode_table(group) + index * self._super.inode_size
        raw = self._source.read(offset, self._super.inode_size)
        mode = int.from_bytes(raw[0:2], "little")
        if not mode:
            raise DamagedError(f"names the inode {number}, which is not in use")
        size = int.from_bytes(raw[4:8], "little") | int.from_bytes(raw[108:112], "little") << 32
        if kind_of(mode) is Kind.SYMLINK:
            size &= 0xFFFFFFFF
        return _Inode(raw, mode, int.from_bytes(raw[32:36], "little"), size)

    def _inode_table(self, group: int) -> int:
        """Find the byte offset of a group's inode table, as its descriptor says."""
        size = self._super.descriptor_size
        descriptor = self._source.read(self._descriptor(group), size)
        block = int.from_bytes(descriptor[8:12], "little")
        if size >= _WIDE_DESCRIPTOR:
            block |= int.from_bytes(descriptor[40:44], "little") << 32
        return block * self._super.block_size

    def _descriptor(self, group: int) -> int:
        """Find a group's descriptor, in bytes: after the superblock, or spread by META_BG."""
        superblock = self._super
        per_block = superblock.block_size // superblock.descriptor_size
        block, index = divmod(group, per_block)
        super_block = SUPERBLOCK_OFFSET // superblock.block_size
        if block == 0 or block < superblock.first_meta_group:
            place = super_block + 1 + block
        else:
            first = block * per_block
            place = superblock.first_data_block + first * superblock.blocks_per_group
            place += 1 if superblock.has_copy(first) else 0
        return place * superblock.block_size + index * superblock.descriptor_size
