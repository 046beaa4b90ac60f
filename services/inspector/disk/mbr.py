"""Master boot records with their chains of logical partitions."""

import struct
from dataclasses import dataclass

from services.inspector.disk.errors import ContentError
from services.inspector.disk.source import Source

PROTECTIVE = 0xEE
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_SECTOR = 512
_TABLE = 446
_MAX_LOGICAL = 128


@dataclass(frozen=True, slots=True)
class MbrEntry:
    """One partition; offset and size in bytes; logical ones are numbered from 5."""

    number: int
    offset: int
    size: int
    type: int


@dataclass(frozen=True, slots=True)
class Mbr:
    """The partitions of an MBR, without the extended ones that only hold others."""

    entries: tuple[MbrEntry, ...] = ()
    troubles: tuple[str, ...] = ()


def read_mbr(source: Source) -> Mbr:
    """Read the MBR; no entries when there is none, or when it makes no sense."""
    if source.size < _SECTOR:
        return Mbr()
    sector = source.read(0, _SECTOR)
    raw = _entries(sector)
    if not _plausible(sector, raw):
        return Mbr()
    entries: list[MbrEntry] = []
    troubles: list[str] = []
    for number, (kind, start, count) in enumerate(raw, 1):
        if kind in _EXTENDED:
            try:
                _read_logical(source, start, entries)
            except ContentError as error:
                troubles.append(f"the chain of logical partitions: {error}")
        elif kind and count:
            entries.append(MbrEntry(number, start * _SECTOR, count * _SECTOR, kind))
    entries.sort(key=lambda entry: entry.number)
    return Mbr(tuple(entries), tuple(troubles))


def _entries(sector: bytes) -> list[tuple[int, int, int]]:
    """Give type, first sector and number of sectors of the four entries."""
    fields = [struct.unpack_from("<4xB3xII", sector, _TABLE + 16 * i) for i in range(4)]
    return [(kind, start, count) for kind, start, count in fields]


def _plausible(sector: bytes, entries: list[tuple[int, int, int]]) -> bool:
    # Boot sectors of file systems carry the same 55AA, with code where the entries would be.
    if sector[510:512] != b"\x55\xaa":
        return False
    flags = {sector[_TABLE + 16 * i] for i in range(4)}
    used = [entry for entry in entries if entry[0]]
    return flags <= {0x00, 0x80} and all(start and count for _, start, count in used)


def _read_logical(source: Source, extended: int, entries: list[MbrEntry]) -> None:
    """Follow the chain: each link names one partition, relative to itself, and the next link."""
    link = extended
    seen: set[int] = set()
    while link not in seen and len(seen) < _MAX_LOGICAL:
        seen.add(link)
        sector = source.read(link * _SECTOR, _SECTOR)
        if sector[510:512] != b"\x55\xaa":
            return
        following = 0
        for kind, start, count in _entries(sector)[:2]:
            if kind in _EXTENDED:
                following = extended + start
            elif kind and count:
                offset = (link + start) * _SECTOR
                entries.append(MbrEntry(4 + len(seen), offset, count * _SECTOR, kind))
        if not following:
            return
        link = following
