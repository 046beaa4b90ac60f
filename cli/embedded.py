"""All four services in one process, with a database and a broker of their own."""

import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from libs.common.broker_memory import MemoryBroker
from libs.common.clock import Clock
from libs.common.config import StartError, load
from libs.common.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from libs.common.errors import Unauthenticated
from libs.common.instants import to_micros
from services.accounts import __main__ as accounts
from services.accounts import bootstrap
from services.accounts.config import AccountsConfig
from services.accounts.database import Database
from services.accounts.identity_store import IdentityStore
from services.inspector import __main__ as inspector
from services.inspector.config import InspectorConfig
from services.reports import __main__ as reports
from services.reports.config import ReportsConfig
from services.scanner import __main__ as scanner
from services.scanner.config import ScannerConfig

ADMIN = "admin"
_SERVICES = ("accounts", "scanner", "inspector", "reports")


@dataclass(frozen=True, slots=True)
class Embedded:
    """The running services: where each answers, and the admin's token."""

    targets: Mapping[str, str]
    token: str


def serve_all(environ: Mapping[str, str], state: Path, clock: Clock, stack: ExitStack) -> Embedded:
    """Start the database in the state folder and then the services; the stack stops them.

    Service tokens are made anew at each start, since only this process needs them. The admin's
    token is kept in the state folder for whoever may read it. Raises StartError.
    """
    try:
        postgres = stack.enter_context(EmbeddedPostgres(state / "postgres"))
        url = postgres.url("cloudigrade")
    except EmbeddedPostgresError as error:
        raise StartError(str(error)) from None
    settings = {
        **{f"CLOUDIGRADE_{name.upper()}_TOKEN": secrets.token_urlsafe(32) for name in _SERVICES},
        **environ,
        "CLOUDIGRADE_DATABASE_URL": url,
    }
    broker = stack.enter_context(MemoryBroker())
    # accounts first, since calls go only towards it; the stack ends it last.
    config = load(AccountsConfig, settings, service="accounts")
    targets = {"accounts": _at(accounts.serve(config, stack, clock=clock, broker=broker).port)}
    settings["CLOUDIGRADE_ACCOUNTS_TARGET"] = targets["accounts"]
    targets["scanner"] = _at(
        scanner.serve(load(ScannerConfig, settings, service="scanner"), stack, clock=clock).port
    )
    targets["inspector"] = _at(
        inspector.serve(
            load(InspectorConfig, settings, service="inspector"), stack, clock=clock, broker=broker
        ).port
    )
    targets["reports"] = _at(
        reports.serve(load(ReportsConfig, settings, service="reports"), stack, clock=clock).port
    )
    return Embedded(targets, _admin_token(url, state / "admin.token", clock))


def listening(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a free port for each service whose own is taken or not set."""
    return {
        **{
            f"CLOUDIGRADE_{name.upper()}_LISTEN": "127.0.0.1:0"
            for name, port in zip(_SERVICES, range(50051, 50055), strict=True)
            if _taken(port)
        },
        **environ,
    }


def _admin_token(url: str, file: Path, clock: Clock) -> str:
    database = Database(url, pool_size=2)
    try:
        store = IdentityStore(database)
        if (kept := _kept(file)) and _still_good(store, kept, clock):
            return kept
        token = bootstrap.create_admin(store, ADMIN, clock, secrets.token_bytes)
    finally:
        database.close()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(token + "\n")
    return token


def _still_good(store: IdentityStore, token: str, clock: Clock) -> bool:
    try:
        store.bearer(token, to_micros(clock.now()))
    except Unauthenticated:
        return False
    return True


def _kept(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _at(port: int) -> str:
    return f"127.0.0.1:{port}"
