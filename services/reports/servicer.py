"""ReportService: how long each distribution ran."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grpc

from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc
from libs.common.errors import Unimplemented
from libs.common.identity import USER, Access, current_user
from services.reports.reporter import Reporter
from services.reports.request_convert import check_observed, question
from services.reports.response_convert import concurrency_response, runtime_response

SERVICE = reports_pb2.DESCRIPTOR.services_by_name["ReportService"]

ACCESS: Mapping[str, Access] = MappingProxyType(
    dict.fromkeys((method.name for method in SERVICE.methods), USER)
)


class ReportServicer(reports_pb2_grpc.ReportServiceServicer):
    """Answers users, each from what accounts lets them see."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def GetRuntime(
        self, request: reports_pb2.GetRuntimeRequest, context: grpc.ServicerContext
    ) -> reports_pb2.GetRuntimeResponse:
        """Return runtime by bucket and group."""
        asked = question(request)
        check_observed(request.licensing_view)
        return runtime_response(self._reporter.answer(asked, current_user().token), asked.by)

    def GetConcurrency(
        self, request: reports_pb2.GetConcurrencyRequest, context: grpc.ServicerContext
    ) -> reports_pb2.GetConcurrencyResponse:
        """Return peaks by bucket and group."""
        asked = question(request)
        return concurrency_response(self._reporter.answer(asked, current_user().token), asked.by)

    def ListInstanceRuntimes(
        self, request: reports_pb2.ListInstanceRuntimesRequest, context: grpc.ServicerContext
    ) -> reports_pb2.ListInstanceRuntimesResponse:
        """Not built yet."""
        raise Unimplemented("Listing the runs behind a report is not built yet.")

    def GetAccountOverview(
        self, request: reports_pb2.GetAccountOverviewRequest, context: grpc.ServicerContext
    ) -> reports_pb2.GetAccountOverviewResponse:
        """Not built yet."""
        raise Unimplemented("The overview of accounts is not built yet: use GetRuntime by account.")

    def GetFindings(
        self, request: reports_pb2.GetFindingsRequest, context: grpc.ServicerContext
    ) -> reports_pb2.GetFindingsResponse:
        """Not built yet."""
        raise Unimplemented("Findings are not built yet.")

    def ExportRuntime(
        self, request: reports_pb2.ExportRuntimeRequest, context: grpc.ServicerContext
    ) -> Iterator[reports_pb2.ExportRuntimeResponse]:
        """Not built yet."""
        raise Unimplemented("Exports are not built yet: use GetRuntime.")
