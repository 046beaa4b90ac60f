"""The rpm database of a system: how many packages it holds, and who signed them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from services.inspector.disk.errors import ContentError, DamagedError
from services.inspector.disk.tree import Place, Tree
from services.inspector.reading import find_file, read_bytes
from services.inspector.release_files import Unreadable
from services.inspector.rpm import berkeley, ndb, sqlite
from services.inspector.rpm.header import Package, parse_header
from services.inspector.rpm.keys import RED_HAT_KEYS

# rpm's own, the older, and where ostree keeps it; each may be a link to another.
FOLDERS = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
# In the order in which rpm itself would choose where two were left side by side.
_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_LOG = "-wal"
# Real ones have 15 to 30 MB; all of it is held in memory, some formats twice.
_MAX_SIZE = 96 * 1024 * 1024
_MAX_LOG = 32 * 1024 * 1024
_AT_ONCE = 4 * 1024 * 1024
# Not a package: a key that was imported is kept as one.
_KEY = "gpg-pubkey"
_MAX_RELEASES = 4
# Ten times as many as a distribution has.
_MAX_PACKAGES = 200_000


@dataclass(frozen=True, slots=True)
class Signatures:
    """What a database says: packages, those signed by each key, those by none, release packages.

    `by_red_hat` counts packages that bear a signature of any of Red Hat's keys.
    """

    path: str
    packages: int
    by_key: tuple[tuple[str, int], ...]
    by_red_hat: int
    unsigned: int
    releases: tuple[Package, ...]


def read_rpm_database(tree: Tree) -> list[Signatures | Unreadable]:
    """Read the first rpm database that can be read; those tried in vain before it are told too.

    Nothing when there is none.
    """
    found: list[Signatures | Unreadable] = []
    for folder in FOLDERS:
        for name in _FILES:
            path = f"{folder}/{name}"
            read = _read(tree, path)
            if read is not None:
                found.append(read)
            if isinstance(read, Signatures):
                return found
    return found


def _read(tree: Tree, path: str) -> Signatures | Unreadable | None:
    place = find_file(tree, path, _MAX_SIZE)
    if not isinstance(place, Place):
        return place
    try:
        return summarise(path, _packages(tree, path, place))
    except ContentError as error:
        return Unreadable(path, f"the rpm database {error}")


def _packages(tree: Tree, path: str, place: Place) -> Iterator[Package]:
    data = _content(place)
    if sqlite.recognises(data):
        log = read_bytes(tree, path + _LOG, _MAX_LOG)
        if isinstance(log, Unreadable):
            # Without its log it tells of the past.
            raise DamagedError(f"has a log that cannot be read: {log.reason}")
        found = sqlite.blobs(data, log or b"", _MAX_SIZE)
    elif ndb.recognises(data):
        found = ndb.blobs(data)
    elif berkeley.recognises(data):
        found = berkeley.blobs(data)
    else:
        raise DamagedError("is empty" if not data.strip(b"\0") else "is of no known format")
    return map(parse_header, found)


def _content(place: Place) -> bytes:
    """Read a whole file piece by piece: no piece is held twice."""
    data = bytearray()
    while len(data) < place.node.size:
        part = place.filesystem.read(place.node, len(data), _AT_ONCE)
        if not part:
            raise DamagedError(f"ends after {len(data):,} of {place.node.size:,} bytes")
        data += part
    return bytes(data)


def summarise(path: str, packages: Iterator[Package]) -> Signatures:
    """Count packages by who signed them; DamagedError when there are more than can be."""
    total = by_red_hat = unsigned = 0
    by_key: Counter[str] = Counter()
    releases: list[Package] = []
    for package in packages:
        if package.name == _KEY:
            continue
        total += 1
        if total > _MAX_PACKAGES:
            raise DamagedError(f"holds more than {_MAX_PACKAGES:,} packages")
        by_key.update(package.keys)
        by_red_hat += bool(package.keys & RED_HAT_KEYS.keys())
        unsigned += not package.keys
        if package.is_release and len(releases) < _MAX_RELEASES:
            releases.append(package)
    ranked = sorted(by_key.items(), key=lambda each: (-each[1], each[0]))
    return Signatures(path, total, tuple(ranked), by_red_hat, unsigned, tuple(releases))
