"""Server reflection in which clients also find methods and error details."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

# What a server can describe is what is imported: clients print error details by their descriptors.
_KNOWN = error_details_pb2.DESCRIPTOR

V1ALPHA = reflection.SERVICE_NAME
# The same messages under the name that the protocol got when it was finished.
V1 = "grpc.reflection.v1.ServerReflection"


class Reflection(reflection.ReflectionServicer):
    """Also answers for a method, `pkg.Service.Method`, with its service's file.

    grpcio answers NOT_FOUND there (github.com/grpc/grpc/issues/34743), so `grpcurl describe` of a
    method fails.
    """

    # grpcio's own name, which the stubs lack: a test notices when an update changes it.
    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        answer = super()._file_containing_symbol  # type: ignore[misc]  # as said
        found = answer(request, fully_qualified_name)
        if found.HasField("error_response"):
            return answer(request, fully_qualified_name.rpartition(".")[0])
        return found


def add_reflection(services: Iterable[str], server: grpc.Server) -> None:
    """Serve reflection of these services and itself, under its old and its new name."""
    servicer = Reflection((*services, V1ALPHA), descriptor_pool.Default())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (V1ALPHA, V1):
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
