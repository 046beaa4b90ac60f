"""Events and what became of them, from and to their messages."""

import re
from collections.abc import Callable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import events_pb2
from libs.common import identifiers
from libs.common.instants import Micros
from libs.common.timestamps import from_timestamp
from services.accounts.new_events import Aside, NewEvent, Outcome, Stated

LONGEST_ID = 200
LONGEST_TEXT = 100
LONGEST_RAW_ID = 1000
MOST_VCPUS = 100_000

_KINDS = frozenset(events_pb2.Event.Kind.values()) - {events_pb2.Event.KIND_UNSPECIFIED}
# People write no-break spaces and joiners into what is theirs, and PostgreSQL takes them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SOURCES = frozenset(events_pb2.Source.values()) - {events_pb2.SOURCE_UNSPECIFIED}


class Malformed(ValueError):
    """An event that cannot be understood: which field, and why."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


def event_from_proto(message: events_pb2.Event, account_id: int, latest: Micros) -> NewEvent:
    """Return an event of an account; Malformed when a field is wrong or it is after `latest`."""
    kind, source = message.kind, message.source
    if kind not in _KINDS:
        raise Malformed("kind", "is required, and must be one of Event.Kind")
    if source not in _SOURCES:
        raise Malformed("source", "is required, and must be one of Source")
    if not message.HasField("occur_time"):
        raise Malformed("occur_time", "is required")
    image = message.image_id
    return NewEvent(
        account_id,
        checked("region", identifiers.region, message.region),
        checked("instance_id", identifiers.instance_id, message.instance_id),
        text_from_proto("event_id", message.event_id, LONGEST_ID, required=True),
        kind,
        time_from_proto("occur_time", message.occur_time, latest),
        source,
        message.fresh,
        message.terminated,
        text_from_proto("state", message.state),
        text_from_proto("previous_state", message.previous_state),
        *(
            stated_from_proto(message.attributes, latest)
            if message.HasField("attributes")
            else _NOTHING
        ),
        checked("image_id", identifiers.image_id, image) if image else "",
        text_from_proto("raw_id", message.raw_id, LONGEST_RAW_ID),
    )


def stated_from_proto(message: events_pb2.Attributes, latest: Micros) -> Stated:
    """Return what is stated about an instance; Malformed when a field is wrong."""
    vcpu = message.vcpus
    if message.HasField("vcpus") and not 1 <= vcpu <= MOST_VCPUS:
        raise Malformed("attributes.vcpus", f"is {vcpu}; 1 to {MOST_VCPUS} are possible")
    since = 0
    if message.HasField("usage_operation_time"):
        field = "attributes.usage_operation_time"
        since = time_from_proto(field, message.usage_operation_time, latest)
    return Stated(
        text_from_proto("attributes.instance_type", message.instance_type),
        vcpu,
        text_from_proto("attributes.usage_operation", message.usage_operation),
        since,
    )


def time_from_proto(field: str, message: Timestamp, latest: Micros) -> Micros:
    """Return an instant after 1970 and no later than `latest`; Malformed otherwise."""
    try:
        micros = from_timestamp(message)
    except ValueError as error:
        raise Malformed(field, str(error)) from None
    if micros <= 0:
        raise Malformed(field, "is before 1970")
    if micros > latest:
        raise Malformed(field, "is more than 5 minutes ahead of the clock")
    return micros


def aside_of(message: events_pb2.Event, account_id: int, why: Malformed) -> Aside:
    """Return what is kept of an event that was rejected."""
    return Aside(
        account_id,
        # An enum is open: its number may be one that nobody has, nor the database room for.
        message.source if message.source in _SOURCES else events_pb2.SOURCE_UNSPECIFIED,
        f"event {message.event_id[:LONGEST_ID]!r}",
        str(why),
        message.SerializeToString(deterministic=True),
    )


def answer_to_proto(
    sequence: int, outcomes: Sequence[Outcome], rejections: Sequence[tuple[int, Malformed]]
) -> events_pb2.RecordEventsResponse:
    """Return what became of a batch; each rejection with its place in it."""
    return events_pb2.RecordEventsResponse(
        sequence=sequence,
        outcomes=map(events_pb2.RecordEventsResponse.Outcome.Name, outcomes),
        rejections=[
            events_pb2.RecordEventsResponse.Rejection(
                index=index, field=f"events[{index}].{why.field}", description=why.description
            )
            for index, why in rejections
        ],
    )


_NOTHING = Stated()


def checked(field: str, check: Callable[[str], str], value: str) -> str:
    """Return what a check of an identifier returns; Malformed when it refuses."""
    try:
        return check(value)
    except ValueError as error:
        raise Malformed(field, str(error)) from None


def text_from_proto(
    field: str, value: str, longest: int = LONGEST_TEXT, *, required: bool = False
) -> str:
    """Return a text; Malformed when it is too long or holds control characters."""
    if len(value) > longest:
        raise Malformed(field, f"is {len(value)} characters long; at most {longest} are allowed")
    if not value.isprintable() and _CONTROL.search(value):
        raise Malformed(field, "must not hold control characters")
    if required and not value:
        raise Malformed(field, "is required")
    return value
