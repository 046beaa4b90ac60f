"""reports: adds up how long each distribution ran. `python -m services.reports` serves."""

import os
from contextlib import ExitStack

from cloudigrade.reports.v1 import reports_pb2_grpc
from libs.common import logs
from libs.common.channels import open_channel
from libs.common.clock import Clock, SystemClock
from libs.common.config import load, one_line_failures, secrets_of
from libs.common.remote_authenticator import RemoteAuthenticator
from libs.common.server import Registration, Server, build_server, run_until_signal
from services.reports.accounts_client import Accounts
from services.reports.config import ReportsConfig
from services.reports.reporter import Reporter
from services.reports.servicer import ACCESS, SERVICE, ReportServicer

_MIB = 2**20


def main() -> None:
    """Serve until told to stop."""
    with one_line_failures(), ExitStack() as stack:
        config = load(ReportsConfig, os.environ, service="reports")
        hidden = secrets_of(ReportsConfig, os.environ, service="reports")
        logs.configure("reports", level=config.log.level, secrets=hidden)
        serve(config, stack)
        run_until_signal()


def serve(config: ReportsConfig, stack: ExitStack, *, clock: Clock | None = None) -> Server:
    """Start the server; the stack stops it, then closes the channel to accounts."""
    clock = clock or SystemClock()
    channel = open_channel(config.accounts_target, token=config.token, tls=config.tls)
    stack.callback(channel.close)

    # Runs, what is prepared from them, and answers: the second is as large as the first.
    share = config.cache_mib * _MIB // 9
    reporter = Reporter(
        Accounts(channel, most_bytes=4 * share, most_runs=config.most_runs),
        prepared_bytes=4 * share,
        answers_bytes=share,
        at_once=config.at_once,
    )
    server = build_server(
        config.server,
        [
            Registration(
                SERVICE,
                reports_pb2_grpc.add_ReportServiceServicer_to_server,
                ReportServicer(reporter),
                ACCESS,
            )
        ],
        authenticator=RemoteAuthenticator(channel, clock),
        clock=clock,
    )
    stack.enter_context(server)
    return server


if __name__ == "__main__":
    main()
