"""Package repositories that are switched on, as yum, dnf and zypper are told.

Sources, read 2026-11: yum.conf(5), dnf.conf(5) of dnf 4 (`reposdir`, `enabled`), and libzypp, whose
files have the same form. A repository's name or address never decides: anybody can write one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.inspector.disk.errors import ContentError
from services.inspector.disk.tree import Tree
from services.inspector.evidence import Evidence
from services.inspector.reading import files_in, read_text, supporting, unreadable
from services.inspector.release_files import Unreadable

SIGNAL = "repositories"
_MAIN = "main"
# The main file of each, and the folders it looks into unless `reposdir` says otherwise.
_PROGRAMS = (
    ("/etc/yum.conf", ("/etc/yum/repos.d", "/etc/yum.repos.d")),
    ("/etc/dnf/dnf.conf", ("/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d")),
)
_ZYPP = "/etc/zypp/repos.d"
_MAX_FOLDERS = 10
# Red Hat's redhat.repo of a machine with many subscriptions has some 700 KB.
_LIMIT = 2 * 1024 * 1024
_OFF = frozenset({"0", "no", "false", "off"})
_ADDRESSES = ("baseurl", "mirrorlist", "metalink")
_SEPARATORS = re.compile(r"[\s,]+")
_RED_HAT = "redhat.com"
_MAX_SHOWN = 900


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a file: its id, whether it is switched on, and where it says it lies."""

    id: str
    enabled: bool
    addresses: tuple[str, ...]

    @property
    def red_hats(self) -> bool:
        """Say whether one of its addresses is at Red Hat: its CDN, or its RHUI in a cloud."""
        hosts = [_host(each) for each in self.addresses]
        return any(host == _RED_HAT or host.endswith("." + _RED_HAT) for host in hosts)


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file and the repositories in it."""

    path: str
    repositories: tuple[Repository, ...]

    @property
    def enabled(self) -> tuple[Repository, ...]:
        """Give those that are switched on."""
        return tuple(each for each in self.repositories if each.enabled)


def read_repositories(tree: Tree) -> list[RepositoryFile | Unreadable]:
    """Read every file of repositories that yum, dnf or zypper would, each once."""
    found: list[RepositoryFile | Unreadable] = []
    folders: list[str] = []
    for path, usual in _PROGRAMS:
        text = read_text(tree, path, _LIMIT)
        if isinstance(text, Unreadable):
            found.append(text)
        sections = parse(text) if isinstance(text, str) else {}
        said = sections.get(_MAIN, {}).get("reposdir", "")
        folders += [each for each in _SEPARATORS.split(said) if each][:_MAX_FOLDERS] or usual
        found += _file(path, sections)
    places: set[tuple[int, int]] = set()
    for folder in dict.fromkeys(_normal(each) for each in (*folders, _ZYPP)):
        if _is_new(tree, folder, places):
            found += _folder(tree, folder)
    return found


def _is_new(tree: Tree, folder: str, places: set[tuple[int, int]]) -> bool:
    """Say whether a folder is none that was read: one is often a link to another."""
    try:
        place = tree.find(folder)
    except ContentError:
        return True  # whoever lists it meets the same, and says so
    key = (id(place.filesystem), place.node.number)
    known = key in places
    places.add(key)
    return not known


def _folder(tree: Tree, folder: str) -> Iterator[RepositoryFile | Unreadable]:
    for path in files_in(tree, folder, ".repo"):
        if isinstance(path, Unreadable):
            yield path
            continue
        text = read_text(tree, path, _LIMIT)
        if isinstance(text, str):
            yield from _file(path, parse(text))
        else:
            yield text or Unreadable(path, "a link that leads nowhere")


def _normal(folder: str) -> str:
    return "/" + "/".join(part for part in folder.removeprefix("file://").split("/") if part)


def _file(path: str, sections: Mapping[str, Mapping[str, str]]) -> list[RepositoryFile]:
    repositories = tuple(
        Repository(name, values.get("enabled", "").strip().lower() not in _OFF, _addresses(values))
        for name, values in sections.items()
        if name != _MAIN
    )
    return [RepositoryFile(path, repositories)] if repositories else []


def _addresses(values: Mapping[str, str]) -> tuple[str, ...]:
    words = [word for name in _ADDRESSES for word in _SEPARATORS.split(values.get(name, ""))]
    return tuple(word for word in words if word)


def _host(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def parse(text: str) -> dict[str, dict[str, str]]:
    """Parse sections of settings; a line that begins with a space goes on with the one before.

    Of a setting that stands twice, the last counts; sections of one name are one.
    """
    sections: dict[str, dict[str, str]] = {}
    values: dict[str, list[str]] = {}
    lines: dict[str, dict[str, list[str]]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        if line[0].isspace():
            if current is not None:
                current.append(stripped)
        elif stripped.startswith("[") and "]" in stripped:
            values = lines.setdefault(stripped[1 : stripped.index("]")].strip(), {})
            current = None
        else:
            current = _setting(stripped, values)
    for name, settings in lines.items():
        sections[name] = {key: "\n".join(parts) for key, parts in settings.items()}
    return sections


def _setting(line: str, values: dict[str, list[str]]) -> list[str] | None:
    match = re.match(r"([^=:]*?)\s*[=:]\s*(.*)", line)
    if match is None:
        return None
    values[match[1].lower()] = [match[2]]
    return values[match[1].lower()]


def evidence_of(file: RepositoryFile | Unreadable) -> Evidence:
    """Name the repositories of a file that are switched on."""
    if isinstance(file, Unreadable):
        return unreadable(SIGNAL, file)
    ids = [each.id for each in file.enabled]
    said = _shortened(ids) if ids else f"none of {len(file.repositories):,} is enabled"
    return supporting(SIGNAL, file.path, said)


def _shortened(ids: Iterable[str]) -> str:
    """Join names, as many as can be shown, and count the others."""
    shown, rest = "", 0
    for each in ids:
        if rest or len(shown) + len(each) > _MAX_SHOWN:
            rest += 1
        else:
            shown += f", {each}" if shown else each
    return f"{shown}, and {rest:,} more" if rest and shown else shown or f"{rest:,} with long names"
