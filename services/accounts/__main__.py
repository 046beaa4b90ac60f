"""accounts: the system of record.

`python -m services.accounts` serves; `python -m services.accounts create-admin NAME` makes an admin
and prints a token, once; `python -m services.accounts partition --into N` parts the tables by
account, which is maintenance with the service stopped (docs/scaling.md).
"""

import argparse
import contextlib
import gc
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    inventory_pb2,
    inventory_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    schedule_pb2,
    schedule_pb2_grpc,
)
from libs.common import deadlines, logs
from libs.common.attempts import Attempts
from libs.common.broker import Broker
from libs.common.clock import Clock, SystemClock
from libs.common.config import ConfigError, StartError, load, one_line_failures, secrets_of
from libs.common.errors import CloudigradeError
from libs.common.identity import ServiceTokens
from libs.common.server import Registration, Server, build_server, run_until_signal
from services.accounts import (
    account_servicer,
    event_servicer,
    identity_servicer,
    inventory_servicer,
    run_servicer,
    schedule_servicer,
)
from services.accounts.account_directory import AccountDirectory
from services.accounts.account_servicer import AccountServicer
from services.accounts.account_store import AccountStore
from services.accounts.authenticator import DatabaseAuthenticator
from services.accounts.bootstrap import create_admin
from services.accounts.committer import Committer
from services.accounts.config import AccountsConfig, DatabaseConfig, ProcessConfig
from services.accounts.database import Database
from services.accounts.eraser import Eraser
from services.accounts.erasing import ErasureStore
from services.accounts.event_batches import Batches
from services.accounts.event_servicer import EventServicer
from services.accounts.event_store import EventStore
from services.accounts.fact_writing import FactWriter
from services.accounts.history_store import HistoryStore
from services.accounts.identity_servicer import IdentityServicer
from services.accounts.identity_store import IdentityStore
from services.accounts.image_store import ImageStore
from services.accounts.inventory_servicer import InventoryServicer
from services.accounts.inventory_store import InventoryStore
from services.accounts.job_store import JobStore
from services.accounts.label_store import LabelStore
from services.accounts.listing_store import ListingStore
from services.accounts.override_servicer import OverrideServicer
from services.accounts.override_store import OverrideStore
from services.accounts.partitioning import partition
from services.accounts.quarantine_store import QuarantineStore
from services.accounts.relay import Relay
from services.accounts.results import Results
from services.accounts.run_reader import RunReader
from services.accounts.run_servicer import RunServicer
from services.accounts.run_store import RunStore
from services.accounts.schedule_servicer import ScheduleServicer
from services.accounts.schedule_store import Pace, ScheduleStore
from services.accounts.type_store import TypeStore


def main() -> None:
    """Serve until told to stop, or do what the command line says."""
    parser = argparse.ArgumentParser("python -m services.accounts", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="{create-admin,partition}")
    admin = commands.add_parser("create-admin", help="make an admin and print a token, once")
    admin.add_argument("name")
    parts = commands.add_parser("partition", help="part the tables by account; stop the service")
    parts.add_argument("--into", type=int, required=True, help="partitions of each table")
    arguments = parser.parse_args()
    with one_line_failures(), ExitStack() as stack:
        if arguments.command == "create-admin":
            sys.stdout.write(f"{make_admin(arguments.name, stack)}\n")
            return
        if arguments.command == "partition":
            sys.stdout.writelines(part(arguments.into, stack))
            return
        config = load(ProcessConfig, os.environ, service="accounts")
        hidden = secrets_of(ProcessConfig, os.environ, service="accounts")
        logs.configure("accounts", level=config.accounts.log.level, secrets=hidden)
        serve(config.accounts, stack, broker=stack.enter_context(config.broker.broker()))
        run_until_signal()


def make_admin(name: str, stack: ExitStack) -> str:
    """Return a new token of an admin, who is made if need be; StartError says why not."""
    logs.configure("accounts", level="warning")
    database = open_database(load(DatabaseConfig, os.environ), stack)
    try:
        return create_admin(IdentityStore(database), name, SystemClock(), secrets.token_bytes)
    except (CloudigradeError, ValueError) as error:
        raise StartError(f"no admin was made: {error}") from None


def part(into: int, stack: ExitStack) -> Iterator[str]:
    """Part the tables by account and yield a line for each; StartError says why not."""
    logs.configure("accounts", level="warning")
    database = open_database(load(DatabaseConfig, os.environ), stack)
    try:
        parted = partition(database, into)
    except CloudigradeError as error:
        raise StartError(f"nothing was parted: {error}") from None
    for table, rows in parted:
        yield f"{table}: {rows:,} rows in {into} partitions\n"


