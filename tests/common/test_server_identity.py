"""Who calls, through a real server."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from libs.common.errors import Unauthenticated
from libs.common.identity import (
    ADMIN,
    PUBLIC,
    USER,
    Principal,
    Role,
    current_principal,
    service,
    service_for_user,
)
from tests.support.logs import Lines
from tests.support.probe import Probe, ProbeServicer, ProbeStub
from tests.support.statuses import Told, told
from tests.support.waiting import wait_until

Call = Callable[..., ProbeStub]
CODE = grpc.StatusCode


class Witness(ProbeServicer):
    """Remembers on whose account it was called."""

    def __init__(self) -> None:
        super().__init__(GetProbe=self._get)
        self.principals: list[Principal] = []

    def _get(self, request: Any, _context: grpc.ServicerContext) -> Any:
        self.principals.append(current_principal())
        return request


def refused(stub: ProbeStub, *metadata: tuple[str, str]) -> Told:
    """Return what a call with this metadata is told."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetProbe(Probe(), metadata=metadata)
    return told(caught.value)


def test_a_handler_knows_the_user_and_their_token(call: Call, lines: Lines) -> None:
    """The token to pass on; the log has the user's id and not the token."""
    witness = Witness()
    call(witness, token="max-token").GetProbe(Probe())
    (principal,) = witness.principals
    assert principal.user is not None
    assert (principal.user.name, principal.user.role) == ("max", Role.MEMBER)
    assert principal.user.token == "max-token"
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["user_id"] == 2
    assert "max-token" not in lines.text


def test_a_service_may_call_on_behalf_of_a_user(call: Call, lines: Lines) -> None:
    """The principal is both, and so is the log line."""
    witness = Witness()
    stub = call(witness, token="reports-token", access={"GetProbe": service_for_user("reports")})
    stub.GetProbe(Probe(), metadata=(("x-on-behalf-of", "Bearer max-token"),))
    (principal,) = witness.principals
    assert principal.service == "reports"
    assert principal.user is not None
    assert (principal.user.name, principal.user.token) == ("max", "max-token")
    wait_until(lambda: lines.all("rpc.finished"))
    line = lines.one("rpc.finished")
    assert (line["caller"], line["user_id"]) == ("reports", 2)
    for token in ("reports-token", "max-token"):
        assert token not in lines.text


def test_a_service_may_call_for_itself(call: Call) -> None:
    """Without a user, where its rule says so."""
    witness = Witness()
    call(witness, token="scanner-token", access={"GetProbe": service("scanner")}).GetProbe(Probe())
    assert witness.principals == [Principal(service="scanner")]


def test_a_public_method_asks_for_no_token(call: Call) -> None:
    """And looks at none, not even a wrong one."""
    witness = Witness()
    stub = call(witness, token=None, access={"GetProbe": PUBLIC})
    stub.GetProbe(Probe())
    stub.GetProbe(Probe(), metadata=(("authorization", "Bearer wrong"),))
    assert witness.principals == [Principal(), Principal()]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "TOKEN_MISSING"),
        ("Bearer wrong", "TOKEN_UNKNOWN"),
        ("Bearer", "TOKEN_MALFORMED"),
        ("Bearer ", "TOKEN_MALFORMED"),
        ("Basic YWRhOmFkYQ==", "TOKEN_MALFORMED"),
        ("ada-token", "TOKEN_MALFORMED"),
        ("Bearer ada-token max-token", "TOKEN_MALFORMED"),
        ("Bearer " + "x" * 4097, "TOKEN_MALFORMED"),
    ],
)
def test_a_failed_authentication_says_why(
    call: Call, lines: Lines, header: str | None, reason: str
) -> None:
    """UNAUTHENTICATED with its reason; what was sent is in neither answer nor log."""
    witness = Witness()
    metadata = [("authorization", header)] if header is not None else []
    answer = refused(call(witness, token=None), *metadata)
    assert (answer.code, answer.reason) == (CODE.UNAUTHENTICATED, reason)
    assert witness.principals == []
    wait_until(lambda: lines.all("rpc.finished"))
    for secret in ("wrong", "YWRhOmFkYQ", "ada-token", "xxxx"):
        assert secret not in lines.text
        assert secret not in answer.message


def test_two_tokens_are_one_too_many(call: Call) -> None:
    """Nobody can say which would count."""
    answer = refused(
        call(token=None),
        ("authorization", "Bearer ada-token"),
        ("authorization", "Bearer max-token"),
    )
    assert (answer.code, answer.reason) == (CODE.UNAUTHENTICATED, "TOKEN_MALFORMED")


@pytest.mark.parametrize(
    ("token", "access", "reason"),
    [
        ("max-token", ADMIN, "ADMIN_ONLY"),
        ("ada-token", service("scanner"), "SERVICES_ONLY"),
        ("reports-token", service("scanner"), "SERVICE_NOT_ALLOWED"),
        ("scanner-token", USER, "SERVICE_NOT_ALLOWED"),
    ],
)
def test_a_wrong_role_is_denied(call: Call, token: str, access: Any, reason: str) -> None:
    """PERMISSION_DENIED, and the handler is not entered."""
    witness = Witness()
    answer = refused(call(witness, token=token, access={"GetProbe": access}))
    assert (answer.code, answer.reason) == (CODE.PERMISSION_DENIED, reason)
    assert witness.principals == []


def test_a_user_cannot_call_on_behalf_of_another(call: Call) -> None:
    """Not even an admin: only services can."""
    answer = refused(call(), ("x-on-behalf-of", "Bearer max-token"))
    assert (answer.code, answer.reason) == (CODE.PERMISSION_DENIED, "ON_BEHALF_OF_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("on_behalf_of", "reason"),
    [
        ("Bearer wrong", "TOKEN_UNKNOWN"),
        ("Bearer scanner-token", "TOKEN_UNKNOWN"),
        ("max-token", "TOKEN_MALFORMED"),
    ],
)
def test_a_bad_users_token_is_the_users_fault(call: Call, on_behalf_of: str, reason: str) -> None:
    """A service's token in its place is nobody's either."""
    stub = call(token="reports-token", access={"GetProbe": service_for_user("reports")})
    answer = refused(stub, ("x-on-behalf-of", on_behalf_of))
    assert (answer.code, answer.reason) == (CODE.UNAUTHENTICATED, reason)


@pytest.mark.parametrize(
    ("access", "metadata"),
    [
        (service("reports"), ()),
        (service_for_user("reports"), (("x-on-behalf-of", "Bearer max-token"),)),
    ],
)
def test_a_bad_service_token_is_told_from_a_bad_users_token(
    call: Call, access: Any, metadata: Any
) -> None:
    """So that the service does not blame its user."""
    answer = refused(call(token="old-token", access={"GetProbe": access}), *metadata)
    assert (answer.code, answer.reason) == (CODE.UNAUTHENTICATED, "SERVICE_TOKEN_UNKNOWN")


def test_a_handler_that_finds_no_user_says_so(call: Call) -> None:
    """What a handler raises about identity is answered like the rest."""

    def get(_request: Any, _context: grpc.ServicerContext) -> Any:
        raise Unauthenticated("This token was revoked.", reason="TOKEN_REVOKED")

    answer = refused(call(ProbeServicer(GetProbe=get)))
    assert (answer.code, answer.reason) == (CODE.UNAUTHENTICATED, "TOKEN_REVOKED")
