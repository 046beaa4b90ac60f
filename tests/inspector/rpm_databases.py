"""rpm databases for the tests: small ones in each format, written here byte by byte."""

import sqlite3
import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

RED_HAT = "199e2f91fd431d51"
RED_HAT_AUXILIARY = "5054e4a45a6340b3"
EPEL = "8a3872bf3228467c"

SIGPGP, SIGGPG, DSAHEADER, RSAHEADER, OPENPGP = 259, 262, 267, 268, 278
NAME, VERSION, VENDOR, PROVIDENAME = 1000, 1001, 1011, 1047
INT32, STRING, BINARY, STRING_ARRAY = 4, 6, 7, 8


def v3_signature(key: str) -> bytes:
    """Make an OpenPGP signature of version 3, in a packet of the old format."""
    body = b"\x03\x05\x00" + bytes(4) + bytes.fromhex(key) + b"\x01\x08\xab\xcd" + bytes(8)
    return bytes((0x88, len(body))) + body


def v4_signature(key: str, *, fingerprint: bool = False) -> bytes:
    """Make one of version 4 that names its issuer, or only the issuer's fingerprint."""
    issuer = b"\x21\x04" + bytes(12) + bytes.fromhex(key) if fingerprint else b""
    plain = b"" if fingerprint else b"\x10" + bytes.fromhex(key)
    hashed = b"\x05\x02" + bytes(4) + (bytes((len(issuer),)) + issuer if issuer else b"")
    unhashed = bytes((len(plain),)) + plain if plain else b""
    body = b"\x04\x00\x01\x08" + struct.pack(">H", len(hashed)) + hashed
    body += struct.pack(">H", len(unhashed)) + unhashed + b"\xab\xcd" + bytes(300)
    return b"\x89" + struct.pack(">H", len(body)) + body


def v6_signature(key: str) -> bytes:
    """Make one of version 6, in a packet of the new format with a long length."""
    subpacket = b"\x21\x06" + bytes.fromhex(key) + bytes(24)
    hashed = bytes((len(subpacket),)) + subpacket
    body = b"\x06\x00\x1e\x0a" + struct.pack(">I", len(hashed)) + hashed + bytes(4) + bytes(3000)
    return b"\xc2" + struct.pack(">BI", 255, len(body)) + body


Entry = tuple[int, int, bytes, int]


def header(entries: Sequence[Entry]) -> bytes:
    """Make a header blob of entries (tag, type, data, count)."""
    index, data = b"", b""
    for tag, kind, content, count in entries:
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += content
    return struct.pack(">II", len(entries), len(data)) + index + data


def package(
    name: str,
    *signatures: bytes,
    version: str = "1.0",
    vendor: str = "Red Hat, Inc.",
    provides: Sequence[str] = (),
    tag: int = RSAHEADER,
    padding: int = 0,
) -> bytes:
    """Make the header of a package that bears these signatures under one tag."""
    entries: list[Entry] = []
    if tag == OPENPGP and signatures:
        texts = b"".join(b64encode(each) + b"\0" for each in signatures)
        entries.append((tag, STRING_ARRAY, texts, len(signatures)))
    elif signatures:
        joined = b"".join(signatures)
        entries.append((tag, BINARY, joined, len(joined)))
    entries.append((NAME, STRING, name.encode() + b"\0", 1))
    entries.append((VERSION, STRING, version.encode() + b"\0", 1))
    if vendor:
        entries.append((VENDOR, STRING, vendor.encode() + b"\0", 1))
    if provides:
        texts = b"".join(each.encode() + b"\0" for each in provides)
        entries.append((PROVIDENAME, STRING_ARRAY, texts, len(provides)))
    entries.append((5000, BINARY, b"\x5a" * padding, padding))
    return header(entries)


