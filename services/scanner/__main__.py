"""The scanner: finds out when instances were on, and tells accounts."""

import os
import secrets
import socket
import threading
from contextlib import ExitStack
from functools import partial

from cloudigrade.scanner.v1 import scanner_pb2, scanner_pb2_grpc
from libs.common import logs
from libs.common.aws import AwsSessions
from libs.common.channels import open_channel
from libs.common.clock import Clock, SystemClock
from libs.common.config import load, one_line_failures, secrets_of
from libs.common.remote_authenticator import RemoteAuthenticator
from libs.common.server import Registration, Server, build_server, run_until_signal
from libs.common.workers import Worker
from services.scanner.accounts_client import Accounts
from services.scanner.config import ScannerConfig
from services.scanner.ec2 import Ec2
from services.scanner.leases import Target
from services.scanner.on_demand import ScanOnDemand
from services.scanner.scans import Scans
from services.scanner.schedule import Schedule
from services.scanner.servicer import ACCESS, ScannerServicer

SERVICE = scanner_pb2.DESCRIPTOR.services_by_name["ScannerService"]


def main() -> None:
    """Run the scanner until it is told to stop."""
    with one_line_failures(), ExitStack() as stack:
        config = load(ScannerConfig, os.environ, service="scanner")
        hidden = secrets_of(ScannerConfig, os.environ, service="scanner")
        logs.configure("scanner", level=config.log.level, secrets=hidden)
        serve(config, stack)
        run_until_signal()


def serve(
    config: ScannerConfig,
    stack: ExitStack,
    *,
    clock: Clock | None = None,
    sessions: AwsSessions | None = None,
) -> Server:
    """Start the scanner's server and its schedule; the stack stops them, in reverse order.

    `sessions` may be shared with others in the process; by default they are the scanner's own.
    """
    clock = clock or SystemClock()
    sessions = sessions or stack.enter_context(AwsSessions(config.aws))
    holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"

    channel = open_channel(config.accounts_target, token=config.token, tls=config.tls)
    stack.callback(channel.close)
    accounts = Accounts(channel)
    scans = stack.enter_context(
        Scans(
            accounts,
            partial(_reader, sessions, clock),
            clock,
            most=config.concurrent_scans,
            regions=config.concurrent_regions,
        )
    )
    stopping = threading.Event()
    on_demand = ScanOnDemand(accounts, scans, holder, clock, stopping)

    registration = Registration(
        SERVICE,
        scanner_pb2_grpc.add_ScannerServiceServicer_to_server,
        ScannerServicer(accounts, on_demand, sessions),
        ACCESS,
    )
    server = build_server(
        config.server,
        [registration],
        authenticator=RemoteAuthenticator(channel, clock),
        clock=clock,
    )
    stack.enter_context(server)
    stack.callback(stopping.set)
    stack.enter_context(Worker("schedule", Schedule(accounts, scans, holder, clock)))
    return server


def _reader(sessions: AwsSessions, clock: Clock, target: Target) -> Ec2:
    return Ec2(sessions.for_role(target.role_arn, target.external_id), clock)


if __name__ == "__main__":
    main()
