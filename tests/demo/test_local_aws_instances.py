"""The local AWS tells of an instance's past as EC2 does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.local_aws.moment import Moment
from demo.local_aws.server import LocalAws
from tests.support.local_aws import CUSTOMER

LAUNCH = datetime(2026, 11, 1, 8, 15, 30, tzinfo=UTC)


class Past:
    """An account with an image, in which one acts at chosen times."""

    def __init__(self, aws: LocalAws, region: str = "us-east-1") -> None:
        self.moment = Moment(LAUNCH)
        self.ec2 = aws.client("ec2", region, CUSTOMER, self.moment)
        self.ebs = aws.client("ebs", region, CUSTOMER, self.moment)
        self.image_id = self.image()

    def image(self, name: str = "golden", **given: Any) -> str:
        """Register an image with an empty disk."""
        snapshot = self.ebs.start_snapshot(VolumeSize=10)["SnapshotId"]
        self.ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)
        disk = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}
        image_id: str = self.ec2.register_image(
            Name=name,
            Architecture="x86_64",
            VirtualizationType="hvm",
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[disk],
            **given,
        )["ImageId"]
        return image_id

    def launch(self, image_id: str = "", **given: Any) -> str:
        """Launch one instance; its id."""
        answer = self.ec2.run_instances(
            ImageId=image_id or self.image_id,
            MinCount=1,
            MaxCount=1,
            **{"InstanceType": "m5.large", **given},
        )
        instance_id: str = answer["Instances"][0]["InstanceId"]
        return instance_id

    def later(self, **span: int) -> datetime:
        """Move on, and tell the time."""
        self.moment.when += timedelta(**span)
        return self.moment.when

    def shown(self, instance_id: str) -> dict[str, Any]:
        """Describe one instance."""
        answer = self.ec2.describe_instances(InstanceIds=[instance_id])
        found: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
        return found


@pytest.fixture
def past(local_aws: LocalAws) -> Iterator[Past]:
    """Begin on the first of November."""
    acted = Past(local_aws)
    yield acted
    acted.ec2.close()
    acted.ebs.close()


def test_a_launch_happens_at_the_requests_time(past: Past) -> None:
    """LaunchTime is what the request names, to the second, and the reason is empty."""
    instance = past.shown(past.launch())
    assert instance["LaunchTime"] == LAUNCH
    assert instance["State"]["Name"] == "running"
    assert instance["StateTransitionReason"] == ""


def test_without_a_time_it_is_now(local_aws: LocalAws) -> None:
    """A request that names no time happens by the machine's clock, to the second."""
    before = datetime.now(UTC).replace(microsecond=0)
    past = Past(local_aws)
    past.moment.add_header = lambda *_, **__: None  # type: ignore[method-assign]  # too late
    ec2 = local_aws.client("ec2", "us-east-1", CUSTOMER)
    answer = ec2.run_instances(ImageId=past.image_id, MinCount=1, MaxCount=1)
    launched = answer["Instances"][0]["LaunchTime"]
    assert before <= launched <= datetime.now(UTC)
    assert launched.microsecond == 0


def test_the_servers_clock_can_be_set(local_aws: LocalAws) -> None:
    """Requests that name no time happen by the clock that was given."""
    image_id = Past(local_aws).image_id
    local_aws.set_clock(lambda: datetime(2026, 3, 4, 5, 6, 7, 999_999, tzinfo=UTC))
    ec2 = local_aws.client("ec2", "us-east-1", CUSTOMER)
    answer = ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)
    assert answer["Instances"][0]["LaunchTime"] == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_stop_gives_its_time_in_the_reason(past: Past) -> None:
    """StateTransitionReason and StateReason are as AWS writes them."""
    instance_id = past.launch()
    past.later(days=2, hours=1)
    past.ec2.stop_instances(InstanceIds=[instance_id])
    instance = past.shown(instance_id)
    assert instance["State"] == {"Code": 80, "Name": "stopped"}
    assert instance["StateTransitionReason"] == "User initiated (2026-11-03 09:15:30 GMT)"
    assert instance["StateReason"] == {
        "Code": "Client.UserInitiatedShutdown",
        "Message": "Client.UserInitiatedShutdown: User initiated shutdown",
    }
    assert instance["LaunchTime"] == LAUNCH


def test_a_second_stop_changes_nothing(past: Past) -> None:
    """The time in the reason stays that of the first stop."""
    instance_id = past.launch()
    past.later(days=1)
    past.ec2.stop_instances(InstanceIds=[instance_id])
    past.later(days=1)
    answer = past.ec2.stop_instances(InstanceIds=[instance_id])
    assert answer["StoppingInstances"][0]["PreviousState"]["Name"] == "stopped"
    assert past.shown(instance_id)["StateTransitionReason"] == (
        "User initiated (2026-11-02 08:15:30 GMT)"
    )


def test_a_start_changes_the_launch_time(past: Past) -> None:
    """LaunchTime is the time of the last start; the network interface keeps the first."""
    instance_id = past.launch()
    past.later(days=1)
    past.ec2.stop_instances(InstanceIds=[instance_id])
    started = past.later(hours=5)
    past.ec2.start_instances(InstanceIds=[instance_id])
    instance = past.shown(instance_id)
    assert instance["LaunchTime"] == started
    assert instance["NetworkInterfaces"][0]["Attachment"]["AttachTime"] == LAUNCH
    assert instance["StateTransitionReason"] == ""


