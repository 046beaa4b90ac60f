"""The demo's fleet: acts on the machines as their owner would, and keeps the true answer.

Everything is done over HTTP, with boto3. The past shows in one scan (`machines` says why); between
`change` and `change_again`, and after them, the account is to be scanned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from demo.disks import disk
from demo.local_aws.moment import Moment
from demo.machines import (
    AGO,
    CUSTOMER_ACCOUNT,
    EAST,
    IRELAND,
    JUST_TERMINATED,
    LAUNCHED_LATER,
    MACHINES,
    OHIO,
    RED_HAT_ACCOUNT,
    VCPUS,
    ImageSpec,
    Machine,
)


class Clients(Protocol):
    """What gives clients of an account's administrator (the local AWS does)."""

    def client(self, service: str, region: str, account_id: str, at: Moment) -> Any:
        """Return a client whose requests happen at the moment."""
        ...


@dataclass(slots=True)
class Session:
    """A machine was on with so many vCPUs, from `start` until before `end`; None: it still is."""

    machine: Machine
    vcpus: int
    start: datetime
    end: datetime | None = None


@dataclass(slots=True)
class _Place:
    """One account's Region: its clients, and the images made there."""

    ec2: Any
    ebs: Any
    image_ids: dict[str, str] = field(default_factory=dict)


class Fleet:
    """Acts on the machines, and remembers when each was on.

    `now` is the present: the machine's clock, unless a test gives another.
    """

    def __init__(self, clients: Clients, now: Callable[[], datetime]) -> None:
        self._clients = clients
        self._now = now
        self._moment = Moment(self._second())
        self._today = self._moment.when.replace(hour=0, minute=0, second=0)
        self._places: dict[tuple[str, str], _Place] = {}
        self._instance_ids: dict[str, str] = {}
        self._types: dict[str, str] = {}
        self.sessions: list[Session] = []

    @property
    def window_start(self) -> datetime:
        """Return since when the whole truth can be told from DescribeInstances: seven days."""
        return self._today - timedelta(days=7)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Return all machines that there ever were."""
        return tuple(dict.fromkeys(session.machine for session in self.sessions))

    @property
    def regions(self) -> tuple[str, ...]:
        """Return the Regions that the fleet is in."""
        return (EAST, OHIO, IRELAND)

    def act_out_the_past(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Make the images and machines, and do to them what happened before now."""
        acts = sorted(
            (
                (act.when(self._today), act.verb, machine)
                for machine in MACHINES
                for act in machine.past
            ),
            key=lambda each: each[0],
        )
        began = acts[0][0] - timedelta(days=1)
        for region, image in dict.fromkeys((each.region, each.image) for each in MACHINES):
            progress(f"{image.name} in {region}")
            self._make_image(region, image, began)
        for when, verb, machine in acts:
            self._do(verb, machine, when)
        [batch] = [machine for machine in MACHINES if machine.name == JUST_TERMINATED]
        self._do("terminate", batch, self._second() - AGO)

    def change(self) -> None:
        """Stop, start, launch, terminate and resize, all at this second.

        EC2 tells times in whole seconds: let a new one begin after whatever was seen before.
        """
        now = self._second()
        self._do("stop", self._machine("erp-2"), now)
        self._do("stop", self._machine("web-2"), now)
        self._do("terminate", self._machine("ci-1"), now)
        self._do("terminate", self._machine("old-web"), now)
        self._do("start", self._machine("archive"), now)
        self._resize("reports", "m5.2xlarge", now)
        self._do("start", self._machine("reports"), now)
        self._do("launch", LAUNCHED_LATER, now)

    def change_again(self) -> None:
        """Start again what `change` stopped, and stop what it started, all at this second."""
        now = self._second()
        self._do("start", self._machine("erp-2"), now)
        self._do("stop", self._machine("archive"), now)
        self._do("terminate", self._machine("web-2"), now)
        self._do("stop", self._machine("erp-4"), now)

    def truth(
        self,
        start: datetime,
        end: datetime,
        by: Callable[[Machine], str] = lambda machine: machine.image.distribution,
        weight: Callable[[Session], int] = lambda _: 1,
    ) -> dict[str, timedelta]:
        """Return how long machines ran in [start, end), summed by a property of theirs.

        Machines that did not run in it count with zero. With `Session.vcpus` as the weight it is
        vCPU time.
        """
        total: dict[str, timedelta] = {}
        for session in self.sessions:
            inside = min(session.end or end, end) - max(session.start, start)
            group = by(session.machine)
            ran = weight(session) * max(inside, timedelta())
            total[group] = total.get(group, timedelta()) + ran
        return total

    def instance_id(self, name: str) -> str:
        """Return the id that AWS gave to a machine. KeyError when there is no such machine."""
        return self._instance_ids[name]

    def _second(self) -> datetime:
        return self._now().astimezone(UTC).replace(microsecond=0)

    def _machine(self, name: str) -> Machine:
        return next(machine for machine in self.machines if machine.name == name)

    def _place(self, account_id: str, region: str) -> _Place:
        if (account_id, region) not in self._places:
            ec2, ebs = (
                self._clients.client(service, region, account_id, self._moment)
                for service in ("ec2", "ebs")
            )
            self._places[account_id, region] = _Place(ec2, ebs)
        return self._places[account_id, region]

    def _make_image(self, region: str, image: ImageSpec, when: datetime) -> None:
        """Upload the disk and register it in its owner's account; let the customer launch it."""
        self._moment.when = when
        place = self._place(image.owner, region)
        snapshot_id = disk(image.disk).upload(place.ebs, image.name)
        image_id = place.ec2.register_image(
            Name=image.name,
            Architecture="x86_64",
            VirtualizationType="hvm",
            RootDeviceName="/dev/sda1",
            BillingProducts=list(image.billing_products),
            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
        )["ImageId"]
        if image.owner != CUSTOMER_ACCOUNT:
            public = image.owner == RED_HAT_ACCOUNT
            whom = {"Group": "all"} if public else {"UserId": CUSTOMER_ACCOUNT}
            place.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [whom]})
        self._place(CUSTOMER_ACCOUNT, region).image_ids[image.name] = image_id

    def _do(self, verb: str, machine: Machine, when: datetime) -> None:
        """Do one thing at a time, and remember what it means for the machine."""
        self._moment.when = when
        place = self._place(CUSTOMER_ACCOUNT, machine.region)
        if verb == "launch":
            self._instance_ids[machine.name] = _launched(place, machine)
            self._types[machine.name] = machine.instance_type
        else:
            call = getattr(place.ec2, f"{verb}_instances")
            call(InstanceIds=[self._instance_ids[machine.name]])
        if verb in {"launch", "start"}:
            self.sessions.append(Session(machine, VCPUS[self._types[machine.name]], when))
        else:
            for session in self._open(machine):
                session.end = when

    def _open(self, machine: Machine) -> Iterator[Session]:
        return (each for each in self.sessions if each.machine == machine and each.end is None)

    def _resize(self, name: str, instance_type: str, when: datetime) -> None:
        self._moment.when = when
        self._place(CUSTOMER_ACCOUNT, self._machine(name).region).ec2.modify_instance_attribute(
            InstanceId=self._instance_ids[name], InstanceType={"Value": instance_type}
        )
        self._types[name] = instance_type


def _launched(place: _Place, machine: Machine) -> str:
    answer = place.ec2.run_instances(
        ImageId=place.image_ids[machine.image.name],
        InstanceType=machine.instance_type,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": machine.name}]}
        ],
    )
    instance_id: str = answer["Instances"][0]["InstanceId"]
    return instance_id
