"""Failed authentication is limited, through a real server with a clock that stands still."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.common.attempts import AttemptLimits, Attempts, address_of
from libs.common.channels import on_behalf_of, open_channel
from libs.common.clock import ManualClock
from libs.common.errors import ResourceExhausted, Unauthenticated
from libs.common.identity import Principal, ServiceTokens, service, service_for_user
from tests.common.test_clock_and_instants import NOON
from tests.support.probe import (
    SERVICE_TOKENS,
    KnownUsers,
    Probe,
    ProbeStub,
    probe_config,
    probe_server,
)
from tests.support.statuses import Told, told
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("lines")

Ask = Callable[..., "Told | None"]
UNKNOWN = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN")
TOO_MANY = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_ATTEMPTS")


class Users(KnownUsers):
    """Knows ada and max, and remembers which tokens were looked up."""

    def __init__(self) -> None:
        self.looked_up: list[str] = []
        self.holding = threading.Event()
        self.go_on = threading.Event()

    def authenticate(self, token: str) -> Principal:
        """Look a token up; "slow" is not known for as long as the test likes."""
        self.looked_up.append(token)
        if token == "slow":
            self.holding.set()
            wait_for(self.go_on)
        return super().authenticate(token)


@pytest.fixture
def users() -> Users:
    """Make the users."""
    return Users()


@pytest.fixture
def clock() -> ManualClock:
    """Stop the clock at noon."""
    return ManualClock(NOON)


@pytest.fixture
def ask(users: Users, clock: ManualClock) -> Iterator[Ask]:
    """Return what calls with a token; three failures a minute for each token, six an address."""
    config = probe_config(failures_per_token=3, failures_per_address=6)
    rules = {"CreateProbe": service_for_user("reports"), "UploadProbes": service("scanner")}
    with ExitStack() as stack:
        server = stack.enter_context(
            probe_server(
                config=config,
                access=rules,
                clock=clock,
                authenticator=ServiceTokens(SERVICE_TOKENS, users),
            )
        )
        stub = ProbeStub(stack.enter_context(open_channel(f"127.0.0.1:{server.port}")))

        def ask(token: str, *, method: str = "GetProbe", behalf: str = "") -> Told | None:
            metadata: Any = [("authorization", f"Bearer {token}")]
            if behalf:
                metadata += on_behalf_of(behalf)
            request: Any = iter([Probe()]) if method == "UploadProbes" else Probe()
            try:
                getattr(stub, method)(request, metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                return told(error)
            return None

        yield ask


def said(answer: "Told | None") -> tuple[grpc.StatusCode, str]:
    """Return the code and the reason of a refusal."""
    assert answer is not None
    return answer.code, answer.reason


def test_a_token_that_failed_too_often_is_not_looked_up(
    ask: Ask, users: Users, clock: ManualClock
) -> None:
    """Three times a minute; the fourth is told to wait the 20 s after which there is another."""
    assert [said(ask("wrong")) for _ in range(3)] == [UNKNOWN] * 3
    refused = ask("wrong")
    assert refused is not None
    assert said(refused) == TOO_MANY
    assert refused.retry_seconds == 20
    assert "wrong" not in refused.message.replace("wrong tokens", "")
    assert users.looked_up == ["wrong"] * 3
    clock.advance(timedelta(seconds=19))
    assert said(ask("wrong")) == TOO_MANY
    clock.advance(timedelta(seconds=1))
    assert said(ask("wrong")) == UNKNOWN
    assert said(ask("wrong")) == TOO_MANY
    clock.advance(timedelta(hours=1))
    assert [said(ask("wrong")) for _ in range(4)] == [*[UNKNOWN] * 3, TOO_MANY]


def test_one_broken_script_troubles_nobody_behind_its_address(ask: Ask) -> None:
    """After a thousand calls with one old token, good tokens work and others' errors are told."""
    for _ in range(1000):
        ask("old")
    assert ask("max-token") is None
    assert said(ask("mistyped")) == UNKNOWN


def test_an_address_of_many_wrong_tokens_is_slowed(ask: Ask, clock: ManualClock) -> None:
    """Of ten different tokens six are told that they are wrong; after 10 s one more is."""
    answers = [ask(f"guess-{number}") for number in range(10)]
    assert [said(each) for each in answers] == [UNKNOWN] * 6 + [TOO_MANY] * 4
    assert answers[-1] is not None
    assert answers[-1].retry_seconds == 10
    clock.advance(timedelta(seconds=10))
    assert [said(ask(f"more-{number}")) for number in range(2)] == [UNKNOWN, TOO_MANY]


def test_a_good_token_works_from_a_slowed_address(ask: Ask) -> None:
    """Also one that was never used before, in the middle of somebody's guessing."""
    for number in range(10):
        ask(f"guess-{number}")
    assert ask("max-token") is None
    assert said(ask("guess")) == TOO_MANY
    assert ask("ada-token") is None
    assert ask("max-token") is None