def serve(
    config: AccountsConfig,
    stack: ExitStack,
    *,
    broker: Broker,
    clock: Clock | None = None,
) -> Server:
    """Migrate the database, start the server and its workers; the stack stops them.

    Raises StartError when the database cannot be reached or something is wrongly configured.
    """
    clock = clock or SystemClock()
    # By default the collector runs after every 700 objects made, and events are stored by the
    # thousand: it took a quarter of the time that they take, and there is little for it to find.
    gc.set_threshold(50_000, 20, 20)
    database = open_database(config.database, stack)
    identities = IdentityStore(database)
    attempts = Attempts(config.server.attempt_limits, clock)
    labels = LabelStore(database)
    eraser = stack.enter_context(Eraser(ErasureStore(database), batch=config.erase_batch))
    accounts = AccountStore(database, RunStore(labels).retrack, eraser.wake)
    jobs = JobStore(database, config.inspections.patience())
    relay = stack.enter_context(Relay(jobs, broker, clock))
    for worker in Results(jobs, broker, clock).workers():
        stack.enter_context(worker)
    schedule = ScheduleStore(database, Pace.of(config.scan_interval, config.lease))

    writer = FactWriter(database, labels, clock, relay.wake)
    committer = stack.enter_context(Committer(EventStore(writer).record))

    registrations = [
        Registration(
            identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
            identity_pb2_grpc.add_IdentityServiceServicer_to_server,
            IdentityServicer(identities, attempts, clock, secrets.token_bytes),
            identity_servicer.ACCESS,
        ),
        Registration(
            accounts_pb2.DESCRIPTOR.services_by_name["AccountService"],
            accounts_pb2_grpc.add_AccountServiceServicer_to_server,
            AccountServicer(accounts, clock),
            account_servicer.ACCESS,
        ),
        Registration(
            inventory_pb2.DESCRIPTOR.services_by_name["InventoryService"],
            inventory_pb2_grpc.add_InventoryServiceServicer_to_server,
            InventoryServicer(
                InventoryStore(database, clock),
                HistoryStore(database, clock),
                ImageStore(database, clock),
                jobs,
                OverrideServicer(OverrideStore(database, clock), clock),
                clock,
                relay.wake,
            ),
            inventory_servicer.ACCESS,
        ),
        Registration(
            schedule_pb2.DESCRIPTOR.services_by_name["ScanScheduleService"],
            schedule_pb2_grpc.add_ScanScheduleServiceServicer_to_server,
            ScheduleServicer(schedule, accounts, clock),
            schedule_servicer.ACCESS,
        ),
        Registration(
            events_pb2.DESCRIPTOR.services_by_name["EventService"],
            events_pb2_grpc.add_EventServiceServicer_to_server,
            EventServicer(
                Batches(AccountDirectory(database), committer, clock),
                ListingStore(writer, TypeStore(database, clock)),
                QuarantineStore(database),
                clock,
                relay.wake,
            ),
            event_servicer.ACCESS,
        ),
        Registration(
            runs_pb2.DESCRIPTOR.services_by_name["RunService"],
            runs_pb2_grpc.add_RunServiceServicer_to_server,
            RunServicer(RunReader(database, labels), clock),
            run_servicer.ACCESS,
        ),
    ]
    server = build_server(
        config.server,
        registrations,
        authenticator=_service_tokens(config, DatabaseAuthenticator(identities, clock)),
        checks={
            "": database.healthy,
            "broker": lambda: broker.healthy() and relay.healthy(),
        },
        clock=clock,
        attempts=attempts,
    )
    stack.enter_context(server)
    return server


def open_database(config: DatabaseConfig, stack: ExitStack) -> Database:
    """Connect to the database and migrate it; StartError when it cannot be reached."""
    database = Database(config.url, pool_size=config.connections, time_left=deadlines.time_left)
    stack.enter_context(contextlib.closing(database))
    try:
        database.migrate()
    except CloudigradeError as error:
        why = " ".join(str(error.__cause__ or error.message).split())
        raise StartError(f"no database at CLOUDIGRADE_DATABASE_URL: {why}") from None
    return database


def _service_tokens(config: AccountsConfig, others: DatabaseAuthenticator) -> ServiceTokens:
    tokens = {
        "scanner": config.scanner_token,
        "inspector": config.inspector_token,
        "reports": config.reports_token,
    }
    if len(set(tokens.values())) < len(tokens):
        raise ConfigError("every service needs a token of its own: CLOUDIGRADE_SCANNER_TOKEN, ...")
    return ServiceTokens(tokens, others)


if __name__ == "__main__":
    main()
