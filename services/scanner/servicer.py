"""ScannerService: scans, verifications and backfills that people ask for."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grpc

from cloudigrade.scanner.v1 import scanner_pb2, scanner_pb2_grpc
from libs.common.aws import AwsSessions
from libs.common.checks import Checks
from libs.common.errors import Unimplemented
from libs.common.identity import USER, Access, current_user
from services.scanner import convert
from services.scanner.accounts_client import Accounts
from services.scanner.on_demand import ScanOnDemand
from services.scanner.verification import try_role

ACCESS: Mapping[str, Access] = MappingProxyType(
    dict.fromkeys(("ScanAccount", "VerifyAccount", "BackfillAccount", "ReplayLogs"), USER)
)


class ScannerServicer(scanner_pb2_grpc.ScannerServiceServicer):
    """Does what people ask of the scanner. Accounts says whether the account is theirs."""

    def __init__(self, accounts: Accounts, scans: ScanOnDemand, sessions: AwsSessions) -> None:
        self._accounts = accounts
        self._scans = scans
        self._sessions = sessions

    def ScanAccount(
        self, request: scanner_pb2.ScanAccountRequest, context: grpc.ServicerContext
    ) -> Iterator[scanner_pb2.ScanAccountResponse]:
        """Scan the account now, or join the scan that is under way."""
        _check_account_id(request.account_id)
        token = current_user().token
        for update in self._scans.scan(request.account_id, token, context.is_active):
            yield convert.scan_response(update)

    def VerifyAccount(
        self, request: scanner_pb2.VerifyAccountRequest, context: grpc.ServicerContext
    ) -> scanner_pb2.VerifyAccountResponse:
        """Try the account's role and tell accounts what came of it."""
        _check_account_id(request.account_id)
        target = self._accounts.scan_target(request.account_id, current_user().token)
        session = self._sessions.for_role(target.role_arn, target.external_id, anew=True)
        finding = try_role(session, target.aws_account_id)
        verification = self._accounts.record_verification(target, finding).verification
        return scanner_pb2.VerifyAccountResponse(
            verified=verification.verified,
            detail=verification.detail,
            missing_permissions=finding.missing,
        )

    def BackfillAccount(
        self, request: scanner_pb2.BackfillAccountRequest, context: grpc.ServicerContext
    ) -> Iterator[scanner_pb2.BackfillAccountResponse]:
        """Not built yet."""
        raise Unimplemented("Backfilling from CloudTrail is not built yet.")

    def ReplayLogs(
        self, request: scanner_pb2.ReplayLogsRequest, context: grpc.ServicerContext
    ) -> Iterator[scanner_pb2.ReplayLogsResponse]:
        """Not built yet."""
        raise Unimplemented("Replaying CloudTrail's log files is not built yet.")


def _check_account_id(account_id: int) -> None:
    checks = Checks()
    checks.that(account_id > 0, "account_id", "must be the id of an account")
    checks.finish()
