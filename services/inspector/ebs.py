"""A snapshot's blocks, over the EBS direct APIs.

By the EBS user guide, "Use EBS direct APIs", its FAQ, and the API reference (read 2026-11): only
written blocks are listed, in ascending order; a page may be short or empty and still have a next
one; block tokens are good for seven days and page tokens for an hour; each block comes with its
SHA-256.
"""

from base64 import b64decode
from collections.abc import Sequence
from concurrent.futures import Executor
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from libs.common.aws_errors import AwsError, classified
from services.inspector.disk.errors import LimitError
from services.inspector.disk.source import BLOCK
from services.inspector.outcome import BlocksUnavailable, Failure, FailureReason
from services.inspector.token_bucket import TokenBucket

if TYPE_CHECKING:
    # Stubs only, a development dependency.
    from mypy_boto3_ebs import EBSClient

_GIB = 1 << 30
# The most that ListSnapshotBlocks gives: 5 GB of written blocks in one request.
_PAGE = 10_000
_MAX_LISTINGS = 200
_TRIES = 3


class SnapshotBlocks:
    """The blocks of one completed snapshot; those never written are holes and cost nothing.

    Only the listings that are needed are asked for. Errors are AwsError, and BlocksUnavailable
    where AWS answers what cannot be right.
    """

    def __init__(
        self,
        client: "EBSClient",
        snapshot_id: str,
        region: str,
        *,
        bucket: TokenBucket,
        executor: Executor,
    ) -> None:
        self.snapshot_id = snapshot_id
        self.listings = 0
        self.size = 0
        self._client = client
        self._region = region
        self._bucket = bucket
        self._executor = executor
        self._tokens: dict[int, str] = {}
        self._listed: list[range] = []
        self._renewing = Lock()

    def list_first(self) -> None:
        """List the first written blocks, which also tells the size; before anything else."""
        self._list_from(0)

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Get these blocks, several at once; b"" for holes."""
        for index in indexes:
            if not self._is_listed(index):
                self._list_from(index)
        written = [index for index in indexes if index in self._tokens]
        if len(written) == 1:
            blocks = {written[0]: self._get(written[0])}
        else:
            blocks = dict(zip(written, self._executor.map(self._get, written), strict=True))
        return [blocks.get(index, b"") for index in indexes]

    def _is_listed(self, index: int) -> bool:
        return any(index in part for part in self._listed)

    def _list_from(self, first: int) -> None:
        """List written blocks from this one on, as far as the first page that names any."""
        request: dict[str, Any] = {"StartingBlockIndex": first}
        while True:
            try:
                page = self._list(request)
            except AwsError as error:
                if aws_reason(error) != "INVALID_PAGE_TOKEN" or "NextToken" not in request:
                    raise
                # It was good for an hour. Begin again without it.
                request = {"StartingBlockIndex": first}
                continue
            found = {block["BlockIndex"]: block["BlockToken"] for block in page.get("Blocks", ())}
            self._tokens |= found
            following = page.get("NextToken")
            if found or not following:
                self._listed.append(range(first, max(found) + 1 if following else self._count()))
                return
            request = {"NextToken": following}

    def _list(self, request: dict[str, Any]) -> Any:
        if self.listings >= _MAX_LISTINGS:
            raise LimitError(f"gave up after {self.listings} listings of blocks")
        self.listings += 1
        with classified("ebs", self._region):
            page = self._client.list_snapshot_blocks(
                SnapshotId=self.snapshot_id, MaxResults=_PAGE, **request
            )
        if page["BlockSize"] != BLOCK:
            raise _trouble(f"lists blocks of {page['BlockSize']:,} bytes")
        self.size = page["VolumeSize"] * _GIB
        return page

    def _count(self) -> int:
        return self.size // BLOCK

    def _get(self, index: int) -> bytes:
        """Get one block; one that arrives damaged, or whose token has ended, is asked for again."""
        for _ in range(_TRIES):
            token = self._tokens[index]
            self._bucket.take(1)
            try:
                block = self._get_once(index, token)
            except AwsError as error:
                if aws_reason(error) != "INVALID_BLOCK_TOKEN":
                    raise
                self._renew(index, token)
                continue
            if block is not None:
                return block
        raise _trouble(f"gave no sound block {index} in {_TRIES} tries")

    def _get_once(self, index: int, token: str) -> bytes | None:
        """Get one block; None when it did not come as it was sent."""
        with classified("ebs", self._region):
            answer = self._client.get_snapshot_block(
                SnapshotId=self.snapshot_id, BlockIndex=index, BlockToken=token
            )
            try:
                block = answer["BlockData"].read()
            except (HTTPClientError, IncompleteReadError):
                return None
        is_sound = len(block) == BLOCK and sha256(block).digest() == b64decode(answer["Checksum"])
        return block if is_sound else None

    def _renew(self, index: int, token: str) -> None:
        with self._renewing:
            # Another thread may have done it meanwhile.
            if self._tokens[index] == token:
                self._list_from(index)


def aws_reason(error: AwsError) -> str:
    """Give the reason that the EBS direct APIs add to an error's code; "" when there is none."""
    cause = error.__cause__
    return str(cause.response.get("Reason", "")) if isinstance(cause, ClientError) else ""


def _trouble(what: str) -> BlocksUnavailable:
    return BlocksUnavailable(
        Failure(FailureReason.AWS_TROUBLE, f"AWS {what}. It is tried again later.", passing=True)
    )
