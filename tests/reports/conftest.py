"""reports as a real server in this process, in front of a double of accounts."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc
from libs.common.channels import open_channel
from libs.common.clock import ManualClock
from libs.common.config import ListenAddress
from libs.common.server import Server
from libs.common.server_config import ServerConfig
from services.reports.__main__ import serve
from services.reports.config import ReportsConfig
from tests.support.reports import Ran, fleet_of
from tests.support.reports_source import REPORTS_TOKEN, Held, Source, source_server

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ADA, MAX = 1, 2


@dataclass
class Reports:
    """A running reports service, and the accounts behind it."""

    source: Source
    source_server: Server
    target: str
    stub: reports_pb2_grpc.ReportServiceStub
    stack: ExitStack

    def hold(self, account_id: int, ran: Sequence[Ran], owner: int = ADA, **known: Any) -> None:
        """Let accounts have a cloud account with these runs."""
        self.source.held[account_id] = Held(owner, fleet_of(ran), **known)

    def runtime(self, start: datetime, end: datetime, **asked: Any) -> Any:
        """Ask as ada, the admin."""
        return self.stub.GetRuntime(self.request(start, end, **asked))

    def request(self, start: datetime, end: datetime, **asked: Any) -> Any:
        """Write a request."""
        return reports_pb2.GetRuntimeRequest(start_time=start, end_time=end, **asked)

    def caller(self, token: str | None) -> reports_pb2_grpc.ReportServiceStub:
        """Return a stub that calls with this token."""
        channel = open_channel(self.target, token=token)
        self.stack.callback(channel.close)
        return reports_pb2_grpc.ReportServiceStub(channel)


@pytest.fixture
def clock() -> ManualClock:
    """Give the clock of accounts."""
    return ManualClock(NOW)


@contextmanager
def running_reports(clock: ManualClock, **settings: Any) -> Iterator[Reports]:
    """Run reports with these settings, in front of accounts that hold nothing yet."""
    with ExitStack() as stack:
        source = Source(clock)
        behind = stack.enter_context(source_server(source))
        config = ReportsConfig(
            server=ServerConfig(listen=ListenAddress("127.0.0.1", 0)),
            accounts_target=f"127.0.0.1:{behind.port}",
            token=REPORTS_TOKEN,
            **settings,
        )
        server = serve(config, stack, clock=clock)
        target = f"127.0.0.1:{server.port}"
        channel = open_channel(target, token="ada-token")
        stack.callback(channel.close)
        stub = reports_pb2_grpc.ReportServiceStub(channel)
        yield Reports(source, behind, target, stub, stack)


@pytest.fixture
def reports(clock: ManualClock) -> Iterator[Reports]:
    """Run reports as it is without being told otherwise."""
    with running_reports(clock) as running:
        yield running
