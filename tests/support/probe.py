"""A small gRPC service with a method of each kind, for tests of what surrounds any service."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor

from libs.common.attempts import Attempts
from libs.common.clock import Clock
from libs.common.config import ListenAddress
from libs.common.errors import Unauthenticated
from libs.common.health import Check
from libs.common.identity import (
    USER,
    Access,
    Authenticator,
    Principal,
    Role,
    ServiceTokens,
    User,
)
from libs.common.server import Registration, Server, build_server
from libs.common.server_config import ServerConfig

PACKAGE = "cloudigrade.probe.v1"
SERVICE = f"{PACKAGE}.ProbeService"

_KINDS = {
    "GetProbe": (False, False),
    "CreateProbe": (False, False),
    "WatchProbe": (False, True),
    "UploadProbes": (True, False),
    "TalkProbes": (True, True),
    "UnbuiltProbe": (False, False),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="cloudigrade/probe/v1/probe.proto", package=PACKAGE, syntax="proto3"
    )
    message = file.message_type.add(name="Probe")
    fields = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind) in enumerate(
        {
            "text": fields.TYPE_STRING,
            "page_size": fields.TYPE_INT32,
            "page_token": fields.TYPE_STRING,
        }.items(),
        start=1,
    ):
        message.field.add(name=name, number=number, type=kind, label=fields.LABEL_OPTIONAL)
    service = file.service.add(name="ProbeService")
    for name, (client, server) in _KINDS.items():
        service.method.add(
            name=name,
            input_type=f".{PACKAGE}.Probe",
            output_type=f".{PACKAGE}.Probe",
            client_streaming=client,
            server_streaming=server,
        )
    return file


_POOL = descriptor_pool.Default()
_POOL.Add(_file())
DESCRIPTOR: ServiceDescriptor = _POOL.FindServiceByName(SERVICE)
Probe: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.Probe"))

Unary = Callable[[Any, grpc.ServicerContext], Any]


class ProbeServicer:
    """Answers as a generated servicer does; a test replaces what it is about."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        for name, method in methods.items():
            setattr(self, name, method)

    def GetProbe(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802  # its RPC
        """Return the request."""
        return request

    CreateProbe = GetProbe

    def WatchProbe(  # noqa: N802  # its RPC
        self, request: Any, _context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Give the request three times."""
        for _ in range(3):
            yield request

    def UploadProbes(  # noqa: N802  # its RPC
        self, requests: Iterator[Any], _context: grpc.ServicerContext
    ) -> Any:
        """Return the requests' texts joined."""
        return Probe(text="".join(request.text for request in requests))

    def TalkProbes(  # noqa: N802  # its RPC
        self, requests: Iterator[Any], _context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Give each request back."""
        yield from requests

    def UnbuiltProbe(self, _request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # its RPC
        """Do what a generated servicer does in a method that nobody wrote."""
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")


_MAKERS: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def add_to_server(servicer: Any, server: grpc.Server) -> None:
    """Register a servicer, as generated code does."""
    handlers = {
        name: _MAKERS[kind](
            getattr(servicer, name),
            request_deserializer=Probe.FromString,
            response_serializer=Probe.SerializeToString,
        )
        for name, kind in _KINDS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class ProbeStub:
    """Calls the service over a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        makers = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        for name, kind in _KINDS.items():
            make: Callable[..., Any] = makers[kind]
            setattr(
                self,
                name,
                make(
                    f"/{SERVICE}/{name}",
                    request_serializer=Probe.SerializeToString,
                    response_deserializer=Probe.FromString,
                ),
            )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class KnownUsers:
    """Authenticates ada the admin and max the member by tokens made for tests."""

    def authenticate(self, token: str) -> Principal:
        """Return the user whose token it is."""
        users = {
            "ada-token": User(1, "ada", Role.ADMIN),
            "max-token": User(2, "max", Role.MEMBER),
        }
        if token not in users:
            raise Unauthenticated("The token is not known.", reason="TOKEN_UNKNOWN")
        return Principal(user=users[token])


SERVICE_TOKENS = {"scanner": "scanner-token", "reports": "reports-token"}


def probe_config(**settings: Any) -> ServerConfig:
    """Return settings for a server on a free port that stops at once."""
    return ServerConfig(listen=ListenAddress("127.0.0.1", 0), **settings)


def probe_server(
    servicer: Any = None,
    *,
    config: ServerConfig | None = None,
    access: dict[str, Access] | None = None,
    checks: dict[str, Check] | None = None,
    clock: Clock | None = None,
    attempts: Attempts | None = None,
    authenticator: Authenticator | None = None,
) -> Server:
    """Return a server of the probe service, for any user unless told otherwise."""
    rules = dict.fromkeys(_KINDS, USER) | (access or {})
    return build_server(
        config or probe_config(),
        [Registration(DESCRIPTOR, add_to_server, servicer or ProbeServicer(), rules)],
        authenticator=authenticator or ServiceTokens(SERVICE_TOKENS, KnownUsers()),
        checks=checks,
        clock=clock,
        attempts=attempts,
    )
