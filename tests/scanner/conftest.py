"""Scanners against a local AWS and an accounts service in memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest

from cloudigrade.scanner.v1 import scanner_pb2, scanner_pb2_grpc
from libs.common.aws import AwsConfig
from libs.common.channels import open_channel
from libs.common.clock import Clock, ManualClock, SystemClock
from libs.common.config import ListenAddress
from libs.common.server_config import ServerConfig
from services.scanner.__main__ import serve
from services.scanner.config import ScannerConfig
from tests.support.accounts_double import SCANNER_TOKEN, AccountsDouble

Update = scanner_pb2.RegionProgress | scanner_pb2.ScanSummary


@dataclass
class Client:
    """A user's calls to one scanner."""

    stub: scanner_pb2_grpc.ScannerServiceStub

    def scan(self, account_id: int, timeout: float = 30) -> Iterator[Update]:
        """Ask for a scan, and yield its progress and its summary."""
        request = scanner_pb2.ScanAccountRequest(account_id=account_id)
        for response in self.stub.ScanAccount(request, timeout=timeout):
            if response.HasField("summary"):
                yield response.summary
            else:
                yield response.region

    def summary(self, account_id: int) -> scanner_pb2.ScanSummary:
        """Ask for a scan and return its summary, the last that comes."""
        last = list(self.scan(account_id))[-1]
        assert isinstance(last, scanner_pb2.ScanSummary)
        return last

    def verify(self, account_id: int) -> scanner_pb2.VerifyAccountResponse:
        """Ask for an account to be verified."""
        return self.stub.VerifyAccount(
            scanner_pb2.VerifyAccountRequest(account_id=account_id), timeout=30
        )


class Scanners:
    """Starts scanners that all call the same accounts."""

    def __init__(self, stack: ExitStack, accounts: str, token: str = SCANNER_TOKEN) -> None:
        self._stack = stack
        self._accounts = accounts
        self._token = token

    def start(self, clock: Clock | None = None) -> int:
        """Start a scanner and return its port."""
        return self.start_in(self._stack, clock)

    def start_in(self, stack: ExitStack, clock: Clock | None = None) -> int:
        """Start a scanner that ends with the stack, and return its port."""
        return serve(self.config(), stack, clock=clock).port

    def config(self) -> ScannerConfig:
        """Return the settings of a scanner on a free port that does not wait long for AWS."""
        return ScannerConfig(
            server=ServerConfig(listen=ListenAddress("127.0.0.1", 0), stop_grace=timedelta(0)),
            aws=AwsConfig(max_attempts=1),
            accounts_target=self._accounts,
            token=self._token,
        )

    def client(self, port: int, token: str | None = "max-token") -> Client:
        """Return a user's calls to a scanner."""
        channel = self._stack.enter_context(open_channel(f"127.0.0.1:{port}", token=token))
        return Client(scanner_pb2_grpc.ScannerServiceStub(channel))


@pytest.fixture
def clock() -> ManualClock:
    """Give a clock that begins with today's time and moves when the test says so."""
    return ManualClock(SystemClock().now())


@pytest.fixture
def double(clock: ManualClock) -> AccountsDouble:
    """Give an accounts service in memory, without any account."""
    return AccountsDouble(clock)


@pytest.fixture
def scanners(double: AccountsDouble) -> Iterator[Scanners]:
    """Give what starts scanners; it stops them, and accounts after them."""
    with ExitStack() as stack:
        server = stack.enter_context(double.server())
        yield Scanners(stack, f"127.0.0.1:{server.port}")
