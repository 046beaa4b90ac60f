"""Who may call what: every RPC that accounts has, walked by its descriptor."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    events_pb2,
    identity_pb2,
    inventory_pb2,
    runs_pb2,
    schedule_pb2,
)
from services.accounts import account_servicer, identity_servicer, inventory_servicer
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller
from tests.support.statuses import told

FILES = (accounts_pb2, events_pb2, identity_pb2, inventory_pb2, runs_pb2, schedule_pb2)
METHODS = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
ADMINS = {"CreateUser", "ListUsers", "UpdateUser", "DeleteUser", "ListIdentityAuditEntries"}
USERS = (
    {
        *identity_servicer.ACCESS,
        *account_servicer.ACCESS,
        *inventory_servicer.ACCESS,
    }
    - {"Authenticate"}
    - ADMINS
)
# By the comments of the protos.
SERVICES = {
    "Authenticate": {"scanner", "inspector", "reports"},
    "RecordEvents": {"scanner"},
    "RecordListing": {"scanner"},
    "Quarantine": {"scanner"},
    "StreamRuns": {"reports"},
    "AcquireDueLeases": {"scanner"},
    "AcquireLease": {"scanner"},
    "RenewLease": {"scanner"},
    "CompleteScan": {"scanner"},
    "GetScanTarget": {"scanner", "inspector"},
    "RecordVerification": {"scanner"},
}


def answer(caller: Caller, method: MethodDescriptor) -> tuple[str, str]:
    """Call a method with an empty request, and give the code and the reason of the answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request: Any = message_factory.GetMessageClass(method.input_type)()
    reply: Any = message_factory.GetMessageClass(method.output_type)
    serializers = (type(request).SerializeToString, reply.FromString)
    channel = caller.channel
    try:
        match method.client_streaming, method.server_streaming:
            case False, False:
                channel.unary_unary(path, *serializers)(request, timeout=10)
            case False, True:
                list(channel.unary_stream(path, *serializers)(request, timeout=10))
            case True, False:
                channel.stream_unary(path, *serializers)(iter([request]), timeout=10)
            case _:
                list(channel.stream_stream(path, *serializers)(iter([request]), timeout=10))
    except grpc.RpcError as error:
        said = told(error)
        return said.code.name, said.reason
    return "OK", ""


def refused(caller: Caller, methods: Iterator[MethodDescriptor], *answers: str) -> set[str]:
    """Name the methods whose answer to this caller is none of the given codes."""
    return {method.name for method in methods if answer(caller, method)[0] not in answers}


def test_without_a_good_token_nothing_answers(accounts: Accounts) -> None:
    """Every RPC is UNAUTHENTICATED without a token and with one that is nobody's."""
    assert refused(accounts.caller(None), iter(METHODS), "UNAUTHENTICATED") == set()
    # Each with another, since one that fails too often is no longer looked at.
    for method in METHODS:
        nobody = accounts.caller(f"cgt_nobodys-{method.name}")
        assert answer(nobody, method)[0] == "UNAUTHENTICATED", method.name


def test_members_reach_what_is_for_users(accounts: Accounts) -> None:
    """A member is PERMISSION_DENIED for all that is for admins and services, and for no more."""
    member = accounts.member()
    for method in METHODS:
        code, reason = answer(member, method)
        denied = (code, reason) == (
            "PERMISSION_DENIED",
            "ADMIN_ONLY" if method.name in ADMINS else "SERVICES_ONLY",
        )
        assert denied == (method.name not in USERS), (method.name, code, reason)


def test_admins_reach_what_is_for_users_and_admins(accounts: Accounts) -> None:
    """An admin is PERMISSION_DENIED for what is for services, and for no more."""
    for method in METHODS:
        code, _ = answer(accounts.admin, method)
        assert (code == "PERMISSION_DENIED") == (method.name in SERVICES), (method.name, code)


@pytest.mark.parametrize("name", sorted(SERVICE_TOKENS))
def test_services_reach_what_is_theirs(accounts: Accounts, name: str) -> None:
    """A service's token is good for its own RPCs, on behalf of a user too, and for no other."""
    for caller in (accounts.service(name), accounts.service(name, accounts.member())):
        for method in METHODS:
            code, _ = answer(caller, method)
            theirs = name in SERVICES.get(method.name, set())
            assert (code == "PERMISSION_DENIED") == (not theirs), (method.name, code)


def test_an_empty_request_breaks_nothing(accounts: Accounts) -> None:
    """No RPC answers INTERNAL or UNKNOWN to an empty request, whoever sends it."""
    callers = [accounts.admin, accounts.member()]
    callers += [accounts.service(name, accounts.admin) for name in SERVICE_TOKENS]
    for caller in callers:
        for method in METHODS:
            code, _ = answer(caller, method)
            assert code not in {"INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"}, method.full_name
