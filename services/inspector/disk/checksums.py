"""Checksums of metadata that Python's library lacks."""

_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C (Castagnoli), reflected (RFC 3720, appendix B.4)."""


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_row, range(256)))


def crc32c(data: bytes, value: int = 0) -> int:
    """Return the CRC-32C of data, going on from that of what came before."""
    table, value = _TABLE, value ^ 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
