"""The demo's fleet knows its own truth, and DescribeInstances shows it."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.fleet import Fleet
from demo.local_aws.moment import Moment
from demo.local_aws.process import AwsProcess
from demo.machines import CUSTOMER_ACCOUNT, RED_HAT_ACCOUNT, VENDOR_ACCOUNT, Machine

MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
HOUR = timedelta(hours=1)


class Watcher:
    """Looks at DescribeInstances now and then, and notes each launch and its end."""

    def __init__(self, aws: AwsProcess, fleet: Fleet, moment: Moment) -> None:
        self._clients = [
            aws.client("ec2", region, CUSTOMER_ACCOUNT, moment) for region in fleet.regions
        ]
        self.seen: dict[tuple[str, datetime], datetime | None] = {}
        self.last: dict[str, dict[str, Any]] = {}

    def look(self) -> None:
        """Note what is shown; an end once seen stays."""
        self.last = {}
        for ec2 in self._clients:
            for page in ec2.get_paginator("describe_instances").paginate():
                for reservation in page["Reservations"]:
                    for instance in reservation["Instances"]:
                        self._note(instance)

    def _note(self, instance: dict[str, Any]) -> None:
        self.last[instance["InstanceId"]] = instance
        key = (instance["InstanceId"], instance["LaunchTime"])
        stopped = re.search(r"\((\S+ \S+) GMT\)", instance["StateTransitionReason"])
        end = datetime.fromisoformat(f"{stopped[1]}+00:00") if stopped else None
        self.seen[key] = self.seen.get(key) or end

    def runtime(self, start: datetime, end: datetime) -> dict[str, timedelta]:
        """Sum up each instance's time in the window."""
        total: dict[str, timedelta] = defaultdict(timedelta)
        for (instance_id, began), ended in self.seen.items():
            inside = min(ended or end, end) - max(began, start)
            total[instance_id] += max(inside, timedelta())
        return {instance_id: span for instance_id, span in total.items() if span}


