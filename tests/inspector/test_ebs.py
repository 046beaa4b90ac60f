"""A snapshot's blocks over HTTP: listed once, holes free, checked, fetched side by side."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError

from demo.disks import BLOCK_BYTES, Disk
from libs.common.aws_errors import AwsError
from services.inspector import ebs
from services.inspector.disk.errors import LimitError
from services.inspector.ebs import SnapshotBlocks
from services.inspector.outcome import BlocksUnavailable, FailureReason
from services.inspector.token_bucket import TokenBucket
from tests.support.local_aws import CUSTOMER

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

WRITTEN = (0, 3, 7, 2047)


def block(index: int) -> bytes:
    """Give what stands in a block."""
    return index.to_bytes(2, "big") * (BLOCK_BYTES // 2)


class Tampering:
    """A client of EBS whose answers a test may change; it counts the calls."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str, dict[str, Any]], None] = lambda _operation, _request: None
        self.after: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer

    def list_snapshot_blocks(self, **request: Any) -> Any:
        """List blocks."""
        self.calls["list"] += 1
        self.before("list", request)
        return self.client.list_snapshot_blocks(**request)

    def get_snapshot_block(self, **request: Any) -> Any:
        """Get a block."""
        self.calls["get"] += 1
        self.before("get", request)
        return self.after(self.client.get_snapshot_block(**request))


@pytest.fixture
def client(local_aws: "LocalAws") -> Iterator[Tampering]:
    """Give a client of the account that owns the snapshots."""
    made = local_aws.client("ebs", "us-east-1", CUSTOMER)
    yield Tampering(made)
    made.close()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Give threads to fetch with."""
    with ThreadPoolExecutor(4) as made:
        yield made


def opened(client: Tampering, executor: ThreadPoolExecutor, *written: int) -> SnapshotBlocks:
    """Upload a disk of 1 GiB with these blocks, and open its snapshot."""
    disk = Disk(1, {index: block(index) for index in written or WRITTEN})
    snapshot_id = disk.upload(client.client, "")
    client.calls.clear()
    blocks = SnapshotBlocks(
        client,  # type: ignore[arg-type]  # stands for a client
        snapshot_id,
        "us-east-1",
        bucket=TokenBucket(1000),
        executor=executor,
    )
    blocks.list_first()
    return blocks


def error(code: str, reason: str) -> ClientError:
    """Make an error as botocore parses it from the EBS direct APIs."""
    return ClientError(
        {"Error": {"Code": code, "Message": "planned"}, "Reason": reason},  # type: ignore[typeddict-unknown-key]  # the service's own member
        "GetSnapshotBlock",
    )


def test_blocks_come_as_written_and_holes_cost_nothing(
    client: Tampering, executor: ThreadPoolExecutor
) -> None:
    """One listing, one request for each written block, none for holes."""
    blocks = opened(client, executor)
    assert blocks.size == 1 << 30
    assert blocks.fetch([3]) == [block(3)]
    assert blocks.fetch([1, 7, 2, 0, 2047]) == [b"", block(7), b"", block(0), block(2047)]
    assert client.calls == {"list": 1, "get": 4}
    assert blocks.listings == 1


def test_empty_pages_with_a_next_token_are_followed(
    client: Tampering, executor: ThreadPoolExecutor, local_aws: "LocalAws"
) -> None:
    """AWS may answer with no blocks and more to come; only an absent token is the end."""
    local_aws.page_emptily(2)
    blocks = opened(client, executor)
    assert blocks.fetch([3, 4]) == [block(3), b""]
    assert blocks.listings == 3


def test_only_the_listings_that_are_needed_are_asked_for(
    client: Tampering, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk of many pages is listed where it is read, and nowhere twice."""
    monkeypatch.setattr(ebs, "_PAGE", 100)
    blocks = opened(client, executor, *range(0, 600, 2))
    assert blocks.fetch([0, 100, 101]) == [block(0), block(100), b""]
    assert blocks.listings == 1
    assert blocks.fetch([450]) == [block(450)]
    assert blocks.fetch([452, 599, 2000]) == [block(452), b"", b""]
    assert blocks.listings == 2
    assert blocks.fetch([300]) == [block(300)]
    assert blocks.listings == 3


