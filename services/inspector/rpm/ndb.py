"""Packages in rpm's own format, ndb: SUSE's since 15.3.

Layout: rpm's lib/backend/ndb/rpmpkg.c (4.20), read 2026-11. Each package has a checksum.
"""

import struct
import zlib
from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError, UnsupportedError

_MAGIC = b"RpmP"
_PAGE = 4096
_UNIT = 16
# Of the header, the magic, version, generation and number of pages with slots.
_HEADER = struct.Struct("<4sIII")
_HEADER_SIZE = 32
_SLOT = struct.Struct("<4sIII")
_HEAD = struct.Struct("<4sIII")
_TAIL = struct.Struct("<II4s")


def recognises(data: bytes) -> bool:
    """Say whether a file begins as an ndb does."""
    return data.startswith(_MAGIC)


def blobs(data: bytes) -> Iterator[bytes]:
    """Give every package's header; DamagedError when one cannot be had."""
    if len(data) < _HEADER_SIZE:
        raise DamagedError("is cut off")
    _, version, _, pages = _HEADER.unpack_from(data)
    if version:
        raise UnsupportedError(f"an ndb of version {version}")
    end = pages * _PAGE
    if not 0 < end <= len(data):
        raise DamagedError(f"is cut off: {len(data):,} bytes, of which {end:,} are slots")
    taken = 0
    for magic, number, start, units in _SLOT.iter_unpack(data[_HEADER_SIZE:end]):
        if magic != b"Slot":
            raise DamagedError("holds a slot that is none")
        if number:
            taken += units * _UNIT
            # Each has a place of its own, so together they are no larger than the file.
            if taken > len(data):
                raise DamagedError("holds packages that lie over one another")
            yield _blob(data, number, start * _UNIT, units * _UNIT)


def _blob(data: bytes, number: int, start: int, size: int) -> bytes:
    if size < _HEAD.size + _TAIL.size or start + size > len(data):
        raise DamagedError(f"is cut off: package {number:,} lies beyond its end")
    magic, own, _, length = _HEAD.unpack_from(data, start)
    if magic != b"BlbS" or own != number or _HEAD.size + length + _TAIL.size > size:
        raise DamagedError(f"package {number:,} is damaged")
    # The tail stands at the end of the last unit; what lies before it is zeros.
    end = start + size - _TAIL.size
    checksum, again, magic = _TAIL.unpack_from(data, end)
    if magic != b"BlbE" or again != length or checksum != zlib.adler32(data[start:end]):
        raise DamagedError(f"package {number:,} is damaged")
    first = start + _HEAD.size
    return data[first : first + length]
