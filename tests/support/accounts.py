"""accounts as a real server in this process, on a database of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import Any

import grpc
import pytest

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    events_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    inventory_pb2_grpc,
    schedule_pb2,
    schedule_pb2_grpc,
)
from libs.common.broker_memory import MemoryBroker
from libs.common.channels import on_behalf_of, open_channel
from libs.common.clock import ManualClock
from libs.common.config import load
from services.accounts.__main__ import serve
from services.accounts.bootstrap import create_admin
from services.accounts.config import AccountsConfig
from services.accounts.database import Database
from services.accounts.identity_store import IdentityStore
from tests.support.statuses import told

SERVICE_TOKENS = {
    "scanner": "a-scanner-token-for-tests",
    "inspector": "an-inspector-token-for-tests",
    "reports": "a-reports-token-for-tests",
}
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Caller:
    """Calls accounts with one token; each service's stub is an attribute."""

    def __init__(self, target: str, token: str | None, behalf: str | None = None) -> None:
        self.token = token or ""
        channel = open_channel(target, token=token)
        if behalf is not None:
            channel = grpc.intercept_channel(channel, _OnBehalf(behalf))
        self.close = channel.close
        self.channel = channel
        self.events = events_pb2_grpc.EventServiceStub(channel)
        self.identity = identity_pb2_grpc.IdentityServiceStub(channel)
        self.accounts = accounts_pb2_grpc.AccountServiceStub(channel)
        self.inventory = inventory_pb2_grpc.InventoryServiceStub(channel)
        self.schedule = schedule_pb2_grpc.ScanScheduleServiceStub(channel)


class _OnBehalf(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._metadata = on_behalf_of(token)

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Add for whom the call is made."""
        details = client_call_details._replace(
            metadata=(*(client_call_details.metadata or ()), *self._metadata)
        )
        return continuation(details, request)


@dataclass
class Accounts:
    """A running accounts, its clock, and callers of every kind."""

    target: str
    clock: ManualClock
    database: Database
    admin: Caller
    _stack: ExitStack

    def caller(self, token: str | None, behalf: str | None = None) -> Caller:
        """Open a channel that carries this token."""
        caller = Caller(self.target, token, behalf)
        self._stack.callback(caller.close)
        return caller

    def service(self, name: str, behalf: Caller | None = None) -> Caller:
        """Call as a service, on behalf of a user if one is given."""
        return self.caller(SERVICE_TOKENS[name], behalf.token if behalf else None)

    def member(self, name: str = "max") -> Caller:
        """Make a member and call as them."""
        user = self.admin.identity.CreateUser(
            identity_pb2.CreateUserRequest(name=name, role=identity_pb2.ROLE_MEMBER)
        ).user
        made = self.admin.identity.CreateToken(identity_pb2.CreateTokenRequest(user_id=user.id))
        return self.caller(made.secret)

    def account(
        self, owner: Caller, number: str = "123456789012", name: str = "web"
    ) -> accounts_pb2.CloudAccount:
        """Register an account that is not verified yet."""
        return owner.accounts.CreateCloudAccount(
            accounts_pb2.CreateCloudAccountRequest(
                name=name, role_arn=f"arn:aws:iam::{number}:role/cloudigrade"
            )
        ).account

    def verified(
        self, owner: Caller, number: str = "123456789012", name: str = "web"
    ) -> accounts_pb2.CloudAccount:
        """Register an account and prove it as the scanner does."""
        return self.verify(self.account(owner, number, name))

    def verify(self, account: accounts_pb2.CloudAccount) -> accounts_pb2.CloudAccount:
        """Prove an account as the scanner does."""
        return (
            self.service("scanner")
            .schedule.RecordVerification(
                schedule_pb2.RecordVerificationRequest(
                    account_id=account.id,
                    role_arn=account.role_arn,
                    observed_aws_account_id=account.aws_account_id,
                )
            )
            .account
        )


@contextmanager
def running_accounts(database_url: str, **settings: str) -> Iterator[Accounts]:
    """Run accounts on a free port with a clock that stands still; settings are variables."""
    environ = {
        "CLOUDIGRADE_DATABASE_URL": database_url,
        "CLOUDIGRADE_ACCOUNTS_CONNECTIONS": "10",
        "CLOUDIGRADE_ACCOUNTS_LISTEN": "127.0.0.1:0",
        "CLOUDIGRADE_ACCOUNTS_STOP_GRACE": "1s",
        **{f"CLOUDIGRADE_{name.upper()}_TOKEN": token for name, token in SERVICE_TOKENS.items()},
        **settings,
    }
    clock = ManualClock(START)
    with ExitStack() as stack:
        broker = stack.enter_context(MemoryBroker())
        config = load(AccountsConfig, environ, service="accounts")
        server = serve(config, stack, clock=clock, broker=broker)
        database = Database(database_url, pool_size=5)
        stack.callback(database.close)
        secret = create_admin(IdentityStore(database), "ada", clock, token_bytes)
        target = f"127.0.0.1:{server.port}"
        admin = Caller(target, secret)
        stack.callback(admin.close)
        yield Accounts(target, clock, database, admin, stack)


@pytest.fixture
def accounts(database_url: str) -> Iterator[Accounts]:
    """Run accounts with an admin, ada."""
    with running_accounts(database_url) as running:
        yield running


@dataclass(frozen=True)
class Refusal:
    """What a call that was refused said."""

    code: str
    reason: str
    fields: tuple[str, ...]


def refusal(call: Callable[[], object]) -> Refusal:
    """Make a call that must fail, and give its code, its reason and the fields it names."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    answer = told(raised.value)
    return Refusal(answer.code.name, answer.reason, answer.fields)


def later(moment: timedelta) -> datetime:
    """Return an instant so long after the clock's start."""
    return START + moment
