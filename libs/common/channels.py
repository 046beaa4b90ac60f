"""Channels to cloudigrade's services; token, trace id, deadline and retries go by themselves."""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor

from libs.common.deadlines import time_left
from libs.common.interceptors import new_request_id
from libs.common.tls import ClientTls

# A unary call that names no timeout, inside no call that has one, ends after this many seconds.
UNARY_TIMEOUT = 60.0

_KEEPALIVE = (
    # Notices a peer that vanished without a word. The servers allow a ping every 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # After a peer's restart the next try comes within 2 s, not after up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
_RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_SERVICES = ("accounts", "scanner", "inspector", "reports")
_READING = ("Get", "List", "Authenticate")

Metadata = tuple[tuple[str, str], ...]


def on_behalf_of(user_token: str) -> Metadata:
    """Return the metadata by which a service says for which user it calls."""
    return (("x-on-behalf-of", f"Bearer {user_token}"),)


def open_channel(
    target: str, *, token: str | None = None, tls: ClientTls | None = None
) -> grpc.Channel:
    """Return a channel whose calls carry a token, and the present call's trace id and deadline.

    Unary calls that may be repeated (they read, or carry a request_id) are tried up to four times
    when the server is UNAVAILABLE; streams never are. Raises ConfigError for TLS settings that
    cannot be used.
    """
    config = {"methodConfig": [{"name": _repeatable(), "retryPolicy": _RETRIES}]}
    options = [*_KEEPALIVE, ("grpc.service_config", json.dumps(config))]
    credentials = tls.credentials() if tls else None
    if credentials is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, credentials, options)
    return grpc.intercept_channel(channel, _Companion(token))


def _repeatable() -> list[dict[str, str]]:
    return [
        {"service": method.containing_service.full_name, "method": method.name}
        for method in _methods()
        if may_repeat(method)
    ]


def may_repeat(method: MethodDescriptor) -> bool:
    """Return whether a method called twice with one request does what it does called once."""
    if method.client_streaming or method.server_streaming:
        return False
    return method.name.startswith(_READING) or "request_id" in method.input_type.fields_by_name


def _methods() -> Iterator[MethodDescriptor]:
    for name in _SERVICES:
        package = importlib.import_module(f"cloudigrade.{name}.v1")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.endswith("_pb2"):
                file = importlib.import_module(module.name).DESCRIPTOR
                for service in file.services_by_name.values():
                    yield from service.methods


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    """gRPC wants an object of this class and gives none that can be made."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


Continuation = Callable[[grpc.ClientCallDetails, Any], Any]


class _Companion(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds to each call what goes with it."""

    def __init__(self, token: str | None) -> None:
        self._authorization = () if token is None else (("authorization", f"Bearer {token}"),)

    def intercept_unary_unary(
        self, continuation: Continuation, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """Go along with a unary call."""
        return continuation(self._completed(client_call_details, UNARY_TIMEOUT), request)

    def intercept_unary_stream(
        self, continuation: Continuation, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """Go along with a stream of answers."""
        return continuation(self._completed(client_call_details, None), request)

    def intercept_stream_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        """Go along with a stream of requests."""
        return continuation(self._completed(client_call_details, None), request_iterator)

    def intercept_stream_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        """Go along with a stream in both directions."""
        return continuation(self._completed(client_call_details, None), request_iterator)

    def _completed(self, details: grpc.ClientCallDetails, default: float | None) -> _Details:
        metadata = tuple(details.metadata or ())
        given = {key for key, _ in metadata}
        bound = structlog.contextvars.get_contextvars().get("request_id")
        own = (*self._authorization, ("x-request-id", bound or new_request_id()))
        return _Details(
            method=details.method,
            timeout=_shortest(details.timeout, time_left(), default),
            metadata=metadata + tuple(pair for pair in own if pair[0] not in given),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=details.compression,
        )


def _shortest(asked: float | None, left: float | None, default: float | None) -> float | None:
    limits = [each for each in (asked, left) if each is not None]
    return min(limits) if limits else default
