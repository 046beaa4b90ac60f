"""DER, the encoding of X.509 certificates: just enough to walk through one.

Our own, since the library that could do it (cryptography) is compiled, large and no dependency of
the services at run time, and reads with rules of its own whether a certificate is well made; wanted
here are a few texts out of a file that somebody may have forged. ITU-T X.690, read 2026-11.
"""

from collections.abc import Iterator

from services.inspector.disk.errors import DamagedError

SEQUENCE = 0x30
INTEGER = 0x02
OCTETS = 0x04
OID = 0x06
# UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString.
TEXTS = frozenset({0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A})
_LONG = 0x80
_MAX_LENGTH_BYTES = 4
_MAX_ARC = 1 << 63

Element = tuple[int, bytes]


def element(data: bytes) -> Element:
    """Take the one element, tag and content, that fills these bytes."""
    tag, start, end = _header(data, 0)
    if end != len(data):
        raise DamagedError("DER with something behind its end")
    return tag, data[start:end]


def elements(data: bytes) -> Iterator[Element]:
    """Give the elements that stand in these bytes one after the other."""
    offset = 0
    while offset < len(data):
        tag, start, offset = _header(data, offset)
        yield tag, data[start:offset]


def _header(data: bytes, offset: int) -> tuple[int, int, int]:
    """Read tag and length; return the tag, where the content begins and where it ends."""
    if offset + 2 > len(data):
        raise DamagedError("DER that ends within an element")
    tag, length, start = data[offset], data[offset + 1], offset + 2
    if length >= _LONG:
        count = length - _LONG
        if not 1 <= count <= _MAX_LENGTH_BYTES:
            raise DamagedError("DER with a length that none may have")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise DamagedError("DER that ends within an element")
    return tag, start, start + length


def arcs(encoded: bytes) -> tuple[int, ...]:
    """Decode an object identifier, or the end of one, without the first two arcs' packing."""
    found, value = [], 0
    for byte in encoded:
        value = value << 7 | byte & 0x7F
        if value >= _MAX_ARC:
            raise DamagedError("an object identifier beyond all measure")
        if byte < _LONG:
            found.append(value)
            value = 0
    if encoded and encoded[-1] >= _LONG:
        raise DamagedError("an object identifier that is cut off")
    return tuple(found)
