"""Partition tables: GPT, MBR with logical partitions, hybrids of the two, and none."""

from dataclasses import dataclass
from enum import Enum

from services.inspector.disk.errors import DamagedError
from services.inspector.disk.gpt import read_gpt
from services.inspector.disk.mbr import PROTECTIVE, read_mbr
from services.inspector.disk.source import Slice, Source


class Scheme(Enum):
    """The kinds of partition table."""

    GPT = "GPT"
    MBR = "MBR"
    NONE = "no partition table"


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of the disk; offset and size in bytes; `type` is a GUID or a hexadecimal byte."""

    number: int
    offset: int
    size: int
    type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What the disk says about its parts; `troubles` are what was wrong while reading it."""

    scheme: Scheme
    partitions: tuple[Partition, ...] = ()
    troubles: tuple[str, ...] = ()


def read_partitions(source: Source) -> PartitionTable:
    """Read the disk's partition table.

    A GPT counts when its MBR is protective, hybrid or blank (UEFI 2.10, 5.2.3): where the MBR
    holds only ordinary entries, some tool that knew no GPT has partitioned the disk since.
    """
    mbr = read_mbr(source)
    if not mbr.entries or any(entry.type == PROTECTIVE for entry in mbr.entries):
        gpt = read_gpt(source)
        if gpt is not None:
            partitions = [
                Partition(entry.number, entry.offset, entry.size, entry.type, entry.name)
                for entry in gpt.entries
            ]
            return PartitionTable(Scheme.GPT, _within(source, partitions), gpt.troubles)
    partitions = [
        Partition(entry.number, entry.offset, entry.size, f"{entry.type:02x}")
        for entry in mbr.entries
        if entry.type != PROTECTIVE
    ]
    if partitions:
        return PartitionTable(Scheme.MBR, _within(source, partitions), mbr.troubles)
    troubles = ("the GPT that the MBR speaks of is damaged, both copies",) if mbr.entries else ()
    return PartitionTable(Scheme.NONE, (), troubles)


def open_partition(source: Source, partition: Partition) -> Source:
    """Open the partition's bytes, as far as the disk reaches."""
    if partition.offset >= source.size:
        raise DamagedError("begins beyond the end of the disk")
    return Slice(source, partition.offset, min(partition.size, source.size - partition.offset))


def _within(source: Source, partitions: list[Partition]) -> tuple[Partition, ...]:
    """Keep those that begin on the disk; one that ends beyond it may still be readable in part."""
    return tuple(part for part in partitions if part.offset < source.size and part.size > 0)
