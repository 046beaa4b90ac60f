"""Blocks are fetched when first wanted, kept, counted, and never more than the limits allow."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.inspector.disk.errors import DamagedError, LimitError, SourceError
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.source import BLOCK, BlockSource, Limits, MemorySource, Slice


class Recorded:
    """Blocks 0, 1, 2... of their own index as a byte; those in `holes` are holes."""

    def __init__(self, count: int, holes: Sequence[int] = (), last: int = BLOCK) -> None:
        self.size = (count - 1) * BLOCK + last
        self.fetched: list[list[int]] = []
        self._holes = holes
        self._count = count
        self._last = last

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Give the blocks and remember who was asked for."""
        self.fetched.append(list(indexes))
        return [b"" if each in self._holes else self._block(each) for each in indexes]

    def _block(self, index: int) -> bytes:
        return bytes([index]) * (self._last if index == self._count - 1 else BLOCK)


def test_a_read_across_blocks_fetches_them_at_once_and_only_once() -> None:
    """Three blocks come by one fetch; what was read before is not asked for again."""
    blocks = Recorded(5)
    source = BlockSource(blocks)
    assert source.read(BLOCK - 1, BLOCK + 2) == b"\0" + b"\1" * BLOCK + b"\2"
    assert source.read(2 * BLOCK, BLOCK + 1) == b"\2" * BLOCK + b"\3"
    assert blocks.fetched == [[0, 1, 2], [3]]
    assert source.requests == 4


def test_holes_are_zeros_and_cost_nothing() -> None:
    """A hole at the beginning, in the middle or at the end of a read is zeros."""
    source = BlockSource(Recorded(4, holes=[0, 2]))
    assert source.read(BLOCK - 2, BLOCK + 4) == b"\0\0" + b"\1" * BLOCK + b"\0\0"
    assert source.read(2 * BLOCK, 3) == bytes(3)
    assert source.requests == 1


def test_a_disk_that_ends_within_a_block_is_read_to_its_end() -> None:
    """The last block may be short; nothing beyond it can be read."""
    source = BlockSource(Recorded(2, last=100))
    assert source.read(BLOCK + 90, 10) == b"\1" * 10
    with pytest.raises(DamagedError, match="beyond the end"):
        source.read(BLOCK + 90, 11)
    with pytest.raises(DamagedError, match="beyond the end"):
        source.read(-1, 1)


def test_the_least_recently_used_blocks_are_forgotten() -> None:
    """Memory is bounded: what was pushed out is fetched, and counted, again."""
    blocks = Recorded(4)
    source = BlockSource(blocks, Limits(cached=2))
    for index in (0, 1, 0, 2, 0, 1):
        source.read(index * BLOCK, 1)
    assert blocks.fetched == [[0], [1], [2], [1]]


def test_no_more_blocks_are_read_than_the_limit_allows() -> None:
    """The limit counts blocks that were read, not holes, and stops before the next one."""
    blocks = Recorded(10, holes=[0, 1])
    source = BlockSource(blocks, Limits(blocks=3))
    assert source.read(0, 5 * BLOCK)[-1:] == b"\4"
    with pytest.raises(LimitError, match="3 blocks"):
        source.read(5 * BLOCK, 1)
    assert source.read(2 * BLOCK, 1) == b"\2"
    assert source.requests == 3


def test_one_large_read_stops_at_the_limit() -> None:
    """A read of many blocks fetches no more than the rest of the limit."""
    blocks = Recorded(10)
    source = BlockSource(blocks, Limits(blocks=3))
    with pytest.raises(LimitError):
        source.read(0, 8 * BLOCK)
    assert blocks.fetched == [[0, 1, 2]]


def test_nothing_is_read_after_the_deadline() -> None:
    """The time counts from the beginning, whatever was read."""
    now = 100.0
    source = BlockSource(Recorded(2), Limits(seconds=5), monotonic=lambda: now)
    source.read(0, 1)
    now = 105.5
    with pytest.raises(LimitError, match="5 s"):
        source.read(0, 1)


def test_a_structure_beyond_all_measure_is_damage() -> None:
    """A length field of gigabytes is not believed."""
    with pytest.raises(DamagedError, match="more than any real one"):
        BlockSource(Recorded(200)).read(0, 65 * 1024 * 1024)


def test_a_block_of_the_wrong_length_is_refused() -> None:
    """What stands behind the blocks is not trusted to send whole ones."""

    class Short(Recorded):
        def fetch(self, indexes: Sequence[int]) -> list[bytes]:
            return [b"short" for _ in indexes]

    with pytest.raises(SourceError, match="5 bytes"):
        BlockSource(Short(2)).read(0, 1)


def test_a_slice_is_read_from_its_own_beginning_to_its_own_end() -> None:
    """A partition's readers see nothing of its neighbours."""
    part = Slice(MemorySource(b"0123456789"), 2, 5)
    assert part.read(0, 5) == b"23456"
    with pytest.raises(DamagedError):
        part.read(3, 3)
    with pytest.raises(DamagedError):
        Slice(MemorySource(b"0123456789"), 8, 3)


def test_an_image_file_gives_its_bytes_and_its_holes(tmp_path: Path) -> None:
    """Blocks that a sparse file does not hold are holes; the last one is as long as the file."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(3 * BLOCK + 7)
        file.seek(BLOCK + 5)
        file.write(b"data")
        file.seek(3 * BLOCK)
        file.write(b"the end")
    with ImageFile(image) as blocks:
        assert blocks.size == 3 * BLOCK + 7
        hole, data, end = blocks.fetch([2, 1, 3])
        assert hole == b""
        assert data[5:9] == b"data"
        assert end == b"the end"


def test_an_image_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """The reason is for a person."""
    with pytest.raises(SourceError, match=r"cannot open .*/none: No such file"):
        ImageFile(tmp_path / "none")
