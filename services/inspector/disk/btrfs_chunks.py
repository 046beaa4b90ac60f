"""Where btrfs's logical addresses lie: chunks, each a span of addresses on one or more devices."""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag

from services.inspector.disk.errors import DamagedError, UnsupportedError
from services.inspector.disk.source import Source

CHUNK_ITEM = 228
_KEY = struct.Struct("<QBQ")
_CHUNK = struct.Struct("<QQQQIIIHH")
_STRIPE = struct.Struct("<QQ16s")
_MOST_STRIPES = 1024


class Profile(IntFlag):
    """How a chunk is laid over its stripes; none of them: one copy in one place."""

    RAID0 = 0x8
    RAID1 = 0x10
    DUP = 0x20
    RAID10 = 0x40
    RAID5 = 0x80
    RAID6 = 0x100
    RAID1C3 = 0x200
    RAID1C4 = 0x400


_PARITY = Profile.RAID5 | Profile.RAID6
_STRIPED = Profile.RAID0 | Profile.RAID10


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of logical addresses; `stripes` are devices' ids and the offsets on them."""

    start: int
    length: int
    stripe_size: int
    profile: Profile
    copies: int
    stripes: tuple[tuple[int, int], ...]


def system_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks that the superblock holds itself, in which the chunk tree lies."""
    place = 0
    while place + _KEY.size + _CHUNK.size <= len(data):
        _, kind, start = _KEY.unpack_from(data, place)
        if kind != CHUNK_ITEM:
            raise DamagedError("the superblock of btrfs has a damaged list of chunks")
        chunk = parse_chunk(start, data[place + _KEY.size :])
        yield chunk
        place += _KEY.size + _CHUNK.size + _STRIPE.size * len(chunk.stripes)


def parse_chunk(start: int, data: bytes) -> Chunk:
    """Return the chunk from a logical address on; DamagedError."""
    if len(data) < _CHUNK.size:
        raise DamagedError("a chunk of btrfs is cut off")
    length, _, stripe_size, kind, _, _, _, count, sub_stripes = _CHUNK.unpack_from(data)
    if not length or not stripe_size or not 1 <= count <= _MOST_STRIPES:
        raise DamagedError("a chunk of btrfs has sizes that cannot be")
    if len(data) < _CHUNK.size + count * _STRIPE.size:
        raise DamagedError("a chunk of btrfs is cut off")
    profile = Profile(kind & sum(Profile))
    copies = max(1, sub_stripes) if profile & Profile.RAID10 else 1
    if count % copies:
        raise DamagedError("a chunk of btrfs has copies of different lengths")
    stripes = tuple(
        _STRIPE.unpack_from(data, _CHUNK.size + number * _STRIPE.size)[:2]
        for number in range(count)
    )
    return Chunk(start, length, stripe_size, profile, copies, stripes)


class ChunkMap:
    """Reads logical addresses by the chunks known so far."""

    def __init__(self, devices: Mapping[int, Source]) -> None:
        self._devices = devices
        self._chunks: dict[int, Chunk] = {}
        self._starts: list[int] = []

    def add(self, chunk: Chunk) -> None:
        """Learn of a chunk."""
        self._chunks[chunk.start] = chunk
        self._starts = sorted(self._chunks)

    def copies(self, address: int, length: int) -> Iterator[bytes]:
        """Yield the bytes from a logical address on, once from each copy that is at hand.

        Raises DamagedError for an address in no chunk, UnsupportedError for one on no device here.
        """
        chunk = self._chunk(address, length)
        if chunk.profile & _PARITY:
            raise UnsupportedError("cannot read yet: btrfs in RAID 5 or 6")
        found = False
        for copy in range(_copies(chunk)):
            places = list(_places(chunk, copy, address - chunk.start, length))
            if all(device in self._devices for device, _, _ in places):
                found = True
                yield b"".join(
                    self._devices[device].read(offset, size) for device, offset, size in places
                )
        if not found:
            missing = sorted({device for device, _ in chunk.stripes} - set(self._devices))
            raise UnsupportedError(
                f"lies on device {missing[0]} of a btrfs over several, not on this disk"
            )

    def read(self, address: int, length: int) -> bytes:
        """Read bytes from a logical address on, which may reach over chunks that touch."""
        parts = []
        while length:
            chunk = self._chunk(address, 1)
            size = min(length, chunk.start + chunk.length - address)
            parts.append(next(self.copies(address, size)))
            address, length = address + size, length - size
        return b"".join(parts)

    def _chunk(self, address: int, length: int) -> Chunk:
        place = bisect_right(self._starts, address) - 1
        chunk = self._chunks[self._starts[place]] if place >= 0 else None
        if chunk is None or address + length > chunk.start + chunk.length:
            raise DamagedError(f"names the address {address:,}, which lies nowhere")
        return chunk


def _copies(chunk: Chunk) -> int:
    """Return how many copies of everything a chunk has."""
    if chunk.profile & Profile.RAID10:
        return chunk.copies
    return 1 if chunk.profile & Profile.RAID0 else len(chunk.stripes)


def _places(chunk: Chunk, copy: int, within: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield device, offset and size of each piece of one copy."""
    if not chunk.profile & _STRIPED:
        device, offset = chunk.stripes[copy]
        yield device, offset + within, length
        return
    columns = len(chunk.stripes) // chunk.copies
    while length:
        turn, into = divmod(within, chunk.stripe_size)
        size = min(length, chunk.stripe_size - into)
        device, offset = chunk.stripes[turn % columns * chunk.copies + copy]
        yield device, offset + turn // columns * chunk.stripe_size + into, size
        within, length = within + size, length - size
