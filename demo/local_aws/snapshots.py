"""Snapshots: their blocks, who may read them, and the EBS direct APIs.

EBS user guide, "EBS direct APIs" and its FAQ, and the API reference (read 2026-11): blocks are of
512 KiB, indexes come sorted, a page may be short or empty and still have a next one, only completed
snapshots are read, public ones are not.
"""

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ebs.responses import EBSResponse
from moto.ec2.exceptions import InvalidSnapshotIdError
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_block_store import EBSBackend as SnapshotBackend
from moto.ec2.models.elastic_block_store import Snapshot
from moto.ec2.utils import generic_filter, random_snapshot_id

from demo.local_aws.clock import CLOCK
from demo.local_aws.patches import replace, wrap

BLOCK_BYTES = 512 * 1024
_BLOCKS_PER_GIB = 2048
_FEWEST, _MOST = 100, 10_000
_TOKEN_LIFE = timedelta(days=7)
# A snapshot that StartSnapshot makes comes from no volume; EC2 shows this id for it.
_NO_VOLUME = "vol-ffffffff"


class _EbsError(ServiceException):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Invalid(_EbsError):
    code = "ValidationException"


class _NotFound(_EbsError):
    code = "ResourceNotFoundException"


class _Denied(_EbsError):
    code = "AccessDeniedException"


class Listings:
    """How ListSnapshotBlocks pages, for tests of its readers."""

    empty_first_pages = 0


def install() -> None:
    """Give every snapshot blocks, and answer the EBS direct APIs from them."""
    wrap(SnapshotBackend, create_snapshot=_with_blocks)
    replace(SnapshotBackend, copy_snapshot=_copy_snapshot, describe_snapshots=_describe_snapshots)
    replace(
        EBSResponse,
        start_snapshot=_start,
        put_snapshot_block=_put,
        complete_snapshot=_complete,
        list_snapshot_blocks=_list,
        get_snapshot_block=_get,
    )


def find(backend: Any, snapshot_id: str) -> Any:
    """Return a snapshot that the account owns or that is shared with it, else None."""
    for account in list(ec2_backends):
        other = ec2_backends[account].get(backend.region_name)
        snapshot = None if other is None else other.snapshots.get(snapshot_id)
        if snapshot is not None and _may_use(snapshot, backend.account_id):
            return snapshot
    return None


def duplicate(backend: Any, source: Any, description: str) -> Any:
    """Make a snapshot of the account's own with another's blocks."""
    copied: Any = Snapshot(
        backend, random_snapshot_id(), source.volume, description, source.encrypted
    )
    copied.blocks = blocks_of(source)
    backend.snapshots[copied.id] = copied
    return copied


def blocks_of(snapshot: Any) -> dict[int, bytes]:
    """Return a snapshot's written blocks by their index."""
    blocks: dict[int, bytes] = snapshot.__dict__.setdefault("blocks", {})
    return blocks


def _may_use(snapshot: Any, account_id: str) -> bool:
    return (
        snapshot.owner_id == account_id
        or account_id in snapshot.create_volume_permission_userids
        or "all" in snapshot.create_volume_permission_groups
    )


def _with_blocks(create: Any) -> Any:
    """Let a volume's snapshot hold what the volume was made from: here nothing writes to it."""

    def create_snapshot(self: Any, volume_id: str, *given: Any, **named: Any) -> Any:
        snapshot = create(self, volume_id, *given, **named)
        source = find(self, snapshot.volume.snapshot_id or "")
        snapshot.blocks = blocks_of(source) if source else {}
        return snapshot

    return create_snapshot


def _copy_snapshot(
    self: Any, source_snapshot_id: str, source_region: str, description: str, kms_key_id: str | None
) -> Any:
    source = find(ec2_backends[self.account_id][source_region], source_snapshot_id)
    if source is None:
        raise InvalidSnapshotIdError
    copied = duplicate(self, source, description)
    copied.kms_key_id = kms_key_id
    return copied


def _describe_snapshots(
    self: Any, snapshot_ids: list[str] | None = None, filters: Any = None
) -> list[Any]:
    if snapshot_ids:
        shown = [find(self, each) for each in snapshot_ids]
        if None in shown:
            raise InvalidSnapshotIdError
    else:
        shown = list(self.snapshots.values())
    found: list[Any] = generic_filter(filters, shown) if filters else shown
    return found


def _start(self: Any) -> Any:
    backend = ec2_backends[self.current_account][self.region]
    size, description = self._get_param("VolumeSize"), self._get_param("Description", "")
    volume = backend.create_volume(size=size, zone_name=f"{self.region}a")
    snapshot = backend.create_snapshot(volume.id, description)
    backend.delete_volume(volume.id)
    volume.id = _NO_VOLUME
    snapshot.status = "pending"
    snapshot.encrypted = bool(self._get_param("Encrypted", if_none=False))
    snapshot.kms_key_id = self._get_param("KmsKeyArn")
    tags = self._get_param("Tags", [])
    snapshot.add_tags({tag["Key"]: tag["Value"] for tag in tags})
    return ActionResult(
        {
            "SnapshotId": snapshot.id,
            "OwnerId": snapshot.owner_id,
            "Status": snapshot.status,
            "StartTime": snapshot.start_time,
            "VolumeSize": size,
            "BlockSize": BLOCK_BYTES,
            "Tags": tags,
            "Description": description,
            "KmsKeyArn": snapshot.kms_key_id,
        }
    )