def berkeley(blobs: Sequence[bytes], *, order: str = "<", page_size: int = 4096) -> bytes:
    """Write a Berkeley DB hash as rpm does: a counter, small values in place, large ones apart."""
    values = [struct.pack(order + "I", len(blobs) + 1), *blobs]
    pages: list[bytes] = []
    buckets: list[list[tuple[bytes, bytes]]] = [[]]
    for number, value in enumerate(values):
        item = b"\x01" + value
        if len(value) > page_size // 4:
            # The pages of values come first, then those of the buckets.
            item = struct.pack(order + "B3xII", 3, len(pages) + 1, len(value))
            pages += _overflow(value, len(pages) + 1, page_size, order)
        pair = (b"\x01" + struct.pack(order + "I", number), item)
        if sum(len(each) + 2 for pair in buckets[-1] for each in pair) > page_size // 2:
            buckets.append([])
        buckets[-1].append(pair)
    for bucket in buckets:
        pages.append(_bucket(bucket, len(pages) + 1, page_size, order))
    meta = struct.pack(
        order + "8xIIIIBBxxIII32xIIIIII",
        *(0, 0x061561, 9, page_size, 0, 8, 0, len(pages), 0),
        *(0, 0, 0, 0, len(values), 0),
    )
    return meta.ljust(page_size, b"\0") + b"".join(pages)


def _overflow(value: bytes, first: int, page_size: int, order: str) -> list[bytes]:
    room = page_size - 26
    parts = [value[at : at + room] for at in range(0, len(value), room)]
    return [
        (
            struct.pack(
                order + "8xIIIHHBB",
                *(first + index, 0, first + index + 1 if index + 1 < len(parts) else 0),
                *(1, len(part), 0, 7),
            )
            + part
        ).ljust(page_size, b"\0")
        for index, part in enumerate(parts)
    ]


def _bucket(pairs: Sequence[tuple[bytes, bytes]], number: int, page_size: int, order: str) -> bytes:
    page = bytearray(page_size)
    place, places = page_size, []
    for each in (item for pair in pairs for item in pair):
        place -= len(each)
        page[place : place + len(each)] = each
        places.append(place)
    struct.pack_into(order + "8xIIIHHBB", page, 0, number, 0, 0, len(places), place, 0, 13)
    struct.pack_into(f"{order}{len(places)}H", page, 26, *places)
    return bytes(page)


def ndb(blobs: Sequence[bytes]) -> bytes:
    """Write rpm's own format: a page of slots, and each blob with its checksum."""
    slots = struct.pack("<4sIIIIIII", b"RpmP", 0, 1, 1, len(blobs) + 1, 0, 0, 0)
    content = b""
    for number, blob in enumerate(blobs, 1):
        units = -(-(16 + len(blob) + 12) // 16)
        stored = struct.pack("<4sIII", b"BlbS", number, 1, len(blob)) + blob
        stored = stored.ljust(units * 16 - 12, b"\0")
        stored += struct.pack("<II4s", zlib.adler32(stored), len(blob), b"BlbE")
        slots += struct.pack("<4sIII", b"Slot", number, (4096 + len(content)) // 16, units)
        content += stored
    slots += struct.pack("<4sIII", b"Slot", 0, 0, 0) * ((4096 - len(slots)) // 16)
    return slots + content


def sqlite(path: Path, blobs: Sequence[bytes], logged: Sequence[bytes] = ()) -> None:
    """Write a SQLite database, with these headers in its -wal only."""
    own = path.with_suffix(".building")
    connection = sqlite3.connect(own)
    connection.execute("PRAGMA page_size = 1024")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"
    )
    connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL)")
    _insert(connection, blobs)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _insert(connection, logged)
    # As they lie on the disk of a machine that runs: closing would empty the log.
    path.write_bytes(own.read_bytes())
    if logged:
        path.with_name(path.name + "-wal").write_bytes(
            own.with_name(own.name + "-wal").read_bytes()
        )
    connection.close()
    own.unlink()


def _insert(connection: sqlite3.Connection, blobs: Sequence[bytes]) -> None:
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(each,) for each in blobs])
    connection.commit()
