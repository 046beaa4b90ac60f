"""What every file system reader offers, whatever it reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

# A symbolic link's target, as Linux bounds it (PATH_MAX).
MAX_LINK = 4096

# Bytes of one directory that are read at most: about a million entries.
MAX_DIRECTORY = 64 * 1024 * 1024


class Kind(Enum):
    """What an inode is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    OTHER = "special file"


class LogState(Enum):
    """How the file system was left, as its journal tells.

    A copy taken under a mounted file system is DIRTY: what was written last stands in the
    journal only, and the files as read are those of some time before.
    """

    CLEAN = "clean"
    DIRTY = "dirty"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Node:
    """One inode: its number, what it is, and its size in bytes."""

    number: int
    kind: Kind
    size: int


class FileSystem(Protocol):
    """A file system, read-only. Every method raises DiskError when the disk does not give it."""

    @property
    def name(self) -> str:
        """As people call it: ext4, XFS."""
        ...

    @property
    def uuid(self) -> str:
        """Its own id, as /etc/fstab writes it; empty when it has none."""
        ...

    def log_state(self) -> LogState:
        """Tell how its journal was left."""
        ...

    def root(self) -> Node:
        """Find the root directory."""
        ...

    def node(self, number: int) -> Node:
        """Find the inode of this number."""
        ...

    def entries(self, directory: Node) -> Iterator[tuple[bytes, int]]:
        """Give names and inode numbers, without . and .., in the order of the disk."""
        ...

    def read(self, file: Node, offset: int, length: int) -> bytes:
        """Read that part of the file; less where the file ends before. Holes are zeros."""
        ...

    def read_link(self, link: Node) -> bytes:
        """Read the target of a symbolic link."""
        ...


_KINDS = {0o100000: Kind.FILE, 0o040000: Kind.DIRECTORY, 0o120000: Kind.SYMLINK}


def kind_of(mode: int) -> Kind:
    """Say what the type bits of an inode's mode mean."""
    return _KINDS.get(mode & 0o170000, Kind.OTHER)
