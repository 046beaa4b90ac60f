"""Which snapshot holds an image's root disk, and why one cannot be read: what EC2 knows."""

from dataclasses import replace
from typing import TYPE_CHECKING

from libs.common.aws_errors import (
    AwsAccessDenied,
    AwsError,
    AwsRegionDisabled,
    classified,
)
from libs.common.errors import Unavailable
from services.inspector.ebs import aws_reason
from services.inspector.outcome import BlocksUnavailable, Failure, FailureReason

if TYPE_CHECKING:
    # Stubs only, a development dependency.
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import ImageTypeDef, SnapshotTypeDef

_LATER = "It is tried again later."


def root_snapshot(ec2: "EC2Client", region: str, image_id: str) -> str:
    """Find the snapshot of the image's root device, by its RootDeviceName.

    Raises BlocksUnavailable when there is none, AwsError when EC2 does not say.
    """
    with classified("ec2", region):
        images = ec2.describe_images(ImageIds=[image_id])["Images"]
    if not images:
        raise _failed(FailureReason.NOT_FOUND, f"There is no image {image_id} in {region}.")
    image = images[0]
    if image.get("RootDeviceType") == "instance-store":
        raise _failed(
            FailureReason.NO_SNAPSHOT,
            f"{image_id} keeps its root on an instance store: it has no snapshot to read.",
        )
    snapshot_id = _mapped(image)
    if not snapshot_id:
        raise _failed(
            FailureReason.NO_SNAPSHOT,
            f"AWS names no snapshot for the root device of {image_id}, as for images of others"
            " whose disks are not shared.",
        )
    return snapshot_id


def _mapped(image: "ImageTypeDef") -> str:
    root = image.get("RootDeviceName", "")
    for mapping in image.get("BlockDeviceMappings", ()):
        if mapping.get("DeviceName") == root:
            return mapping.get("Ebs", {}).get("SnapshotId", "")
    return ""


def failure_of(error: AwsError, *, aws_account_id: str) -> Failure:
    """Say what an AWS error means for an inspection, and what the account's owner can do."""
    reason = aws_reason(error)
    if reason == "DEPENDENCY_ACCESS_DENIED":
        return Failure(
            FailureReason.KEY_DENIED,
            "The snapshot is encrypted, and the role may not use its key: the role's policy and the"
            " key's policy must allow kms:Decrypt.",
        )
    if reason == "UNAUTHORIZED_ACCOUNT":
        return Failure(
            FailureReason.SNAPSHOT_UNREADABLE,
            f"AWS gives the account {aws_account_id} no blocks of this snapshot: it is public, or"
            " belongs to somebody who has not shared it.",
        )
    if isinstance(error, AwsAccessDenied | AwsRegionDisabled):
        return Failure(FailureReason.ACCESS_DENIED, _sentence(error.message))
    if isinstance(error, Unavailable):
        return Failure(
            FailureReason.AWS_TROUBLE, f"{_sentence(error.message)} {_LATER}", passing=True
        )
    if reason == "SNAPSHOT_NOT_FOUND" or error.code in _GONE:
        return Failure(FailureReason.NOT_FOUND, _sentence(error.message))
    # Something new: worth a few tries, and then its message stands.
    return Failure(FailureReason.AWS_TROUBLE, _sentence(error.message), passing=True)


_GONE = frozenset(
    {
        "InvalidAMIID.NotFound",
        "InvalidAMIID.Unavailable",
        "InvalidAMIID.Malformed",
        "InvalidSnapshot.NotFound",
        "ResourceNotFoundException",
    }
)


def explain(ec2: "EC2Client", region: str, snapshot_id: str, failure: Failure) -> Failure:
    """Look at the snapshot itself, to say more precisely why its blocks cannot be listed.

    The failure as it is when EC2 does not show the snapshot either.
    """
    try:
        with classified("ec2", region):
            snapshots = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    except AwsError:
        return failure
    if not snapshots:
        return failure
    return _by_state(snapshots[0]) or _by_owner(snapshots[0], failure)


def _by_state(snapshot: "SnapshotTypeDef") -> Failure | None:
    snapshot_id = snapshot.get("SnapshotId", "")
    if snapshot.get("StorageTier") == "archive":
        message = f"{snapshot_id} is archived: restore it to the standard tier to have it read."
        return Failure(FailureReason.SNAPSHOT_UNREADABLE, message)
    state = snapshot.get("State", "completed")
    if state == "completed":
        return None
    message = f"{snapshot_id} is {state}: only completed snapshots can be read."
    return Failure(FailureReason.SNAPSHOT_UNREADABLE, message, passing=state == "pending")


def _by_owner(snapshot: "SnapshotTypeDef", failure: Failure) -> Failure:
    snapshot_id = snapshot.get("SnapshotId", "")
    if failure.reason is FailureReason.KEY_DENIED:
        key = snapshot.get("KmsKeyId", "a key of its own")
        return replace(failure, message=f"{failure.message} {snapshot_id} uses {key}.")
    if failure.reason is FailureReason.SNAPSHOT_UNREADABLE:
        owner = snapshot.get("OwnerId", "somebody else")
        return replace(failure, message=f"{failure.message} {snapshot_id} belongs to {owner}.")
    return failure


def _failed(reason: FailureReason, message: str) -> BlocksUnavailable:
    return BlocksUnavailable(Failure(reason, message))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
