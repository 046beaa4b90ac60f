"""ScanScheduleService: who scans which account, and what verifying one found."""

from collections.abc import Sequence

import grpc

from cloudigrade.accounts.v1 import schedule_pb2, schedule_pb2_grpc
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.identifiers import RoleArn, aws_account_id
from libs.common.identity import Access, service, service_for_user
from libs.common.instants import Micros, to_micros
from libs.common.timestamps import from_timestamp, timestamp
from services.accounts.account_convert import account_to_proto, moment
from services.accounts.account_store import AccountStore
from services.accounts.callers import EVERYBODY, author, visible_owner
from services.accounts.cloud_accounts import Verification
from services.accounts.schedule import LONGEST_HOLDER, MOST_LEASES
from services.accounts.schedule_convert import (
    acquired_to_proto,
    lease_to_proto,
    summary_from_proto,
    target_to_proto,
)
from services.accounts.schedule_store import ScheduleStore
from services.accounts.texts import text

ACCESS: dict[str, Access] = {
    "AcquireDueLeases": service("scanner"),
    "AcquireLease": service_for_user("scanner"),
    "RenewLease": service("scanner"),
    "CompleteScan": service("scanner"),
    "GetScanTarget": service_for_user("scanner", "inspector"),
    "RecordVerification": service("scanner"),
}
_LONGEST_DETAIL = 1000
_MOST_PERMISSIONS = 100
_LONGEST_PERMISSION = 200


class ScheduleServicer(schedule_pb2_grpc.ScanScheduleServiceServicer):
    """Answers for the stores."""

    def __init__(self, schedule: ScheduleStore, accounts: AccountStore, clock: Clock) -> None:
        self._schedule = schedule
        self._accounts = accounts
        self._clock = clock

    def AcquireDueLeases(
        self, request: schedule_pb2.AcquireDueLeasesRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.AcquireDueLeasesResponse:
        """Take leases of due accounts."""
        checks = Checks()
        checks.text("holder", request.holder, LONGEST_HOLDER)
        checks.that(
            1 <= request.max_leases <= MOST_LEASES, "max_leases", f"is from 1 to {MOST_LEASES}"
        )
        checks.finish()
        leases, next_at = self._schedule.acquire_due(
            request.holder, request.max_leases, self._now()
        )
        return schedule_pb2.AcquireDueLeasesResponse(
            leases=map(lease_to_proto, leases), next_due_time=moment(next_at)
        )

    def AcquireLease(
        self, request: schedule_pb2.AcquireLeaseRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.AcquireLeaseResponse:
        """Take one account's lease."""
        checks = Checks()
        checks.text("holder", request.holder, LONGEST_HOLDER)
        after = (
            checks.parsed("after", from_timestamp, request.after)
            if request.HasField("after")
            else None
        )
        checks.finish()
        found = self._schedule.acquire(
            request.account_id, visible_owner(), request.holder, after, self._now()
        )
        return acquired_to_proto(found)

    def RenewLease(
        self, request: schedule_pb2.RenewLeaseRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.RenewLeaseResponse:
        """Keep a lease for another while."""
        expires_at = self._schedule.renew(request.account_id, request.epoch, self._now())
        return schedule_pb2.RenewLeaseResponse(expire_time=timestamp(expires_at))

    def CompleteScan(
        self, request: schedule_pb2.CompleteScanRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.CompleteScanResponse:
        """Keep how a scan ended."""
        checks = Checks()
        summary = summary_from_proto(request.summary, checks)
        checks.finish()
        due_at = self._schedule.complete(request.account_id, request.epoch, summary, self._now())
        return schedule_pb2.CompleteScanResponse(next_due_time=timestamp(due_at))

    def GetScanTarget(
        self, request: schedule_pb2.GetScanTargetRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.GetScanTargetResponse:
        """Say how to get into an account."""
        target = self._schedule.target(request.account_id, visible_owner())
        return schedule_pb2.GetScanTargetResponse(target=target_to_proto(target))

    def RecordVerification(
        self, request: schedule_pb2.RecordVerificationRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.RecordVerificationResponse:
        """Keep what a try to verify an account found."""
        checks = Checks()
        checks.parsed("role_arn", RoleArn.parse, request.role_arn)
        checks.parsed("detail", text(_LONGEST_DETAIL), request.detail)
        checks.at_most("missing_permissions", request.missing_permissions, _MOST_PERMISSIONS)
        for index, each in enumerate(request.missing_permissions):
            checks.parsed(f"missing_permissions[{index}]", text(_LONGEST_PERMISSION), each)
        if request.observed_aws_account_id:
            checks.parsed(
                "observed_aws_account_id", aws_account_id, request.observed_aws_account_id
            )
        checks.finish()
        made = author(self._clock)
        expected = self._accounts.account(request.account_id, EVERYBODY).aws_account_id
        found = _verification(request, expected, made.at)
        account = self._accounts.record_verification(
            request.account_id, request.role_arn, found, made
        )
        return schedule_pb2.RecordVerificationResponse(account=account_to_proto(account))

    def _now(self) -> Micros:
        return to_micros(self._clock.now())


def _verification(
    request: schedule_pb2.RecordVerificationRequest, expected: str, at: Micros
) -> Verification:
    observed = request.observed_aws_account_id
    detail = request.detail
    if observed and observed != expected:
        detail = f"The role belongs to AWS account {observed}, not to {expected}. {detail}".strip()
    missing: Sequence[str] = request.missing_permissions
    return Verification(at, observed == expected, detail, tuple(missing))
