"""LVM2: physical volumes, and logical volumes over one or several of them.

Layout by LVM2's own headers (lib/format_text/layout.h and lib/label/label.h, read 2026-11): a label
in one of the first four sectors leads to metadata areas, each a ring of texts of which its header
names the newest.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.inspector.disk.errors import ContentError, DamagedError, UnsupportedError
from services.inspector.disk.lvm_groups import (
    SECTOR,
    LogicalVolume,
    Segment,
    VolumeGroup,
    volume_group,
)
from services.inspector.disk.lvm_text import parse_sections
from services.inspector.disk.source import Source, check_range

_LABEL_SECTORS = 4
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_MOST_AREAS = 16
_MOST_TEXT = 16 * 1024 * 1024
_IGNORED = 1
_CRC_START = 0xF597A6CF


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """A partition that belongs to a volume group, by its id without hyphens."""

    id: str
    source: Source
    group: VolumeGroup


def read_physical_volume(source: Source) -> PhysicalVolume:
    """Read a physical volume's label and the newest metadata that it holds.

    Raises DamagedError; UnsupportedError when it holds none, and another volume of its group must.
    """
    own_id, areas = _label(source)
    groups: list[VolumeGroup] = []
    trouble: ContentError = UnsupportedError("it holds no copy of its volume group's metadata")
    for offset, size in areas:
        try:
            groups += _area(source, offset, size)
        except ContentError as error:
            trouble = error
    if not groups:
        raise trouble
    return PhysicalVolume(own_id, source, max(groups, key=lambda group: group.sequence))


def newest_groups(volumes: Iterable[PhysicalVolume]) -> list[VolumeGroup]:
    """Return each group once, as its newest metadata on any volume says."""
    newest: dict[str, VolumeGroup] = {}
    for each in volumes:
        known = newest.setdefault(each.group.id, each.group)
        if each.group.sequence > known.sequence:
            newest[each.group.id] = each.group
    return list(newest.values())


def open_logical_volume(
    group: VolumeGroup, volume: LogicalVolume, sources: Mapping[str, Source]
) -> Source:
    """Open a logical volume; `sources` are the physical volumes at hand, by id.

    Raises UnsupportedError, naming it, for what is not linear or striped (thin, RAID, cache, ...)
    and for a physical volume that is not there; DamagedError for metadata that contradict
    themselves.
    """
    reached = 0
    pieces: list[_Piece] = []
    for segment in volume.segments:
        if segment.start != reached or not segment.count:
            raise DamagedError("the segments of a logical volume have gaps or overlap")
        reached += segment.count
        pieces.append(_piece(group, segment, sources))
    return _LogicalSource(pieces, reached * group.extent_size)


def device_paths(group: VolumeGroup, volume: LogicalVolume) -> tuple[str, str]:
    """Return the paths of a volume's device: under /dev/mapper hyphens in a name are doubled."""
    mapped = "-".join(each.replace("-", "--") for each in (group.name, volume.name))
    return f"/dev/mapper/{mapped}", f"/dev/{group.name}/{volume.name}"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A segment: bytes [start, end) of the volume, dealt out over stripes in turn."""

    start: int
    end: int
    stripes: Sequence[tuple[Source, int]]
    stripe_size: int

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the volume that lie within the piece."""
        within = offset - self.start
        if len(self.stripes) == 1:
            source, base = self.stripes[0]
            return source.read(base + within, length)
        parts = []
        while length:
            turn, into = divmod(within, self.stripe_size)
            size = min(length, self.stripe_size - into)
            source, base = self.stripes[turn % len(self.stripes)]
            parts.append(
                source.read(base + turn // len(self.stripes) * self.stripe_size + into, size)
            )
            within, length = within + size, length - size
        return b"".join(parts)


class _LogicalSource:
    """A logical volume's bytes."""

    def __init__(self, pieces: Sequence[_Piece], size: int) -> None:
        self.size = size
        self._pieces = pieces

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`; DamagedError when they are not all within."""
        check_range(self, offset, length)
        end = offset + length
        return b"".join(
            piece.read(max(offset, piece.start), min(end, piece.end) - max(offset, piece.start))
            for piece in self._pieces
            if piece.start < end and offset < piece.end
        )


def _piece(group: VolumeGroup, segment: Segment, sources: Mapping[str, Source]) -> _Piece:
    if segment.type != "striped":
        raise UnsupportedError(f"cannot read yet: LVM of type {segment.type[:40]!r}")
    each = segment.count // len(segment.places)
    stripes = []
    for label, extent in segment.places:
        member = group.members.get(label)
        if member is None:
            # A part of another logical volume, as under a RAID that was split.
            raise UnsupportedError(f"lies on {label[:40]!r}, which is no physical volume")
        if extent + each > member.extents:
            raise DamagedError("a logical volume reaches beyond its physical volume")
        if member.id not in sources:
            raise UnsupportedError(
                f"lies on the physical volume {member.id[:40]}, not on this disk"
            )
        stripes.append((sources[member.id], member.start + extent * group.extent_size))
    size = group.extent_size
    return _Piece(
        segment.start * size,
        (segment.start + segment.count) * size,
        stripes,
        segment.stripe_size,
    )


def _label(source: Source) -> tuple[str, list[tuple[int, int]]]:
    """Return the volume's id and its metadata areas, as bytes from its start."""
    head = source.read(0, min(source.size, (_LABEL_SECTORS + 1) * SECTOR))
    for sector in range(_LABEL_SECTORS):
        label = head[sector * SECTOR : (sector + 1) * SECTOR]
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            break
    else:
        raise DamagedError("has no label of LVM")
    number, checksum, offset = struct.unpack_from("<QII", label, 8)
    if number != sector or _crc(label[20:]) != checksum:
        raise DamagedError("the label of LVM is damaged")
    own_id = label[offset : offset + 32].decode("ascii", "replace")
    lists = _pairs(label[offset + 40 :])
    return own_id, lists[1] if len(lists) > 1 else []


def _pairs(data: bytes) -> list[list[tuple[int, int]]]:
    """Return the lists of offsets and sizes, each ended by a pair of zeros."""
    lists: list[list[tuple[int, int]]] = [[]]
    for place in range(0, len(data) - 15, 16):
        offset, size = struct.unpack_from("<QQ", data, place)
        if offset:
            lists[-1].append((offset, size))
        elif len(lists) == 2:  # noqa: PLR2004 # where data lie, then where metadata do
            break
        else:
            lists.append([])
    return [each[:_MOST_AREAS] for each in lists]


def _area(source: Source, offset: int, size: int) -> list[VolumeGroup]:
    """Return the group that a metadata area describes, or nothing when it is not in use."""
    header = source.read(offset, SECTOR)
    checksum, magic, version, start, length = struct.unpack_from("<I16sIQQ", header)
    if magic != _AREA_MAGIC or version != 1 or start != offset or _crc(header[4:]) != checksum:
        raise DamagedError("a metadata area of LVM is damaged")
    place, used, text_checksum, flags = struct.unpack_from("<QQII", header, 40)
    if not place or flags & _IGNORED:
        return []
    if not SECTOR <= place < length or not used <= min(length - SECTOR, _MOST_TEXT, size):
        raise DamagedError("a metadata area of LVM points outside itself")
    first = min(used, length - place)
    # The text goes on at the ring's begin, behind the header.
    text = source.read(offset + place, first) + source.read(offset + SECTOR, used - first)
    if _crc(text) != text_checksum:
        raise DamagedError("the metadata of LVM do not match their checksum")
    return [volume_group(parse_sections(text.rstrip(b"\0").decode("utf-8", "replace")))]


def _crc(data: bytes) -> int:
    return zlib.crc32(data, _CRC_START ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
