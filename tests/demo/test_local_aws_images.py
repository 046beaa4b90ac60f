"""The local AWS keeps images and snapshots as AWS does: disks, blocks, paging, sharing."""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.disks import BLOCK_BYTES, Disk
from demo.local_aws.server import LocalAws
from tests.support.local_aws import CUSTOMER

OTHER = "333333333333"


class Account:
    """Clients of one account."""

    def __init__(self, aws: LocalAws, account_id: str, region: str = "us-east-1") -> None:
        self.ec2 = aws.client("ec2", region, account_id)
        self.ebs = aws.client("ebs", region, account_id)

    def upload(self, *indexes: int, volume_gib: int = 1) -> str:
        """Make a snapshot with a block at each index, full of its number's last byte."""
        blocks = {index: bytes([index % 256]) * BLOCK_BYTES for index in indexes}
        return Disk(volume_gib, blocks).upload(self.ebs, "")

    def image(self, snapshot_id: str, **given: Any) -> str:
        """Register an image with one disk."""
        image_id: str = self.ec2.register_image(
            Name="golden",
            Architecture="arm64",
            RootDeviceName="/dev/sda1",
            VirtualizationType="hvm",
            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
            **given,
        )["ImageId"]
        return image_id

    def described(self, image_id: str) -> dict[str, Any]:
        """Describe one image."""
        found: dict[str, Any] = self.ec2.describe_images(ImageIds=[image_id])["Images"][0]
        return found

    def block(self, snapshot_id: str, index: int) -> bytes:
        """Read one block through its listing."""
        listed = self.ebs.list_snapshot_blocks(SnapshotId=snapshot_id, StartingBlockIndex=index)
        token = listed["Blocks"][0]["BlockToken"]
        data: bytes = self.ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=index, BlockToken=token
        )["BlockData"].read()
        return data

    def close(self) -> None:
        """Close both clients."""
        self.ec2.close()
        self.ebs.close()


@pytest.fixture
def account(local_aws: LocalAws) -> Iterator[Account]:
    """Act in the customer's account."""
    made = Account(local_aws, CUSTOMER)
    yield made
    made.close()


@pytest.fixture
def other(local_aws: LocalAws) -> Iterator[Account]:
    """Act in another account."""
    made = Account(local_aws, OTHER)
    yield made
    made.close()


def refusal(error: ClientError) -> tuple[str, str]:
    """Give the code and the reason of an EBS direct error."""
    return error.response["Error"]["Code"], str(error.response.get("Reason"))


def test_a_registered_image_keeps_its_disks(account: Account) -> None:
    """Snapshot, size, root device and architecture are those that were registered."""
    snapshot = account.upload(0)
    image = account.described(account.image(snapshot))
    assert image["BlockDeviceMappings"] == [
        {
            "DeviceName": "/dev/sda1",
            "Ebs": {
                "SnapshotId": snapshot,
                "VolumeSize": 1,
                "VolumeType": "gp2",
                "DeleteOnTermination": True,
                "Encrypted": False,
            },
        }
    ]
    assert (image["RootDeviceName"], image["RootDeviceType"]) == ("/dev/sda1", "ebs")
    assert (image["Architecture"], image["OwnerId"], image["Public"]) == ("arm64", CUSTOMER, False)


def test_no_snapshot_is_made_up(account: Account) -> None:
    """After registering, the account has the snapshot that it uploaded and no other."""
    snapshot = account.upload(0)
    account.image(snapshot)
    found = account.ec2.describe_snapshots()["Snapshots"]
    assert [each["SnapshotId"] for each in found] == [snapshot]


def test_there_are_no_images_but_those_made(account: Account) -> None:
    """Moto's 1,301 images of others are not there."""
    assert account.ec2.describe_images()["Images"] == []


def test_a_pending_snapshot_makes_no_image(account: Account) -> None:
    """RegisterImage wants a completed snapshot."""
    snapshot = account.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        account.image(snapshot)


