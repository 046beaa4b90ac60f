"""Installed packages of dpkg and apk: how many, and the one that the distribution is named by.

dpkg-query(1) and deb-control(5) for Debian's status file, apk's "installed" file of Alpine's wiki
(Apk spec), read 2026-11. Neither keeps who signed a package.
"""

from collections.abc import Iterator

from services.inspector.disk.tree import Tree
from services.inspector.evidence import Evidence
from services.inspector.reading import read_bytes, supporting, unreadable
from services.inspector.release_files import Unreadable

DPKG_PATH = "/var/lib/dpkg/status"
APK_PATH = "/lib/apk/db/installed"
_LIMIT = 64 * 1024 * 1024
_INSTALLED = b" installed"


def other_packages(tree: Tree) -> list[Evidence]:
    """Count the packages of dpkg and of apk, where there are any."""
    found = []
    for signal, path, said in (
        ("dpkg database", DPKG_PATH, _dpkg),
        ("apk database", APK_PATH, _apk),
    ):
        content = read_bytes(tree, path, _LIMIT)
        if isinstance(content, Unreadable):
            found.append(unreadable(signal, content))
        elif content is not None:
            text = said(content)
            found.append(
                supporting(signal, path, text)
                if text
                else unreadable(signal, Unreadable(path, "it holds no package"))
            )
    return found


def _dpkg(content: bytes) -> str:
    count, base = 0, b""
    for fields in _paragraphs(content):
        if fields.get(b"Status", b"").endswith(_INSTALLED):
            count += 1
            if fields.get(b"Package") == b"base-files":
                base = fields.get(b"Version", b"")
    return _said(count, "base-files", base)


def _apk(content: bytes) -> str:
    count, base = 0, b""
    for fields in _paragraphs(content):
        count += b"P" in fields
        if fields.get(b"P") == b"alpine-baselayout":
            base = fields.get(b"V", b"")
    return _said(count, "alpine-baselayout", base)


def _said(count: int, name: str, version: bytes) -> str:
    if not count:
        return ""
    said = f"{count:,} packages"
    return f"{said}, {name} {version.decode(errors='replace')}" if version else said


def _paragraphs(content: bytes) -> Iterator[dict[bytes, bytes]]:
    """Give the fields of each paragraph; what a line goes on with on the next is passed over."""
    fields: dict[bytes, bytes] = {}
    for line in content.split(b"\n"):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[:1].isspace():
            name, _, value = line.partition(b":")
            fields.setdefault(name, value.strip())
    if fields:
        yield fields
