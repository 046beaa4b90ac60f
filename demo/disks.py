"""Disks as EBS sees them: numbered blocks of 512 KiB, and nothing where nothing was written."""

import json
import lzma
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    # Stubs only: a development dependency.
    from mypy_boto3_ebs import EBSClient

BLOCK_BYTES = 512 * 1024
IMAGES = Path(__file__).with_name("disk_images")
_UPLOADS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk's size in GiB, and its written blocks by their index."""

    volume_gib: int
    blocks: dict[int, bytes]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote."""
        with lzma.open(path) as file:
            header = json.loads(file.readline())
            return cls(header["volume_gib"], {i: file.read(BLOCK_BYTES) for i in header["blocks"]})

    def save(self, path: Path) -> None:
        """Write the disk, compressed: a line of JSON with the indexes, then their blocks."""
        indexes = sorted(self.blocks)
        header = {"volume_gib": self.volume_gib, "blocks": indexes}
        with lzma.open(path, "wb", preset=9 | lzma.PRESET_EXTREME) as file:
            file.write(json.dumps(header).encode() + b"\n")
            for index in indexes:
                file.write(self.blocks[index])

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, zeros where nothing was written; less at the end."""
        end = min(offset + length, self.volume_gib << 30)
        parts = []
        while offset < end:
            index, skip = divmod(offset, BLOCK_BYTES)
            take = min(BLOCK_BYTES - skip, end - offset)
            block = self.blocks.get(index)
            parts.append(block[skip : skip + take] if block else bytes(take))
            offset += take
        return b"".join(parts)

    def upload(self, ebs: "EBSClient", description: str) -> str:
        """Make a snapshot of this disk through the EBS direct APIs; return its id."""
        snapshot = ebs.start_snapshot(VolumeSize=self.volume_gib, Description=description)
        snapshot_id = snapshot["SnapshotId"]

        def put(item: tuple[int, bytes]) -> None:
            index, block = item
            ebs.put_snapshot_block(
                SnapshotId=snapshot_id,
                BlockIndex=index,
                BlockData=block,
                DataLength=BLOCK_BYTES,
                Checksum=b64encode(sha256(block).digest()).decode(),
                ChecksumAlgorithm="SHA256",
            )

        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            list(pool.map(put, self.blocks.items()))
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(self.blocks))
        return snapshot_id


def disk(name: str) -> Disk:
    """Return a committed disk ("rhel-9", "debian-12", ...); FileNotFoundError for any other."""
    return Disk.load(IMAGES / f"{name}.disk.xz")


def disk_names() -> list[str]:
    """Return the names of the committed disks."""
    return sorted(path.name.removesuffix(".disk.xz") for path in IMAGES.glob("*.disk.xz"))
