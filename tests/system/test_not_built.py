"""The list in protos/README.md of what is not built is what the running services say."""

import re
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from libs.common.channels import on_behalf_of
from tests.support.embedded import SERVICE_TOKENS, System, embedded_system
from tests.system.test_clients import SERVICES

ROOT = Path(__file__).parents[2]


def code(channel: grpc.Channel, method: MethodDescriptor, metadata: list[tuple[str, str]]) -> str:
    """Call a method with an empty message and return the code of the answer."""
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    request = GetMessageClass(method.input_type)()
    call = kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    asked = iter([request]) if method.client_streaming else request
    try:
        answer = call(asked, metadata=metadata, timeout=30)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        refused: grpc.StatusCode = error.code()
        return refused.name
    return "OK"


def unimplemented(system: System) -> set[str]:
    """Call every method as everybody who could be allowed to, and return those not built."""
    callers = [
        [("authorization", f"Bearer {token}"), *on_behalf_of(system.token)]
        for token in SERVICE_TOKENS.values()
    ]
    callers.append([("authorization", f"Bearer {system.token}")])
    found = set()
    for name, services in SERVICES.items():
        with grpc.insecure_channel(system.targets[name]) as channel:
            for service in services:
                for method in service.methods:
                    codes = {code(channel, method, caller) for caller in callers}
                    # Nothing else may come of an empty request: no defect, no hang.
                    assert not codes & {"INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"}, method.name
                    if "UNIMPLEMENTED" in codes:
                        found.add(method.name)
    return found


def test_what_answers_unimplemented_is_listed_and_nothing_else(tmp_path: Path) -> None:
    """Each method that is not built stands in protos/README.md, and no other."""
    section = (ROOT / "protos/README.md").read_text().split("## Not built yet")[1]
    whole = {
        name
        for row in section.splitlines()
        if row.startswith("|")
        for part in row.split("|")[2].split(";")
        if " in " not in part and " with " not in part and "as_of" not in part
        for name in re.findall(r"`([A-Z]\w+)`", part)
    }
    with embedded_system(tmp_path, {}) as system:
        assert unimplemented(system) == whole
