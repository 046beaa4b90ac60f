"""Scan leases and summaries, to and from protobuf."""

from cloudigrade.accounts.v1 import schedule_pb2
from libs.common.checks import Checks
from libs.common.identifiers import region
from libs.common.timestamps import from_timestamp, timestamp
from services.accounts.account_convert import state_to_proto
from services.accounts.schedule import (
    Lease,
    Outcome,
    RegionOutcome,
    Running,
    ScanSummary,
    ScanTarget,
)
from services.accounts.texts import text

_LONGEST_DETAIL = 1000


def target_to_proto(target: ScanTarget) -> schedule_pb2.ScanTarget:
    """Return the message of how to get into an account."""
    account = target.account
    return schedule_pb2.ScanTarget(
        account_id=account.id,
        aws_account_id=account.aws_account_id,
        partition=account.partition,
        role_arn=account.role_arn,
        external_id=account.external_id,
        state=state_to_proto(account.state),
        known_image_ids=target.known_image_ids,
    )


def lease_to_proto(lease: Lease) -> schedule_pb2.ScanLease:
    """Return a lease's message."""
    return schedule_pb2.ScanLease(
        target=target_to_proto(lease.target),
        epoch=lease.epoch,
        expire_time=timestamp(lease.expires_at),
    )


def acquired_to_proto(found: Lease | Running | ScanSummary) -> schedule_pb2.AcquireLeaseResponse:
    """Return the answer to who asked for one account's lease."""
    if isinstance(found, Lease):
        return schedule_pb2.AcquireLeaseResponse(lease=lease_to_proto(found))
    if isinstance(found, ScanSummary):
        return schedule_pb2.AcquireLeaseResponse(completed=summary_to_proto(found))
    return schedule_pb2.AcquireLeaseResponse(
        running=schedule_pb2.AcquireLeaseResponse.Running(
            holder=found.holder,
            start_time=timestamp(found.started_at),
            expire_time=timestamp(found.expires_at),
        )
    )


def summary_to_proto(summary: ScanSummary) -> schedule_pb2.ScanSummary:
    """Return a summary's message."""
    return schedule_pb2.ScanSummary(
        start_time=timestamp(summary.started_at),
        end_time=timestamp(summary.ended_at),
        regions=[
            schedule_pb2.RegionOutcome(
                region=each.region,
                outcome=f"OUTCOME_{each.outcome.name}",
                detail=each.detail,
                instances=each.instances,
            )
            for each in summary.regions
        ],
    )


def summary_from_proto(message: schedule_pb2.ScanSummary, checks: Checks) -> ScanSummary:
    """Return a summary, and note in `checks` what is wrong with it."""
    checks.required("summary.start_time", message.HasField("start_time"))
    checks.required("summary.end_time", message.HasField("end_time"))
    started_at = checks.parsed("summary.start_time", from_timestamp, message.start_time)
    ended_at = checks.parsed("summary.end_time", from_timestamp, message.end_time)
    if not checks.violations:
        checks.that(started_at <= ended_at, "summary.end_time", "is before start_time")
    return ScanSummary(
        started_at,
        ended_at,
        tuple(
            _outcome(each, f"summary.regions[{index}]", checks)
            for index, each in enumerate(message.regions)
        ),
    )


def _outcome(message: schedule_pb2.RegionOutcome, path: str, checks: Checks) -> RegionOutcome:
    return RegionOutcome(
        checks.parsed(f"{path}.region", region, message.region),
        checks.parsed(f"{path}.outcome", _as_outcome, message.outcome),
        checks.parsed(f"{path}.detail", text(_LONGEST_DETAIL), message.detail),
        message.instances,
    )


def _as_outcome(number: int) -> Outcome:
    try:
        return Outcome(number)
    except ValueError:
        raise ValueError("is not stated") from None
