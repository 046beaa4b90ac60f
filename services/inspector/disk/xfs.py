"""XFS, versions 4 and 5, by "XFS Algorithms & Data Structures" and the kernel (read 2026-11)."""

import struct
from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError, WrongKindError
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
from services.inspector.disk.xfs_directories import DATA_END, block_entries, short_entries
from services.inspector.disk.xfs_inode import Format, XfsInode, parse_inode
from services.inspector.disk.xfs_log import log_is_clean
from services.inspector.disk.xfs_maps import data_extents
from services.inspector.disk.xfs_superblock import (
    SUPERBLOCK_SIZE,
    Incompat,
    XfsSuperblock,
    parse_superblock,
)

_LINK_MAGIC = b"XSLM"
_LINK_HEADER = 56
_EVERYTHING = 1 << 54


class XfsFileSystem:
    """An XFS volume. Raises DiskError when its superblock is unusable."""

    name = "XFS"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._super = parse_superblock(source.read(0, SUPERBLOCK_SIZE))
        self.uuid = self._super.uuid

    @property
    def superblock(self) -> XfsSuperblock:
        """The superblock as read."""
        return self._super

    def log_state(self) -> LogState:
        """Tell whether the log ends with the record that an unmount writes.

        Costs a few requests, since only the log itself knows where it ends.
        """
        if self._super.incompat & Incompat.NEEDS_REPAIR:
            return LogState.DIRTY
        if not self._super.log_start:
            return LogState.UNKNOWN
        offset = self._super.block_offset(self._super.log_start)
        clean = log_is_clean(self._source, offset, self._super.log_blocks * self._super.block_size)
        return LogState.CLEAN if clean else LogState.DIRTY

    def root(self) -> Node:
        """Find the root directory."""
        return self.node(self._super.root_inode)

    def node(self, number: int) -> Node:
        """Find the inode of this number."""
        inode = self._inode(number)
        return Node(number, kind_of(inode.mode), inode.size)

    def entries(self, directory: Node) -> Iterator[tuple[bytes, int]]:
        """Give names and inode numbers, without . and .., in the order of the disk."""
        if directory.kind is not Kind.DIRECTORY:
            raise WrongKindError("not a directory")
        inode = self._inode(directory.number)
        has_file_type = self._super.has_file_type
        if inode.format == Format.LOCAL:
            yield from short_entries(inode.fork, has_file_type=has_file_type)
            return
        for block in self._directory_blocks(inode):
            yield from block_entries(block, inode.number, has_file_type=has_file_type)

    def read(self, file: Node, offset: int, length: int) -> bytes:
        """Read that part of the file; less where the file ends before. Holes are zeros."""
        if file.kind is not Kind.FILE:
            raise WrongKindError("not a file")
        inode = self._inode(file.number)
        length = max(0, min(length, inode.size - offset))
        end = -(-(offset + length) // self._super.block_size)
        extents = self._extents(inode, end)
        return read_extents(self._source, extents, self._super.block_size, offset, length)

    def read_link(self, link: Node) -> bytes:
        """Read the target of a symbolic link."""
        if link.kind is not Kind.SYMLINK:
            raise WrongKindError("not a symbolic link")
        inode = self._inode(link.number)
        if inode.size > MAX_LINK:
            raise DamagedError("a symbolic link is longer than any path")
        if inode.format == Format.LOCAL:
            return inode.fork[: inode.size]
        return self._remote_link(inode)

    def _remote_link(self, inode: XfsInode) -> bytes:
        """Join the pieces of a link; in version 5 each extent begins with a header."""
        target = b""
        for extent in self._extents(inode, _EVERYTHING):
            length = min(extent.count * self._super.block_size, MAX_LINK + _LINK_HEADER)
            piece = self._source.read(extent.offset, length)
            if piece.startswith(_LINK_MAGIC):
                (used,) = struct.unpack_from(">I", piece, 8)
                piece = piece[_LINK_HEADER : _LINK_HEADER + used]
            target += piece
            if len(target) >= inode.size:
                return target[: inode.size]
        raise DamagedError("a symbolic link is damaged")

    def _directory_blocks(self, inode: XfsInode) -> Iterator[bytes]:
        """Assemble directory blocks, whose parts may lie in several extents."""
        size, per_block = self._super.block_size, 1 << self._super.directory_block_log
        end = DATA_END // size
        parts: list[bytes] = []
        total = 0
        for extent in self._extents(inode, end):
            for index in range(extent.count):
                if extent.logical + index >= end:
                    return
                if (extent.logical + index) % per_block != len(parts):
                    raise DamagedError("a directory is damaged")
                total += size
                if total > MAX_DIRECTORY:
                    raise DamagedError(f"a directory of more than {MAX_DIRECTORY:,} bytes")
                parts.append(self._source.read(extent.offset + index * size, size))
                if len(parts) == per_block:
                    yield b"".join(parts)
                    parts = []

    def _extents(self, inode: XfsInode, end: int) -> Iterator[Extent]:
        return ascending(data_extents(inode, self._super, bounded(self._read_block), end))

    def _read_block(self, number: int) -> bytes:
        return self._source.read(self._super.block_offset(number), self._super.block_size)

    def _inode(self, number: int) -> XfsInode:
        offset = self._super.inode_offset(number)
        return parse_inode(self._source.read(offset, self._super.inode_size), number)
