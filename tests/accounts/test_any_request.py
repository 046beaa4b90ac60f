"""Whatever a caller sends, the answer is a status that accounts meant to give."""

from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import accounts_pb2, identity_pb2, inventory_pb2, schedule_pb2
from tests.support.accounts import Accounts, Caller

METHODS = [
    method
    for file in (identity_pb2, accounts_pb2, inventory_pb2, schedule_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "max",
            "arn:aws:iam::123456789012:role/cloudigrade",
            "123456789012",
            "eu-west-1",
            "i-00000000000000001",
            "ami-00000000000000001",
            "9f4d3ca6-35bb-4b8e-8d32-7b5ac1fa31a5",
            "a\0b",
            "x" * 5000,
            "WyIiLDFd",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
INTEGERS = st.sampled_from([0, 1, 2, 3, 50, 1001, -1, 2**31 - 1, -(2**31)])
LONGS = st.one_of(INTEGERS, st.sampled_from([2**63 - 1, -(2**63), 253_402_300_800]))


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Give values for one element of a field."""
    if field.message_type is not None:
        return messages(field.message_type, depth - 1)
    kinds: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.CPPTYPE_STRING: (
            st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else TEXTS
        ),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_INT64: LONGS,
    }
    return kinds.get(field.cpp_type, INTEGERS)


def is_map(field: FieldDescriptor) -> bool:
    """Say whether a field is a map, which is not built from a list."""
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def messages(kind: Descriptor, depth: int = 3) -> st.SearchStrategy[Message]:
    """Give messages of a type with any of their fields set to anything."""
    choices = {
        field.name: st.lists(values(field, depth), max_size=2)
        if field.is_repeated
        else values(field, depth)
        for field in kind.fields
        if field.message_type is None or (depth > 0 and not is_map(field))
    }
    build: Any = message_factory.GetMessageClass(kind)
    return st.fixed_dictionaries({}, optional=choices).map(lambda given: build(**given))


def code_of(caller: Caller, method: MethodDescriptor, request: Message) -> str:
    """Make a call and name the code of its answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    reply: Any = message_factory.GetMessageClass(method.output_type)
    call = caller.channel.unary_unary(path, type(request).SerializeToString, reply.FromString)
    try:
        call(request, timeout=10)
    except grpc.RpcError as error:
        refused: Any = error
        return str(refused.code().name)
    return "OK"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_no_request_breaks_a_method(accounts: Accounts, method: MethodDescriptor) -> None:
    """Texts with NULs, huge numbers, ids of everything else: never INTERNAL or UNKNOWN."""
    accounts.verified(accounts.admin)
    callers = [accounts.admin, accounts.service("scanner", accounts.admin)]

    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(request=messages(method.input_type))
    def send(request: Message) -> None:
        for caller in callers:
            assert code_of(caller, method, request) not in {
                "INTERNAL",
                "UNKNOWN",
                "DEADLINE_EXCEEDED",
                "UNAVAILABLE",
            }

    send()
