"""Small files of a root file system: their bytes, or why they cannot be had, or their absence."""

from collections.abc import Iterator

from services.inspector.disk.errors import ContentError, MissingError
from services.inspector.disk.filesystem import Kind
from services.inspector.disk.tree import Place, Tree
from services.inspector.evidence import Evidence, Strength, printable
from services.inspector.release_files import Unreadable

# More files than any folder of settings has that people keep by hand.
_MAX_FILES = 100


def find_file(tree: Tree, path: str, limit: int) -> Place | Unreadable | None:
    """Find a file of at most `limit` bytes; None when there is none of that name."""
    try:
        place = tree.find(path)
    except MissingError:
        return None
    except ContentError as error:
        return Unreadable(path, str(error))
    if place.node.kind is not Kind.FILE:
        return Unreadable(path, f"a {place.node.kind.value} where a file belongs")
    if place.node.size > limit:
        return Unreadable(path, f"{place.node.size:,} bytes, more than the {limit:,} that are read")
    return place


def read_bytes(tree: Tree, path: str, limit: int) -> bytes | Unreadable | None:
    """Read a whole file of at most `limit` bytes; None when there is none of that name."""
    place = find_file(tree, path, limit)
    if not isinstance(place, Place):
        return place
    try:
        return place.filesystem.read(place.node, 0, place.node.size)
    except ContentError as error:
        return Unreadable(path, str(error))


def read_text(tree: Tree, path: str, limit: int) -> str | Unreadable | None:
    """Read a text file as read_bytes does; what is not UTF-8 is replaced."""
    content = read_bytes(tree, path, limit)
    return content.decode(errors="replace") if isinstance(content, bytes) else content


def files_in(tree: Tree, folder: str, ending: str) -> Iterator[str | Unreadable]:
    """Give the paths in a folder whose names end so, sorted; nothing when there is no folder."""
    try:
        names = [name for name in tree.names(folder) if name.endswith(ending.encode())]
    except MissingError:
        return
    except ContentError as error:
        yield Unreadable(folder, str(error))
        return
    for name in names[:_MAX_FILES]:
        try:
            yield f"{folder}/{name.decode()}"
        except UnicodeDecodeError:
            shown = printable(name.decode(errors="replace"))
            yield Unreadable(f"{folder}/{shown}", "its name is not UTF-8")
    if len(names) > _MAX_FILES:
        yield Unreadable(folder, f"only {_MAX_FILES} of its {len(names):,} files are read")


def exists(tree: Tree, path: str) -> bool | Unreadable:
    """Say whether a path leads to something, or why that cannot be said."""
    try:
        return tree.exists(path)
    except ContentError as error:
        return Unreadable(path, str(error))


def unreadable(signal: str, what: Unreadable) -> Evidence:
    """Make the evidence of what was looked for and could not be read."""
    path, reason = printable(what.path), printable(what.reason)
    return Evidence(signal, path, reason, Strength.UNREADABLE)


def supporting(signal: str, path: str, value: str) -> Evidence:
    """Make a piece of evidence that decides nothing."""
    return Evidence(signal, printable(path), printable(value), Strength.SUPPORTING)
