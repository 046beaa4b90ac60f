"""The write-ahead log of SQLite: what was committed to it and is not in the database yet.

Format: "The WAL-mode File Format" of sqlite.org/walformat.html, read 2026-11. A copy taken of a
running machine has its newest packages there.
"""

import struct

from services.inspector.disk.errors import DamagedError

_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}
_HEADER = struct.Struct(">IIIIIIII")
_FRAME = struct.Struct(">IIIIII")
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))
_MASK = 0xFFFFFFFF


def apply_wal(database: bytearray, log: bytes, most: int) -> None:
    """Write the committed pages of a log into the database; a log that is not valid adds nothing.

    So SQLite itself recovers: the first frame that is not of this log or has a wrong checksum ends
    it, and pages count up to the last frame that commits. DamagedError when the database would grow
    beyond `most` bytes.
    """
    if len(log) < _HEADER.size:
        return
    magic, _, page_size, _, salt, pepper, first, second = _HEADER.unpack_from(log)
    order = _MAGICS.get(magic)
    if order is None or page_size not in _PAGE_SIZES:
        return
    sums = _checksum(log[:24], order, (0, 0))
    if sums != (first, second):
        return
    waiting: dict[int, int] = {}
    committed: dict[int, int] = {}
    pages = 0
    for start in range(
        _HEADER.size, len(log) - _FRAME.size - page_size + 1, _FRAME.size + page_size
    ):
        number, size, own_salt, own_pepper, first, second = _FRAME.unpack_from(log, start)
        content = start + _FRAME.size
        sums = _checksum(log[start : start + 8], order, sums)
        sums = _checksum(log[content : content + page_size], order, sums)
        if (own_salt, own_pepper) != (salt, pepper) or sums != (first, second) or not number:
            break
        waiting[number] = content
        if size:
            committed |= waiting
            waiting.clear()
            pages = size
    if pages:
        _write(database, log, committed, pages, page_size, most)


def _write(
    database: bytearray,
    log: bytes,
    places: dict[int, int],
    pages: int,
    page_size: int,
    most: int,
) -> None:
    size = pages * page_size
    if size > most:
        raise DamagedError(f"grows to {size:,} bytes by its log, more than are read")
    del database[size:]
    database.extend(bytes(size - len(database)))
    for number, start in places.items():
        if number <= pages:
            offset = (number - 1) * page_size
            database[offset : offset + page_size] = log[start : start + page_size]


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for low, high in zip(words[::2], words[1::2], strict=True):
        one = one + low + two & _MASK
        two = two + high + one & _MASK
    return one, two