def test_an_image_of_an_instance_keeps_its_disk_and_billing(account: Account) -> None:
    """CreateImage carries blocks and codes over to a snapshot and image of their own."""
    source = account.image(account.upload(0, 7), BillingProducts=["bp-6fa54006"])
    launched = account.ec2.run_instances(ImageId=source, MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    made = account.described(
        account.ec2.create_image(InstanceId=instance_id, Name="mine")["ImageId"]
    )
    snapshot = made["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert made["UsageOperation"] == "RunInstances:0010"
    assert account.block(snapshot, 7) == bytes([7]) * BLOCK_BYTES


def test_a_copied_image_keeps_its_disk_in_its_new_region(
    local_aws: LocalAws, account: Account
) -> None:
    """CopyImage makes a snapshot with the same blocks in the other Region."""
    source = account.image(account.upload(0, 9), BillingProducts=["bp-63a5400a"])
    abroad = Account(local_aws, CUSTOMER, "eu-west-1")
    copied = abroad.described(
        abroad.ec2.copy_image(SourceImageId=source, SourceRegion="us-east-1", Name="copy")[
            "ImageId"
        ]
    )
    snapshot = copied["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert copied["UsageOperation"] == "RunInstances:00g0"
    assert abroad.block(snapshot, 9) == bytes([9]) * BLOCK_BYTES
    abroad.close()


def test_copied_snapshots_are_known_to_the_direct_apis(account: Account) -> None:
    """CopySnapshot gives a snapshot whose blocks can be read."""
    copied = account.ec2.copy_snapshot(
        SourceSnapshotId=account.upload(3), SourceRegion="us-east-1"
    )["SnapshotId"]
    assert account.block(copied, 3) == bytes([3]) * BLOCK_BYTES


def test_blocks_are_512_kib(account: Account) -> None:
    """BlockSize is 524288 when a snapshot is started and when it is listed."""
    started = account.ebs.start_snapshot(VolumeSize=1)
    listed = account.ebs.list_snapshot_blocks(SnapshotId=account.upload(0))
    assert (started["BlockSize"], listed["BlockSize"]) == (524288, 524288)
    assert (started["Status"], listed["VolumeSize"]) == ("pending", 1)


def test_blocks_are_listed_in_order(account: Account) -> None:
    """Indexes are sorted, whatever the order of writing, and holes are left out."""
    listed = account.ebs.list_snapshot_blocks(SnapshotId=account.upload(40, 3, 2000, 0))
    assert [block["BlockIndex"] for block in listed["Blocks"]] == [0, 3, 40, 2000]
    assert "NextToken" not in listed


def test_blocks_are_listed_in_pages(account: Account) -> None:
    """MaxResults cuts pages, NextToken goes on, StartingBlockIndex counts only without it."""
    snapshot = account.upload(*range(250))
    first = account.ebs.list_snapshot_blocks(
        SnapshotId=snapshot, MaxResults=100, StartingBlockIndex=20
    )
    second = account.ebs.list_snapshot_blocks(
        SnapshotId=snapshot, MaxResults=100, StartingBlockIndex=0, NextToken=first["NextToken"]
    )
    third = account.ebs.list_snapshot_blocks(
        SnapshotId=snapshot, MaxResults=100, NextToken=second["NextToken"]
    )
    pages = [[block["BlockIndex"] for block in page["Blocks"]] for page in (first, second, third)]
    assert pages == [list(range(20, 120)), list(range(120, 220)), list(range(220, 250))]
    assert "NextToken" not in third


def test_a_page_may_be_empty_and_not_the_last(local_aws: LocalAws, account: Account) -> None:
    """Two empty pages with a token come before the blocks when that is asked for."""
    snapshot = account.upload(5)
    local_aws.page_emptily(2)
    found, token = [], ""
    for _ in range(3):
        more = {"NextToken": token} if token else {}
        page = account.ebs.list_snapshot_blocks(SnapshotId=snapshot, **more)
        found.append([block["BlockIndex"] for block in page["Blocks"]])
        token = page.get("NextToken", "")
    assert (found, token) == ([[], [], [5]], "")


def test_a_page_has_10000_blocks_at_most(account: Account) -> None:
    """Any more MaxResults are a ValidationException."""
    snapshot = account.upload(0)
    with pytest.raises(ClientError) as refused:
        account.ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=10_001)
    assert refusal(refused.value) == ("ValidationException", "INVALID_PARAMETER_VALUE")


def test_a_foreign_page_token_is_refused(account: Account) -> None:
    """A token of another snapshot's listing is a ValidationException."""
    full, small = account.upload(*range(101)), account.upload(0)
    token = account.ebs.list_snapshot_blocks(SnapshotId=full, MaxResults=100)["NextToken"]
    with pytest.raises(ClientError) as refused:
        account.ebs.list_snapshot_blocks(SnapshotId=small, NextToken=token)
    assert refusal(refused.value) == ("ValidationException", "INVALID_PAGE_TOKEN")


def test_a_block_comes_with_its_checksum(account: Account) -> None:
    """Data, length and SHA256 are those of the block."""
    snapshot = account.upload(4)
    [listed] = account.ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    answer = account.ebs.get_snapshot_block(
        SnapshotId=snapshot, BlockIndex=4, BlockToken=listed["BlockToken"]
    )
    data = answer["BlockData"].read()
    assert data == bytes([4]) * BLOCK_BYTES
    assert answer["DataLength"] == BLOCK_BYTES
    assert answer["ChecksumAlgorithm"] == "SHA256"
    assert answer["Checksum"] == b64encode(sha256(data).digest()).decode()


def test_a_wrong_block_token_is_refused(account: Account) -> None:
    """The token must be that of the block; a hole has none."""
    snapshot = account.upload(4, 5)
    tokens = {
        block["BlockIndex"]: block["BlockToken"]
        for block in account.ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    }
    for index in (5, 6):
        with pytest.raises(ClientError) as refused:
            account.ebs.get_snapshot_block(
                SnapshotId=snapshot, BlockIndex=index, BlockToken=tokens[4]
            )
        assert refusal(refused.value) == ("ValidationException", "INVALID_BLOCK_TOKEN")


def test_an_unknown_snapshot_is_not_found(account: Account) -> None:
    """ResourceNotFoundException with 404, and not a page of HTML."""
    with pytest.raises(ClientError) as refused:
        account.ebs.list_snapshot_blocks(SnapshotId="snap-0123456789abcdef0")
    assert refusal(refused.value) == ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_pending_snapshot_cannot_be_read(account: Account) -> None:
    """Only completed snapshots are read."""
    snapshot = account.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with pytest.raises(ClientError) as refused:
        account.ebs.list_snapshot_blocks(SnapshotId=snapshot)
    assert refusal(refused.value) == ("ValidationException", "INVALID_SNAPSHOT_ID")


def test_a_completed_snapshot_takes_no_more_blocks(account: Account) -> None:
    """PutSnapshotBlock is for pending snapshots."""
    data = bytes(BLOCK_BYTES)
    with pytest.raises(ClientError) as refused:
        account.ebs.put_snapshot_block(
            SnapshotId=account.upload(0),
            BlockIndex=1,
            BlockData=data,
            DataLength=BLOCK_BYTES,
            Checksum=b64encode(sha256(data).digest()).decode(),
            ChecksumAlgorithm="SHA256",
        )
    assert refusal(refused.value) == ("ValidationException", "INVALID_SNAPSHOT_ID")


@pytest.mark.parametrize(
    ("data", "checksum_of", "index", "reason"),
    [
        (bytes(BLOCK_BYTES), b"other", 0, "INVALID_BLOCK"),
        (bytes(BLOCK_BYTES - 1), bytes(BLOCK_BYTES - 1), 0, "INVALID_BLOCK"),
        (bytes(BLOCK_BYTES), bytes(BLOCK_BYTES), 2048, "INVALID_PARAMETER_VALUE"),
    ],
    ids=["wrong checksum", "short block", "beyond the volume"],
)
def test_a_block_that_is_wrong_is_refused(
    account: Account, data: bytes, checksum_of: bytes, index: int, reason: str
) -> None:
    """Checksum, length and place of a block are checked when it is written."""
    snapshot = account.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with pytest.raises(ClientError) as refused:
        account.ebs.put_snapshot_block(
            SnapshotId=snapshot,
            BlockIndex=index,
            BlockData=data,
            DataLength=len(data),
            Checksum=b64encode(sha256(checksum_of).digest()).decode(),
            ChecksumAlgorithm="SHA256",
        )
    assert refusal(refused.value) == ("ValidationException", reason)


def test_a_snapshot_completes_with_the_number_of_its_blocks(account: Account) -> None:
    """CompleteSnapshot refuses another count."""
    snapshot = account.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with pytest.raises(ClientError) as refused:
        account.ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=1)
    assert refusal(refused.value) == ("ValidationException", "INVALID_PARAMETER_VALUE")


def test_a_snapshot_is_read_by_those_it_is_shared_with(account: Account, other: Account) -> None:
    """Another account finds nothing until the snapshot is shared with it."""
    snapshot = account.upload(1)
    with pytest.raises(ClientError) as refused:
        other.block(snapshot, 1)
    assert refusal(refused.value) == ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND")
    account.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[OTHER],
    )
    assert other.block(snapshot, 1) == bytes([1]) * BLOCK_BYTES
    found = other.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert [each["OwnerId"] for each in found] == [CUSTOMER]


