"""A listing as it arrives: one DescribeInstances of one Region, to its last page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from libs.common.instants import Micros, to_datetime
from services.accounts.facts import EventKind, Source
from services.accounts.new_events import Aside, NewEvent, Stated


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """One instance as a listing showed it."""

    ec2_id: str
    state: str
    launch_time: Micros
    running: bool
    """A sighting; otherwise only its attributes are news."""
    stated: Stated
    events: tuple[NewEvent, ...]
    image: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    platform_details: str = ""
    product_codes: tuple[str, ...] = ()
    lifecycle: str = ""
    architecture: str = ""
    root_volume_id: str = ""
    reservation_id: str = ""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as described beside a listing; `state` is "unavailable" when it could not be."""

    ami_id: str
    name: str
    description: str
    owner_id: str
    owner_alias: str
    architecture: str
    platform: str
    platform_details: str
    usage_operation: str
    product_codes: tuple[str, ...]
    root_snapshot_id: str
    root_device_type: str
    root_device_name: str
    public: bool
    made_at: Micros
    state: str


@dataclass(frozen=True, slots=True)
class ListedType:
    """An instance type as described beside a listing."""

    name: str
    vcpu: int
    memory_mib: int
    architectures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing showed."""

    account_id: int
    epoch: int
    region: str
    started_at: Micros
    instances: tuple[ListedInstance, ...]
    images: tuple[ListedImage, ...] = ()
    types: tuple[ListedType, ...] = ()
    asides: tuple[Aside, ...] = ()
    """Instances that were not understood, as they came."""
    unread: tuple[str, ...] = ()
    """Ids of those of them whose id at least was: they are there, whatever they are."""
    complete: bool = True
    """Whether all ids were understood; otherwise nothing is missing from it."""

    def events(self) -> Iterator[NewEvent]:
        """Yield what it tells of its instances' power and licences."""
        for instance in self.instances:
            yield from instance.events
            dated = self._dated(instance)
            if dated is not None and all(e.event_id != dated.event_id for e in instance.events):
                yield dated

    def _dated(self, instance: ListedInstance) -> NewEvent | None:
        """Return the event that says since when the usage operation holds, if not since launch."""
        at = instance.stated.usage_operation_at
        if not instance.stated.usage_operation or at in {0, instance.launch_time}:
            return None
        moment = to_datetime(at).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return NewEvent(
            account_id=self.account_id,
            region=self.region,
            ec2_id=instance.ec2_id,
            event_id=f"describe:attribute_change:{moment}",
            kind=EventKind.ATTRIBUTE_CHANGE,
            occurred_at=at,
            source=Source.DESCRIBE,
            fresh=False,
            termination=False,
            state="",
            previous_state="",
            instance_type="",
            vcpu=0,
            usage_operation=instance.stated.usage_operation,
            usage_operation_at=0,
            image="",
            raw_id="UsageOperationUpdateTime",
        )


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of a listing."""

    events_stored: int
    images_new: int
    confirmed_through: Micros
