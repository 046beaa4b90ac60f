"""Volume groups: which extents of which physical volumes each logical volume is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.lvm_text import Section, Value

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a logical volume, in extents; `places` are the stripes' volumes and first extents.

    Of a type other than "striped" nothing but the type is known.
    """

    start: int
    count: int
    type: str
    places: tuple[tuple[str, int], ...] = ()
    stripe_size: int = 0
    """Bytes; 0 with a single stripe."""


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume; `visible` says whether it is there for users or a part of another."""

    name: str
    visible: bool
    segments: tuple[Segment, ...]

    @property
    def extents(self) -> int:
        """How many extents it has."""
        return sum(segment.count for segment in self.segments)


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A physical volume as its group knows it; `start` is the byte of its first extent."""

    id: str
    start: int
    extents: int


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """A volume group as one copy of its metadata, the `sequence`-th, says; extents in bytes."""

    name: str
    id: str
    sequence: int
    extent_size: int
    members: Mapping[str, GroupMember]
    volumes: tuple[LogicalVolume, ...]


def volume_group(text: Section) -> VolumeGroup:
    """Return the group that a metadata text describes; DamagedError when something is missing."""
    groups = [(name, each) for name, each in text.items() if isinstance(each, dict)]
    if len(groups) != 1:
        raise DamagedError("the metadata of LVM is not of one volume group")
    name, group = groups[0]
    extent_size = _number(group, "extent_size") * SECTOR
    if not extent_size:
        raise DamagedError("the metadata of LVM has extents of no size")
    return VolumeGroup(
        name,
        _text(group, "id"),
        _number(group, "seqno"),
        extent_size,
        {
            label: GroupMember(
                _text(each, "id").replace("-", ""),
                _number(each, "pe_start") * SECTOR,
                _number(each, "pe_count"),
            )
            for label, each in _sections(group, "physical_volumes")
        },
        tuple(_volume(label, each) for label, each in _sections(group, "logical_volumes")),
    )


def _volume(name: str, text: Section) -> LogicalVolume:
    status = text.get("status", [])
    visible = isinstance(status, list) and "VISIBLE" in status
    numbered = range(1, min(_number(text, "segment_count"), len(text)) + 1)
    segments = [_segment(_section(text, f"segment{number}")) for number in numbered]
    return LogicalVolume(name, visible, tuple(sorted(segments, key=lambda each: each.start)))


def _segment(text: Section) -> Segment:
    start, count, kind = _number(text, "start_extent"), _number(text, "extent_count"), "type"
    type_ = _text(text, kind)
    if type_ not in {"striped", "linear"}:
        return Segment(start, count, type_)
    stripes = text.get("stripes")
    if not isinstance(stripes, list) or not stripes or len(stripes) % 2:
        raise DamagedError("the metadata of LVM has a segment that lies nowhere")
    places = tuple(_places(stripes))
    if count % len(places):
        raise DamagedError("the metadata of LVM has stripes of different lengths")
    size = _number(text, "stripe_size") * SECTOR if len(places) > 1 else 0
    if len(places) > 1 and not size:
        raise DamagedError("the metadata of LVM has stripes of no size")
    return Segment(start, count, "striped", places, size)


def _places(stripes: list[int | str]) -> Iterator[tuple[str, int]]:
    for label, extent in zip(stripes[::2], stripes[1::2], strict=True):
        if not isinstance(label, str) or not isinstance(extent, int) or extent < 0:
            raise DamagedError("the metadata of LVM has a segment that lies nowhere")
        yield label, extent


def _sections(text: Section, name: str) -> Iterator[tuple[str, Section]]:
    for label, each in _section(text, name, optional=True).items():
        if isinstance(each, dict):
            yield label, each


def _section(text: Section, name: str, *, optional: bool = False) -> Section:
    found = text.get(name, {} if optional else None)
    if not isinstance(found, dict):
        raise _missing(name)
    return found


def _number(text: Section, name: str) -> int:
    found = text.get(name)
    if not isinstance(found, int) or found < 0:
        raise _missing(name)
    return found


def _text(text: Section, name: str) -> str:
    found: Value | Section | None = text.get(name)
    if not isinstance(found, str):
        raise _missing(name)
    return found


def _missing(name: str) -> DamagedError:
    return DamagedError(f"the metadata of LVM lacks {name}")
