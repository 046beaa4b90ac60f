"""Real disk images for the tests: file systems made by their own tools, and partition tables."""

import hashlib
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from services.inspector.disk.filesystem import FileSystem, Kind, LogState
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.source import BlockSource, Limits
from services.inspector.disk.tree import walk
from services.inspector.disk.volumes import DiskContents, open_disk

MIB = 1024 * 1024
SECTOR = 512
LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
WITHOUT_LIMITS = Limits(blocks=1_000_000, seconds=600, cached=256)

# What a file system holds, by path: ("file", size, sha256), ("link", target), ("directory",).
Truth = Mapping[bytes, tuple[str | int | bytes, ...]]


def program(name: str) -> str:
    """Find a program; skip the test, saying so, when this machine lacks it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        packages = {"mkfs.xfs": "xfsprogs", "mke2fs": "e2fsprogs", "rpm": "rpm"}
        packages["mkfs.btrfs"] = packages["btrfs"] = "btrfs-progs"
        package = packages.get(name, "fdisk")
        pytest.skip(f"NOT RUN: there is no {name}; install Debian's package {package}")
    return found


def make_ext(image: Path, size: int, tree: Path, *options: str) -> None:
    """Make an image of an ext file system that holds a folder's content."""
    with image.open("wb") as file:
        file.truncate(size)
    run(program("mke2fs"), "-q", "-F", *options, "-d", str(tree), str(image))


def make_xfs(image: Path, tree: Path, *options: str, size: int = 320 * MIB) -> None:
    """Make an image of an XFS that holds a folder's content."""
    with image.open("wb") as file:
        file.truncate(size)
    protofile = image.with_suffix(".proto")
    protofile.write_text("/\n0 0\nd--755 0 0\n" + "".join(_proto(tree)) + "$\n")
    run(program("mkfs.xfs"), "-q", *options, "-p", str(protofile), str(image))


def make_btrfs(image: Path, tree: Path | None, *options: str, size: int = 160 * MIB) -> None:
    """Make an image of a btrfs that holds a folder's content, or nothing."""
    with image.open("wb") as file:
        file.truncate(size)
    content = () if tree is None else ("--rootdir", str(tree))
    run(program("mkfs.btrfs"), "-q", *options, *content, str(image))


@contextmanager
def mounted(image: Path, folder: Path, *options: str) -> Iterator[Path]:
    """Have the kernel write into an image; skip the test, saying so, where that is not allowed."""
    folder.mkdir(exist_ok=True)
    told = ",".join(("loop", *options))
    done = subprocess.run(  # of constants and paths of the test's own
        (program("mount"), "-o", told, str(image), str(folder)), capture_output=True, check=False
    )
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        pytest.skip(f"NOT RUN: cannot mount here: {why[0] if why else done.returncode}")
    try:
        yield folder
    finally:
        run(program("umount"), str(folder))


def _proto(folder: Path) -> Iterable[str]:
    for path in sorted(folder.iterdir()):
        mode = f"{path.lstat().st_mode & 0o777:03o} 0 0"
        if path.is_symlink():
            yield f"{path.name} l--{mode} {path.readlink()}\n"
        elif path.is_dir():
            yield f"{path.name} d--{mode}\n"
            yield from _proto(path)
            yield "$\n"
        else:
            yield f"{path.name} ---{mode} {path}\n"


def run(*command: str) -> None:
    """Run a program; what it says is shown when it fails."""
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def truth(folder: Path) -> Truth:
    """Describe every entry of a folder as `read_whole` describes a file system's."""
    return {
        b"/" + os.fsencode(path.relative_to(folder)): _described(path) for path in folder.rglob("*")
    }


def _described(path: Path) -> tuple[str | int | bytes, ...]:
    if path.is_symlink():
        return ("link", os.fsencode(path.readlink()))
    if path.is_dir():
        return ("directory",)
    content = path.read_bytes()
    return ("file", len(content), hashlib.sha256(content).hexdigest())


