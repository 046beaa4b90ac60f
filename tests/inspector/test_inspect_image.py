"""InspectImage through real servers: accounts says who may, and the disk is read meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest

from cloudigrade.inspector.v1 import inspection_pb2, inspector_pb2, inspector_pb2_grpc
from libs.common.broker_memory import MemoryBroker
from libs.common.channels import open_channel
from libs.common.config import load
from services.inspector.__main__ import serve
from services.inspector.config import InspectorConfig
from services.inspector.inspection import Progress
from services.inspector.inspector import ImageInspector, Inspected, Target
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller
from tests.support.inspector import REGION, Images
from tests.support.local_aws import CUSTOMER, EXTERNAL_ID, make_role
from tests.support.statuses import told
from tests.support.waiting import wait_for, wait_until

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws


@dataclass
class Service:
    """A running inspector, the accounts that it asks, and an account that is verified."""

    target: str
    accounts: Accounts
    owner: Caller
    account_id: int
    stack: ExitStack

    def stub(self, token: str) -> inspector_pb2_grpc.InspectorServiceStub:
        """Call as the holder of a token."""
        channel = open_channel(self.target, token=token)
        self.stack.callback(channel.close)
        return inspector_pb2_grpc.InspectorServiceStub(channel)

    def inspect(
        self, image_id: str, *, account_id: int = 0, token: str = "", region: str = REGION
    ) -> list[inspector_pb2.InspectImageResponse]:
        """Inspect an image, as the owner unless told otherwise."""
        request = inspector_pb2.InspectImageRequest(
            account_id=account_id or self.account_id, region=region, image_id=image_id
        )
        return list(self.stub(token or self.owner.token).InspectImage(request, timeout=60))


@pytest.fixture
def service(accounts: Accounts, local_aws: "LocalAws") -> Iterator[Service]:
    """Run the inspector beside accounts, with an account whose role is there."""
    owner = accounts.member()
    account = accounts.verified(owner, CUSTOMER)
    make_role(local_aws, ["ec2:*", "ebs:*"], external_id=account.external_id or EXTERNAL_ID)
    environ = {
        "CLOUDIGRADE_INSPECTOR_LISTEN": "127.0.0.1:0",
        "CLOUDIGRADE_INSPECTOR_STOP_GRACE": "1s",
        "CLOUDIGRADE_INSPECTOR_TOKEN": SERVICE_TOKENS["inspector"],
        "CLOUDIGRADE_INSPECTOR_CALLS": "1",
        "CLOUDIGRADE_ACCOUNTS_TARGET": accounts.target,
    }
    with ExitStack() as stack:
        broker = stack.enter_context(MemoryBroker())
        config = load(InspectorConfig, environ, service="inspector")
        server = serve(config, stack, broker=broker, clock=accounts.clock)
        yield Service(f"127.0.0.1:{server.port}", accounts, owner, account.id, stack)


def asked(aws: "LocalAws") -> set[str]:
    """Name what was asked of AWS since the role was made."""
    return {action for action in aws.calls if not action.startswith("iam:")}


def test_the_owner_watches_and_gets_the_result(service: Service, images: Images) -> None:
    """Progress first, then one result as the last message, without a job's numbers."""
    snapshot_id = images.snapshot("oracle-9")
    image_id = images.register(snapshot_id)
    images.aws.delay("ebs:GetSnapshotBlock", 0.3)
    *progress, last = service.inspect(image_id)
    assert progress
    assert {each.WhichOneof("message") for each in progress} == {"progress"}
    counts = [each.progress.blocks for each in progress]
    assert counts == sorted(counts)
    assert all(each.progress.step for each in progress)
    result = last.result
    assert (result.finding.distribution, result.finding.version) == ("ol", "9.4")
    assert (result.job_id, result.attempt) == (0, 0)
    assert (result.account_id, result.image_id) == (service.account_id, image_id)
    assert result.snapshot_id == snapshot_id


def test_a_failure_ends_the_stream_with_ok(service: Service, local_aws: "LocalAws") -> None:
    """What cannot be read is a result; the call itself did what it could."""
    *_, last = service.inspect("snap-0123456789abcdef0")
    assert last.result.failure.reason == inspection_pb2.InspectionFailure.REASON_NOT_FOUND


