"""Users' tokens, checked by accounts."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import grpc
import pytest

from cloudigrade.accounts.v1 import identity_pb2, identity_pb2_grpc
from libs.common.channels import open_channel
from libs.common.clock import ManualClock
from libs.common.errors import CloudigradeError, Unauthenticated, Unavailable
from libs.common.identity import Principal, Role, ServiceTokens, User, service
from libs.common.instants import to_micros
from libs.common.remote_authenticator import KEPT, RemoteAuthenticator
from libs.common.server import Registration, build_server
from libs.common.timestamps import timestamp
from tests.common.test_clock_and_instants import NOON
from tests.support.probe import SERVICE_TOKENS, probe_config

pytestmark = pytest.mark.usefixtures("lines")


class Accounts:
    """An IdentityService that knows one token, good for ten minutes from noon."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.trouble: CloudigradeError | None = None

    def __getattr__(self, name: str) -> Any:
        return self._authenticate if name == "Authenticate" else None

    def _authenticate(self, request: Any, _context: grpc.ServicerContext) -> Any:
        self.asked.append(request.secret)
        if self.trouble is not None:
            raise self.trouble
        if request.secret != "max-token":
            raise Unauthenticated("The token is not known.", reason="TOKEN_UNKNOWN")
        user = identity_pb2.User(id=2, name="max", role=identity_pb2.ROLE_MEMBER)
        expiry = timestamp(to_micros(NOON + timedelta(minutes=10)))
        return identity_pb2.AuthenticateResponse(user=user, expire_time=expiry)


@pytest.fixture
def accounts() -> Accounts:
    """Make an IdentityService."""
    return Accounts()


@pytest.fixture
def clock() -> ManualClock:
    """Stop the clock at noon."""
    return ManualClock(NOON)


@pytest.fixture
def authenticator(accounts: Accounts, clock: ManualClock) -> Iterator[RemoteAuthenticator]:
    """Ask that service as the scanner."""
    descriptor = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]
    registration = Registration(
        descriptor,
        identity_pb2_grpc.add_IdentityServiceServicer_to_server,
        accounts,
        {method.name: service("scanner") for method in descriptor.methods},
    )
    with ExitStack() as stack:
        server = stack.enter_context(
            build_server(
                probe_config(), [registration], authenticator=ServiceTokens(SERVICE_TOKENS)
            )
        )
        channel = open_channel(f"127.0.0.1:{server.port}", token="scanner-token")
        yield RemoteAuthenticator(stack.enter_context(channel), clock)


def test_a_known_token_is_its_users(authenticator: RemoteAuthenticator) -> None:
    """With id, name and role."""
    principal = authenticator.authenticate("max-token")
    assert principal.user == User(2, "max", Role.MEMBER)
    assert principal.service is None


def test_a_good_answer_is_kept_for_thirty_seconds(
    authenticator: RemoteAuthenticator, accounts: Accounts, clock: ManualClock
) -> None:
    """Until then nobody is asked; then again, so that a revoked token ends."""
    authenticator.authenticate("max-token")
    clock.advance(timedelta(seconds=29))
    authenticator.authenticate("max-token")
    assert len(accounts.asked) == 1
    clock.advance(timedelta(seconds=1))
    accounts.trouble = Unauthenticated("The token was revoked.", reason="TOKEN_REVOKED")
    with pytest.raises(Unauthenticated) as caught:
        authenticator.authenticate("max-token")
    assert caught.value.reason == "TOKEN_REVOKED"


def test_an_answer_is_not_kept_beyond_the_tokens_expiry(
    authenticator: RemoteAuthenticator, accounts: Accounts, clock: ManualClock
) -> None:
    """Ten seconds before it, for ten seconds only."""
    clock.advance(timedelta(minutes=9, seconds=50))
    authenticator.authenticate("max-token")
    clock.advance(timedelta(seconds=10))
    authenticator.authenticate("max-token")
    assert len(accounts.asked) == 2


def test_a_refusal_is_not_kept(authenticator: RemoteAuthenticator, accounts: Accounts) -> None:
    """The token may be made a moment later."""
    for _ in range(2):
        with pytest.raises(Unauthenticated) as caught:
            authenticator.authenticate("wrong")
        assert caught.value.reason == "TOKEN_UNKNOWN"
    assert accounts.asked == ["wrong", "wrong"]


def test_while_accounts_is_away_nobody_is_refused(
    authenticator: RemoteAuthenticator, accounts: Accounts
) -> None:
    """Unavailable is not Unauthenticated: the caller is to try again, not to log in again."""
    accounts.trouble = Unavailable("The database is away.")
    with pytest.raises(Unavailable):
        authenticator.authenticate("max-token")


def test_tokens_are_remembered_by_their_hashes(authenticator: RemoteAuthenticator) -> None:
    """A dump of the process's memory of them shows none."""
    authenticator.authenticate("max-token")
    assert "max-token" not in repr(authenticator._kept)


def test_a_wall_clock_that_goes_back_keeps_no_answer_longer(
    accounts: Accounts, clock: ManualClock, authenticator: RemoteAuthenticator
) -> None:
    """Thirty seconds are thirty seconds, whatever the time of day is set to meanwhile."""
    authenticator.authenticate("max-token")
    clock._now -= timedelta(hours=1)
    clock.advance(timedelta(seconds=30))
    authenticator.authenticate("max-token")
    assert len(accounts.asked) == 2


def test_what_is_remembered_is_bounded(
    authenticator: RemoteAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three tokens that are good the two last asked for are kept."""
    monkeypatch.setattr("libs.common.remote_authenticator._MOST_KEPT", 2)
    asked: list[str] = []

    def ask(token: str) -> tuple[Principal, timedelta]:
        asked.append(token)
        return Principal(user=User(2, "max", Role.MEMBER)), KEPT

    monkeypatch.setattr(authenticator, "_ask", ask)
    for token in ("one", "two", "one", "three", "one", "three", "two"):
        authenticator.authenticate(token)
    assert asked == ["one", "two", "three", "two"]
