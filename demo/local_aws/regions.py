"""EC2's Regions: few, so that a scan is quick, and some that the account has not enabled."""

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.availability_zones_and_regions import AvailabilityZonesAndRegions

from demo.local_aws.gate import GATE
from demo.local_aws.patches import replace
from libs.common.identifiers import partition_of

# Regions opened since March 2019 must be enabled first (AWS account guide, "Enable or disable AWS
# Regions", read 2026-11); these are the ones that a fleet of ours may name.
_OPT_IN = {"af-south-1", "ap-east-1", "ap-southeast-3", "eu-south-1", "il-central-1", "me-south-1"}


def install() -> None:
    """Let DescribeRegions name the local AWS's Regions."""
    replace(AvailabilityZonesAndRegions, describe_regions=_describe_regions)


def _describe_regions(self: Any) -> Any:
    self.error_on_dryrun()
    known = [*GATE.enabled, *GATE.disabled]
    wanted = self._get_param("RegionNames", [])
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise EC2ClientError("InvalidParameterValue", f"Invalid region provided: {unknown}")
    everything = self._get_param("AllRegions", if_none=False)
    shown = known if everything or wanted else GATE.enabled
    partition = partition_of(self.region)
    return ActionResult(
        {
            "Regions": [
                _region(name)
                for name in shown
                if partition_of(name) == partition and (not wanted or name in wanted)
            ]
        }
    )


def _region(name: str) -> dict[str, str]:
    if name in GATE.disabled:
        status = "not-opted-in"
    else:
        status = "opted-in" if name in _OPT_IN else "opt-in-not-required"
    suffix = "amazonaws.com.cn" if name.startswith("cn-") else "amazonaws.com"
    return {"RegionName": name, "Endpoint": f"ec2.{name}.{suffix}", "OptInStatus": status}
