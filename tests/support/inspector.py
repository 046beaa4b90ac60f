"""What tests of the inspector share: images with real disks in the local AWS."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.inspector.inspector import Target
from tests.support.local_aws import CUSTOMER, Role

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

REGION = "us-east-1"


@dataclass
class Images:
    """Makes images in one account, each with a disk of the demo or one given."""

    aws: "LocalAws"
    account_id: str
    region: str = REGION

    def snapshot(self, name: str) -> str:
        """Upload a disk of the demo's."""
        from demo.disks import disk  # noqa: PLC0415  # importing the demo needs its extra

        ebs = self.aws.client("ebs", self.region, self.account_id)
        snapshot_id = disk(name).upload(ebs, name)
        ebs.close()
        return snapshot_id

    def register(self, root_snapshot: str, *, others: dict[str, str] | None = None) -> str:
        """Register an image whose root device is not the first of its devices."""
        mappings = [
            {"DeviceName": device, "Ebs": {"SnapshotId": snapshot}}
            for device, snapshot in {**(others or {}), "/dev/sda1": root_snapshot}.items()
        ]
        image_id: str = self.ec2(
            "register_image",
            Name=f"image of {root_snapshot}",
            RootDeviceName="/dev/sda1",
            BlockDeviceMappings=mappings,
        )["ImageId"]
        return image_id

    def ec2(self, operation: str, **given: Any) -> Any:
        """Call EC2 as the account's administrator."""
        client = self.aws.client("ec2", self.region, self.account_id)
        try:
            return getattr(client, operation)(**given)
        finally:
            client.close()


def target(role: Role, image_id: str, snapshot_id: str = "", region: str = REGION) -> Target:
    """Say what to inspect in the customer's account."""
    return Target(CUSTOMER, role.arn, role.external_id, region, image_id, snapshot_id)
