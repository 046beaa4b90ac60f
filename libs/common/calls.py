"""One gRPC call as the layers around its handler see it, and how they are put around it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from libs.common.errors import InvalidRequest, Unimplemented
from libs.common.identity import ANONYMOUS, Principal

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
# gRPC gives a call without a deadline some hundreds of years.
_NEVER = 100 * 365 * 86400.0


@dataclass(slots=True)
class Call:
    """A call in progress. Layers further in see what those further out have filled in.

    `known` is False for a method that no service here has.
    """

    method: str
    context: grpc.ServicerContext
    streams: bool
    known: bool = True
    request_id: str = ""
    principal: Principal = field(default=ANONYMOUS)

    def metadata(self, key: str) -> list[str]:
        """Return every value that the caller sent under a key."""
        return [
            value if isinstance(value, str) else value.decode("latin-1")
            for name, value in self.context.invocation_metadata()
            if name == key
        ]

    @property
    def peer(self) -> str:
        """The caller's address, as gRPC writes it."""
        return self.context.peer()

    @property
    def seconds_remaining(self) -> float | None:
        """How long the caller still waits; None when it set no deadline."""
        remaining = self.context.time_remaining()
        return None if remaining > _NEVER else remaining

    @property
    def code(self) -> grpc.StatusCode | None:
        """The code that was set for the answer; None when none was."""
        found: grpc.StatusCode | None = self.context.code()  # type: ignore[attr-defined]  # the stubs lack it
        return found


Layer = Callable[[Call], AbstractContextManager[None]]


class Layers(grpc.ServerInterceptor):
    """Enters every layer, the outermost first, about each call of whatever kind."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Handler | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the method's handler with the layers around it."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return _wrapped(_unknown(method), method, self._around, known=False)
        return _wrapped(handler, method, self._around)

    @contextmanager
    def _around(self, call: Call) -> Iterator[None]:
        with ExitStack() as stack:
            for layer in self._layers:
                stack.enter_context(layer(call))
            yield


def _wrapped(handler: Handler, method: str, around: Layer, *, known: bool = True) -> Handler:
    streams = handler.request_streaming or handler.response_streaming
    behaviour = _behaviour(handler)
    parse = handler.request_deserializer
    if parse is not None and not handler.request_streaming:
        parse = _tolerant(parse)

    def respond(request: Any, context: grpc.ServicerContext) -> Any:
        with around(Call(method, context, streams, known)):
            return behaviour(_readable(request), context)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with around(Call(method, context, streams, known)):
            yield from behaviour(_readable(request), context)

    make = _MAKERS[handler.request_streaming, handler.response_streaming]
    behave = stream if handler.response_streaming else respond
    wrapped: Handler = make(behave, parse, handler.response_serializer)
    return wrapped


_MAKERS: Mapping[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _behaviour(handler: Handler) -> Callable[[Any, grpc.ServicerContext], Any]:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    return next(kind for kind in kinds if kind is not None)


class _Unreadable:
    """Stands for a request whose bytes are not the message they should be."""


def _tolerant(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    # A parser that raises makes gRPC answer INTERNAL and log a trace, though the fault is the
    # caller's.
    def parse_or_mark(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return _Unreadable()

    return parse_or_mark


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise InvalidRequest(
            "The request's bytes are not the message that this method takes.",
            reason="MESSAGE_UNREADABLE",
        )
    return request


def _unknown(method: str) -> Handler:
    def refuse(_requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        raise Unimplemented(f"There is no method {method} here.", reason="METHOD_UNKNOWN")

    return grpc.stream_stream_rpc_method_handler(refuse)
