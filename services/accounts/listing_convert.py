"""A listing, read from the messages of RecordListing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cloudigrade.accounts.v1 import events_pb2
from cloudigrade.accounts.v1.events_pb2 import RecordListingRequest
from libs.common import identifiers
from libs.common.checks import Checks
from libs.common.errors import InvalidRequest
from libs.common.instants import Micros
from libs.common.timestamps import timestamp
from services.accounts.event_convert import (
    Malformed,
    checked,
    event_from_proto,
    stated_from_proto,
    text_from_proto,
    time_from_proto,
)
from services.accounts.listing import ListedImage, ListedInstance, ListedType, Listing, Recorded
from services.accounts.new_events import AHEAD, Aside, NewEvent

MOST_IN_PART = 1000
LONGEST_TEXT = 1000
MOST_TAGS = 200  # EC2 allows 50


class Rejection(NamedTuple):
    """An instance that was left out: its place in the listing, and why."""

    place: int
    why: Malformed


def listing_from_proto(
    messages: Iterable[RecordListingRequest], now: Micros
) -> tuple[Listing, list[Rejection]]:
    """Read a listing to its end; InvalidRequest when the stream does not follow the protocol."""
    reading: _Reading | None = None
    ended = False
    for message in messages:
        which = message.WhichOneof("message")
        if ended:
            raise _protocol("nothing may follow the end")
        if reading is None:
            if which != "header":
                raise _protocol("the first message must be the header")
            reading = _begin(message.header, now)
        elif which == "part":
            reading.take(message.part)
        elif which == "end":
            reading.check_end(message.end)
            ended = True
        else:
            raise _protocol("after the header come parts and the end")
    if reading is None or not ended:
        raise _protocol("the stream broke off before its end, so it is no listing")
    return reading.listing(), reading.rejections


def recorded_to_proto(
    recorded: Recorded, rejections: Iterable[Rejection]
) -> events_pb2.RecordListingResponse:
    """Return what came of a listing."""
    return events_pb2.RecordListingResponse(
        events_stored=recorded.events_stored,
        images_new=recorded.images_new,
        confirmed_through=timestamp(recorded.confirmed_through),
        rejections=[
            events_pb2.RecordEventsResponse.Rejection(
                index=place, field=f"instances[{place}].{why.field}", description=why.description
            )
            for place, why in rejections
        ],
    )


def _begin(header: RecordListingRequest.Header, now: Micros) -> "_Reading":
    checks = Checks()
    checks.required("header.account_id", header.account_id)
    checks.required("header.epoch", header.epoch)
    checks.parsed("header.region", identifiers.region, header.region)
    started_at = 0
    if checks.required("header.start_time", header.HasField("start_time")):
        try:
            started_at = time_from_proto("start_time", header.start_time, now + AHEAD)
        except Malformed as error:
            checks.that(False, "header.start_time", error.description)
    checks.finish()
    return _Reading(header.account_id, header.epoch, header.region, started_at, now + AHEAD)


@dataclass(slots=True)
class _Reading:
    """A listing of which some was read."""

    account_id: int
    epoch: int
    region: str
    started_at: Micros
    latest: Micros
    instances: dict[str, ListedInstance] = field(default_factory=dict)
    images: dict[str, ListedImage] = field(default_factory=dict)
    types: dict[str, ListedType] = field(default_factory=dict)
    asides: list[Aside] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    complete: bool = True
    rejections: list[Rejection] = field(default_factory=list)
    received: int = 0

    def listing(self) -> Listing:
        """Return all that was read."""
        return Listing(
            self.account_id,
            self.epoch,
            self.region,
            self.started_at,
            tuple(self.instances.values()),
            tuple(self.images.values()),
            tuple(self.types.values()),
            tuple(self.asides),
            tuple(sorted(self.unread - self.instances.keys())),
            self.complete,
        )

    def take(self, part: RecordListingRequest.Part) -> None:
        """Read a part."""
        checks = Checks()
        checks.at_most("part.instances", part.instances, MOST_IN_PART)
        checks.at_most("part.images", part.images, MOST_IN_PART)
        checks.at_most("part.instance_types", part.instance_types, MOST_IN_PART)
        checks.finish()
        for instance in part.instances:
            self._take_instance(instance)
        for image in part.images:
            self.images[image.image_id] = _image(image, self.latest)
        for type_ in part.instance_types:
            self.types[type_.instance_type] = _type(type_)

    def check_end(self, end: RecordListingRequest.End) -> None:
        """Compare the count."""
        if end.instances != self.received:
            raise InvalidRequest(
                f"says {end.instances}, but {self.received} instances were received",
                field="end.instances",
            )

    def _take_instance(self, message: events_pb2.ListedInstance) -> None:
        index = self.received
        self.received += 1
        try:
            instance = self._instance(message)
        except Malformed as why:
            self.rejections.append(Rejection(index, why))
            try:
                self.unread.add(identifiers.instance_id(message.instance_id))
            except ValueError:
                self.complete = False
            content = message.SerializeToString(deterministic=True)
            origin = f"listing of {self.region}: {message.instance_id[:60]!r}"
            described = events_pb2.SOURCE_DESCRIBE
            self.asides.append(Aside(self.account_id, described, origin, str(why), content))
            return
        if instance.ec2_id in self.instances:
            raise InvalidRequest(
                f"{instance.ec2_id} was listed before",
                field=f"instances[{index}].instance_id",
            )
        self.instances[instance.ec2_id] = instance

    def _instance(self, message: events_pb2.ListedInstance) -> ListedInstance:
        ec2_id = checked("instance_id", identifiers.instance_id, message.instance_id)
        if not message.HasField("launch_time"):
            raise Malformed("launch_time", "is required")
        if len(message.tags) > MOST_TAGS:
            raise Malformed("tags", f"are {len(message.tags)}; at most {MOST_TAGS} are allowed")
        image = message.image_id
        if image:
            checked("image_id", identifiers.image_id, image)
        return ListedInstance(
            ec2_id=ec2_id,
            state=text_from_proto("state", message.state, required=True),
            launch_time=time_from_proto("launch_time", message.launch_time, self.latest),
            running=message.sighted,
            stated=stated_from_proto(message.attributes, self.latest),
            events=tuple(self._event(n, ec2_id, e) for n, e in enumerate(message.events)),
            image=image,
            tags={_plain(key): _plain(value) for key, value in message.tags.items()},
            platform_details=text_from_proto("platform_details", message.platform_details),
            product_codes=tuple(
                text_from_proto("product_codes", code) for code in message.product_codes
            ),
            lifecycle=text_from_proto("lifecycle", message.lifecycle),
            architecture=text_from_proto("architecture", message.architecture),
            root_volume_id=text_from_proto("root_volume_id", message.root_volume_id),
            reservation_id=text_from_proto("reservation_id", message.reservation_id),
        )

    def _event(self, number: int, ec2_id: str, message: events_pb2.Event) -> NewEvent:
        ours = events_pb2.Event()
        ours.CopyFrom(message)
        ours.region, ours.instance_id = self.region, ec2_id
        try:
            return event_from_proto(ours, self.account_id, self.latest)
        except Malformed as error:
            raise Malformed(f"events[{number}].{error.field}", error.description) from None


def _image(message: events_pb2.ImageDescription, latest: Micros) -> ListedImage:
    """Return an image; InvalidRequest without an id, and what else is odd is left out."""
    try:
        ami_id = checked("image_id", identifiers.image_id, message.image_id)
    except Malformed as error:
        raise InvalidRequest(error.description, field=f"images.{error.field}") from None
    try:
        made_at = (
            time_from_proto("create_time", message.create_time, latest)
            if message.HasField("create_time")
            else 0
        )
    except Malformed:
        made_at = 0
    return ListedImage(
        ami_id=ami_id,
        name=_plain(message.name),
        description=_plain(message.description),
        owner_id=_plain(message.owner_id),
        owner_alias=_plain(message.owner_alias),
        architecture=_plain(message.architecture),
        platform=_plain(message.platform),
        platform_details=_plain(message.platform_details),
        usage_operation=_plain(message.usage_operation),
        product_codes=tuple(map(_plain, message.product_codes)),
        root_snapshot_id=_plain(message.root_snapshot_id),
        root_device_type=_plain(message.root_device_type),
        root_device_name=_plain(message.root_device_name),
        public=message.public,
        made_at=made_at,
        state=_plain(message.state),
    )


def _type(message: events_pb2.InstanceTypeDescription) -> ListedType:
    name = _plain(message.instance_type)
    checks = Checks()
    checks.required("instance_types.instance_type", name)
    checks.that(message.vcpus >= 0, "instance_types.vcpus", "is below 0")
    checks.that(message.memory_mib >= 0, "instance_types.memory_mib", "is below 0")
    checks.finish()
    return ListedType(
        name, message.vcpus, message.memory_mib, tuple(map(_plain, message.architectures))
    )


def _plain(text: str) -> str:
    """Return a text that the database takes, of bounded length: people write what they like."""
    return text.replace("\0", "")[:LONGEST_TEXT]


def _protocol(message: str) -> InvalidRequest:
    return InvalidRequest(message, field="message", reason="BAD_STREAM")
