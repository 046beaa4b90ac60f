"""EC2's images: what RegisterImage was given survives, sharing counts, billing codes are there."""

from collections.abc import Iterator
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import generic_filter, random_ami_id

from demo.local_aws.billing import LINUX, Billing, billing
from demo.local_aws.patches import replace
from demo.local_aws.snapshots import duplicate, find


def install() -> None:
    """Replace moto's inventions about an image's disks."""
    replace(
        Ami,
        block_device_mappings=property(lambda self: self.__dict__.get("mappings", [])),
        public=property(lambda self: self.is_public),
        platform_details=property(lambda self: _billing_of(self).platform_details),
        usage_operation=property(lambda self: _billing_of(self).usage_operation),
    )
    replace(AmisResponse, register_image=_register_image)
    replace(
        AmiBackend,
        # No images of others by themselves: moto would make 1,301 of them in each Region.
        _load_amis=lambda _: None,
        create_image=_create_image,
        copy_image=_copy_image,
        describe_images=_describe_images,
    )


def _billing_of(image: Any) -> Billing:
    found: Billing = image.__dict__.get("billing", LINUX)
    return found


def _register_image(self: Any) -> Any:
    self.error_on_dryrun()
    backend = self.ec2_backend
    mappings = [_mapping(backend, each) for each in self._get_param("BlockDeviceMappings", [])]
    image = _new_image(
        backend,
        mappings,
        billing(self._get_param("BillingProducts", [])),
        name=self._get_param("Name"),
        description=self._get_param("Description", ""),
        architecture=self._get_param("Architecture", "i386"),
        virtualization_type=self._get_param("VirtualizationType", "paravirtual"),
        root_device_name=self._get_param("RootDeviceName", "/dev/sda1"),
    )
    return ActionResult({"ImageId": image.id})


def _mapping(backend: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return a device mapping as DescribeImages shows it."""
    snapshot = find(backend, given["Ebs"]["SnapshotId"])
    if snapshot is None or snapshot.status != "completed":
        missing = given["Ebs"]["SnapshotId"]
        raise EC2ClientError(
            "InvalidSnapshot.NotFound", f"The snapshot '{missing}' does not exist."
        )
    disk = {
        "DeleteOnTermination": True,
        "VolumeSize": snapshot.volume_size,
        "VolumeType": "gp2",
        "Encrypted": snapshot.encrypted,
        **given["Ebs"],
    }
    return {"DeviceName": given["DeviceName"], "Ebs": disk}


def _new_image(backend: Any, mappings: list[dict[str, Any]], bill: Billing, **given: Any) -> Any:
    image: Any = Ami(backend, random_ami_id(), root_device_type="ebs", **given)
    # moto makes up a disk for every image.
    backend.snapshots.pop(image.ebs_snapshot.id)
    image.mappings, image.billing = mappings, bill
    image.image_location = f"{image.owner_id}/{image.name}"
    backend.amis[image.id] = image
    return image


def _create_image(
    self: Any, instance_id: str, name: str, description: str, tag_specifications: list[Any]
) -> Any:
    """Make an image of an instance: its disks' snapshots, and its billing codes."""
    instance = self.get_instance(instance_id)
    mappings = [
        {
            "DeviceName": device,
            "Ebs": {
                "SnapshotId": self.create_snapshot(disk.volume_id, f"Created by {name}").id,
                "VolumeSize": disk.size,
                "DeleteOnTermination": True,
                "VolumeType": "gp2",
                "Encrypted": False,
            },
        }
        for device, disk in instance.get_block_device_mapping
    ]
    image = _new_image(
        self,
        mappings,
        Billing(instance.platform_details, instance.usage_operation),
        name=name,
        description=description,
        architecture=instance.architecture,
        virtualization_type=instance.virtualization_type,
        root_device_name=instance.root_device_name,
    )
    image.instance_id = instance_id
    for specification in tag_specifications:
        if specification["ResourceType"] == "image":
            image.add_tags({tag["Key"]: tag["Value"] for tag in specification["Tags"]})
    return image


def _copy_image(
    self: Any,
    source_image_id: str,
    source_region: str,
    name: str | None = None,
    description: str | None = None,
) -> Any:
    """Copy an image with its disks. Of others' images, only ones without billing codes."""
    backend = ec2_backends[self.account_id][source_region]
    source: Any = backend.describe_images(ami_ids=[source_image_id])[0]
    if source.owner_id != self.account_id and _billing_of(source) != LINUX:
        raise EC2ClientError(
            "InvalidRequest", "Images with EC2 BillingProduct codes cannot be copied"
        )
    mappings = [
        {**each, "Ebs": {**each["Ebs"], "SnapshotId": _copied(self, backend, each["Ebs"])}}
        for each in source.mappings
    ]
    return _new_image(
        self,
        mappings,
        _billing_of(source),
        name=name or source.name,
        description=description or source.description,
        architecture=source.architecture,
        virtualization_type=source.virtualization_type,
        root_device_name=source.root_device_name,
    )


def _copied(backend: Any, source_backend: Any, disk: dict[str, Any]) -> str:
    source = find(source_backend, disk["SnapshotId"])
    if source is None:
        raise EC2ClientError(
            "InvalidRequest", "You do not have permission to access the storage of this ami"
        )
    copy_id: str = duplicate(backend, source, f"Copied from {source.id}").id
    return copy_id


def _describe_images(
    self: Any,
    ami_ids: list[str] | None = None,
    filters: dict[str, Any] | None = None,
    exec_users: list[str] | None = None,
    owners: list[str] | None = None,
) -> list[Any]:
    """Return the account's own images and those that others share with it in the Region."""
    images = {image.id: image for image in _visible(self)}
    if ami_ids:
        missing = [each for each in ami_ids if each not in images]
        if missing:
            raise InvalidAMIIdError(missing)
        images = {each: images[each] for each in ami_ids}
    shown = list(images.values())
    if owners:
        accounts = {self.account_id if each == "self" else each for each in owners}
        shown = [each for each in shown if {each.owner_id, each.owner_alias} & accounts]
    if exec_users:
        shown = [each for each in shown if each.is_public or each.owner_id != self.account_id]
    found: list[Any] = generic_filter(filters, shown) if filters else shown
    return found


def _visible(backend: Any) -> Iterator[Any]:
    for account in list(ec2_backends):
        other = ec2_backends[account].get(backend.region_name)
        for image in [] if other is None else list(other.amis.values()):
            shared = {"UserId": backend.account_id} in image.launch_permissions
            if account == backend.account_id or image.is_public or shared:
                yield image
