"""Images in a customer's account, inspected as its role over HTTP: findings and failures."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from demo.disks import disk_names
from libs.common.aws import AwsConfig, AwsSessions
from libs.common.aws_errors import classify
from services.inspector.finding import Finding
from services.inspector.images import explain, failure_of, root_snapshot
from services.inspector.inspection import InspectionLimits
from services.inspector.inspector import ImageInspector, Inspected, ReadingConfig, Target
from services.inspector.outcome import BlocksUnavailable, Failure, FailureReason
from tests.support.inspector import Images, target
from tests.support.local_aws import CUSTOMER, Role, make_role

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

OTHER = "333333333333"
REASON = FailureReason


@pytest.fixture
def inspector(local_aws: "LocalAws") -> Iterator[ImageInspector]:
    """Give an inspector whose calls are tried twice at most."""
    with (
        AwsSessions(AwsConfig(max_attempts=2)) as sessions,
        ImageInspector(sessions, ReadingConfig(), InspectionLimits()) as made,
    ):
        yield made


def inspect(inspector: ImageInspector, wanted: Target) -> Inspected:
    """Inspect without watching."""
    return inspector.inspect(wanted, lambda _what, _blocks: None)


def finding(inspected: Inspected) -> Finding:
    """Return the finding that there must be."""
    assert isinstance(inspected.outcome.answer, Finding), inspected.outcome.answer
    return inspected.outcome.answer


def failure(inspected: Inspected) -> Failure:
    """Return the failure that there must be."""
    assert isinstance(inspected.outcome.answer, Failure)
    return inspected.outcome.answer


def test_the_root_devices_snapshot_is_read(
    inspector: ImageInspector, images: Images, customer_role: Role
) -> None:
    """Not the first of the image's disks, which holds another system here."""
    root, data = images.snapshot("rhel-9"), images.snapshot("debian-12")
    image_id = images.register(root, others={"/dev/sdb": data})
    inspected = inspect(inspector, target(customer_role, image_id))
    assert (finding(inspected).distribution, finding(inspected).version) == ("rhel", "9.4")
    assert inspected.snapshot_id == root
    assert inspected.outcome.cost.listings == 1
    assert 1 <= inspected.outcome.cost.blocks <= 8


@pytest.mark.parametrize("name", disk_names())
def test_a_clean_disk_of_10_gib_takes_few_requests(
    inspector: ImageInspector, images: Images, customer_role: Role, name: str
) -> None:
    """At most 32 blocks are promised; these small systems take a few."""
    snapshot_id = images.snapshot(name)
    inspected = inspect(inspector, target(customer_role, "ami-0123456789abcdef0", snapshot_id))
    product = name.split("-", maxsplit=1)[0]
    distribution = {"amazon": "amzn", "oracle": "ol"}.get(product, product)
    assert finding(inspected).distribution == distribution
    assert inspected.outcome.cost.blocks <= 8
    assert images.aws.calls["ebs:GetSnapshotBlock"] == inspected.outcome.cost.blocks
    assert images.aws.calls["ec2:DescribeImages"] == 0


def test_a_snapshot_is_inspected_like_an_image(
    inspector: ImageInspector, images: Images, customer_role: Role
) -> None:
    """Its id stands where an image's would."""
    snapshot_id = images.snapshot("debian-12")
    inspected = inspect(inspector, target(customer_role, snapshot_id))
    assert finding(inspected).distribution == "debian"
    assert inspected.snapshot_id == snapshot_id


def test_what_is_not_there_is_said(inspector: ImageInspector, customer_role: Role) -> None:
    """An image and a snapshot that nobody has; neither is worth another try."""
    for gone in ("ami-0123456789abcdef0", "snap-0123456789abcdef0"):
        told = failure(inspect(inspector, target(customer_role, gone)))
        assert told.reason is REASON.NOT_FOUND
        assert gone in told.message
        assert not told.passing


@pytest.mark.parametrize("missing", ["ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"])
def test_a_missing_permission_is_named(
    inspector: ImageInspector, images: Images, local_aws: "LocalAws", missing: str
) -> None:
    """The owner can act on the message; trying again cannot help."""
    allowed = {"ec2:DescribeImages", "ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"} - {missing}
    role = make_role(local_aws, sorted(allowed))
    told = failure(inspect(inspector, target(role, images.register(images.snapshot("rhel-9")))))
    assert told.reason is REASON.ACCESS_DENIED
    assert f"must allow {missing}" in told.message
    assert not told.passing


def test_a_role_that_cannot_be_assumed_is_said(
    inspector: ImageInspector, images: Images, customer_role: Role
) -> None:
    """The wrong ExternalId; and an ARN that is none."""
    image_id = images.register(images.snapshot("rhel-9"))
    wrong = target(Role(customer_role.arn, "another"), image_id)
    told = failure(inspect(inspector, wrong))
    assert told.reason is REASON.ACCESS_DENIED
    assert "ExternalId" in told.message
    none = target(Role("arn:nonsense", "x"), image_id)
    assert failure(inspect(inspector, none)).reason is REASON.ACCESS_DENIED
    elsewhere = target(customer_role, image_id, region="cn-north-1")
    assert "partition" in failure(inspect(inspector, elsewhere)).message


