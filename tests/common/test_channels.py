"""What a channel adds to its calls."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog

from cloudigrade.accounts.v1 import events_pb2, identity_pb2, identity_pb2_grpc
from libs.common.channels import may_repeat, on_behalf_of, open_channel
from libs.common.deadlines import deadline, time_left
from libs.common.errors import (
    CloudigradeError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
    Violation,
)
from libs.common.identity import USER, ServiceTokens, service_for_user
from libs.common.server import Registration, build_server
from libs.common.statuses import from_rpc_error
from tests.support.logs import Lines
from tests.support.probe import (
    KnownUsers,
    Probe,
    ProbeServicer,
    ProbeStub,
    probe_config,
    probe_server,
)
from tests.support.statuses import told
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("lines")

Call = Callable[..., ProbeStub]


class Flaky:
    """An IdentityService of which the first calls fail."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        answers = {
            "GetCaller": identity_pb2.GetCallerResponse,
            "CreateUser": identity_pb2.CreateUserResponse,
            "CreateToken": identity_pb2.CreateTokenResponse,
        }

        def method(_request: Any, _context: grpc.ServicerContext) -> Any:
            self.calls += 1
            if self.left > 0:
                self.left -= 1
                raise Unavailable("The database is away.")
            return answers[name]()

        return method


@contextmanager
def identity_service(servicer: Any) -> Iterator[identity_pb2_grpc.IdentityServiceStub]:
    """Serve an IdentityService and call it as max."""
    descriptor = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]
    registration = Registration(
        descriptor,
        identity_pb2_grpc.add_IdentityServiceServicer_to_server,
        servicer,
        {method.name: USER for method in descriptor.methods},
    )
    with (
        build_server(
            probe_config(), [registration], authenticator=ServiceTokens({}, KnownUsers())
        ) as server,
        open_channel(f"127.0.0.1:{server.port}", token="max-token") as channel,
    ):
        yield identity_pb2_grpc.IdentityServiceStub(channel)


def test_reads_are_tried_again_while_the_server_is_unavailable() -> None:
    """Two failures, then the answer, without a word of the caller's."""
    flaky = Flaky(2)
    with identity_service(flaky) as stub:
        stub.GetCaller(identity_pb2.GetCallerRequest())
    assert flaky.calls == 3


def test_creations_with_a_request_id_are_tried_again() -> None:
    """Since a repeat makes nothing twice."""
    flaky = Flaky(1)
    with identity_service(flaky) as stub:
        stub.CreateUser(identity_pb2.CreateUserRequest(name="x", request_id="1"))
    assert flaky.calls == 2


def test_what_must_not_happen_twice_is_tried_once() -> None:
    """A lost answer may have been a success."""
    flaky = Flaky(1)
    with identity_service(flaky) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateToken(identity_pb2.CreateTokenRequest())
        assert told(caught.value).code is grpc.StatusCode.UNAVAILABLE
    assert flaky.calls == 1


def test_trying_again_ends() -> None:
    """Four attempts in all; the caller gets the last one's status, with its RetryInfo."""
    flaky = Flaky(100)
    with identity_service(flaky) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetCaller(identity_pb2.GetCallerRequest())
        answer = told(caught.value)
    assert (answer.code, answer.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, 1)
    assert flaky.calls == 4


def test_streams_are_never_repeated() -> None:
    """Nor what changes something and carries no request_id."""
    identity = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"].methods_by_name
    events = events_pb2.DESCRIPTOR.services_by_name["EventService"].methods_by_name
    assert not may_repeat(events["RecordEvents"])
    assert not may_repeat(events["RecordListing"])
    assert not may_repeat(identity["RevokeToken"])
    assert may_repeat(identity["ListUsers"])


def test_the_trace_id_passes_from_call_to_call(lines: Lines) -> None:
    """A service that calls another on the way has its caller's id in both logs."""
    with (
        probe_server() as inner,
        open_channel(f"127.0.0.1:{inner.port}", token="ada-token") as inwards,
    ):

        def get(request: Any, _context: grpc.ServicerContext) -> Any:
            return ProbeStub(inwards).CreateProbe(request)

        with (
            probe_server(ProbeServicer(GetProbe=get)) as outer,
            open_channel(f"127.0.0.1:{outer.port}", token="max-token") as channel,
        ):
            stub = ProbeStub(channel)
            stub.GetProbe(Probe(), metadata=(("x-request-id", "from-far-away"),))
            wait_until(lambda: len(lines.all("rpc.finished")) == 2)
    assert [line["request_id"] for line in lines.all("rpc.finished")] == ["from-far-away"] * 2


def test_a_call_outside_any_gets_a_new_trace_id(call: Call, lines: Lines) -> None:
    """And each call its own, unless one is bound."""
    stub = call()
    stub.GetProbe(Probe())
    stub.GetProbe(Probe())
    with structlog.contextvars.bound_contextvars(request_id="scan-7"):
        list(stub.WatchProbe(Probe()))
    wait_until(lambda: len(lines.all("rpc.finished")) == 3)
    first, second, third = (line["request_id"] for line in lines.all("rpc.finished"))
    assert first != second
    assert third == "scan-7"