def test_an_admin_may_and_a_stranger_may_not(service: Service, images: Images) -> None:
    """What is not theirs is NOT_FOUND, as what there is not."""
    image_id = images.register(images.snapshot("rhel-9"))
    *_, last = service.inspect(image_id, token=service.accounts.admin.token)
    assert last.result.finding.distribution == "rhel"
    stranger = service.accounts.member("eve").token
    for account_id, token in ((0, stranger), (999_999, service.owner.token)):
        with pytest.raises(grpc.RpcError) as raised:
            service.inspect(image_id, account_id=account_id, token=token)
        assert told(raised.value).code is grpc.StatusCode.NOT_FOUND


def test_without_a_users_token_nothing_is_read(service: Service, local_aws: "LocalAws") -> None:
    """No token, one that is nobody's, and a service's own."""
    for token, code in (
        ("nobody-s", grpc.StatusCode.UNAUTHENTICATED),
        (SERVICE_TOKENS["scanner"], grpc.StatusCode.UNAUTHENTICATED),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            service.inspect("ami-01234567", token=token)
        assert told(raised.value).code is code
    assert not asked(local_aws)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (inspector_pb2.InspectImageRequest(), ("account_id", "region", "image_id")),
        (
            inspector_pb2.InspectImageRequest(account_id=-1, region="us east 1", image_id="ami-12"),
            ("account_id", "region", "image_id"),
        ),
        (
            inspector_pb2.InspectImageRequest(
                account_id=1, region="us-east-1", image_id="snap-nonsense"
            ),
            ("image_id",),
        ),
        (
            inspector_pb2.InspectImageRequest(
                account_id=1, region="us-east-1", image_id="/etc/passwd"
            ),
            ("image_id",),
        ),
    ],
)
def test_bad_requests_name_every_field(
    service: Service,
    local_aws: "LocalAws",
    request_: inspector_pb2.InspectImageRequest,
    fields: tuple[str, ...],
) -> None:
    """And nothing is called for them."""
    with pytest.raises(grpc.RpcError) as raised:
        list(service.stub(service.owner.token).InspectImage(request_, timeout=20))
    refused = told(raised.value)
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, fields)
    assert not asked(local_aws)


def test_a_region_of_another_partition_is_refused(service: Service, local_aws: "LocalAws") -> None:
    """The role is of aws, the Region of aws-cn."""
    with pytest.raises(grpc.RpcError) as raised:
        service.inspect("ami-01234567", region="cn-north-1")
    refused = told(raised.value)
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("region",))
    assert not asked(local_aws)


def test_an_account_that_is_not_verified_is_not_read(
    service: Service, local_aws: "LocalAws"
) -> None:
    """Nobody has proved yet that the role is theirs."""
    pending = service.accounts.account(service.owner, "444444444444", "pending")
    with pytest.raises(grpc.RpcError) as raised:
        service.inspect("ami-01234567", account_id=pending.id)
    refused = told(raised.value)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "ACCOUNT_NOT_ENABLED",
    )
    assert not asked(local_aws)


def test_too_many_at_once_are_refused_and_a_place_comes_free(
    service: Service, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One place here: the second caller is told to come back, and may after the first has gone."""
    image_id = images.register(images.snapshot("rhel-9"))
    inside, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    inspect = ImageInspector.inspect

    def held(self: ImageInspector, wanted: Target, progress: Progress) -> Inspected:
        inside.set()
        wait_for(go_on)
        try:
            return inspect(self, wanted, progress)
        finally:
            ended.set()

    monkeypatch.setattr(ImageInspector, "inspect", held)
    request = inspector_pb2.InspectImageRequest(
        account_id=service.account_id, region=REGION, image_id=image_id
    )
    first = service.stub(service.owner.token).InspectImage(request, timeout=60)
    wait_for(inside)
    with pytest.raises(grpc.RpcError) as raised:
        service.inspect(image_id)
    refused = told(raised.value)
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.retry_seconds
    # Its watcher goes: the inspection ends at its next step and gives its place back.
    first.cancel()
    go_on.set()
    wait_for(ended)
    wait_until(lambda: _answers(service, image_id))


def _answers(service: Service, image_id: str) -> bool:
    try:
        return service.inspect(image_id)[-1].result.finding.distribution == "rhel"
    except grpc.RpcError as error:
        if told(error).code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return False
        raise
