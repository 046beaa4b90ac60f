"""What a failed call told its caller."""

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status


@dataclass(frozen=True)
class Told:
    """A status and its details."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    retry_seconds: float | None = None


def told(error: Any) -> Told:
    """Return what is in the status of an RpcError."""
    status = rpc_status.from_call(error)
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    found = set()
    for detail in status.details if status else ():
        for message in (info, bad, retry):
            if detail.Unpack(message):
                found.add(message.DESCRIPTOR.name)
    return Told(
        code=error.code(),
        message=error.details(),
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=tuple(each.field for each in bad.field_violations),
        retry_seconds=retry.retry_delay.ToTimedelta().total_seconds()
        if "RetryInfo" in found
        else None,
    )