def test_a_token_given_with_the_call_wins(call: Call, lines: Lines) -> None:
    """A channel's token is only its default."""
    call().GetProbe(Probe(), metadata=(("authorization", "Bearer max-token"),))
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["user_id"] == 2


def test_on_behalf_of_names_the_user(call: Call, lines: Lines) -> None:
    """As metadata of one call."""
    stub = call(token="reports-token", access={"GetProbe": service_for_user("reports")})
    stub.GetProbe(Probe(), metadata=on_behalf_of("max-token"))
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["user_id"] == 2


def test_a_call_inherits_the_deadline_of_the_one_it_serves(call: Call) -> None:
    """Of two limits the shorter holds; unary calls without any end after a minute."""
    left: list[float | None] = []

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        left.append(time_left())
        return request

    stub = call(ProbeServicer(GetProbe=get))
    stub.GetProbe(Probe())
    with deadline(20):
        stub.GetProbe(Probe())
        stub.GetProbe(Probe(), timeout=5)
        stub.GetProbe(Probe(), timeout=500)
    seconds = [each for each in left if each is not None]
    # Less what the call took to arrive; gRPC rounds long timeouts up on the wire.
    limits = [60, 20, 5, 20]
    assert [limit - 4 < each < limit + 1 for each, limit in zip(seconds, limits, strict=True)] == (
        [True] * 4
    )


# What a failure behind a service means for its caller.


def failure(call: Call, error: Exception) -> BaseException:
    """Return what a client gets when a service raises an error."""

    def get(_request: Any, _context: grpc.ServicerContext) -> Any:
        raise error

    with pytest.raises(grpc.RpcError) as caught:
        call(ProbeServicer(GetProbe=get)).GetProbe(Probe())
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        NotFound("There is no account 7.", reason="NO_ACCOUNT", metadata={"id": "7"}),
        Unauthenticated("The token has expired.", reason="TOKEN_EXPIRED"),
        Unavailable("The database is away.", retry_after=timedelta(seconds=9)),
    ],
)
def test_an_error_of_the_family_comes_back_whole(call: Call, error: CloudigradeError) -> None:
    """Kind, message, reason, metadata and delay, as it was raised on the other side."""
    back = from_rpc_error(failure(call, error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)


def test_violations_come_back_too(call: Call) -> None:
    """Field by field."""
    violations = (Violation("a", "is bad"), Violation("b[1]", "is worse"))
    back = from_rpc_error(failure(call, InvalidRequest.many(violations)))
    assert isinstance(back, InvalidRequest)
    assert back.violations == violations


def test_a_defect_behind_is_not_passed_on(call: Call) -> None:
    """Nor a fault of the calling service's own: its token, a method the other lacks."""
    assert from_rpc_error(failure(call, RuntimeError("x"))) is None
    for reason in ("SERVICE_TOKEN_UNKNOWN", "SERVICE_NOT_ALLOWED", "SERVICES_ONLY"):
        assert from_rpc_error(failure(call, Unauthenticated("x", reason=reason))) is None
    with pytest.raises(grpc.RpcError) as caught:
        call().UnbuiltProbe(Probe())
    assert from_rpc_error(caught.value) is None


def test_a_service_that_is_not_there_is_unavailable_and_unnamed() -> None:
    """No address reaches the caller."""
    with open_channel("127.0.0.1:1", token="x") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            ProbeStub(channel).GetProbe(Probe())
        back = from_rpc_error(caught.value)
    assert isinstance(back, Unavailable)
    assert back.message == "A service behind this one is not there; try again later."


def test_a_handlers_failed_call_is_translated_by_itself(lines: Lines) -> None:
    """A handler that lets an RpcError pass answers what lies behind it, internals excepted."""
    with (
        open_channel("127.0.0.1:1", token="x") as nowhere,
        probe_server() as inner,
        open_channel(f"127.0.0.1:{inner.port}", token="old-token") as misfit,
    ):

        def get(request: Any, _context: grpc.ServicerContext) -> Any:
            channel = nowhere if request.text == "nowhere" else misfit
            return ProbeStub(channel).GetProbe(Probe(), metadata=on_behalf_of("max-token"))

        with (
            probe_server(ProbeServicer(GetProbe=get)) as outer,
            open_channel(f"127.0.0.1:{outer.port}", token="max-token") as channel,
        ):
            stub = ProbeStub(channel)
            answers = []
            for text in ("nowhere", "misfit"):
                with pytest.raises(grpc.RpcError) as caught:
                    stub.GetProbe(Probe(text=text))
                answers.append(told(caught.value))
    assert [(each.code, each.retry_seconds) for each in answers] == [
        (grpc.StatusCode.UNAVAILABLE, 1),
        (grpc.StatusCode.INTERNAL, None),
    ]
    assert answers[1].message == "internal error"
    assert "SERVICE_TOKEN_UNKNOWN" not in answers[1].reason
    assert len(lines.all("rpc.failed")) == 1


def test_many_threads_share_a_channel(call: Call) -> None:
    """Each with the answer to its own call."""
    stub = call()
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = stub.GetProbe(Probe(text=str(number))).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: str(number) for number in range(20)}
