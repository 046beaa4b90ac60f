"""GUID partition tables (UEFI 2.10, chapter 5), read from the backup when the first is damaged."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from services.inspector.disk.errors import ContentError, DamagedError
from services.inspector.disk.source import Source

# Disks of 4096-byte sectors exist; EBS volumes have 512.
_SECTORS = (512, 4096)
_MAX_TABLE = 256 * 1024
_MIN_HEADER = 92
_MIN_ENTRY = 128
_UNUSED = UUID(int=0)


@dataclass(frozen=True, slots=True)
class GptEntry:
    """One partition; offset and size in bytes; its type as a lower-case GUID."""

    number: int
    offset: int
    size: int
    type: str
    name: str


@dataclass(frozen=True, slots=True)
class Gpt:
    """The partitions of a GPT, and what was wrong while reading it."""

    entries: tuple[GptEntry, ...]
    troubles: tuple[str, ...] = ()


def read_gpt(source: Source) -> Gpt | None:
    """Read the GPT, from its first copy or else from a backup; None when no copy is whole."""
    for sector, lba in _copies(source):
        try:
            entries = _read_copy(source, sector, lba)
        except ContentError:
            continue
        backup = () if lba == 1 else ("the first GPT is damaged; its backup was read",)
        return Gpt(entries, backup)
    return None


def _copies(source: Source) -> Iterator[tuple[int, int]]:
    """Give sector size and place of each header to try, the first copies first."""
    for sector in _SECTORS:
        yield sector, 1
    for sector in _SECTORS:
        # Where the first copy says its backup lies: a disk made larger has it in the middle.
        if 2 * sector <= source.size:
            (alternate,) = struct.unpack("<Q", source.read(sector + 32, 8))
            if source.read(sector, 8) == b"EFI PART" and 1 < alternate < source.size // sector:
                yield sector, alternate
        yield sector, source.size // sector - 1


def _read_copy(source: Source, sector: int, lba: int) -> tuple[GptEntry, ...]:
    header = source.read(lba * sector, _MIN_HEADER)
    if header[:8] != b"EFI PART":
        raise DamagedError("no GPT header")
    length, checksum = struct.unpack_from("<II", header, 12)
    own, table_lba, count, size, table_checksum = struct.unpack_from("<Q40xQIII", header, 24)
    if not _MIN_HEADER <= length <= sector or own != lba:
        raise DamagedError("the GPT header is damaged")
    whole = source.read(lba * sector, length)
    if zlib.crc32(whole[:16] + bytes(4) + whole[20:]) != checksum:
        raise DamagedError("the GPT header's checksum is wrong")
    if size < _MIN_ENTRY or size % 8 or count * size > _MAX_TABLE:
        raise DamagedError("the GPT holds an impossible number of entries")
    table = source.read(table_lba * sector, count * size)
    if zlib.crc32(table) != table_checksum:
        raise DamagedError("the GPT's checksum is wrong")
    return tuple(_entries(table, size, sector))


def _entries(table: bytes, size: int, sector: int) -> Iterator[GptEntry]:
    for number, start in enumerate(range(0, len(table), size), 1):
        kind = UUID(bytes_le=table[start : start + 16])
        first, last = struct.unpack_from("<QQ", table, start + 32)
        if kind == _UNUSED or last < first:
            continue
        name = table[start + 56 : start + 128].decode("utf-16-le", "replace").partition("\0")[0]
        yield GptEntry(number, first * sector, (last - first + 1) * sector, str(kind), name)
