"""Who made an OpenPGP signature: the id of the key that it names.

RFC 9580 (versions 4 and 6) and RFC 4880 (version 3), read 2026-11. The id stands in the signature
for finding the key; it is not proved by it, and anybody can write any.
"""

from collections.abc import Iterator

_SIGNATURE = 2
_ISSUER = 16
_ISSUER_FINGERPRINT = 33
_KEY_ID = 8
_MAX_PACKETS = 8
_V3, _V4, _V6 = 3, 4, 6
_V4_FINGERPRINT, _V6_FINGERPRINT = 20, 32


def issuers(data: bytes) -> set[str]:
    """Give the key ids, 16 hexadecimal digits, of the signatures in binary OpenPGP packets.

    What is cut off or no signature gives none.
    """
    found: set[str] = set()
    for number, (tag, body) in enumerate(_packets(data)):
        if number >= _MAX_PACKETS:
            break
        if tag == _SIGNATURE and body:
            found |= _issuers(body)
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 2 <= len(data) and data[offset] & 0x80:
        first, offset = data[offset], offset + 1
        if first & 0x40:
            tag = first & 0x3F
            length, offset = _length(data, offset)
        else:
            tag = first >> 2 & 0x0F
            size = 1 << (first & 3)
            if size > 4:  # noqa: PLR2004  # of indeterminate length: to the end
                length = len(data) - offset
            else:
                length, offset = int.from_bytes(data[offset : offset + size], "big"), offset + size
        if offset + length > len(data):
            return
        yield tag, data[offset : offset + length]
        offset += length


def _length(data: bytes, offset: int) -> tuple[int, int]:
    """Read a length of one, two or five octets; return it and where it ends."""
    first = data[offset] if offset < len(data) else 0
    if first < 192:  # noqa: PLR2004  # RFC 9580, 4.2.1
        return first, offset + 1
    if first < 224:  # noqa: PLR2004  # the same
        second = data[offset + 1] if offset + 1 < len(data) else 0
        return ((first - 192) << 8) + second + 192, offset + 2
    # 255 begins a length of four octets; partial lengths (224 to 254) are for data, not signatures.
    return int.from_bytes(data[offset + 1 : offset + 5], "big"), offset + 5


def _issuers(body: bytes) -> set[str]:
    version = body[0]
    if version == _V3:
        # version, 5, type, four octets of time, and then the key id.
        return {body[7:15].hex()} if len(body) >= 15 else set()  # noqa: PLR2004  # its end
    if version not in {_V4, _V6}:
        return set()
    width = 4 if version == _V6 else 2
    found: set[str] = set()
    offset = 4
    # Two areas: what is signed, and what is not.
    for _ in range(2):
        size = int.from_bytes(body[offset : offset + width], "big")
        offset += width
        for kind, value in _subpackets(body[offset : offset + size]):
            found |= _issuer(kind, value)
        offset += size
    return found


def _subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(area):
        length, offset = _length(area, offset)
        if not length or offset + length > len(area):
            return
        # The highest bit only says that the subpacket is critical.
        yield area[offset] & 0x7F, area[offset + 1 : offset + length]
        offset += length


def _issuer(kind: int, value: bytes) -> set[str]:
    if kind == _ISSUER and len(value) == _KEY_ID:
        return {value.hex()}
    if kind == _ISSUER_FINGERPRINT and value:
        version, fingerprint = value[0], value[1:]
        if version == _V4 and len(fingerprint) == _V4_FINGERPRINT:
            return {fingerprint[-_KEY_ID:].hex()}
        if version == _V6 and len(fingerprint) == _V6_FINGERPRINT:
            return {fingerprint[:_KEY_ID].hex()}
    return set()
