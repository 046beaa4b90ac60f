"""The one table between the error family and gRPC statuses, in both directions."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from libs.common import errors
from libs.common.identity import FAULTS_OF_SERVICES

DOMAIN = "cloudigrade"

CODES: Mapping[type[errors.CloudigradeError], grpc.StatusCode] = MappingProxyType(
    {
        errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
        errors.NotFound: grpc.StatusCode.NOT_FOUND,
        errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
        errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
        errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        errors.Aborted: grpc.StatusCode.ABORTED,
        errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
        errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
        errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
        errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)

_ERRORS = {code: kind for kind, code in CODES.items()}
# What gRPC itself, and not a service of ours, may say about a call to a service behind this one.
# Its own words name addresses, so these stand in for them.
_BEHIND: Mapping[grpc.StatusCode, str] = MappingProxyType(
    {
        grpc.StatusCode.UNAVAILABLE: "A service behind this one is not there; try again later.",
        grpc.StatusCode.DEADLINE_EXCEEDED: "A service behind this one took too long.",
    }
)
# The longest reason and message sent; a status travels in a header of 8 KiB at most.
_LONGEST_MESSAGE = 1000
_MOST_VIOLATIONS = 25
# Few may be told in full.
_FEW_VIOLATIONS = 8


def code_of(error: errors.CloudigradeError) -> grpc.StatusCode:
    """Return the status code of an error; INTERNAL for one that the table lacks."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_status(error: errors.CloudigradeError, metadata: Mapping[str, str] | None = None) -> Status:
    """Return the google.rpc.Status of an error, with its details.

    `metadata` is added to the ErrorInfo's. Long messages and long lists of violations are cut: a
    status travels in a header, which gRPC limits to 8 KiB.
    """
    code: tuple[int, str] = code_of(error).value
    status = Status(code=code[0], message=_cut(error.message))
    info = ErrorInfo(reason=error.reason, domain=DOMAIN)
    info.metadata.update({**error.metadata, **(metadata or {})})
    status.details.add().Pack(info)
    if isinstance(error, errors.InvalidRequest) and error.violations:
        status.details.add().Pack(_bad_request(error))
    if isinstance(error, errors.Unavailable | errors.ResourceExhausted):
        status.details.add().Pack(_retry_info(error.retry_after))
    return status


def abort(
    context: grpc.ServicerContext,
    error: errors.CloudigradeError,
    metadata: Mapping[str, str] | None = None,
) -> NoReturn:
    """End a call with an error's status. Raises, as `context.abort` does."""
    context.abort_with_status(rpc_status.to_status(to_status(error, metadata)))
    raise AssertionError("abort_with_status raises")


def from_rpc_error(error: BaseException) -> errors.CloudigradeError | None:
    """Return what a failed call to another service means for this one's caller.

    An error of the family comes back as it was raised there. None when the caller must not see it:
    an internal error there, or a fault of this service's own (its token, an RPC unknown there).
    """
    if not isinstance(error, grpc.Call):
        return None
    code = error.code()
    details = _details(error)
    info = ErrorInfo()
    if not _unpack(details, info) or info.domain != DOMAIN:
        return _ERRORS[code](_BEHIND[code]) if code in _BEHIND else None
    kind = _ERRORS.get(code)
    if kind is None or kind is errors.Unimplemented or info.reason in FAULTS_OF_SERVICES:
        return None
    return _rebuilt(kind, error.details() or "", info, details)


def _rebuilt(
    kind: type[errors.CloudigradeError], message: str, info: ErrorInfo, details: Status
) -> errors.CloudigradeError:
    metadata = {key: value for key, value in info.metadata.items() if key != "request_id"}
    if kind is errors.InvalidRequest:
        bad = BadRequest()
        _unpack(details, bad)
        return errors.InvalidRequest(
            message,
            violations=[errors.Violation(v.field, v.description) for v in bad.field_violations],
            reason=info.reason,
            metadata=metadata,
        )
    if issubclass(kind, errors.Unavailable | errors.ResourceExhausted):
        retry = RetryInfo()
        found = _unpack(details, retry)
        after = retry.retry_delay.ToTimedelta() if found else None
        return kind(message, retry_after=after, reason=info.reason, metadata=metadata)
    return kind(message, reason=info.reason, metadata=metadata)


def _details(error: grpc.Call) -> Status:
    try:
        return rpc_status.from_call(error) or Status()
    except ValueError:  # its code and its details contradict one another: not one of ours
        return Status()


def _unpack(status: Status, message: ErrorInfo | BadRequest | RetryInfo) -> bool:
    return any(detail.Unpack(message) for detail in status.details)


def _bad_request(error: errors.InvalidRequest) -> BadRequest:
    bad = BadRequest()
    longest = 250 if len(error.violations) <= _FEW_VIOLATIONS else 100
    for each in error.violations[:_MOST_VIOLATIONS]:
        bad.field_violations.add(
            field=_cut(each.field, 100), description=_cut(each.description, longest)
        )
    return bad


def _retry_info(after: timedelta) -> RetryInfo:
    delay = Duration()
    delay.FromTimedelta(after)
    return RetryInfo(retry_delay=delay)


def _cut(text: str, limit: int = _LONGEST_MESSAGE) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