def test_a_public_snapshot_of_somebody_elses_is_unreadable(
    inspector: ImageInspector, images: Images, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """AWS gives nobody its blocks: said with its owner, and billing codes must decide."""
    theirs = Images(local_aws, OTHER)
    snapshot_id = theirs.snapshot("rhel-9")
    theirs.ec2(
        "modify_snapshot_attribute",
        SnapshotId=snapshot_id,
        Attribute="createVolumePermission",
        OperationType="add",
        GroupNames=["all"],
    )
    told = failure(inspect(inspector, target(customer_role, snapshot_id)))
    assert told.reason is REASON.SNAPSHOT_UNREADABLE
    assert f"belongs to {OTHER}" in told.message
    assert not told.passing


def test_a_snapshot_that_is_not_completed_may_be_tried_later(
    inspector: ImageInspector, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """Only completed snapshots can be read."""
    ebs = local_aws.client("ebs", "us-east-1", CUSTOMER)
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    ebs.close()
    told = failure(inspect(inspector, target(customer_role, snapshot_id)))
    assert told.reason is REASON.SNAPSHOT_UNREADABLE
    assert f"{snapshot_id} is pending" in told.message
    assert told.passing


def test_throttling_and_failing_servers_are_survived(
    inspector: ImageInspector, images: Images, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """Each call is tried again; only when nothing helps is it a failure, and a passing one."""
    image_id = images.register(images.snapshot("rhel-9"))
    for action in ("ec2:DescribeImages", "ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"):
        code = "RequestLimitExceeded" if action.startswith("ec2") else "RequestThrottledException"
        local_aws.fail(action, code, times=1)
    assert finding(inspect(inspector, target(customer_role, image_id))).distribution == "rhel"
    local_aws.fail("ebs:GetSnapshotBlock", "InternalServerException", status=500)
    told = failure(inspect(inspector, target(customer_role, image_id)))
    assert told.reason is REASON.AWS_TROUBLE
    assert told.passing


def test_expired_credentials_are_a_passing_failure(
    inspector: ImageInspector, images: Images, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """They are renewed minutes before they end; if AWS ends them early, a later try helps."""
    image_id = images.register(images.snapshot("rhel-9"))
    inspect(inspector, target(customer_role, image_id))
    local_aws.expire_sessions()
    told = failure(inspect(inspector, target(customer_role, image_id)))
    assert (told.reason, told.passing) == (REASON.AWS_TROUBLE, True)


class FakeEc2:
    """EC2 with one image and one snapshot, for what the local AWS cannot have."""

    def __init__(
        self, image: dict[str, Any] | None = None, snapshot: dict[str, Any] | None = None
    ) -> None:
        self._image = image
        self._snapshot = snapshot

    def describe_images(self, **_: Any) -> dict[str, Any]:
        """Describe the image."""
        return {"Images": [self._image] if self._image else []}

    def describe_snapshots(self, **_: Any) -> dict[str, Any]:
        """Describe the snapshot."""
        return {"Snapshots": [self._snapshot] if self._snapshot else []}


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, REASON.NOT_FOUND),
        ({"RootDeviceType": "instance-store"}, REASON.NO_SNAPSHOT),
        ({"RootDeviceType": "ebs", "RootDeviceName": "/dev/sda1"}, REASON.NO_SNAPSHOT),
        (
            {
                "RootDeviceName": "/dev/sda1",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-1"}},
                    {"DeviceName": "/dev/sda1", "VirtualName": "ephemeral0"},
                ],
            },
            REASON.NO_SNAPSHOT,
        ),
    ],
)
def test_an_image_without_a_snapshot_of_its_root_is_said(
    image: dict[str, Any] | None, reason: FailureReason
) -> None:
    """Instance store, and others' images whose disks AWS does not show."""
    ec2: Any = FakeEc2(image)
    with pytest.raises(BlocksUnavailable) as raised:
        root_snapshot(ec2, "us-east-1", "ami-1")
    assert raised.value.failure.reason is reason


def denied(reason: str) -> Failure:
    """Say what an AccessDeniedException with this reason means."""
    response: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "Reason": reason}
    error = ClientError(response, "ListSnapshotBlocks")
    known = classify(error, "ebs", "us-east-1")
    known.__cause__ = error
    return failure_of(known, aws_account_id=CUSTOMER)


def test_a_key_that_may_not_be_used_names_the_permission() -> None:
    """kms:Decrypt, and the key when EC2 shows it."""
    told = denied("DEPENDENCY_ACCESS_DENIED")
    assert told.reason is REASON.KEY_DENIED
    assert "kms:Decrypt" in told.message
    key = "arn:aws:kms:us-east-1:222222222222:key/1"
    ec2: Any = FakeEc2(snapshot={"SnapshotId": "snap-1", "KmsKeyId": key})
    assert key in explain(ec2, "us-east-1", "snap-1", told).message


def test_an_archived_snapshot_is_said() -> None:
    """Its owner can restore it."""
    ec2: Any = FakeEc2(snapshot={"SnapshotId": "snap-1", "StorageTier": "archive"})
    told = explain(ec2, "us-east-1", "snap-1", denied("UNAUTHORIZED_ACCOUNT"))
    assert told.reason is REASON.SNAPSHOT_UNREADABLE
    assert "snap-1 is archived: restore it" in told.message
    assert not told.passing


def test_a_snapshot_that_ec2_does_not_show_is_explained_as_it_was() -> None:
    """No better reason is invented."""
    told = denied("UNAUTHORIZED_ACCOUNT")
    assert explain(FakeEc2(), "us-east-1", "snap-1", told) == told  # type: ignore[arg-type]  # stands for a client
