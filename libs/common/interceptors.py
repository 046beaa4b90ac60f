"""What happens about every call: request log, error table, deadline, identity, cap on streams."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import grpc
import structlog

from libs.common import deadlines
from libs.common.attempts import Attempts
from libs.common.calls import Call
from libs.common.clock import Clock
from libs.common.errors import (
    CloudigradeError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unimplemented,
)
from libs.common.identity import ANONYMOUS, PUBLIC, Access, Authenticator, Principal, acting_as
from libs.common.statuses import abort, code_of, from_rpc_error

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_CREDENTIALS = re.compile(r"(?:bearer|token) +([\x21-\x7e]{1,4096})", re.IGNORECASE)


def new_request_id() -> str:
    """Return a trace id for a call that came without one."""
    return uuid4().hex


class RequestLog:
    """Logs each call as it ends, and binds its request id to every line logged meanwhile."""

    def __init__(
        self, service: str, clock: Clock, new_id: Callable[[], str] = new_request_id
    ) -> None:
        self._service = service
        self._clock = clock
        self._new_id = new_id
        self._log = structlog.get_logger()

    @contextmanager
    def __call__(self, call: Call) -> Iterator[None]:
        """Enter before everything else."""
        call.request_id = self._id_of(call)
        began = self._clock.monotonic()
        with structlog.contextvars.bound_contextvars(
            service=self._service, method=call.method, request_id=call.request_id
        ):
            code = grpc.StatusCode.OK
            try:
                yield
            except BaseException:
                # GeneratorExit too: a stream whose caller has gone is closed.
                code = call.code or grpc.StatusCode.UNKNOWN
                raise
            finally:
                self._write(call, _seen_by_caller(call, code), self._clock.monotonic() - began)

    def _id_of(self, call: Call) -> str:
        given = call.metadata("x-request-id")
        return given[0] if given and _REQUEST_ID.fullmatch(given[0]) else self._new_id()

    def _write(self, call: Call, code: grpc.StatusCode, seconds: float) -> None:
        who = call.principal
        # Probes ask for health every few seconds, and tools reflect before each call.
        write = self._log.debug if call.method.startswith("/grpc.") else self._log.info
        write(
            "rpc.finished",
            peer=call.peer,
            code=code.name,
            duration_ms=round(1000 * seconds, 3),
            user_id=who.user.id if who.user else None,
            caller=who.service,
        )


def _seen_by_caller(call: Call, code: grpc.StatusCode) -> grpc.StatusCode:
    # An answer to a caller that no longer waits never arrived, whatever the handler made of it.
    if call.context.is_active():
        return call.code or code
    if call.seconds_remaining == 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED


class Errors:
    """Turns what a handler raises into a status: the family by its table, all else INTERNAL."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    @contextmanager
    def __call__(self, call: Call) -> Iterator[None]:
        """Enter inside the request log."""
        try:
            yield
        except Exception as error:
            known = self._known(call, error)
            if known is None:
                raise
            abort(call.context, known, {"request_id": call.request_id})

    def _known(self, call: Call, error: Exception) -> CloudigradeError | None:
        """Return what to answer; None when the call has ended already or gRPC has its answer."""
        if isinstance(error, CloudigradeError) and code_of(error) is not grpc.StatusCode.INTERNAL:
            return error
        if _aborted(call, error) or _cancelled(call, error):
            return None
        if isinstance(error, NotImplementedError) and call.code is grpc.StatusCode.UNIMPLEMENTED:
            # What a generated servicer does in a method that nobody has written.
            return Unimplemented("This method is not built yet.", reason="NOT_BUILT")
        if isinstance(error, grpc.RpcError):
            passed_on = from_rpc_error(error)
            if passed_on is not None:
                return passed_on
        self._log.error("rpc.failed", exc_info=error)
        return CloudigradeError("internal error")


def _aborted(call: Call, error: Exception) -> bool:
    # context.abort() raises a bare Exception once it has set the code.
    return type(error) is Exception and not error.args and call.code is not None


def _cancelled(call: Call, error: Exception) -> bool:
    # What reading a request stream raises once the caller has gone.
    return type(error) is grpc.RpcError and not call.context.is_active()


@contextmanager
def deadline(call: Call) -> Iterator[None]:
    """Refuse a call that has too little time left, and let its handler learn how much it has."""
    with deadlines.deadline(call.seconds_remaining):
        yield


class Identity:
    """Learns who calls, and applies the method's access rule.

    A method that no service has goes on unasked, to be refused for that. The server builder lets no
    other be without a rule; if one were, nobody could call it.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        access: Mapping[str, Access],
        attempts: Attempts,
    ) -> None:
        self._authenticator = authenticator
        self._access = dict(access)
        self._attempts = attempts

    @contextmanager
    def __call__(self, call: Call) -> Iterator[None]:
        """Enter inside the errors."""
        rule = self._access.get(call.method, Access()) if call.known else PUBLIC
        call.principal = ANONYMOUS if rule.public else self._principal(call, rule)
        rule.admit(call.principal)
        with acting_as(call.principal):
            yield

    def _principal(self, call: Call, rule: Access) -> Principal:
        token = _token(call, "authorization")
        if token is None:
            raise Unauthenticated(
                "This call needs a token: send `authorization: Bearer <token>`.",
                reason="TOKEN_MISSING",
            )
        users_token = _token(call, "x-on-behalf-of")
        services_own = users_token is not None or not rule.roles
        try:
            caller = self._authenticated(token, call.peer)
        except Unauthenticated as error:
            if not services_own:
                raise
            raise Unauthenticated(error.message, reason="SERVICE_TOKEN_UNKNOWN") from None
        except ResourceExhausted as error:
            if not services_own:
                raise
            raise ResourceExhausted(
                error.message, retry_after=error.retry_after, reason="SERVICE_TOKEN_REFUSED"
            ) from None
        if users_token is None:
            return caller
        if caller.service is None:
            raise PermissionDenied(
                "Only services may call on behalf of a user.", reason="ON_BEHALF_OF_NOT_ALLOWED"
            )
        # The address is the service's, which has just proved itself: only the token is counted.
        user = self._authenticated(users_token, None).user
        if user is None:
            raise Unauthenticated("The user's token is not known.", reason="TOKEN_UNKNOWN")
        return Principal(user=user, service=caller.service)

    def _authenticated(self, token: str, peer: str | None) -> Principal:
        with self._attempts.attempt(token, peer):
            found = self._authenticator.authenticate(token)
        if found.user is None:
            return found
        return Principal(user=replace(found.user, token=token), service=found.service)


def _token(call: Call, key: str) -> str | None:
    values = call.metadata(key)
    if not values:
        return None
    match = _CREDENTIALS.fullmatch(values[0].strip())
    if match is None or len(values) > 1:
        raise Unauthenticated(f"{key} must be `Bearer <token>`, once.", reason="TOKEN_MALFORMED")
    return match[1]


class StreamCap:
    """Keeps open streams, each of which holds a thread, from taking the whole pool."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def __call__(self, call: Call) -> Iterator[None]:
        """Enter last, so that nobody unknown takes a place."""
        if not call.streams:
            yield
            return
        if not self._free.acquire(blocking=False):
            raise ResourceExhausted(
                "Too many streams are open here; try again later.", reason="TOO_MANY_STREAMS"
            )
        try:
            yield
        finally:
            self._free.release()
