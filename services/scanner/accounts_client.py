"""The scanner's calls to accounts: targets, leases, listings, verifications."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol, TypeVar

import grpc

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    events_pb2,
    events_pb2_grpc,
    schedule_pb2,
    schedule_pb2_grpc,
)
from libs.common.channels import on_behalf_of
from libs.common.errors import CloudigradeError
from libs.common.statuses import from_rpc_error
from services.scanner import convert
from services.scanner.leases import DueLeases, Lease, LeaseLost, Running, Target
from services.scanner.listing import Stored, Survey
from services.scanner.progress import Summary
from services.scanner.verification import Finding

_MOST_IN_PART = 1000  # RecordListing takes no more
_PART_SIZE = 1 << 20  # bytes; a message may have four times as many
_LISTING_TIMEOUT = 120.0
"""Seconds in which a listing must be stored: 10,000 instances take about one."""


class _Sized(Protocol):
    def ByteSize(self) -> int: ...  # noqa: N802  # protobuf's name


Message = TypeVar("Message", bound=_Sized)


class Accounts:
    """Accounts, as the scanner calls it. The channel carries the scanner's service token.

    Methods raise the error family: what accounts raised, Unavailable while it is away, LeaseLost
    for a lease that somebody else has.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._events = events_pb2_grpc.EventServiceStub(channel)
        self._schedule = schedule_pb2_grpc.ScanScheduleServiceStub(channel)

    def scan_target(self, account_id: int, user_token: str) -> Target:
        """Return how to get into an account that the user may see."""
        request = schedule_pb2.GetScanTargetRequest(account_id=account_id)
        with _family():
            answer = self._schedule.GetScanTarget(request, metadata=on_behalf_of(user_token))
            return convert.target(answer.target)

    def acquire_due(self, holder: str, most: int) -> DueLeases:
        """Take leases of accounts whose scan is due, the longest due first."""
        request = schedule_pb2.AcquireDueLeasesRequest(holder=holder, max_leases=most)
        with _family():
            return convert.due_leases(self._schedule.AcquireDueLeases(request))

    def acquire(
        self, account_id: int, holder: str, user_token: str, after: datetime
    ) -> Lease | Running | Summary:
        """Take the lease of an account that the user may see, due or not.

        Instead of a lease there may be somebody else's scan under way, or the summary of one that
        began after `after` and has ended.
        """
        request = schedule_pb2.AcquireLeaseRequest(
            account_id=account_id, holder=holder, after=convert.to_timestamp(after)
        )
        with _family():
            answer = self._schedule.AcquireLease(request, metadata=on_behalf_of(user_token))
            return convert.acquired(answer)

    def renew(self, lease: Lease) -> datetime:
        """Keep the lease and return until when."""
        request = schedule_pb2.RenewLeaseRequest(
            account_id=lease.target.account_id, epoch=lease.epoch
        )
        with _family():
            return convert.to_moment(self._schedule.RenewLease(request).expire_time)

    def complete(self, lease: Lease, summary: Summary) -> None:
        """Give the lease back with what became of each Region."""
        request = schedule_pb2.CompleteScanRequest(
            account_id=lease.target.account_id,
            epoch=lease.epoch,
            summary=convert.summary_message(summary),
        )
        with _family():
            self._schedule.CompleteScan(request)

    def record_listing(self, lease: Lease, survey: Survey) -> Stored:
        """Store one complete listing, or nothing. The same listing may be stored again."""
        with _family():
            answer = self._events.RecordListing(
                _listing_messages(lease, survey), timeout=_LISTING_TIMEOUT
            )
        return Stored(
            events=answer.events_stored,
            images_new=answer.images_new,
            rejected=tuple(
                f"{found.field}: {found.description}" if found.field else found.description
                for found in answer.rejections
            ),
        )

    def record_verification(self, target: Target, finding: Finding) -> accounts_pb2.CloudAccount:
        """Say what a try to verify an account found; return the account as it is now."""
        request = schedule_pb2.RecordVerificationRequest(
            account_id=target.account_id,
            role_arn=target.role_arn,
            observed_aws_account_id=finding.aws_account_id,
            detail=finding.detail,
            missing_permissions=finding.missing,
        )
        with _family():
            return self._schedule.RecordVerification(request).account


def _listing_messages(lease: Lease, survey: Survey) -> Iterator[events_pb2.RecordListingRequest]:
    listing = survey.listing
    yield events_pb2.RecordListingRequest(
        header=events_pb2.RecordListingRequest.Header(
            account_id=lease.target.account_id,
            epoch=lease.epoch,
            region=listing.region,
            start_time=convert.to_timestamp(listing.started),
        )
    )
    part = events_pb2.RecordListingRequest.Part
    # Images and types go first: an instance's own part then names nothing unknown.
    for images in _packed(map(convert.image_message, survey.images)):
        yield events_pb2.RecordListingRequest(part=part(images=images))
    for types in _packed(map(convert.instance_type_message, survey.instance_types)):
        yield events_pb2.RecordListingRequest(part=part(instance_types=types))
    for instances in _packed(convert.listed_instances(listing)):
        yield events_pb2.RecordListingRequest(part=part(instances=instances))
    yield events_pb2.RecordListingRequest(
        end=events_pb2.RecordListingRequest.End(instances=len(listing.instances))
    )


def _packed(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield the messages in lists that fit a part: an instance with all its tags has 20 kB."""
    pack: list[Message] = []
    size = 0
    for message in messages:
        size += message.ByteSize()
        if pack and (len(pack) == _MOST_IN_PART or size > _PART_SIZE):
            yield pack
            pack, size = [], message.ByteSize()
        pack.append(message)
    if pack:
        yield pack


@contextmanager
def _family() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        known = from_rpc_error(error)
        if known is None:
            # Not for the caller's eyes; the code says whose log to look into.
            raise CloudigradeError(f"accounts failed: {_code(error)}") from error
        if known.reason == LeaseLost.default_reason:
            raise LeaseLost(known.message) from None
        raise known from None


def _code(error: BaseException) -> str:
    return error.code().name if isinstance(error, grpc.Call) else type(error).__name__
