"""The files by which an installed system says what it is: os-release, and what came before it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.inspector.disk.errors import ContentError, MissingError
from services.inspector.disk.tree import Tree
from services.inspector.evidence import printable

# os-release(5), read 2026-11: the first of the two that exists counts.
OS_RELEASE_PATHS = ("/etc/os-release", "/usr/lib/os-release")
_MAX_SIZE = 64 * 1024
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_ESCAPE = re.compile(r"\\(.)")
_RELEASE = re.compile(r"(?P<name>.+?)\s+(?:release|version)\s+(?P<version>\d[\w.]*)", re.IGNORECASE)
_UPDATE = re.compile(r"Update (\d+)")
_LEADING_VERSION = re.compile(r"\d[\w.]*")
_SUSE = re.compile(r"^(VERSION|PATCHLEVEL)\s*=\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Release:
    """What one release file says; `version` and `name` are empty when it does not."""

    path: str
    distribution: str
    version: str
    name: str


@dataclass(frozen=True, slots=True)
class OsRelease:
    """One os-release: where it stands, and its variables."""

    path: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is there, or may be, and cannot be read: why."""

    path: str
    reason: str


# The beginnings of the first line, longest first where one begins another. Only what stands at the
# beginning counts: CentOS and others speak of "Red Hat Enterprise Linux" further on.
_NAMES = (
    ("Red Hat Enterprise Linux", "rhel"),
    ("CentOS", "centos"),
    ("Oracle Linux", "ol"),
    ("Enterprise Linux Enterprise Linux", "ol"),
    ("Rocky Linux", "rocky"),
    ("AlmaLinux", "almalinux"),
    ("Scientific Linux", "scientific"),
    ("Fedora", "fedora"),
    ("Amazon Linux", "amzn"),
    ("CloudLinux", "cloudlinux"),
    ("Virtuozzo", "virtuozzo"),
    ("XenServer", "xenenterprise"),
    ("EuroLinux", "eurolinux"),
    ("openEuler", "openeuler"),
    ("openSUSE", "opensuse"),
    ("SUSE Linux Enterprise", "sles"),
)


def read_os_release(tree: Tree) -> list[OsRelease | Unreadable]:
    """Read each os-release that is there or cannot be read, the one that counts first."""
    found: list[OsRelease | Unreadable] = []
    for path in OS_RELEASE_PATHS:
        text = _text(tree, path)
        if isinstance(text, Unreadable):
            found.append(text)
        elif text is not None:
            os_release = OsRelease(path, parse_os_release(text))
            # One is usually a link to the other: that is one witness, not two.
            if not any(_same(each, os_release) for each in found):
                found.append(os_release)
    return found


def read_releases(tree: Tree) -> list[Release | Unreadable]:
    """Read the release files of older systems, the most telling first."""
    found: list[Release | Unreadable] = []
    for path, parse in _PARSERS:
        text = _text(tree, path)
        if isinstance(text, Unreadable):
            found.append(text)
        elif text is not None:
            release = parse(path, text)
            found += [release] if release else []
    return found


def parse_os_release(text: str) -> Mapping[str, str]:
    """Parse variables as os-release(5) has them: shell assignments, the last of a name counts."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            values[match[1]] = printable(_unquoted(match[2].strip()))
    return MappingProxyType(values)


def _same(one: OsRelease | Unreadable, other: OsRelease) -> bool:
    return isinstance(one, OsRelease) and one.values == other.values


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote == "'":
        return value[1:].partition("'")[0]
    if quote == '"':
        inner = re.match(r'"((?:[^"\\]|\\.)*)', value)
        return _ESCAPE.sub(r"\1", inner[1]) if inner else ""
    return _ESCAPE.sub(r"\1", value.partition(" #")[0].rstrip())


def _text(tree: Tree, path: str) -> str | Unreadable | None:
    """Read a text file; None when it is not there."""
    try:
        return tree.read(path, _MAX_SIZE).decode(errors="replace")
    except MissingError:
        return None
    except ContentError as error:
        return Unreadable(path, str(error))


def named(text: str) -> str:
    """Give the distribution whose name a text begins with; "" for none known here."""
    return next((ours for name, ours in _NAMES if text.startswith(name)), "")


def _first_line(path: str, text: str) -> Release | None:
    """Parse "CentOS release 6.10 (Final)", also "... release 4 (Nahant Update 9)"."""
    line = printable(next(iter(text.splitlines()), ""))
    distribution = named(line)
    match = _RELEASE.match(line)
    version = match["version"] if match else ""
    update = _UPDATE.search(line)
    if version and update:
        version = f"{version}.{update[1]}"
    return Release(path, distribution, version, line) if line else None


def _suse(path: str, text: str) -> Release | None:
    """Parse a first line with the version in lines of its own: VERSION = 11, PATCHLEVEL = 3."""
    release = _first_line(path, text)
    if release is None:
        return None
    numbers = dict(_SUSE.findall(text))
    level = numbers.get("PATCHLEVEL", "0")
    version = numbers.get("VERSION", release.version) + ("" if level == "0" else f".{level}")
    return Release(path, release.distribution, printable(version), release.name)


def _lsb(path: str, text: str) -> Release | None:
    """Parse DISTRIB_ID and its companions, as Ubuntu has them."""
    values = parse_os_release(text)
    distribution = values.get("DISTRIB_ID", "").lower()
    if not distribution:
        return None
    name = values.get("DISTRIB_DESCRIPTION", distribution)
    return Release(path, distribution, values.get("DISTRIB_RELEASE", ""), name)


def _version_only(distribution: str) -> Callable[[str, str], Release | None]:
    """Make the parser of a file that holds a version and nothing else ("12.5", "trixie/sid")."""

    def parse(path: str, text: str) -> Release | None:
        line = printable(next(iter(text.splitlines()), ""))
        match = _LEADING_VERSION.match(line)
        return Release(path, distribution, match[0] if match else "", line) if line else None

    return parse


# Files that one distribution alone ships, and after them those that others ship too: Oracle Linux
# and others carry a redhat-release that says "Red Hat", Ubuntu carries a debian_version.
_PARSERS: tuple[tuple[str, Callable[[str, str], Release | None]], ...] = (
    ("/etc/oracle-release", _first_line),
    ("/etc/enterprise-release", _first_line),
    ("/etc/rocky-release", _first_line),
    ("/etc/almalinux-release", _first_line),
    ("/etc/centos-release", _first_line),
    ("/etc/sl-release", _first_line),
    ("/etc/fedora-release", _first_line),
    ("/etc/system-release", _first_line),
    ("/etc/redhat-release", _first_line),
    ("/etc/SuSE-release", _suse),
    ("/etc/lsb-release", _lsb),
    ("/etc/alpine-release", _version_only("alpine")),
    ("/etc/debian_version", _version_only("debian")),
)
