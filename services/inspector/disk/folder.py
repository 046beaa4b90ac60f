"""A folder of this machine read as if it were a root file system, never leaving it."""

import os
from collections.abc import Iterator
from pathlib import Path

from services.inspector.disk.errors import DeniedError, MissingError, SourceError, WrongKindError
from services.inspector.disk.filesystem import Kind, LogState, Node, kind_of


class FolderFileSystem:
    """A FileSystem over a folder: an unpacked root, or one that is mounted already.

    Links are read as links, so that whoever resolves them stays within the folder. Inode numbers
    are this object's own, in the order of discovery.
    """

    name = "folder"
    uuid = ""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder.resolve()]
        self._numbers = {self._paths[0]: 0}
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder that can be read")

    def log_state(self) -> LogState:
        """Tell NONE: what is mounted needs no replay."""
        return LogState.NONE

    def root(self) -> Node:
        """Find the folder itself."""
        return self.node(0)

    def node(self, number: int) -> Node:
        """Find the file or directory of this number."""
        try:
            status = self._paths[number].lstat()
        except OSError as error:
            raise _trouble(error) from error
        return Node(number, kind_of(status.st_mode), status.st_size)

    def entries(self, directory: Node) -> Iterator[tuple[bytes, int]]:
        """Give names and numbers, sorted."""
        if directory.kind is not Kind.DIRECTORY:
            raise WrongKindError("not a directory")
        path = self._paths[directory.number]
        try:
            children = sorted(path.iterdir())
        except OSError as error:
            raise _trouble(error) from error
        for child in children:
            yield os.fsencode(child.name), self._number(child)

    def read(self, file: Node, offset: int, length: int) -> bytes:
        """Read that part of the file; less where the file ends before."""
        if file.kind is not Kind.FILE:
            raise WrongKindError("not a file")
        try:
            # O_NOFOLLOW: a link put in the file's place meanwhile leads nowhere.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._paths[file.number], flags)
            with os.fdopen(descriptor, "rb", buffering=0) as opened:
                return os.pread(opened.fileno(), length, offset)
        except OSError as error:
            raise _trouble(error) from error

    def read_link(self, link: Node) -> bytes:
        """Read the target of a symbolic link."""
        try:
            return os.fsencode(self._paths[link.number].readlink())
        except OSError as error:
            raise _trouble(error) from error

    def _number(self, path: Path) -> int:
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        return self._numbers[path]


def _trouble(error: OSError) -> MissingError | DeniedError:
    if isinstance(error, FileNotFoundError):
        return MissingError("gone meanwhile")
    return DeniedError(f"cannot read it: {error.strerror}")
