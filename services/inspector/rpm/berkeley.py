"""Packages in a Berkeley DB hash, of rpm before 4.16: RHEL 8 and older.

Layout: db_page.h of Berkeley DB 5.3, read 2026-11. Every page is looked at once, which finds every
package without following the hash's buckets.
"""

import struct
from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError, UnsupportedError

_MAGIC = 0x061561
_MAGIC_AT = 12
_META = 92
_ELEMENTS_AT = 88
_HEADER = 26
_HASH_META, _HASH_UNSORTED, _HASH, _OVERFLOW = 8, 2, 13, 7
_KEY_DATA, _OFF_PAGE = 1, 3
_OFF_PAGE_SIZE = 12
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))


def recognises(data: bytes) -> bool:
    """Say whether a file begins as a Berkeley DB hash does."""
    return _order(data) is not None


def blobs(data: bytes) -> Iterator[bytes]:
    """Give every package's header; DamagedError when one cannot be had, or pages are missing."""
    yield from _Hash(data).values()


def _order(data: bytes) -> str | None:
    magic = data[_MAGIC_AT : _MAGIC_AT + 4]
    return {_MAGIC.to_bytes(4, "little"): "<", _MAGIC.to_bytes(4, "big"): ">"}.get(magic)


class _Hash:
    def __init__(self, data: bytes) -> None:
        order = _order(data)
        if order is None or len(data) < _META:
            raise DamagedError("is no Berkeley DB hash")
        self._data = data
        self._pages = struct.Struct(order + "8xIIIHHBB")
        self._indexes = order + "H"
        self._off_page = struct.Struct(order + "B3xII")
        _, self._page_size, encrypted, kind = struct.unpack_from(order + "IIBB", data, 16)
        (last,) = struct.unpack_from(order + "I", data, 32)
        if encrypted:
            raise UnsupportedError("an encrypted Berkeley DB")
        if kind != _HASH_META or self._page_size not in _PAGE_SIZES:
            raise DamagedError("is no Berkeley DB hash")
        if (last + 1) * self._page_size > len(data):
            raise DamagedError(f"is cut off: {len(data):,} bytes of {(last + 1):,} pages")
        self._count = last + 1
        (self._elements,) = struct.unpack_from(order + "I", data, _ELEMENTS_AT)
        self._read: set[int] = set()
        self._found = 0

    def values(self) -> Iterator[bytes]:
        for number in range(1, self._count):
            own, _, _, entries, _, _, kind = self._page(number)
            if kind in {_HASH, _HASH_UNSORTED}:
                if own != number:
                    raise DamagedError(f"page {number:,} calls itself {own:,}")
                yield from self._of_page(number, entries)
        if self._found < self._elements:
            raise DamagedError(f"holds {self._found:,} of its {self._elements:,} entries")

    def _page(self, number: int) -> tuple[int, ...]:
        """Read a page's header: own number, previous, next, entries, free, level, type."""
        if not 0 < number < self._count:
            raise DamagedError(f"points at page {number:,} of {self._count:,}")
        return self._pages.unpack_from(self._data, number * self._page_size)

    def _of_page(self, number: int, entries: int) -> Iterator[bytes]:
        """Give the values of a page, on which keys and values take turns."""
        start = number * self._page_size
        if entries % 2 or _HEADER + 2 * entries > self._page_size:
            raise DamagedError(f"page {number:,} holds {entries:,} entries")
        places = struct.unpack_from(f"{self._indexes[0]}{entries}H", self._data, start + _HEADER)
        for index in range(0, entries, 2):
            self._found += 1
            key, value = places[index], places[index + 1]
            before = places[index - 1] if index else self._page_size
            if not _HEADER < value < key < before <= self._page_size:
                raise DamagedError(f"page {number:,} holds entries out of order")
            if self._data[start + key + 1 : start + before] == bytes(before - key - 1):
                continue  # the package with number 0 is the counter of numbers
            yield self._value(start + value, start + key)

    def _value(self, start: int, end: int) -> bytes:
        kind = self._data[start]
        if kind == _KEY_DATA:
            return self._data[start + 1 : end]
        if kind != _OFF_PAGE or end - start != _OFF_PAGE_SIZE:
            raise DamagedError(f"holds a value of the type {kind}")
        _, first, length = self._off_page.unpack_from(self._data, start)
        return self._overflow(first, length)

    def _overflow(self, number: int, length: int) -> bytes:
        """Join a value from its chain of pages, of which none belongs to two values."""
        parts, missing = [], length
        while missing > 0:
            _, _, following, _, used, _, kind = self._page(number)
            if kind != _OVERFLOW or number in self._read:
                raise DamagedError(f"page {number:,} is no page of its own of a large value")
            self._read.add(number)
            if not 0 < used <= min(missing, self._page_size - _HEADER):
                raise DamagedError(f"page {number:,} holds {used:,} bytes of a large value")
            start = number * self._page_size + _HEADER
            parts.append(self._data[start : start + used])
            missing -= used
            number = following
        return b"".join(parts)
