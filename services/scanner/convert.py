"""Pairs: the scanner's values to and from the messages of the contracts."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import events_pb2, schedule_pb2
from cloudigrade.scanner.v1 import scanner_pb2
from libs.common.instants import to_datetime, to_micros
from libs.common.timestamps import from_timestamp, timestamp
from services.scanner.events import Attributes, Event, Kind, Source, shown_attributes
from services.scanner.instances import Image, Instance, InstanceType
from services.scanner.leases import DueLeases, Lease, Running, Target
from services.scanner.listing import Listing
from services.scanner.progress import RegionProgress, RegionState, Summary, Update

_KINDS = {
    Kind.POWER_ON: events_pb2.Event.KIND_POWER_ON,
    Kind.POWER_OFF: events_pb2.Event.KIND_POWER_OFF,
    Kind.ATTRIBUTE_CHANGE: events_pb2.Event.KIND_ATTRIBUTE_CHANGE,
}
_SOURCES = {
    Source.DESCRIBE: events_pb2.SOURCE_DESCRIBE,
    Source.CLOUDTRAIL: events_pb2.SOURCE_CLOUDTRAIL,
    Source.LOOKUP: events_pb2.SOURCE_LOOKUP,
    Source.EVENTBRIDGE: events_pb2.SOURCE_EVENTBRIDGE,
}
_STATES = {
    RegionState.WAITING: scanner_pb2.RegionProgress.STATE_WAITING,
    RegionState.LISTING: scanner_pb2.RegionProgress.STATE_LISTING,
    RegionState.LISTED: scanner_pb2.RegionProgress.STATE_LISTED,
    RegionState.DISABLED: scanner_pb2.RegionProgress.STATE_DISABLED,
    RegionState.DENIED: scanner_pb2.RegionProgress.STATE_DENIED,
    RegionState.FAILED: scanner_pb2.RegionProgress.STATE_FAILED,
}
_OUTCOMES = {
    RegionState.LISTED: schedule_pb2.RegionOutcome.OUTCOME_LISTED,
    RegionState.DISABLED: schedule_pb2.RegionOutcome.OUTCOME_DISABLED,
    RegionState.DENIED: schedule_pb2.RegionOutcome.OUTCOME_DENIED,
    RegionState.FAILED: schedule_pb2.RegionOutcome.OUTCOME_FAILED,
}
_OUTCOME_STATES = {outcome: state for state, outcome in _OUTCOMES.items()}


def to_timestamp(moment: datetime) -> Timestamp:
    """Return the Timestamp of an aware datetime."""
    return timestamp(to_micros(moment))


def to_moment(message: Timestamp) -> datetime:
    """Return the datetime, in UTC, of a Timestamp."""
    return to_datetime(from_timestamp(message))


def event_message(event: Event) -> events_pb2.Event:
    """Return the event as RecordEvents takes it."""
    return events_pb2.Event(
        account_id=event.account_id,
        aws_account_id=event.aws_account_id,
        region=event.region,
        instance_id=event.instance_id,
        event_id=event.event_id,
        kind=_KINDS[event.kind],
        occur_time=to_timestamp(event.occurred),
        source=_SOURCES[event.source],
        fresh=event.fresh,
        terminated=event.terminated,
        state=event.state,
        previous_state=event.previous_state,
        raw_id=event.raw_id,
        attributes=attributes_message(event.attributes),
        image_id=event.image_id,
    )


def attributes_message(attributes: Attributes) -> events_pb2.Attributes:
    """Return the attributes; what is empty is not set."""
    message = events_pb2.Attributes()
    if attributes.instance_type:
        message.instance_type = attributes.instance_type
    if attributes.vcpus:
        message.vcpus = attributes.vcpus
    if attributes.usage_operation:
        message.usage_operation = attributes.usage_operation
    if attributes.usage_operation_time is not None:
        message.usage_operation_time.CopyFrom(to_timestamp(attributes.usage_operation_time))
    return message


def listed_instances(listing: Listing) -> Iterator[events_pb2.ListedInstance]:
    """Yield the listing's instances, each with what it tells of its power."""
    for instance in listing.instances:
        yield _listed_instance(instance, listing.events(instance))