def _put(self: Any) -> Any:
    snapshot = _pending(self)
    data, index = self._get_param("BlockData"), int(self._get_param("BlockIndex"))
    checksum = self._get_param("Checksum")
    if len(data) != BLOCK_BYTES or int(self._get_param("DataLength")) != BLOCK_BYTES:
        raise _Invalid("INVALID_BLOCK", f"The data must be {BLOCK_BYTES} bytes long.")
    if checksum != _checksum(data):
        raise _Invalid("INVALID_BLOCK", "The checksum does not match the data.")
    if not 0 <= index < snapshot.volume_size * _BLOCKS_PER_GIB:
        raise _Invalid("INVALID_PARAMETER_VALUE", f"The volume has no block {index}.")
    blocks_of(snapshot)[index] = data
    return ActionResult({"Checksum": checksum, "ChecksumAlgorithm": "SHA256"})


def _complete(self: Any) -> Any:
    snapshot = _pending(self)
    written = len(blocks_of(snapshot))
    if int(self._get_param("ChangedBlocksCount")) != written:
        raise _Invalid("INVALID_PARAMETER_VALUE", f"{written} blocks were written.")
    snapshot.status = "completed"
    return ActionResult({"Status": "completed"})


def _list(self: Any) -> Any:
    snapshot = _readable(self)
    most = self._get_param("MaxResults") or _MOST
    if not _FEWEST <= most <= _MOST:
        raise _Invalid("INVALID_PARAMETER_VALUE", f"MaxResults must be {_FEWEST} to {_MOST}.")
    token = self._get_param("NextToken")
    start, empty = (
        _page(snapshot.id, token)
        if token
        else (self._get_param("StartingBlockIndex") or 0, Listings.empty_first_pages)
    )
    rest = sorted(index for index in blocks_of(snapshot) if index >= start)
    shown = [] if empty else rest[:most]
    after = [start, empty - 1] if empty else [rest[most], 0] if len(rest) > most else None
    blocks = [{"BlockIndex": each, "BlockToken": _block_token(snapshot, each)} for each in shown]
    return ActionResult(
        {
            "Blocks": blocks,
            "ExpiryTime": CLOCK.now() + _TOKEN_LIFE,
            "VolumeSize": snapshot.volume_size,
            "BlockSize": BLOCK_BYTES,
            "NextToken": _page_token(snapshot.id, after) if after else None,
        }
    )


def _get(self: Any) -> Any:
    snapshot, index = _readable(self), int(self._get_param("BlockIndex"))
    if self._get_param("BlockToken") != _block_token(snapshot, index):
        raise _Invalid("INVALID_BLOCK_TOKEN", "The block token is invalid.")
    data = blocks_of(snapshot).get(index)
    if data is None:
        raise _Invalid("INVALID_BLOCK", f"The snapshot has no block {index}.")
    return ActionResult(
        {
            "DataLength": BLOCK_BYTES,
            "BlockData": data,
            "Checksum": _checksum(data),
            "ChecksumAlgorithm": "SHA256",
        }
    )


def _pending(self: Any) -> Any:
    snapshot = _known(self)
    if snapshot.owner_id != self.current_account or snapshot.status != "pending":
        raise _Invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot.id}' is not pending.")
    return snapshot


def _readable(self: Any) -> Any:
    snapshot = _known(self)
    if snapshot.owner_id != self.current_account and (
        self.current_account not in snapshot.create_volume_permission_userids
    ):
        # Public. The guide says only that it is not supported; which error AWS gives is unverified.
        raise _Denied("UNAUTHORIZED_ACCOUNT", "Public snapshots are not supported.")
    if snapshot.status != "completed":
        raise _Invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot.id}' is not completed.")
    return snapshot


def _known(self: Any) -> Any:
    snapshot_id = self._get_param("SnapshotId")
    snapshot = find(ec2_backends[self.current_account][self.region], snapshot_id)
    if snapshot is None:
        raise _NotFound("SNAPSHOT_NOT_FOUND", f"The snapshot '{snapshot_id}' does not exist.")
    return snapshot


def _checksum(data: bytes) -> str:
    return b64encode(sha256(data).digest()).decode()


def _block_token(snapshot: Any, index: int) -> str:
    return b64encode(sha256(f"{snapshot.id} {index} {id(snapshot)}".encode()).digest()).decode()


def _page_token(snapshot_id: str, place: list[int]) -> str:
    return urlsafe_b64encode(json.dumps([snapshot_id, *place]).encode()).decode()


def _page(snapshot_id: str, token: str) -> tuple[int, int]:
    try:
        of, start, empty = json.loads(urlsafe_b64decode(token))
    except ValueError:
        of, start, empty = None, 0, 0
    if of != snapshot_id:
        raise _Invalid("INVALID_PAGE_TOKEN", "The page token is invalid.")
    return start, empty