def test_a_start_of_what_runs_changes_nothing(past: Past) -> None:
    """LaunchTime stays when StartInstances finds the instance running."""
    instance_id = past.launch()
    past.later(days=1)
    answer = past.ec2.start_instances(InstanceIds=[instance_id])
    assert answer["StartingInstances"][0]["PreviousState"]["Name"] == "running"
    assert past.shown(instance_id)["LaunchTime"] == LAUNCH


def test_a_termination_is_shown_for_an_hour(past: Past) -> None:
    """A terminated instance tells when, and then vanishes from DescribeInstances."""
    instance_id = past.launch()
    past.later(days=1)
    past.ec2.terminate_instances(InstanceIds=[instance_id])
    past.later(minutes=60)
    instance = past.shown(instance_id)
    assert instance["State"] == {"Code": 48, "Name": "terminated"}
    assert instance["StateTransitionReason"] == "User initiated (2026-11-02 08:15:30 GMT)"
    past.later(seconds=1)
    assert past.ec2.describe_instances()["Reservations"] == []


@pytest.mark.parametrize("action", ["start_instances", "stop_instances"])
def test_what_is_terminated_neither_starts_nor_stops(past: Past, action: str) -> None:
    """IncorrectInstanceState is the answer."""
    instance_id = past.launch()
    past.ec2.terminate_instances(InstanceIds=[instance_id])
    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        getattr(past.ec2, action)(InstanceIds=[instance_id])


@pytest.mark.parametrize(
    ("products", "platform", "operation"),
    [
        ([], "Linux/UNIX", "RunInstances"),
        (["bp-6fa54006"], "Red Hat Enterprise Linux", "RunInstances:0010"),
        (["bp-63a5400a"], "Red Hat BYOL Linux", "RunInstances:00g0"),
    ],
)
def test_images_and_their_instances_have_billing_codes(
    past: Past, products: list[str], platform: str, operation: str
) -> None:
    """PlatformDetails and UsageOperation follow from the billing products."""
    image_id = past.image("billed", BillingProducts=products)
    image = past.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    instance = past.shown(past.launch(image_id))
    for shown in (image, instance):
        assert (shown["PlatformDetails"], shown["UsageOperation"]) == (platform, operation)
    assert instance["UsageOperationUpdateTime"] == LAUNCH


def test_an_instance_has_the_cpu_options_of_its_type(past: Past) -> None:
    """An m5.large has one core of two threads, unless told otherwise."""
    plain = past.shown(past.launch())
    chosen = past.shown(past.launch(CpuOptions={"CoreCount": 1, "ThreadsPerCore": 1}))
    assert plain["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 2}
    assert chosen["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 1}


def test_the_type_changes_only_while_stopped(past: Past) -> None:
    """ModifyInstanceAttribute refuses a running instance; CPU options follow the new type."""
    instance_id = past.launch(CpuOptions={"CoreCount": 1, "ThreadsPerCore": 1})
    change = {"InstanceId": instance_id, "InstanceType": {"Value": "m5.xlarge"}}
    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        past.ec2.modify_instance_attribute(**change)
    past.ec2.stop_instances(InstanceIds=[instance_id])
    past.ec2.modify_instance_attribute(**change)
    instance = past.shown(instance_id)
    assert instance["InstanceType"] == "m5.xlarge"
    assert instance["CpuOptions"] == {"CoreCount": 2, "ThreadsPerCore": 2}


def test_an_unknown_image_cannot_be_launched(past: Past) -> None:
    """InvalidAMIID.NotFound is the answer."""
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        past.launch("ami-0123456789abcdef0")


def test_instances_come_in_pages(past: Past) -> None:
    """MaxResults and NextToken lead through all of them once."""
    launched = {past.launch() for _ in range(7)}
    pages = list(
        past.ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    )
    assert [len(page["Reservations"]) for page in pages] == [5, 2]
    shown = [
        instance["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert sorted(shown) == sorted(launched)


def test_regions_are_few_and_one_is_not_enabled(past: Past) -> None:
    """DescribeRegions leaves out what the account has not enabled, unless asked for all."""
    enabled = past.ec2.describe_regions()["Regions"]
    everything = past.ec2.describe_regions(AllRegions=True)["Regions"]
    assert {region["RegionName"]: region["OptInStatus"] for region in everything} == {
        "us-east-1": "opt-in-not-required",
        "us-east-2": "opt-in-not-required",
        "eu-west-1": "opt-in-not-required",
        "af-south-1": "not-opted-in",
    }
    assert [region["RegionName"] for region in enabled] == ["us-east-1", "us-east-2", "eu-west-1"]


def test_a_region_that_is_not_enabled_does_not_know_the_caller(local_aws: LocalAws) -> None:
    """EC2 answers AuthFailure with 401 there."""
    ec2 = local_aws.client("ec2", "af-south-1", CUSTOMER)
    with pytest.raises(ClientError) as refused:
        ec2.describe_instances()
    assert refused.value.response["Error"]["Code"] == "AuthFailure"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


def test_accounts_do_not_see_one_another(local_aws: LocalAws, past: Past) -> None:
    """Instances are of the account that launched them."""
    past.launch()
    other = local_aws.client("ec2", "us-east-1", "333333333333", past.moment)
    assert other.describe_instances()["Reservations"] == []
