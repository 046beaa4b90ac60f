"""The volumes of a disk, each with the reader for its file system or the reason for having none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from services.inspector.disk.btrfs import BtrfsFileSystem
from services.inspector.disk.btrfs_layouts import system_root
from services.inspector.disk.errors import ContentError, DamagedError, UnsupportedError
from services.inspector.disk.ext import ExtFileSystem
from services.inspector.disk.filesystem import FileSystem
from services.inspector.disk.lvm import (
    PhysicalVolume,
    device_paths,
    newest_groups,
    open_logical_volume,
    read_physical_volume,
)
from services.inspector.disk.lvm_groups import LogicalVolume, VolumeGroup
from services.inspector.disk.partitions import (
    Partition,
    PartitionTable,
    open_partition,
    read_partitions,
)
from services.inspector.disk.signatures import BTRFS, EXT, LVM, XFS, Signature, recognise
from services.inspector.disk.source import Source
from services.inspector.disk.xfs import XfsFileSystem

# Where the first backup superblock lies for blocks of 4, 2 and 1 KiB (ext4 documentation).
_EXT_BACKUPS = (32768 * 4096, 16384 * 2048, 8193 * 1024)
_BACKUP_READ = "the first superblock is damaged; a backup was read"
_MAX_VOLUMES = 64


@dataclass(frozen=True, slots=True)
class Volume:
    """A part of the disk that may hold files.

    `where` names it for people. `filesystem` is None when it cannot be read; `trouble` then says
    why, and `may_hold_root` whether an operating system could lie there all the same. `devices` are
    the paths by which its system knows a logical volume.
    """

    where: str
    format: str
    filesystem: FileSystem | None = None
    trouble: str = ""
    may_hold_root: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskContents:
    """A disk's partition table and volumes, in the order of the disk."""

    table: PartitionTable
    volumes: tuple[Volume, ...]


def open_disk(source: Source) -> DiskContents:
    """Find every volume of a disk; a part that cannot be read is a volume with a trouble.

    A file system over the whole disk is looked for before the MBR is believed: its first sector
    may end in 55AA and hold code where partitions would stand.
    """
    whole = recognise(source)
    table = read_partitions(source)
    volumes: list[Volume] = []
    members: list[PhysicalVolume] = []
    if not table.partitions or (whole is not None and whole.may_hold_root):
        volumes += _open_part("whole disk", source, whole, members)
    for partition in table.partitions[:_MAX_VOLUMES]:
        volumes += _open_partition(source, partition, members)
    return DiskContents(table, (*volumes, *_open_groups(members)))


def _open_partition(
    source: Source, partition: Partition, members: list[PhysicalVolume]
) -> list[Volume]:
    where = f"partition {partition.number}"
    try:
        part = open_partition(source, partition)
        return _open_part(where, part, recognise(part), members)
    except ContentError as error:
        return [Volume(where, "unknown", None, str(error), may_hold_root=True)]


def _open_part(
    where: str, source: Source, signature: Signature | None, members: list[PhysicalVolume]
) -> list[Volume]:
    """Open a part as a volume, or take it among the members of volume groups."""
    if signature is not LVM:
        return [_open(where, source, signature)]
    try:
        members.append(read_physical_volume(source))
    except ContentError as error:
        return [Volume(where, LVM.name, None, str(error), may_hold_root=True)]
    return []


def _open_groups(members: Sequence[PhysicalVolume]) -> Iterator[Volume]:
    """Open the logical volumes of every group of which a member is at hand."""
    sources = {member.id: member.source for member in members}
    for group in newest_groups(members):
        for volume in group.volumes[:_MAX_VOLUMES]:
            if volume.visible:
                yield _open_logical(group, volume, sources)


def _open_logical(
    group: VolumeGroup, volume: LogicalVolume, sources: Mapping[str, Source]
) -> Volume:
    where = f"LVM {group.name}/{volume.name}"
    try:
        source = open_logical_volume(group, volume, sources)
        found = _open(where, source, recognise(source))
    except ContentError as error:
        found = Volume(where, LVM.name, None, str(error), may_hold_root=True)
    return replace(found, devices=device_paths(group, volume))


def _open(where: str, source: Source, signature: Signature | None) -> Volume:
    if signature is not None and not signature.may_hold_root:
        return Volume(where, signature.name)
    try:
        filesystem = _reader(source, signature)
    except DamagedError as error:
        backup = _ext_by_backup(source) if signature in {None, EXT} else None
        if backup is not None:
            return Volume(where, backup.name, backup, _BACKUP_READ, may_hold_root=True)
        trouble: ContentError = error
    except ContentError as error:
        trouble = error
    else:
        return _readable(where, filesystem)
    name = signature.name if signature else "unknown"
    return Volume(where, name, None, str(trouble), may_hold_root=True)


def _readable(where: str, filesystem: FileSystem) -> Volume:
    if isinstance(filesystem, BtrfsFileSystem):
        try:
            subvolume, filesystem = system_root(filesystem)
        except ContentError:
            subvolume = ""  # whoever reads it will meet the same, and say so
        where += f", subvolume {subvolume}" if subvolume else ""
    return Volume(where, filesystem.name, filesystem, "", may_hold_root=True)


def _reader(source: Source, signature: Signature | None) -> FileSystem:
    if signature is XFS:
        return XfsFileSystem(source)
    if signature is EXT:
        return ExtFileSystem(source)
    if signature is BTRFS:
        return BtrfsFileSystem(source)
    if signature is None:
        raise DamagedError("nothing known is on it")
    raise UnsupportedError(f"cannot read yet: {signature.name}")


def _ext_by_backup(source: Source) -> ExtFileSystem | None:
    for offset in _EXT_BACKUPS:
        try:
            return ExtFileSystem(source, offset)
        except ContentError:
            continue
    return None
