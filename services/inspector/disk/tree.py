"""Paths as the installed system sees them: links are followed within the disk, never out of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.inspector.disk.errors import DamagedError, MissingError, WrongKindError
from services.inspector.disk.filesystem import FileSystem, Kind, Node

# As Linux bounds it (MAXSYMLINKS, path_resolution(7)).
_MAX_LINKS = 40
_MAX_NAMES = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory that a path led to: the file system that holds it, and its inode."""

    filesystem: FileSystem
    node: Node


class Tree:
    """A root file system with others mounted in it, by absolute paths in POSIX form."""

    def __init__(self, root: FileSystem) -> None:
        self.root = root
        self._mounts: dict[tuple[int, int], Place] = {}
        self._directories: dict[tuple[int, int], dict[bytes, int]] = {}

    def mount(self, path: str, filesystem: FileSystem) -> None:
        """Let a directory show another file system's root; DiskError when it is not there."""
        place = self.find(path)
        if place.node.kind is not Kind.DIRECTORY:
            raise WrongKindError(f"{path} is not a directory")
        self._mounts[_key(place)] = Place(filesystem, filesystem.root())

    def find(self, path: str) -> Place:
        """Follow a path to its end, links included.

        Raises MissingError when a name is not in its directory, WrongKindError when a directory
        is wanted and something else stands there, DamagedError when links lead round in circles.
        """
        top = self._covered(Place(self.root, self.root.root()))
        way = [top]
        names = _names(path.encode())
        links = 0
        while names:
            name = names.pop()
            if name == b"..":
                way = way[:-1] or [top]
                continue
            place = self._step(way[-1], name)
            if place.node.kind is not Kind.SYMLINK:
                way.append(place)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise DamagedError("symbolic links lead round in circles")
            target = place.filesystem.read_link(place.node)
            if target.startswith(b"/"):
                way = [top]
            names += _names(target)
            if len(names) > _MAX_NAMES:
                raise DamagedError("symbolic links lead to an endless path")
        return way[-1]

    def read(self, path: str, limit: int) -> bytes:
        """Read the file at a path, at most `limit` bytes of it."""
        place = self.find(path)
        if place.node.kind is not Kind.FILE:
            raise WrongKindError(f"a {place.node.kind.value} where a file belongs")
        return place.filesystem.read(place.node, 0, limit)

    def names(self, path: str) -> list[bytes]:
        """List the names in the directory at a path, in byte order."""
        return sorted(self._listing(self.find(path)))

    def exists(self, path: str) -> bool:
        """Say whether a path leads to something; other DiskErrors than absence are raised."""
        try:
            self.find(path)
        except (MissingError, WrongKindError):
            return False
        return True

    def _step(self, place: Place, name: bytes) -> Place:
        if place.node.kind is not Kind.DIRECTORY:
            raise WrongKindError("a path leads through something that is no directory")
        number = self._listing(place).get(name)
        if number is None:
            raise MissingError(f"no {name.decode(errors='replace')!r} there")
        return self._covered(Place(place.filesystem, place.filesystem.node(number)))

    def _covered(self, place: Place) -> Place:
        return self._mounts.get(_key(place), place)

    def _listing(self, place: Place) -> dict[bytes, int]:
        key = _key(place)
        if key not in self._directories:
            self._directories[key] = dict(place.filesystem.entries(place.node))
        return self._directories[key]


def _key(place: Place) -> tuple[int, int]:
    return id(place.filesystem), place.node.number


def _names(path: bytes) -> list[bytes]:
    """Split a path into its names, last first, without empty ones and single dots."""
    return [name for name in reversed(path.split(b"/")) if name not in {b"", b"."}]


def walk(filesystem: FileSystem) -> Iterator[tuple[bytes, Node]]:
    """Give every path below the root with its inode; a directory that leads back into itself ends.

    For comparing whole trees: an inspection reads only the paths it needs.
    """
    root = filesystem.root()
    waiting = [(b"", root)]
    seen = {root.number}
    while waiting:
        path, directory = waiting.pop()
        for name, number in filesystem.entries(directory):
            node = filesystem.node(number)
            yield path + b"/" + name, node
            if node.kind is Kind.DIRECTORY and node.number not in seen:
                seen.add(node.number)
                waiting.append((path + b"/" + name, node))
