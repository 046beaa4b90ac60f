"""InspectorService: inspections that people ask for."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grpc

from cloudigrade.accounts.v1 import accounts_pb2
from cloudigrade.inspector.v1 import inspection_pb2, inspector_pb2, inspector_pb2_grpc
from libs.common import identifiers
from libs.common.checks import Checks
from libs.common.errors import FailedPrecondition, InvalidRequest
from libs.common.identity import USER, Access, current_user
from services.inspector import convert
from services.inspector.accounts_client import Accounts
from services.inspector.on_demand import InspectOnDemand, Step

SERVICE = inspector_pb2.DESCRIPTOR.services_by_name["InspectorService"]
ACCESS: Mapping[str, Access] = MappingProxyType({"InspectImage": USER})

_WORKED_FOR = {
    accounts_pb2.CloudAccount.STATE_ENABLED,
    accounts_pb2.CloudAccount.STATE_PAUSED,
}


class InspectorServicer(inspector_pb2_grpc.InspectorServiceServicer):
    """Does what people ask of the inspector. Accounts says whether the account is theirs."""

    def __init__(self, accounts: Accounts, inspections: InspectOnDemand) -> None:
        self._accounts = accounts
        self._inspections = inspections

    def InspectImage(
        self, request: inspector_pb2.InspectImageRequest, context: grpc.ServicerContext
    ) -> Iterator[inspector_pb2.InspectImageResponse]:
        """Read one image's disk now."""
        _check(request)
        account = self._accounts.scan_target(request.account_id, current_user().token)
        if account.state not in _WORKED_FOR:
            raise FailedPrecondition(
                "The account is not enabled: verify it first.", reason="ACCOUNT_NOT_ENABLED"
            )
        if identifiers.partition_of(request.region) != account.partition:
            raise InvalidRequest(
                f"is not in {account.partition}, the account's partition", field="region"
            )
        job = inspection_pb2.InspectionJob(account_id=request.account_id, image_id=request.image_id)
        target = convert.target_of_account(account, request)
        for each in self._inspections.inspect(target, context.is_active):
            if isinstance(each, Step):
                yield convert.progress(each)
            else:
                result = convert.result(job, each)
                yield inspector_pb2.InspectImageResponse(result=result)


def _check(request: inspector_pb2.InspectImageRequest) -> None:
    checks = Checks()
    checks.that(request.account_id > 0, "account_id", "must be the id of an account")
    if checks.required("region", request.region):
        checks.parsed("region", identifiers.region, request.region)
    if checks.required("image_id", request.image_id):
        checks.parsed("image_id", _image_or_snapshot, request.image_id)
    checks.finish()


def _image_or_snapshot(text: str) -> str:
    if text.startswith("snap-"):
        return identifiers.snapshot_id(text)
    return identifiers.image_id(text)