def test_several_blocks_are_fetched_side_by_side(
    client: Tampering, executor: ThreadPoolExecutor
) -> None:
    """Four requests are under way at the same time, or none of them would end."""
    together = threading.Barrier(4, timeout=20)
    blocks = opened(client, executor)
    client.before = lambda operation, _: operation == "get" and together.wait()  # type: ignore[assignment]  # its answer is dropped
    assert blocks.fetch(WRITTEN) == [block(each) for each in WRITTEN]


@pytest.mark.parametrize("damage", ["flipped", "cut", "broken"])
def test_a_block_that_arrives_damaged_is_asked_for_again(
    client: Tampering, executor: ThreadPoolExecutor, damage: str
) -> None:
    """The checksum tells; so do a body cut short and a connection that breaks in its midst."""
    blocks = opened(client, executor)

    class Body:
        def __init__(self, whole: bytes) -> None:
            self._whole = whole

        def read(self) -> bytes:
            if damage == "broken":
                raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
            return self._whole[:-1] + (b"" if damage == "cut" else b"!")

    def after(answer: dict[str, Any]) -> dict[str, Any]:
        client.after = lambda sound: sound
        return {**answer, "BlockData": Body(answer["BlockData"].read())}

    client.after = after
    assert blocks.fetch([7]) == [block(7)]
    assert client.calls["get"] == 2


def test_a_block_that_is_always_damaged_is_given_up(
    client: Tampering, executor: ThreadPoolExecutor
) -> None:
    """After three tries the inspection fails, and may be tried again."""
    blocks = opened(client, executor)
    client.after = lambda answer: {**answer, "Checksum": "AAAA"}
    with pytest.raises(BlocksUnavailable, match="no sound block 7 in 3 tries") as raised:
        blocks.fetch([7])
    assert raised.value.failure.reason is FailureReason.AWS_TROUBLE
    assert raised.value.failure.passing
    assert client.calls["get"] == 3


def test_an_expired_block_token_is_renewed(client: Tampering, executor: ThreadPoolExecutor) -> None:
    """The block is listed again, and fetched with its new token."""
    blocks = opened(client, executor)

    def before(operation: str, _request: dict[str, Any]) -> None:
        if operation == "get":
            client.before = lambda _operation, _again: None
            raise error("ValidationException", "INVALID_BLOCK_TOKEN")

    client.before = before
    assert blocks.fetch([7]) == [block(7)]
    assert client.calls == {"list": 2, "get": 2}


def test_an_expired_page_token_begins_the_listing_again(
    client: Tampering, executor: ThreadPoolExecutor, local_aws: "LocalAws"
) -> None:
    """Page tokens are good for an hour; the listing begins where it was to begin."""
    local_aws.page_emptily(1)

    def before(_operation: str, request: dict[str, Any]) -> None:
        if "NextToken" in request:
            client.before = lambda _operation, _again: None
            raise error("ValidationException", "INVALID_PAGE_TOKEN")

    client.before = before
    assert opened(client, executor).fetch([3]) == [block(3)]


def test_other_errors_are_raised_as_what_aws_said(
    client: Tampering, executor: ThreadPoolExecutor
) -> None:
    """The reason that EBS adds to its codes is there to be asked for."""
    blocks = opened(client, executor)

    def before(_operation: str, _request: dict[str, Any]) -> None:
        raise error("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED")

    client.before = before
    for indexes in ([7], [0, 3, 7]):
        with pytest.raises(AwsError) as raised:
            blocks.fetch(indexes)
        assert ebs.aws_reason(raised.value) == "DEPENDENCY_ACCESS_DENIED"


def test_listings_are_bounded(client: Tampering, executor: ThreadPoolExecutor) -> None:
    """A listing that never ends is not followed for ever."""
    blocks = opened(client, executor)
    blocks.listings = 200
    with pytest.raises(LimitError, match="200 listings"):
        blocks.list_first()


def test_a_token_bucket_lets_a_second_through_and_then_its_rate() -> None:
    """Ten a second: ten at once, and each further one a tenth of a second later."""
    now = 100.0
    waits: list[float] = []
    bucket = TokenBucket(10, monotonic=lambda: now, wait=waits.append)
    for _ in range(13):
        bucket.take(1)
    assert waits == pytest.approx([0.1, 0.2, 0.3])
    now = 200.0
    bucket.take(10)
    assert len(waits) == 3
    bucket.take(20)
    assert waits[-1] == pytest.approx(2.0)
