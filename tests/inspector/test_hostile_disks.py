"""Whatever is on a disk: an answer, bounded time, bounded memory, and no other error."""

import random
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.inspector.disk.errors import ContentError, LimitError
from services.inspector.disk.ext_directories import directory_entries
from services.inspector.disk.ext_maps import block_map, extent_tree
from services.inspector.disk.extents import ascending, bounded
from services.inspector.disk.filesystem import FileSystem, Kind
from services.inspector.disk.gpt import read_gpt
from services.inspector.disk.mbr import read_mbr
from services.inspector.disk.source import BLOCK, BlockSource, Limits, MemorySource
from services.inspector.disk.tree import walk
from services.inspector.disk.volumes import open_disk
from services.inspector.disk.xfs_directories import block_entries, short_entries
from services.inspector.disk.xfs_inode import parse_inode
from services.inspector.examination import examine_disk
from tests.inspector.images import BIOS_BOOT, MIB, Part, make_ext, make_gpt, make_xfs

LIMITS = Limits(blocks=4000, seconds=20)
SECONDS = 10.0


class Sparse:
    """An image in memory by its written blocks, with some bytes overwritten."""

    def __init__(self, blocks: Mapping[int, bytes], size: int) -> None:
        self.size = size
        self._blocks = dict(blocks)

    @classmethod
    def of(cls, image: Path) -> "Sparse":
        """Read an image file."""
        blocks = {}
        with image.open("rb") as file:
            for index in range(-(-image.stat().st_size // BLOCK)):
                block = file.read(BLOCK)
                if block.strip(b"\0"):
                    blocks[index] = block
        return cls(blocks, image.stat().st_size)

    def damaged(self, changes: Sequence[tuple[int, bytes]]) -> "Sparse":
        """Overwrite bytes at places counted over the written blocks."""
        copy = Sparse(self._blocks, self.size)
        indexes = sorted(self._blocks)
        for place, data in changes:
            index, within = divmod(place % (len(indexes) * BLOCK), BLOCK)
            fits = data[: len(self._blocks[indexes[index]]) - within]
            base = copy._blocks[indexes[index]]
            copy._blocks[indexes[index]] = base[:within] + fits + base[within + len(fits) :]
        return copy

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Give blocks; those never written are holes."""
        return [self._blocks.get(index, b"") for index in indexes]

    def interesting(self) -> list[int]:
        """Name the places, counted over the written blocks, that are not zeros, by 16 bytes."""
        data = b"".join(self._blocks[index] for index in sorted(self._blocks))
        return [at for at in range(0, len(data), 16) if data[at : at + 16] != bytes(16)]


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sparse]:
    """Make small disks with a system on them, one for each reader."""
    folder = tmp_path_factory.mktemp("hostile")
    root = folder / "root"
    for path in ("etc", "usr/lib", "many"):
        (root / path).mkdir(parents=True)
    (root / "usr/lib/os-release").write_text('ID="rhel"\nVERSION_ID="9.4"\n')
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "etc/redhat-release").write_text("Red Hat Enterprise Linux release 9.4 (Plow)\n")
    (root / "link").symlink_to("t" * 300)
    (root / "large").write_bytes(bytes(range(256)) * 2000)
    for number in range(300):
        (root / "many" / f"a-file-whose-name-has-some-length-{number}").write_text("x")
    made = {}
    for name, options in (
        ("ext4", ("-t", "ext4")),
        ("ext2", ("-t", "ext2", "-b", "1024")),
        ("inline", ("-t", "ext4", "-O", "inline_data", "-I", "512")),
    ):
        make_ext(folder / name, 8 * MIB, root, *options)
        made[name] = Sparse.of(folder / name)
    parts = [Part(2048, sectors=64, type=BIOS_BOOT), Part(4096, folder / "ext4")]
    make_gpt(folder / "gpt", 12 * MIB, parts)
    made["gpt"] = Sparse.of(folder / "gpt")
    return made


@pytest.fixture(scope="module")
def xfs_disk(tmp_path_factory: pytest.TempPathFactory, tree: Path) -> Sparse:
    """Make an XFS with every kind of directory."""
    image = tmp_path_factory.mktemp("hostile-xfs") / "xfs"
    make_xfs(image, tree, "-b", "size=1024")
    return Sparse.of(image)


def answer(disk: Sparse) -> str:
    """Examine a disk and read all of it; only the family of errors may come out."""
    began = time.monotonic()
    try:
        found = examine_disk(BlockSource(disk, LIMITS), lambda _: None).distribution
        for volume in open_disk(BlockSource(disk, LIMITS)).volumes:
            if volume.filesystem is not None:
                read_all(volume.filesystem)
    except LimitError:
        found = "limit"
    assert time.monotonic() - began < SECONDS
    return found


def read_all(filesystem: FileSystem) -> None:
    """Read every entry until the damage is met."""
    try:
        for _, node in walk(filesystem):
            if node.kind is Kind.FILE:
                filesystem.read(node, 0, 1 << 20)
            elif node.kind is Kind.SYMLINK:
                filesystem.read_link(node)
    except ContentError:
        return


@pytest.mark.parametrize("name", ["ext4", "ext2", "inline", "gpt"])
def test_random_damage_to_ext_and_tables_does_no_harm(disks: dict[str, Sparse], name: str) -> None:
    """A hundred disks with one to ten damaged places each, where something stands."""
    survive(disks[name], seed=name, rounds=100)


def test_random_damage_to_xfs_does_no_harm(xfs_disk: Sparse) -> None:
    """A hundred disks with one to ten damaged places each, where something stands."""
    survive(xfs_disk, seed="xfs", rounds=100)


def survive(disk: Sparse, *, seed: str, rounds: int) -> None:
    """Damage a disk again and again."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, not secret
    places = disk.interesting()
    assert answer(disk) in {"rhel", "limit"}
    for _ in range(rounds):
        changes = [
            (chance.choice(places) + chance.randrange(16), _garbage(chance))
            for _ in range(chance.randint(1, 10))
        ]
        answer(disk.damaged(changes))


def _garbage(chance: random.Random) -> bytes:
    length = chance.choice([1, 2, 4, 8])
    value = chance.choice([0, 1, -1, -2, 1 << 31, chance.getrandbits(64)])
    return (value & (1 << 8 * length) - 1).to_bytes(length, chance.choice(["little", "big"]))


FUZZ = settings(
    max_examples=300, deadline=1000, suppress_health_check=[HealthCheck.too_slow], database=None
)


@FUZZ
@given(st.binary(max_size=2048))
def test_partition_tables_of_any_bytes_do_no_harm(data: bytes) -> None:
    """Neither reader raises; a small disk has no place for a table of gigabytes."""
    padded = data.ljust(4096, b"\0")
    read_mbr(MemorySource(padded[:510] + b"\x55\xaa" + padded[512:]))
    read_gpt(MemorySource(padded[:512] + b"EFI PART" + padded[520:]))


def drain(entries: Iterator[object], most: int) -> None:
    """Take everything: at most so much, and then an end or ContentError."""
    with suppress(ContentError):
        assert len(list(entries)) <= most


@FUZZ
@given(data=st.binary(min_size=1, max_size=4096), has_file_type=st.booleans())
def test_directories_of_any_bytes_do_no_harm(*, data: bytes, has_file_type: bool) -> None:
    """Entries or ContentError, and no more entries than fit."""
    drain(directory_entries(data), 512)
    drain(short_entries(data, has_file_type=has_file_type), 255)
    for magic in (b"XD2D", b"XD2B"):
        block = magic + data.ljust(4092, b"\0")
        drain(block_entries(block, 1, has_file_type=has_file_type), 512)
    owned = b"XDB3" + bytes(36) + (1).to_bytes(8, "big") + data.ljust(4048, b"\0")
    drain(block_entries(owned, 1, has_file_type=has_file_type), 512)


@FUZZ
@given(root=st.binary(min_size=60, max_size=60), block=st.binary(min_size=1024, max_size=1024))
def test_maps_of_any_bytes_do_no_harm(root: bytes, block: bytes) -> None:
    """A map whose every pointer leads to the same block ends."""
    header = struct.pack("<HHHH", 0xF30A, 4, 4, 3) + bytes(4)
    inner = struct.pack("<HHHH", 0xF30A, 80, 84, 2) + bytes(4) + block[12:]
    drain(ascending(extent_tree(header + root[12:], lambda _: inner, 1024)), 1)
    drain(ascending(block_map(root[:52] + bytes(8), lambda _: block, 1024)), 300)


def test_a_map_of_nothing_but_pointers_to_one_block_ends() -> None:
    """Three levels of 16,384 pointers each, and never a byte of data: told from a real map."""
    pointers = (7).to_bytes(4, "little") * 16384
    levels = iter([pointers, pointers] + [bytes(65536)] * 1_000_000)
    root = bytes(56) + (7).to_bytes(4, "little")
    with pytest.raises(ContentError, match="beyond all measure"):
        list(block_map(root, bounded(lambda _: next(levels)), 65536))


@FUZZ
@given(data=st.binary(min_size=510, max_size=510))
def test_xfs_inodes_of_any_bytes_do_no_harm(data: bytes) -> None:
    """An inode or ContentError."""
    with suppress(ContentError):
        parse_inode(b"IN" + data, 128)
