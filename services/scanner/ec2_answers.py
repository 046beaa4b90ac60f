"""EC2's answers, as boto3 parses them, to values of our own."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from services.scanner.instances import Image, Instance, InstanceType, State
from services.scanner.listing import Region

if TYPE_CHECKING:  # stubs that only development installs
    from mypy_boto3_ec2.type_defs import (
        CpuOptionsTypeDef,
        DescribeInstancesResultTypeDef,
        ImageTypeDef,
        InstanceTypeDef,
        InstanceTypeInfoTypeDef,
        ProductCodeTypeDef,
        RegionTypeDef,
        ReservationTypeDef,
        TagTypeDef,
    )


def region(answer: "RegionTypeDef") -> Region:
    """Return the Region; one that needs opting in is enabled once that is done (`opted-in`)."""
    return Region(
        name=answer.get("RegionName", ""), enabled=answer.get("OptInStatus") != "not-opted-in"
    )


def instances(page: "DescribeInstancesResultTypeDef") -> Iterable[Instance]:
    """Yield the instances of one page."""
    for reservation in page.get("Reservations", []):
        for found in reservation.get("Instances", []):
            yield instance(found, reservation)


def instance(answer: "InstanceTypeDef", reservation: "ReservationTypeDef") -> Instance:
    """Return the instance; what the answer leaves out is empty."""
    return Instance(
        instance_id=answer.get("InstanceId", ""),
        state=State.of(answer.get("State", {}).get("Name", "")),
        launch_time=answer.get("LaunchTime"),
        transition_reason=answer.get("StateTransitionReason", ""),
        image_id=answer.get("ImageId", ""),
        instance_type=answer.get("InstanceType", ""),
        vcpus=_vcpus(answer.get("CpuOptions", {})),
        architecture=answer.get("Architecture", ""),
        platform_details=answer.get("PlatformDetails", ""),
        usage_operation=answer.get("UsageOperation", ""),
        usage_operation_update_time=answer.get("UsageOperationUpdateTime"),
        product_codes=_product_codes(answer.get("ProductCodes", [])),
        root_volume_id=_root_volume(answer),
        lifecycle=answer.get("InstanceLifecycle", ""),
        reservation_id=reservation.get("ReservationId", ""),
        tags=_tags(answer.get("Tags", [])),
    )


def image(answer: "ImageTypeDef") -> Image:
    """Return the image with the snapshot of its root device."""
    snapshots = {
        mapping.get("DeviceName", ""): mapping.get("Ebs", {}).get("SnapshotId", "")
        for mapping in answer.get("BlockDeviceMappings", [])
    }
    return Image(
        image_id=answer.get("ImageId", ""),
        name=answer.get("Name", ""),
        description=answer.get("Description", ""),
        owner_id=answer.get("OwnerId", ""),
        owner_alias=answer.get("ImageOwnerAlias", ""),
        architecture=answer.get("Architecture", ""),
        platform=answer.get("Platform", ""),
        platform_details=answer.get("PlatformDetails", ""),
        usage_operation=answer.get("UsageOperation", ""),
        product_codes=_product_codes(answer.get("ProductCodes", [])),
        state=answer.get("State", ""),
        public=answer.get("Public", False),
        created=_creation_date(answer.get("CreationDate", "")),
        root_device_name=answer.get("RootDeviceName", ""),
        root_device_type=answer.get("RootDeviceType", ""),
        root_snapshot_id=_of_root(answer.get("RootDeviceName", ""), snapshots),
    )


def instance_type(answer: "InstanceTypeInfoTypeDef") -> InstanceType:
    """Return the instance type; vCPU and memory are zero where the answer leaves them out."""
    cpu = answer.get("VCpuInfo", {})
    return InstanceType(
        name=answer.get("InstanceType", ""),
        vcpus=cpu.get("DefaultVCpus", 0),
        memory_mib=answer.get("MemoryInfo", {}).get("SizeInMiB", 0),
        architectures=tuple(answer.get("ProcessorInfo", {}).get("SupportedArchitectures", [])),
    )


def _root_volume(answer: "InstanceTypeDef") -> str:
    volumes = {
        mapping.get("DeviceName", ""): mapping.get("Ebs", {}).get("VolumeId", "")
        for mapping in answer.get("BlockDeviceMappings", [])
    }
    return _of_root(answer.get("RootDeviceName", ""), volumes)


def _of_root(root: str, devices: Mapping[str, str]) -> str:
    """Return what stands for the root device; an only disk is it even under another name."""
    if root not in devices and len(devices) == 1:
        return next(iter(devices.values()))
    return devices.get(root, "")


def _creation_date(text: str) -> datetime | None:
    """Parse CreationDate, which botocore leaves as text, such as 2019-03-06T14:16:59.000Z."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _vcpus(answer: "CpuOptionsTypeDef") -> int:
    return answer.get("CoreCount", 0) * answer.get("ThreadsPerCore", 0)


def _product_codes(answer: Iterable["ProductCodeTypeDef"]) -> tuple[str, ...]:
    return tuple(code.get("ProductCodeId", "") for code in answer)


def _tags(answer: Iterable["TagTypeDef"]) -> dict[str, str]:
    return {tag.get("Key", ""): tag.get("Value", "") for tag in answer}
