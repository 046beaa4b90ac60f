"""The inspector's calls to accounts."""

import grpc

from cloudigrade.accounts.v1 import schedule_pb2, schedule_pb2_grpc
from libs.common.channels import on_behalf_of
from libs.common.statuses import from_rpc_error


class Accounts:
    """Accounts, as the inspector calls it. The channel carries the inspector's service token."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._schedule = schedule_pb2_grpc.ScanScheduleServiceStub(channel)

    def scan_target(self, account_id: int, user_token: str) -> schedule_pb2.ScanTarget:
        """Return how to get into an account that the user may see.

        Raises NotFound, what else accounts says of the user, and Unavailable while it is away.
        """
        request = schedule_pb2.GetScanTargetRequest(account_id=account_id)
        try:
            answer = self._schedule.GetScanTarget(request, metadata=on_behalf_of(user_token))
        except grpc.RpcError as error:
            known = from_rpc_error(error)
            if known is None:
                raise
            raise known from None
        return answer.target
