"""The inspector: reads images' disks. `python -m services.inspector` serves."""

import os
from contextlib import ExitStack

from cloudigrade.inspector.v1 import inspector_pb2_grpc
from libs.common import logs
from libs.common.aws import AwsSessions
from libs.common.broker import Broker
from libs.common.channels import open_channel
from libs.common.clock import Clock, SystemClock
from libs.common.config import load, one_line_failures, secrets_of
from libs.common.remote_authenticator import RemoteAuthenticator
from libs.common.server import Registration, Server, build_server, run_until_signal
from libs.common.workers import Worker
from services.inspector.accounts_client import Accounts
from services.inspector.config import InspectorConfig, ProcessConfig
from services.inspector.inspector import ImageInspector
from services.inspector.on_demand import InspectOnDemand
from services.inspector.servicer import ACCESS, SERVICE, InspectorServicer
from services.inspector.worker import JobWorker


def main() -> None:
    """Run the inspector until it is told to stop."""
    with one_line_failures(), ExitStack() as stack:
        config = load(ProcessConfig, os.environ, service="inspector")
        hidden = secrets_of(ProcessConfig, os.environ, service="inspector")
        logs.configure("inspector", level=config.inspector.log.level, secrets=hidden)
        serve(config.inspector, stack, broker=stack.enter_context(config.broker.broker()))
        run_until_signal()


def serve(
    config: InspectorConfig,
    stack: ExitStack,
    *,
    broker: Broker,
    clock: Clock | None = None,
    sessions: AwsSessions | None = None,
) -> Server:
    """Start the inspector's server and its work on jobs; the stack stops them, in reverse order.

    `sessions` may be shared with others in the process; by default they are the inspector's own.
    """
    clock = clock or SystemClock()
    sessions = sessions or stack.enter_context(AwsSessions(config.aws))
    inspector = stack.enter_context(ImageInspector(sessions, config.reading, config.limits))

    channel = open_channel(config.accounts_target, token=config.token, tls=config.tls)
    stack.callback(channel.close)
    on_demand = stack.enter_context(InspectOnDemand(inspector, config.calls_at_once))

    registration = Registration(
        SERVICE,
        inspector_pb2_grpc.add_InspectorServiceServicer_to_server,
        InspectorServicer(Accounts(channel), on_demand),
        ACCESS,
    )
    server = build_server(
        config.server,
        [registration],
        authenticator=RemoteAuthenticator(channel, clock),
        checks={"broker": broker.healthy},
        clock=clock,
    )
    stack.enter_context(server)
    stack.enter_context(
        Worker("inspection-jobs", JobWorker(broker, inspector, config.jobs_at_once))
    )
    return server


if __name__ == "__main__":
    main()
