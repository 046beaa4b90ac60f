"""Instances and their history, to protobuf."""

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2
from libs.common.checks import Checks
from libs.common.timestamps import from_timestamp, timestamp
from services.accounts.account_convert import moment
from services.accounts.audit import AuditEntry
from services.accounts.image_convert import classification_to_proto
from services.accounts.inventory import (
    ClassifiedRun,
    Instance,
    Quarantined,
    Span,
    StoredAnomaly,
    StoredEvent,
)
from services.accounts.power import AnomalyKind

_WORDS = {
    AnomalyKind.OFF_INSIDE_SIGHTING: (
        "A power-off at a time when listings before and after showed the instance on; ignored."
    ),
    AnomalyKind.OFF_WITHOUT_ON: (
        "A power-off of an instance that was not known to be on; "
        "there was usage before it whose start is unknown."
    ),
    AnomalyKind.ON_AFTER_TERMINATION: (
        "A power-on, or a listing that showed it on, after the instance was terminated; ignored."
    ),
    AnomalyKind.CHANGE_WHILE_ON: (
        "A change that is possible only while an instance is stopped, though it was on; "
        "a power-off may be missing."
    ),
}


def instance_to_proto(instance: Instance) -> inventory_pb2.Instance:
    """Return an instance's message."""
    return inventory_pb2.Instance(
        account_id=instance.account_id,
        instance_id=instance.ec2_id,
        region=instance.region,
        image_id=instance.ami_id,
        tags=instance.tags,
        instance_type=instance.instance_type,
        architecture=instance.architecture,
        lifecycle=instance.lifecycle,
        state=instance.state,
        create_time=timestamp(instance.recorded_at),
        platform_details=instance.platform_details,
        usage_operation=instance.usage_operation,
    )


def event_to_proto(stored: StoredEvent) -> inventory_pb2.StoredEvent:
    """Return the message of an event as stored."""
    event = events_pb2.Event(
        account_id=stored.account_id,
        region=stored.region,
        instance_id=stored.ec2_id,
        event_id=stored.event_id,
        kind=events_pb2.Event.Kind.Name(stored.kind),
        occur_time=timestamp(stored.occurred_at),
        source=events_pb2.Source.Name(stored.source),
        fresh=stored.fresh,
        terminated=stored.termination,
        state=stored.state,
        previous_state=stored.previous_state,
        raw_id=stored.raw_id,
        image_id=stored.image,
        attributes=_attributes(stored),
    )
    return inventory_pb2.StoredEvent(
        event=event,
        record_time=timestamp(stored.recorded_at),
        superseded=bool(stored.superseded_at),
        supersede_time=moment(stored.superseded_at),
    )


def run_to_proto(classified: ClassifiedRun) -> inventory_pb2.Run:
    """Return a run's message, without the evidence of what ran."""
    run = classified.run
    return inventory_pb2.Run(
        instance_id=run.ec2_id,
        start_time=timestamp(run.start_at),
        end_time=moment(run.end_at),
        session_start_time=timestamp(run.session_start),
        confirmed_start_time=moment(run.confirmed_start),
        confirmed_end_time=moment(run.confirmed_end),
        end_latest_time=moment(run.end_latest),
        instance_type=run.instance_type,
        vcpus=run.vcpu,
        usage_operation=run.usage_operation,
        classification=classification_to_proto(
            classified.classification, classified.known_since, evidence=False
        ),
    )


def anomaly_to_proto(anomaly: StoredAnomaly) -> inventory_pb2.Anomaly:
    """Return an anomaly's message."""
    kind = AnomalyKind(anomaly.kind)
    return inventory_pb2.Anomaly(
        instance_id=anomaly.ec2_id,
        time=timestamp(anomaly.occurred_at),
        kind=kind.name,
        description=_WORDS[kind],
        event_id=anomaly.event_id,
    )


def quarantined_to_proto(item: Quarantined) -> inventory_pb2.QuarantinedItem:
    """Return the message of what was kept aside."""
    return inventory_pb2.QuarantinedItem(
        id=item.id,
        source=events_pb2.Source.Name(item.source),
        origin=item.origin,
        reason=item.reason,
        content=item.content,
        record_time=timestamp(item.recorded_at),
    )


def audit_to_proto(entry: AuditEntry) -> inventory_pb2.AuditEntry:
    """Return the message of one change."""
    return inventory_pb2.AuditEntry(
        id=entry.id,
        time=timestamp(entry.at),
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
        affected_start_time=moment(entry.affected_from),
        affected_end_time=moment(entry.affected_until),
    )


def affecting_span(request: inventory_pb2.ListAuditEntriesRequest) -> Span | None:
    """Return the time whose reports changed, None for any; InvalidRequest for half a span."""
    names = ("affecting_start_time", "affecting_end_time")
    given = [name for name in names if request.HasField(name)]
    if not given:
        return None
    checks = Checks()
    for name in names:
        checks.required(name, request.HasField(name))
    since, until = (checks.parsed(name, from_timestamp, getattr(request, name)) for name in names)
    checks.finish()
    checks.that(since < until, names[1], "must be later than affecting_start_time")
    checks.finish()
    return since, until


def _attributes(stored: StoredEvent) -> events_pb2.Attributes | None:
    if not (stored.instance_type or stored.vcpu or stored.usage_operation):
        return None
    return events_pb2.Attributes(
        instance_type=stored.instance_type or None,
        vcpus=stored.vcpu or None,
        usage_operation=stored.usage_operation or None,
        usage_operation_time=moment(stored.usage_operation_at),
    )