def test_a_slowed_address_has_one_lookup_at_a_time(ask: Ask, users: Users) -> None:
    """While one is under way another unknown token waits; one that was good before does not."""
    assert ask("max-token") is None
    for number in range(6):
        ask(f"guess-{number}")
    answers: list[Told | None] = []
    slow = threading.Thread(target=lambda: answers.append(ask("slow")))
    slow.start()
    wait_for(users.holding)
    refused = ask("ada-token")
    assert refused is not None
    assert (said(refused), refused.retry_seconds) == (TOO_MANY, 1)
    assert ask("max-token") is None
    users.go_on.set()
    slow.join(20)
    assert said(answers[0]) == TOO_MANY
    assert ask("ada-token") is None


def test_a_users_wrong_token_counts_against_no_service(ask: Ask) -> None:
    """It is refused when it failed too often; the service's address stays as good as it was."""

    def report(token: str) -> Told | None:
        return ask("reports-token", method="CreateProbe", behalf=token)

    assert [said(report("old")) for _ in range(4)] == [*[UNKNOWN] * 3, TOO_MANY]
    assert [said(report(f"guess-{number}")) for number in range(20)] == [UNKNOWN] * 20
    assert report("max-token") is None
    assert said(ask("from-the-same-address")) == UNKNOWN


def test_a_services_own_refusal_is_no_fault_of_its_user(ask: Ask) -> None:
    """With a reason of its own, which the service does not pass on."""
    for _ in range(3):
        ask("old-service-token", method="CreateProbe", behalf="max-token")
    for method, behalf in (("CreateProbe", "max-token"), ("UploadProbes", "")):
        refused = ask("old-service-token", method=method, behalf=behalf)
        assert said(refused) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVICE_TOKEN_REFUSED")


def test_health_is_never_limited(users: Users, clock: ManualClock) -> None:
    """With a wrong token that failed a hundred times, and after it."""
    with (
        probe_server(
            config=probe_config(failures_per_token=1, failures_per_address=1), clock=clock
        ) as server,
        open_channel(f"127.0.0.1:{server.port}", token="wrong") as channel,
    ):
        for _ in range(100):
            with pytest.raises(grpc.RpcError):
                ProbeStub(channel).GetProbe(Probe())
        health: Any = health_pb2_grpc.HealthStub(channel)  # the types of its stubs lack its methods
        answer = health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == 1  # SERVING


def fail(attempts: Attempts, credential: str, peer: str) -> str:
    """Fail to authenticate, and name what came of it."""
    wrong = Unauthenticated("wrong")
    try:
        with attempts.attempt(credential, peer):
            raise wrong
    except (Unauthenticated, ResourceExhausted) as error:
        return type(error).__name__


def test_what_is_remembered_is_bounded(clock: ManualClock) -> None:
    """Of two thousand tokens and addresses a hundred each, the last; good ones too."""
    attempts = Attempts(AttemptLimits(1, 1), clock, most_remembered=100)
    for number in range(2_000):
        peer = f"ipv4:10.0.{number >> 8}.{number & 255}:1"
        assert fail(attempts, f"t{number}", peer) == "Unauthenticated"
        with attempts.attempt(f"good{number}", "ipv4:10.9.9.9:1"):
            pass
    kept = (attempts._credentials._kept, attempts._addresses._kept, attempts._good)
    assert [len(each) for each in kept] == [100, 100, 100]
    assert fail(attempts, "t1999", "ipv4:10.9.9.8:1") == "ResourceExhausted"
    assert fail(attempts, "t0", "ipv4:10.9.9.8:1") == "Unauthenticated"
    assert not any("t1999" in repr(each) for each in kept)


def test_a_token_that_was_good_and_is_no_more_has_no_privilege(clock: ManualClock) -> None:
    """Revoked, it counts as any other wrong one, and its address is slowed by it."""
    attempts = Attempts(AttemptLimits(5, 2), clock)
    with attempts.attempt("once-good", "ipv4:10.0.0.1:1"):
        pass
    outcomes = [fail(attempts, "once-good", "ipv4:10.0.0.1:1") for _ in range(3)]
    assert outcomes == ["Unauthenticated", "Unauthenticated", "ResourceExhausted"]


def test_a_failure_of_another_kind_is_no_failed_attempt(clock: ManualClock) -> None:
    """While the database is away nobody's tokens are wrong."""
    attempts = Attempts(AttemptLimits(1, 1), clock)
    for _ in range(5):
        with pytest.raises(ConnectionError), attempts.attempt("max", "ipv4:10.0.0.1:1"):
            raise ConnectionError
    assert fail(attempts, "max", "ipv4:10.0.0.1:1") == "Unauthenticated"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:41523", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:443", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:ffff::1]:443", "2001:db8:1:2::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:443", "fe80::/64"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:443", "192.0.2.7"),
        ("unix:/run/cloudigrade.sock", "unix:/run/cloudigrade.sock"),
        ("", ""),
    ],
)
def test_an_address_is_what_one_caller_cannot_change(peer: str, address: str) -> None:
    """Not the port; of IPv6 the network of 64 bits that a site gives to one link."""
    assert address_of(peer) == address
