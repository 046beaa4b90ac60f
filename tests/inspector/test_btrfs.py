"""btrfs: trees, subvolumes, compression and copies, compared with what its own tools wrote."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inspector.disk import lzo
from services.inspector.disk.btrfs import TOP, BtrfsFileSystem
from services.inspector.disk.btrfs_chunks import Chunk, ChunkMap, Profile
from services.inspector.disk.checksums import crc32c
from services.inspector.disk.errors import DamagedError, DiskError, MissingError, UnsupportedError
from services.inspector.disk.filesystem import LogState
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.source import BlockSource, MemorySource
from services.inspector.examination import examine_disk
from tests.inspector.images import (
    MIB,
    WITHOUT_LIMITS,
    Truth,
    filesystem_of,
    make_btrfs,
    mounted,
    program,
    read_whole,
    run,
)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--nodesize", "4096"),
        ("--nodesize", "65536", "--csum", "sha256"),
        ("--mixed", "--csum", "xxhash"),
        ("--csum", "blake2", "-d", "dup"),
    ],
    ids=" ".join,
)
def test_a_whole_tree_is_read_as_it_was_written(
    tmp_path: Path, tree: Path, expected: Truth, options: tuple[str, ...]
) -> None:
    """Every entry, link and byte, for the sizes of nodes and kinds of checksum that there are."""
    image = tmp_path / "btrfs"
    make_btrfs(image, tree, *options)
    with filesystem_of(image) as filesystem:
        assert read_whole(filesystem) == expected
        assert filesystem.log_state() is LogState.CLEAN


@pytest.mark.parametrize("method", ["zlib", "lzo", "zstd"])
def test_compressed_files_are_read_as_they_were_written(
    tmp_path: Path, tree: Path, expected: Truth, method: str
) -> None:
    """The kernel compresses everything; what it wrote reads the same."""
    image = tmp_path / "btrfs"
    make_btrfs(image, None)
    with mounted(image, tmp_path / "mount", f"compress-force={method}") as folder:
        shutil.copytree(tree, folder, symlinks=True, dirs_exist_ok=True)
    with filesystem_of(image) as filesystem:
        assert read_whole(filesystem) == expected


def test_subvolumes_and_snapshots_each_show_their_own_files(tmp_path: Path) -> None:
    """A snapshot that was changed, the subvolume that was not, and the default that was set."""
    image = tmp_path / "btrfs"
    make_btrfs(image, None)
    with mounted(image, tmp_path / "mount") as folder:
        run(program("btrfs"), "subvolume", "create", str(folder / "@"))
        (folder / "@/file").write_text("before")
        run(program("btrfs"), "subvolume", "snapshot", str(folder / "@"), str(folder / "later"))
        (folder / "later/file").write_text("after")
        run(program("btrfs"), "subvolume", "set-default", str(folder / "later"))
    with ImageFile(image) as blocks:
        later = BtrfsFileSystem(BlockSource(blocks, WITHOUT_LIMITS))
        top = later.at(TOP)
        assert dict(top.entries(top.root())).keys() == {b"@", b"later"}
        assert later.subvolume == top.subvolume_at("/later/")
        before = later.at(top.subvolume_at("@"))
        for each, content in ((later, b"after"), (before, b"before")):
            ((name, number),) = each.entries(each.root())
            assert (name, each.read(each.node(number), 0, 100)) == (b"file", content)
        with pytest.raises(MissingError, match="no subvolume 'home'"):
            top.subvolume_at("home")


@pytest.mark.parametrize("name", ["root", "@", "@/.snapshots/1/snapshot"])
def test_the_system_is_found_in_the_subvolume_of_its_installer(tmp_path: Path, name: str) -> None:
    """Fedora's, Ubuntu's and SUSE's layouts, with nothing but subvolumes at the top."""
    image = tmp_path / "btrfs"
    make_btrfs(image, None)
    with mounted(image, tmp_path / "mount") as folder:
        at = folder
        for part in name.split("/"):
            at = at / part
            run(program("btrfs"), "subvolume", "create", str(at))
        (at / "etc").mkdir()
        (at / "etc/os-release").write_text('ID="sles"\nVERSION_ID="15.5"\n')
    with ImageFile(image) as blocks:
        finding = examine_disk(BlockSource(blocks, WITHOUT_LIMITS), lambda _: None)
    assert (finding.distribution, finding.version) == ("sles", "15.5")
    assert finding.layout == f"no partition table; root: btrfs on whole disk, subvolume {name}"


def test_what_only_the_log_holds_is_told(tmp_path: Path) -> None:
    """A copy under a mounted btrfs, after an fsync: the trees do not hold the file yet."""
    image, copy = tmp_path / "btrfs", tmp_path / "copy"
    make_btrfs(image, None)
    with mounted(image, tmp_path / "mount", "commit=300") as folder:
        (folder / "old").write_text("old")
        run(program("sync"), "--file-system", str(folder))
        (folder / "new").write_text("new")
        run(program("sync"), str(folder / "new"))
        shutil.copyfile(image, copy)
    with filesystem_of(copy) as filesystem:
        assert filesystem.log_state() is LogState.DIRTY