@dataclass(frozen=True, slots=True)
class Played:
    """A fleet after everything has been done to it, and what could be seen of it."""

    aws: AwsProcess
    fleet: Fleet
    watcher: Watcher


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Act everything out once: from noon on, with changes after 40 and 90 seconds."""
    with AwsProcess() as aws:
        present = Moment(NOON)
        fleet = Fleet(aws, lambda: present.when)
        fleet.act_out_the_past()
        watcher = Watcher(aws, fleet, present)
        watcher.look()
        present.when = NOON + timedelta(seconds=40)
        fleet.change()
        watcher.look()
        present.when = NOON + timedelta(seconds=90)
        fleet.change_again()
        watcher.look()
        yield Played(aws, fleet, watcher)


def by_name(machine: Machine) -> str:
    """Group by the machine itself."""
    return machine.name


def image_of(machine: Machine) -> str:
    """Group by image."""
    return machine.image.name


def test_the_truth_of_the_past_is_as_calculated_by_hand(played: Played) -> None:
    """The seven days before midnight, by distribution, to the second."""
    fleet = played.fleet
    truth = fleet.truth(fleet.window_start, MIDNIGHT)
    assert fleet.window_start == datetime(2026, 11, 15, tzinfo=UTC)
    assert truth == {
        # All seven days.
        "debian": 168 * HOUR,
        "unknown": 168 * HOUR,
        # 5 days before today at 11:20:07 and :08, both still running.
        "rocky": timedelta(days=9, hours=1, minutes=19, seconds=45),
        # 3 days before today at 16:45.
        "almalinux": timedelta(days=2, hours=7, minutes=15),
        "ol": 48 * HOUR,
        "ubuntu": timedelta(hours=17, minutes=29, seconds=39),
        "amzn": timedelta(hours=5, minutes=57, seconds=47),
        # build-1's second session, and trial's 59 seconds.
        "centos": timedelta(days=2, hours=16, minutes=14, seconds=50 + 59),
        "rhel": sum(
            (
                2 * 168 * HOUR,  # erp-1, erp-2
                timedelta(days=5, hours=14, minutes=54, seconds=16),  # erp-3
                timedelta(days=3, seconds=1),  # mail
                timedelta(days=3, hours=10),  # partner
                timedelta(days=3, hours=15, minutes=10, seconds=32),  # reports
                timedelta(days=5),  # archive
                timedelta(days=6, hours=17, minutes=50, seconds=51),  # planning
                timedelta(days=1, hours=1, minutes=49, seconds=55),  # batch
            ),
            timedelta(),
        ),
    }  # fmt: skip


def test_all_that_the_window_holds_is_shown_by_describe(played: Played) -> None:
    """Three looks, with changes between them, show every session of the window and no other."""
    window = (played.fleet.window_start, NOON + timedelta(seconds=100))
    truth = {
        played.fleet.instance_id(name): span
        for name, span in played.fleet.truth(*window, by=by_name).items()
        if span
    }
    assert played.watcher.runtime(*window) == truth


def test_changes_count_to_the_second(played: Played) -> None:
    """What is stopped, started, launched and terminated counts so from then on."""
    ran = played.fleet.truth(NOON, NOON + timedelta(seconds=100), by=by_name)
    assert ran["erp-1"] == timedelta(seconds=100)
    assert ran["erp-2"] == timedelta(seconds=40 + 10)  # stopped for fifty seconds
    assert ran["web-2"] == timedelta(seconds=40)
    assert ran["archive"] == timedelta(seconds=50)
    assert ran["reports"] == timedelta(seconds=60)
    assert ran["erp-4"] == timedelta(seconds=50)
    assert ran["batch"] == timedelta()


def test_vcpu_time_follows_the_type_of_each_session(played: Played) -> None:
    """`reports` ran with two vCPUs until it was stopped, and with eight after it was resized."""
    ran = played.fleet.truth(
        played.fleet.window_start,
        NOON + timedelta(seconds=100),
        by=by_name,
        weight=lambda session: session.vcpus,
    )
    before = timedelta(days=2, hours=15, minutes=10, seconds=32)
    assert ran["reports"] == 2 * (before + timedelta(days=1)) + 8 * timedelta(seconds=60)


def test_the_fleet_is_varied(played: Played) -> None:
    """Three Regions, nine distributions and one unknown, RHEL under both licence models."""
    fleet = played.fleet
    assert len(fleet.machines) == 22
    assert {machine.region for machine in fleet.machines} == {
        "us-east-1",
        "us-east-2",
        "eu-west-1",
    }
    assert {machine.image.distribution for machine in fleet.machines} == {
        "almalinux", "amzn", "centos", "debian", "ol", "rhel", "rocky", "ubuntu", "unknown",
    }  # fmt: skip
    rhel = fleet.truth(fleet.window_start, NOON, by=image_of)
    assert rhel["golden-rhel-9"] > rhel["golden-rhel-9-byos"] > timedelta()


def test_billing_codes_tell_both_licence_models(played: Played) -> None:
    """RHEL paid through AWS is RunInstances:0010, brought along it is :00g0."""
    codes = {key: shown["UsageOperation"] for key, shown in played.watcher.last.items()}
    assert codes[played.fleet.instance_id("erp-1")] == "RunInstances:0010"
    assert codes[played.fleet.instance_id("planning")] == "RunInstances:00g0"
    assert codes[played.fleet.instance_id("ledger")] == "RunInstances"


def test_what_was_terminated_long_ago_is_not_shown(played: Played) -> None:
    """Of two machines terminated before noon, the one of forty minutes before is shown."""
    shown = played.watcher.last
    assert shown[played.fleet.instance_id("batch")]["State"]["Name"] == "terminated"
    assert played.fleet.instance_id("old-db") not in shown


@pytest.mark.parametrize(
    ("machine", "region", "owned"),
    [
        ("appliance", "us-east-1", (VENDOR_ACCOUNT, False)),
        ("partner", "us-east-2", (RED_HAT_ACCOUNT, True)),
    ],
)
def test_others_disks_are_not_to_be_read(
    played: Played, machine: str, region: str, owned: tuple[str, bool]
) -> None:
    """Their images are described to the customer, their snapshots are not there for them."""
    ec2 = played.aws.client("ec2", region, CUSTOMER_ACCOUNT)
    image_id = played.watcher.last[played.fleet.instance_id(machine)]["ImageId"]
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert (image["OwnerId"], image["Public"]) == owned
    snapshot_id = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    ebs = played.aws.client("ebs", region, CUSTOMER_ACCOUNT)
    with pytest.raises(ebs.exceptions.ResourceNotFoundException):
        ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
