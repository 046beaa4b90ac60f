"""The scanner reads what EC2 really answered."""

from datetime import UTC, datetime
from typing import Any

from services.scanner import ec2_answers
from services.scanner.events import Event, Kind, describe_events
from services.scanner.instances import Instance, State
from tests.support.scanner import recorded_answers


def recorded_instances() -> list[Instance]:
    """Return every instance in the recorded DescribeInstances answers."""
    return [
        found
        # A recording has the shape that boto3's answers have.
        for answer in recorded_answers("ec2.DescribeInstances")
        for found in ec2_answers.instances(dict(answer))  # type: ignore[arg-type]
    ]


def events(instance: Instance) -> list[Event]:
    """Return what the instance tells."""
    return list(describe_events(instance, "us-east-1"))


def test_every_recorded_instance_is_read() -> None:
    """Of 286 recorded instances, 270 have a state and a LaunchTime; each tells of one on."""
    found = recorded_instances()
    ons = [event for one in found for event in events(one) if event.kind is Kind.POWER_ON]
    assert len(found) == 286
    assert len([one for one in found if one.state is State.UNKNOWN]) == 7
    assert len(ons) == 270


def test_the_running_instance_with_an_old_reason_was_not_stopped() -> None:
    """One recorded running instance carries the reason of an earlier stop."""
    (old,) = [
        one for one in recorded_instances() if one.state is State.RUNNING and one.transition_reason
    ]
    assert old.transition_reason == "User initiated (2015-11-25 10:11:55 GMT)"
    assert [event.kind for event in events(old)] == [Kind.POWER_ON]


def test_the_terminated_instance_with_an_empty_reason_has_no_off() -> None:
    """One recorded terminated instance does not say when."""
    (silent,) = [
        one
        for one in recorded_instances()
        if one.state is State.TERMINATED and not one.transition_reason
    ]
    assert [event.kind for event in events(silent)] == [Kind.POWER_ON]


def test_a_recorded_stop_and_a_recorded_termination_are_at_their_times() -> None:
    """Of the instances told to stop on 2020-02-14 one still hibernates; both are off since then."""
    offs = {
        (one.state, event.occurred, event.terminated)
        for one in recorded_instances()
        for event in events(one)
        if event.kind is Kind.POWER_OFF
    }
    stopped = datetime(2020, 2, 14, 22, 3, 45, tzinfo=UTC)
    assert (State.STOPPING, stopped, False) in offs
    assert (State.STOPPED, stopped, False) in offs
    assert (State.TERMINATED, datetime(2026, 3, 4, 0, 21, 54, tzinfo=UTC), True) in offs


def test_recorded_images_name_the_snapshot_of_their_root() -> None:
    """The recorded image's root snapshot, owner and date are read."""
    images = [
        ec2_answers.image(found)
        for answer in recorded_answers("ec2.DescribeImages")
        for found in answer["Images"]
    ]
    (test2,) = {image.image_id: image for image in images if image.name == "test2"}.values()
    assert test2.image_id == "ami-041151726c89bed87"
    assert test2.root_snapshot_id == "snap-0bf9e1af959fbdddf"
    assert test2.owner_id == "644160558196"
    assert test2.created == datetime(2019, 3, 6, 14, 16, 59, tzinfo=UTC)
    assert all(image.root_snapshot_id for image in images if image.root_device_type == "ebs")


def test_recorded_regions_are_enabled() -> None:
    """Regions that need no opting in, and those opted in, are scanned."""
    names = {
        region.name
        for answer in recorded_answers("ec2.DescribeRegions")
        for region in map(ec2_answers.region, answer["Regions"])
        if region.enabled
    }
    assert names == {"eu-west-1", "eu-west-2", "us-east-1", "us-east-2", "us-west-1", "us-west-2"}


def test_an_instance_says_all_that_its_answer_says() -> None:
    """Each field that runs, images and reports need is taken from its place in the answer."""
    answer: Any = {
        "InstanceId": "i-1",
        "ImageId": "ami-1",
        "InstanceType": "m5.large",
        "Architecture": "x86_64",
        "LaunchTime": datetime(2026, 1, 1, tzinfo=UTC),
        "State": {"Code": 80, "Name": "stopped"},
        "StateTransitionReason": "User initiated (2026-01-02 00:00:00 GMT)",
        "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 2},
        "PlatformDetails": "Red Hat Enterprise Linux",
        "UsageOperation": "RunInstances:0010",
        "UsageOperationUpdateTime": datetime(2026, 1, 1, tzinfo=UTC),
        "ProductCodes": [{"ProductCodeId": "code", "ProductCodeType": "marketplace"}],
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeId": "vol-2"}},
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}},
        ],
        "InstanceLifecycle": "spot",
        "Tags": [{"Key": "Name", "Value": "web"}, {"Key": "team", "Value": "a"}],
    }
    (found,) = ec2_answers.instances(
        {  # type: ignore[typeddict-item]  # a page needs no more than this
            "Reservations": [{"ReservationId": "r-1", "OwnerId": "1", "Instances": [answer]}]
        }
    )
    assert found == Instance(
        instance_id="i-1",
        state=State.STOPPED,
        launch_time=datetime(2026, 1, 1, tzinfo=UTC),
        transition_reason="User initiated (2026-01-02 00:00:00 GMT)",
        image_id="ami-1",
        instance_type="m5.large",
        vcpus=2,
        architecture="x86_64",
        platform_details="Red Hat Enterprise Linux",
        usage_operation="RunInstances:0010",
        usage_operation_update_time=datetime(2026, 1, 1, tzinfo=UTC),
        product_codes=("code",),
        root_volume_id="vol-1",
        lifecycle="spot",
        reservation_id="r-1",
        tags={"Name": "web", "team": "a"},
    )