def test_a_node_that_is_damaged_is_read_from_its_copy(
    tmp_path: Path, tree: Path, expected: Truth
) -> None:
    """With metadata kept twice, every node of the first copy may be lost."""
    image = tmp_path / "btrfs"
    make_btrfs(image, tree, "-m", "dup")
    data = bytearray(image.read_bytes())
    seen: set[bytes] = set()
    for at in range(MIB, len(data), 4096):
        # Of each node the first copy on the disk: told by the address and id in its header.
        head = bytes(data[at + 32 : at + 56])
        if data[at + 32 : at + 48] == data[65568:65584] and not head.startswith(bytes(16)):
            if head not in seen:
                data[at + 101] ^= 0xFF
            seen.add(head)
    source = MemorySource(bytes(data))
    assert len(seen) > 10
    assert read_whole(BtrfsFileSystem(source)) == expected


def test_a_superblock_that_is_damaged_is_read_from_its_copy(tmp_path: Path, tree: Path) -> None:
    """The second stands at 64 MiB."""
    image = tmp_path / "btrfs"
    make_btrfs(image, tree)
    data = bytearray(image.read_bytes())
    data[65536 + 200] ^= 0xFF
    filesystem = BtrfsFileSystem(MemorySource(bytes(data)))
    assert (b"etc" in dict(filesystem.entries(filesystem.root()))) is True


def chunk(profile: Profile, stripes: int, copies: int = 1) -> Chunk:
    """Give a chunk of 16 bytes on each of some devices, in stripes of 4."""
    places = tuple((device, 100) for device in range(1, stripes + 1))
    return Chunk(1000, 16 * stripes // copies, 4, profile, copies, places)


def devices(count: int) -> dict[int, MemorySource]:
    """Give devices whose bytes 100 to 116 are their own number and a letter for each four."""
    return {
        number: MemorySource(bytes(100) + b"".join(b"%d%c  " % (number, 97 + n) for n in range(4)))
        for number in range(1, count + 1)
    }


def test_stripes_are_dealt_out_in_turn() -> None:
    """RAID 0 over three devices, from the middle of one stripe to the middle of another."""
    chunks = ChunkMap(devices(3))
    chunks.add(chunk(Profile.RAID0, 3))
    assert chunks.read(1002, 16) == b"  2a  3a  1b  2b"


def test_raid_10_is_read_from_whichever_copies_are_here() -> None:
    """Of two pairs, the first or the second device of each; not with a whole pair missing."""
    for here in ({1, 3}, {2, 4}):
        chunks = ChunkMap({number: each for number, each in devices(4).items() if number in here})
        chunks.add(chunk(Profile.RAID10, 4, copies=2))
        first, second = sorted(here)
        said = f"{first}a  {second}a  {first}b  {second}b  "
        assert chunks.read(1000, 16) == said.encode()
    chunks = ChunkMap(devices(2))
    chunks.add(chunk(Profile.RAID10, 4, copies=2))
    with pytest.raises(UnsupportedError, match="lies on device 3 of a btrfs over several"):
        chunks.read(1000, 8)


def test_parity_is_named_and_not_guessed() -> None:
    """RAID 5 and 6 are said to be unreadable."""
    chunks = ChunkMap(devices(3))
    chunks.add(chunk(Profile.RAID5, 3))
    with pytest.raises(UnsupportedError, match="RAID 5 or 6"):
        chunks.read(1000, 4)


def test_an_address_outside_every_chunk_is_damage() -> None:
    """Also one byte past a chunk's end."""
    chunks = ChunkMap(devices(1))
    chunks.add(chunk(Profile(0), 1))
    assert chunks.read(1000, 16) == b"1a  1b  1c  1d  "
    for address, length in ((999, 1), (1000, 17), (0, 1)):
        with pytest.raises(DamagedError, match="which lies nowhere"):
            chunks.read(address, length)


def test_crc32c_is_castagnoli() -> None:
    """The check value of RFC 3720's polynomial."""
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=300))
def test_lzo_never_does_harm(data: bytes) -> None:
    """Whatever the bytes are: what they unfold to within bounds, or a reason."""
    try:
        assert len(lzo.decompress(data, 4096)) <= 4096
    except DamagedError:
        return


def test_lzo_copies_from_what_it_is_writing() -> None:
    """Literals "ab", then six more bytes from two back: the copy overlaps itself."""
    # 0x13: two literals; 0xa4: a match of 6, whose distance of 2 is stored as 1; then the end.
    assert lzo.decompress(b"\x13ab\xa4\x00\x11\x00\x00", 100) == b"abababab"


@settings(max_examples=60, deadline=None)
@given(damage=st.data())
def test_no_damage_does_harm(small: bytes, damage: st.DataObject) -> None:
    """Any few bytes changed: the tree is read, or there is a reason."""
    data = bytearray(small)
    for _ in range(damage.draw(st.integers(1, 8))):
        place = damage.draw(st.integers(0x10000, len(data) - 1))
        data[place] = damage.draw(st.integers(0, 255))
    try:
        read_whole(BtrfsFileSystem(MemorySource(bytes(data))))
    except DiskError:
        return


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give a small btrfs whose checksums are of the kind that is not verified."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "tree/etc").mkdir(parents=True)
    (folder / "tree/etc/os-release").write_text("ID=debian\n")
    image = folder / "btrfs"
    make_btrfs(
        image,
        folder / "tree",
        "--mixed",
        "--csum",
        "xxhash",
        "-m",
        "single",
        "-d",
        "single",
        size=16 * MIB,
    )
    return image.read_bytes()[: 8 * MIB]