def read_whole(filesystem: FileSystem) -> Truth:
    """Read every entry of a file system, and every file to its end."""
    found: dict[bytes, tuple[str | int | bytes, ...]] = {}
    for path, node in walk(filesystem):
        if node.kind is Kind.SYMLINK:
            found[path] = ("link", filesystem.read_link(node))
        elif node.kind is Kind.DIRECTORY:
            found[path] = ("directory",)
        elif node.kind is Kind.FILE:
            content = filesystem.read(node, 0, node.size)
            found[path] = ("file", len(content), hashlib.sha256(content).hexdigest())
    found.pop(b"/lost+found", None)
    return found


@contextmanager
def opened(
    image: Path, limits: Limits = WITHOUT_LIMITS
) -> Iterator[tuple[DiskContents, BlockSource]]:
    """Open an image; also give its source, which counts the requests."""
    with ImageFile(image) as blocks:
        source = BlockSource(blocks, limits)
        yield open_disk(source), source


@contextmanager
def filesystem_of(image: Path) -> Iterator[FileSystem]:
    """Open the one file system of an image."""
    with opened(image) as (disk, _):
        (filesystem,) = [each.filesystem for each in disk.volumes if each.filesystem]
        yield filesystem


def log_state(image: Path) -> LogState:
    """Tell how the one file system of an image was left."""
    with filesystem_of(image) as filesystem:
        return filesystem.log_state()


@dataclass(frozen=True, slots=True)
class Part:
    """A partition to be made: its first sector, and the image that it holds."""

    start: int
    content: Path | None = None
    sectors: int = 0
    type: UUID = LINUX

    @property
    def count(self) -> int:
        """Its size in sectors."""
        return self.sectors or -(-(self.content.stat().st_size if self.content else 0) // SECTOR)


def put(disk: Path, offset: int, content: Path) -> None:
    """Copy an image into a disk, leaving holes where it has them."""
    with disk.open("r+b") as target, content.open("rb") as source:
        while block := source.read(MIB):
            if block.strip(b"\0"):
                target.seek(offset)
                target.write(block)
            offset += len(block)


def make_gpt(
    disk: Path, size: int, parts: Iterable[Part], *, mbr_types: Iterable[int] = (0xEE,)
) -> None:
    """Make a disk with a GPT, both copies, and an MBR with entries of these types."""
    parts = list(parts)
    last = size // SECTOR - 1
    table = b"".join(
        LINUX_ENTRY.pack(
            part.type.bytes_le,
            UUID(int=number).bytes_le,
            part.start,
            part.start + part.count - 1,
            0,
            f"part-{number}".encode("utf-16-le"),
        )
        for number, part in enumerate(parts, 1)
    ).ljust(128 * 128, b"\0")
    with disk.open("wb") as file:
        file.truncate(size)
        file.write(_mbr([(kind, 1, last) for kind in mbr_types]))
        for own, other, table_lba in ((1, last, 2), (last, 1, last - 32)):
            file.seek(own * SECTOR)
            file.write(_gpt_header(own, other, table_lba, last, table))
            file.seek(table_lba * SECTOR)
            file.write(table)
    for part in parts:
        if part.content:
            put(disk, part.start * SECTOR, part.content)


LINUX_ENTRY = struct.Struct("<16s16sQQQ72s")


def _gpt_header(own: int, other: int, table_lba: int, last: int, table: bytes) -> bytes:
    def header(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            *(b"EFI PART", 0x10000, 92, checksum, 0, own, other, 34, last - 33),
            *(UUID(int=7).bytes_le, table_lba, 128, 128, zlib.crc32(table)),
        )

    return header(zlib.crc32(header(0)))


def make_mbr(disk: Path, size: int, entries: Iterable[tuple[int, int, int]]) -> None:
    """Make a disk with an MBR of (type, first sector, sectors)."""
    with disk.open("wb") as file:
        file.truncate(size)
        file.write(_mbr(entries))


def put_mbr(disk: Path, sector: int, entries: Iterable[tuple[int, int, int]]) -> None:
    """Write a boot record, such as a link of a chain of logical partitions, into a disk."""
    with disk.open("r+b") as file:
        file.seek(sector * SECTOR)
        file.write(_mbr(entries))


def _mbr(entries: Iterable[tuple[int, int, int]]) -> bytes:
    packed = b"".join(
        struct.pack("<4sB3sII", bytes(4), kind, bytes(3), start, count)
        for kind, start, count in entries
    )
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"
