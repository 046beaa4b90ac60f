"""One installed package's header, as every rpm database keeps it.

Two numbers (entries, bytes of data), the entries (tag, type, place, count), the data. Tags and
types: rpm's rpmtag.h; limits: its header.c; both of rpm 4.20 and 6.0, read 2026-11.
"""

import binascii
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from services.inspector.disk.errors import DamagedError
from services.inspector.evidence import printable
from services.inspector.rpm.openpgp import issuers

_COUNTS = struct.Struct(">II")
_ENTRY = struct.Struct(">IIII")
_MAX_ENTRIES = 0xFFFF
_NAME, _VERSION, _VENDOR, _PROVIDES = 1000, 1001, 1011, 1047
# SIGPGP, SIGGPG, DSAHEADER, RSAHEADER in binary; OPENPGP, of rpm 6, as an array of base64.
_BINARY_SIGNATURES = (259, 262, 267, 268)
_OPENPGP = 278
_WANTED = frozenset({_NAME, _VERSION, _VENDOR, _PROVIDES, _OPENPGP, *_BINARY_SIGNATURES})
_STRING, _BINARY, _STRING_ARRAY, _I18N = 6, 7, 8, 9
_MAX_SIGNATURES = 16

_Entry = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package: what it says of itself, and the ids of the keys that signed it.

    `is_release` says that it is the one that makes the system what it is: redhat-release and kin.
    """

    name: str
    version: str
    vendor: str
    keys: frozenset[str]
    is_release: bool


# What release packages provide: those of Red Hat's family, and SUSE's.
_RELEASE_PROVIDES = (b"redhat-release", b"system-release", b"distribution-release")
_RELEASE_NAME = b"redhat-release"


def parse_header(blob: bytes) -> Package:
    """Parse a header; DamagedError when it is none."""
    if len(blob) < _COUNTS.size:
        raise DamagedError("holds a package header that is cut off")
    count, size = _COUNTS.unpack_from(blob)
    start = _COUNTS.size + count * _ENTRY.size
    if not 0 < count <= _MAX_ENTRIES or start + size > len(blob):
        raise DamagedError(f"holds a package header of {count:,} entries and {size:,} bytes")
    entries: dict[int, _Entry] = {}
    for tag, kind, place, number in _ENTRY.iter_unpack(blob[_COUNTS.size : start]):
        if tag in _WANTED:
            # The first of a tag counts, so that many of one cannot cost much.
            entries.setdefault(tag, (kind, place, number))
    data = blob[start : start + size]
    name = _text(data, entries.get(_NAME))
    if not name:
        raise DamagedError("holds a package without a name")
    return Package(
        name,
        _text(data, entries.get(_VERSION)),
        _text(data, entries.get(_VENDOR)),
        frozenset(_signers(data, entries)),
        _is_release(name, data, entries.get(_PROVIDES)),
    )


def _text(data: bytes, entry: _Entry | None) -> str:
    if entry is None or entry[0] not in {_STRING, _STRING_ARRAY, _I18N}:
        return ""
    place = entry[1]
    end = data.find(b"\0", place)
    return printable(data[place:end].decode(errors="replace")) if 0 <= place < end else ""


def _is_release(name: str, data: bytes, entry: _Entry | None) -> bool:
    if name.encode().startswith(_RELEASE_NAME):
        return True
    if entry is None or entry[0] != _STRING_ARRAY:
        return False
    provided = data[entry[1] :].split(b"\0", entry[2])[: entry[2]]
    return any(each in _RELEASE_PROVIDES for each in provided)


def _signers(data: bytes, entries: dict[int, _Entry]) -> Iterable[str]:
    for tag in _BINARY_SIGNATURES:
        entry = entries.get(tag)
        if entry is not None and entry[0] == _BINARY:
            yield from issuers(data[entry[1] : entry[1] + entry[2]])
    entry = entries.get(_OPENPGP)
    if entry is not None and entry[0] == _STRING_ARRAY:
        wanted = min(entry[2], _MAX_SIGNATURES)
        for text in data[entry[1] :].split(b"\0", wanted)[:wanted]:
            try:
                yield from issuers(binascii.a2b_base64(text))
            except binascii.Error:
                continue
