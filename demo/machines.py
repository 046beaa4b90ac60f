"""The demo's machines: their images, and what happened to them before today.

DescribeInstances tells of each machine's last launch and last stop only. So that the whole truth of
the last seven days can be known from it, no machine has more than one session in them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

CUSTOMER_ACCOUNT = "222222222222"
VENDOR_ACCOUNT = "333333333333"
RED_HAT_ACCOUNT = "309956199498"
_PUBLIC_RHEL = "RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3"
_RHEL_PAID, _RHEL_BYOS = ("bp-6fa54006",), ("bp-63a5400a",)


# EC2's instance types page, read 2026-11: two threads to a core in all of these.
VCPUS = {
    "c5.large": 2,
    "c5.xlarge": 4,
    "c5.2xlarge": 8,
    "m5.large": 2,
    "m5.xlarge": 4,
    "m5.2xlarge": 8,
    "r5.large": 2,
    "t3.large": 2,
    "t3.medium": 2,
    "t3.micro": 2,
    "t3.small": 2,
}


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An image: its disk, what is billed with it, and what can be known to be on it.

    Others' images may be launched, but their disks not be read: billing codes tell of Red Hat's,
    and the name that it gave it which version it is; nothing tells of a vendor's.
    """

    name: str
    disk: str
    distribution: str
    version: str
    billing_products: tuple[str, ...] = ()
    owner: str = CUSTOMER_ACCOUNT


_IMAGES = {
    image.name: image
    for image in (
        ImageSpec("golden-rhel-10", "rhel-10", "rhel", "10.1", _RHEL_PAID),
        ImageSpec("golden-rhel-9", "rhel-9", "rhel", "9.4", _RHEL_PAID),
        ImageSpec("golden-rhel-9-byos", "rhel-9", "rhel", "9.4", _RHEL_BYOS),
        ImageSpec("golden-rhel-8", "rhel-8", "rhel", "8.10", _RHEL_PAID),
        ImageSpec("legacy-rhel-7", "rhel-7", "rhel", "7.9", _RHEL_BYOS),
        ImageSpec("build-centos-stream-9", "centos-stream-9", "centos", "9"),
        ImageSpec("web-rocky-9", "rocky-9", "rocky", "9.4"),
        ImageSpec("web-alma-8", "almalinux-8", "almalinux", "8.10"),
        ImageSpec("db-oracle-9", "oracle-9", "ol", "9.4"),
        ImageSpec("base-amazon-2023", "amazon-2023", "amzn", "2023"),
        ImageSpec("ci-ubuntu-22.04", "ubuntu-22.04", "ubuntu", "22.04"),
        ImageSpec("bastion-debian-12", "debian-12", "debian", "12"),
        ImageSpec("vendor-appliance-4.2", "rhel-8", "unknown", "", (), VENDOR_ACCOUNT),
        ImageSpec(_PUBLIC_RHEL, "rhel-9", "rhel", "9.4", _RHEL_PAID, RED_HAT_ACCOUNT),
    )
}


@dataclass(frozen=True, slots=True)
class Act:
    """Something done to a machine: so many days before today at a time of day (UTC)."""

    verb: str
    days: int
    clock: time

    def when(self, today: datetime) -> datetime:
        """Return the instant, given today's midnight."""
        return datetime.combine(today - timedelta(days=self.days), self.clock, UTC)


def _act(verb: str) -> Callable[[int, str], Act]:
    return lambda days, clock: Act(verb, days, time.fromisoformat(clock))


_launch, _stop, _start, _terminate = map(_act, ("launch", "stop", "start", "terminate"))


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the fleet, and its past."""

    name: str
    region: str
    image: ImageSpec
    instance_type: str
    past: tuple[Act, ...]


def _machine(name: str, region: str, image: str, instance_type: str, *past: Act) -> Machine:
    return Machine(name, region, _IMAGES[image], instance_type, past)


EAST, OHIO, IRELAND = "us-east-1", "us-east-2", "eu-west-1"
MACHINES = (
    # Since before the window.
    _machine("erp-1", EAST, "golden-rhel-9", "m5.xlarge", _launch(9, "08:15:30")),
    _machine("erp-2", EAST, "golden-rhel-9", "m5.xlarge", _launch(9, "08:16:02")),
    _machine("bastion", OHIO, "bastion-debian-12", "t3.small", _launch(9, "07:00:00")),
    _machine("appliance", EAST, "vendor-appliance-4.2", "c5.large", _launch(8, "13:37:11")),
    # Launched inside it.
    _machine("erp-3", IRELAND, "golden-rhel-9", "m5.xlarge", _launch(6, "09:05:44")),
    _machine("mail", IRELAND, "golden-rhel-10", "t3.medium", _launch(4, "23:59:59")),
    _machine("partner", OHIO, _PUBLIC_RHEL, "m5.large", _launch(4, "14:00:00")),
    _machine("web-1", OHIO, "web-rocky-9", "c5.large", _launch(5, "11:20:07")),
    _machine("web-2", OHIO, "web-rocky-9", "c5.large", _launch(5, "11:20:08")),
    _machine("web-3", IRELAND, "web-alma-8", "c5.large", _launch(3, "16:45:00")),
    _machine("ledger", EAST, "db-oracle-9", "r5.large", _launch(2, "00:00:00")),
    _machine("ci-1", EAST, "ci-ubuntu-22.04", "c5.xlarge", _launch(1, "06:30:21")),
    _machine("jobs", OHIO, "base-amazon-2023", "t3.large", _launch(1, "18:02:13")),
    # Stopped inside it: after a day and more, at a midnight, after 59 seconds.
    _machine(
        "reports", OHIO, "golden-rhel-8", "m5.large", _launch(6, "05:00:01"), _stop(3, "20:10:33")
    ),
    _machine(
        "archive", IRELAND, "legacy-rhel-7", "m5.large", _launch(9, "10:00:00"), _stop(2, "00:00")
    ),
    _machine(
        "trial",
        EAST,
        "build-centos-stream-9",
        "t3.micro",
        _launch(5, "10:00:00"),
        _stop(5, "10:00:59"),
    ),
    # Stopped and started again; only the second session lies inside the window.
    _machine(
        "build-1",
        EAST,
        "build-centos-stream-9",
        "c5.2xlarge",
        _launch(10, "06:00:00"),
        _stop(8, "18:30:00"),
        _start(3, "07:45:10"),
    ),
    _machine(
        "planning",
        EAST,
        "golden-rhel-9-byos",
        "m5.2xlarge",
        _launch(10, "12:00:00"),
        _stop(9, "12:00:00"),
        _start(7, "03:30:30"),
        _stop(1, "21:21:21"),
    ),
    # Over before the window: stopped, and terminated long ago.
    _machine(
        "old-web", OHIO, "web-rocky-9", "c5.large", _launch(10, "01:00:00"), _stop(8, "01:00:00")
    ),
    _machine(
        "old-db",
        OHIO,
        "golden-rhel-8",
        "r5.large",
        _launch(10, "02:00:00"),
        _terminate(8, "02:30:00"),
    ),
    # Terminated forty minutes ago, see `Fleet.act_out_the_past`.
    _machine("batch", IRELAND, "legacy-rhel-7", "c5.large", _launch(2, "22:10:05")),
)
JUST_TERMINATED, AGO = "batch", timedelta(minutes=40)
LAUNCHED_LATER = _machine("erp-4", OHIO, "golden-rhel-8", "m5.xlarge")