def _listed_instance(instance: Instance, events: Iterable[Event]) -> events_pb2.ListedInstance:
    message = events_pb2.ListedInstance(
        instance_id=instance.instance_id,
        state=instance.state.value,
        sighted=instance.state.is_on,
        events=map(event_message, events),
        attributes=attributes_message(shown_attributes(instance)),
        image_id=instance.image_id,
        tags=instance.tags,
        platform_details=instance.platform_details,
        product_codes=instance.product_codes,
        lifecycle=instance.lifecycle,
        architecture=instance.architecture,
        root_volume_id=instance.root_volume_id,
        reservation_id=instance.reservation_id,
    )
    if instance.launch_time is not None:
        message.launch_time.CopyFrom(to_timestamp(instance.launch_time))
    return message


def image_message(image: Image) -> events_pb2.ImageDescription:
    """Return the image's description."""
    message = events_pb2.ImageDescription(
        image_id=image.image_id,
        name=image.name,
        owner_id=image.owner_id,
        owner_alias=image.owner_alias,
        architecture=image.architecture,
        platform_details=image.platform_details,
        usage_operation=image.usage_operation,
        product_codes=image.product_codes,
        root_snapshot_id=image.root_snapshot_id,
        root_device_type=image.root_device_type,
        public=image.public,
        state=image.state,
        description=image.description,
        root_device_name=image.root_device_name,
        platform=image.platform,
    )
    if image.created is not None:
        message.create_time.CopyFrom(to_timestamp(image.created))
    return message


def instance_type_message(found: InstanceType) -> events_pb2.InstanceTypeDescription:
    """Return the instance type's description."""
    return events_pb2.InstanceTypeDescription(
        instance_type=found.name,
        vcpus=found.vcpus,
        memory_mib=found.memory_mib,
        architectures=found.architectures,
    )


def target(message: schedule_pb2.ScanTarget) -> Target:
    """Return how to get into the account."""
    return Target(
        account_id=message.account_id,
        aws_account_id=message.aws_account_id,
        role_arn=message.role_arn,
        external_id=message.external_id,
        known_image_ids=frozenset(message.known_image_ids),
    )


def lease(message: schedule_pb2.ScanLease) -> Lease:
    """Return the lease."""
    return Lease(target(message.target), message.epoch, to_moment(message.expire_time))


def due_leases(message: schedule_pb2.AcquireDueLeasesResponse) -> DueLeases:
    """Return the leases that were due, and when the next scan will be."""
    next_due = to_moment(message.next_due_time) if message.HasField("next_due_time") else None
    return DueLeases([lease(found) for found in message.leases], next_due)


def acquired(message: schedule_pb2.AcquireLeaseResponse) -> Lease | Running | Summary:
    """Return the lease, or whose scan is under way, or how one has ended that will do."""
    if message.HasField("lease"):
        return lease(message.lease)
    if message.HasField("running"):
        return Running(message.running.holder, to_moment(message.running.start_time))
    return _completed(message.completed)


def _completed(message: schedule_pb2.ScanSummary) -> Summary:
    return Summary(
        started=to_moment(message.start_time),
        ended=to_moment(message.end_time),
        regions=tuple(
            RegionProgress(
                found.region,
                _OUTCOME_STATES.get(found.outcome, RegionState.FAILED),
                found.instances,
                found.detail,
            )
            for found in message.regions
        ),
        joined=True,
    )


def summary_message(summary: Summary) -> schedule_pb2.ScanSummary:
    """Return the summary as CompleteScan takes it."""
    return schedule_pb2.ScanSummary(
        start_time=to_timestamp(summary.started),
        end_time=to_timestamp(summary.ended),
        regions=[
            schedule_pb2.RegionOutcome(
                region=found.region,
                outcome=_OUTCOMES[found.state],
                detail=found.detail,
                instances=found.instances,
            )
            for found in summary.regions
        ],
    )


def scan_response(update: Update) -> scanner_pb2.ScanAccountResponse:
    """Return the update as ScanAccount streams it."""
    if isinstance(update, RegionProgress):
        return scanner_pb2.ScanAccountResponse(region=_region_progress(update))
    return scanner_pb2.ScanAccountResponse(
        summary=scanner_pb2.ScanSummary(
            start_time=to_timestamp(update.started),
            end_time=to_timestamp(update.ended),
            instances=sum(found.instances for found in update.regions),
            events_stored=sum(found.events_stored for found in update.regions),
            images_new=sum(found.images_new for found in update.regions),
            regions=map(_region_progress, update.regions),
            joined=update.joined,
        )
    )


def _region_progress(found: RegionProgress) -> scanner_pb2.RegionProgress:
    return scanner_pb2.RegionProgress(
        region=found.region,
        state=_STATES[found.state],
        instances=found.instances,
        detail=found.detail,
    )