def test_a_public_snapshot_is_not_read_by_others(account: Account, other: Account) -> None:
    """The EBS direct APIs do not support public snapshots."""
    snapshot = account.upload(1)
    account.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot,
        Attribute="createVolumePermission",
        OperationType="add",
        GroupNames=["all"],
    )
    with pytest.raises(ClientError, match="AccessDeniedException"):
        other.ebs.list_snapshot_blocks(SnapshotId=snapshot)


@pytest.mark.parametrize("permission", [{"UserId": OTHER}, {"Group": "all"}])
def test_an_image_is_launched_by_those_it_is_shared_with(
    account: Account, other: Account, permission: dict[str, str]
) -> None:
    """A shared image is described and launched elsewhere; its snapshot stays its owner's."""
    snapshot = account.upload(1)
    image_id = account.image(snapshot, BillingProducts=["bp-6fa54006"])
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        other.described(image_id)
    account.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [permission]})
    launched = other.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]
    assert launched["UsageOperation"] == "RunInstances:0010"
    assert other.described(image_id)["OwnerId"] == CUSTOMER
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        other.block(snapshot, 1)
    with pytest.raises(ClientError, match="BillingProduct codes cannot be copied"):
        other.ec2.copy_image(SourceImageId=image_id, SourceRegion="us-east-1", Name="mine")
