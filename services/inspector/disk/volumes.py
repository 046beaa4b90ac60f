"""The volumes of a disk, each with the reader for its file system or the reason for having none."""

from dataclasses import dataclass

from services.inspector.disk.errors import ContentError, DamagedError, UnsupportedError
from services.inspector.disk.ext import ExtFileSystem
from services.inspector.disk.filesystem import FileSystem
from services.inspector.disk.partitions import (
    Partition,
    PartitionTable,
    open_partition,
    read_partitions,
)
from services.inspector.disk.signatures import EXT, XFS, Signature, recognise
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
    why, and `may_hold_root` whether an operating system could lie there all the same.
    """

    where: str
    format: str
    filesystem: FileSystem | None = None
    trouble: str = ""
    may_hold_root: bool = False


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
    if not table.partitions or (whole is not None and whole.may_hold_root):
        volumes.append(_open("whole disk", source, whole))
    volumes += [_open_partition(source, part) for part in table.partitions[:_MAX_VOLUMES]]
    return DiskContents(table, tuple(volumes))


def _open_partition(source: Source, partition: Partition) -> Volume:
    where = f"partition {partition.number}"
    try:
        part = open_partition(source, partition)
        return _open(where, part, recognise(part))
    except ContentError as error:
        return Volume(where, "unknown", None, str(error), may_hold_root=True)


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
        return Volume(where, filesystem.name, filesystem, "", may_hold_root=True)
    name = signature.name if signature else "unknown"
    return Volume(where, name, None, str(trouble), may_hold_root=True)


def _reader(source: Source, signature: Signature | None) -> FileSystem:
    if signature is XFS:
        return XfsFileSystem(source)
    if signature is EXT:
        return ExtFileSystem(source)
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
