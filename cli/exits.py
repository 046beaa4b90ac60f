"""What the command's exit status says, and how an error becomes one.

Scripts may rely on these numbers.
"""

import json
from enum import IntEnum
from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class Exit(IntEnum):
    """The exit statuses of `cloudigrade`."""

    OK = 0
    FAILED = 1  # a defect, or something without a better number
    USAGE = 2  # the command line or a value in it is wrong
    NOT_FOUND = 3
    NOT_ALLOWED = 4  # no token, a bad one, or one that may not
    CONFLICT = 5  # it exists already, or something else must be done first
    TRY_AGAIN = 6  # a service is away or busy
    PARTIAL = 7  # it was done, and not all of it went well: the output says what did not


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.USAGE,
    grpc.StatusCode.OUT_OF_RANGE: Exit.USAGE,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED: Exit.NOT_ALLOWED,
    grpc.StatusCode.PERMISSION_DENIED: Exit.NOT_ALLOWED,
    grpc.StatusCode.ALREADY_EXISTS: Exit.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.CONFLICT,
    grpc.StatusCode.ABORTED: Exit.TRY_AGAIN,
    grpc.StatusCode.UNAVAILABLE: Exit.TRY_AGAIN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.TRY_AGAIN,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.TRY_AGAIN,
}


class CommandError(Exception):
    """Why a command ends without having done its work: a sentence and an exit status."""

    def __init__(self, message: str, status: Exit = Exit.FAILED, *, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason or status.name

    def as_json(self) -> str:
        """Return the error as a script reads it."""
        error = {"message": self.message, "reason": self.reason, "exit": int(self.status)}
        return json.dumps({"error": error})


def command_error(error: grpc.RpcError, target: str) -> CommandError:
    """Return what a failed call means to whoever typed the command."""
    code: grpc.StatusCode = error.code()
    status = _BY_CODE.get(code, Exit.FAILED)
    message = error.details() or code.name
    reason = code.name
    if (details := rpc_status.from_call(cast(grpc.Call, error))) is not None:
        for detail in details.details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(bad) and bad.field_violations:
                message = "; ".join(f"{v.field}: {v.description}" for v in bad.field_violations)
    elif code is grpc.StatusCode.UNAVAILABLE:
        message = f"nothing answers at {target}; is it running (cloudigrade up)?"
    return CommandError(message, status, reason=reason)
