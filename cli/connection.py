"""The services as the command line reaches them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import grpc

from cli.exits import CommandError, Exit, command_error
from cli.output import Format, Output
from cli.settings import ClientConfig
from cloudigrade.accounts.v1.accounts_pb2_grpc import AccountServiceStub
from cloudigrade.accounts.v1.identity_pb2_grpc import IdentityServiceStub
from cloudigrade.accounts.v1.inventory_pb2_grpc import InventoryServiceStub
from cloudigrade.inspector.v1.inspector_pb2_grpc import InspectorServiceStub
from cloudigrade.reports.v1.reports_pb2_grpc import ReportServiceStub
from cloudigrade.scanner.v1.scanner_pb2_grpc import ScannerServiceStub
from libs.common.channels import open_channel
from libs.common.clock import Clock

CALL = timedelta(seconds=60).total_seconds()
"""How long a call may take that answers once."""
LARGEST_ID = 2**63 - 1
"""Ids are 64 bits wide in the contracts."""
LONG_CALL = timedelta(minutes=30).total_seconds()
"""How long a call may take that streams its progress."""


@dataclass
class Connections:
    """Stubs of the services, each made when it is first asked for."""

    config: ClientConfig
    clock: Clock
    environ: Mapping[str, str]
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def output(self, form: Format) -> Output:
        """Return where results go."""
        return Output(form)

    def identity(self) -> IdentityServiceStub:
        """Return the stub for users and tokens."""
        return IdentityServiceStub(self._channel(self.config.accounts))

    def accounts(self) -> AccountServiceStub:
        """Return the stub for cloud accounts."""
        return AccountServiceStub(self._channel(self.config.accounts))

    def inventory(self) -> InventoryServiceStub:
        """Return the stub for instances, images and what is known of them."""
        return InventoryServiceStub(self._channel(self.config.accounts))

    def scanner(self) -> ScannerServiceStub:
        """Return the stub of the scanner."""
        return ScannerServiceStub(self._channel(self.config.scanner))

    def inspector(self) -> InspectorServiceStub:
        """Return the stub of the inspector."""
        return InspectorServiceStub(self._channel(self.config.inspector))

    def reports(self) -> ReportServiceStub:
        """Return the stub of reports."""
        return ReportServiceStub(self._channel(self.config.reports))

    @contextmanager
    def errors(self, target: str) -> Iterator[None]:
        """Turn a failed call into the sentence and the exit status that it deserves."""
        try:
            yield
        except grpc.RpcError as error:
            raise command_error(error, target) from None

    def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            channel.close()

    def _channel(self, target: str) -> grpc.Channel:
        if target not in self._channels:
            self._channels[target] = open_channel(target, token=self._token(), tls=self.config.tls)
        return self._channels[target]

    def _token(self) -> str:
        token, source = self.config.token or "", "CLOUDIGRADE_TOKEN"
        if not token:
            source = str(self.config.admin_token_file)
            token = self._admin_token()
        if not token.isascii() or not token.isprintable():
            raise CommandError(f"what {source} holds is no token", Exit.NOT_ALLOWED)
        return token

    def _admin_token(self) -> str:
        try:
            return self.config.admin_token_file.read_text().strip()
        except PermissionError as error:
            raise CommandError(
                f"you may not read {error.filename}: set CLOUDIGRADE_TOKEN to a token of yours",
                Exit.NOT_ALLOWED,
            ) from None
        except (OSError, UnicodeDecodeError):
            raise CommandError(
                "no token: set CLOUDIGRADE_TOKEN, or run where `cloudigrade up` keeps its state",
                Exit.NOT_ALLOWED,
            ) from None
