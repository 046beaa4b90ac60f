"""Users' tokens, checked by accounts, for the services that take calls from users."""

import hashlib
import threading
from datetime import datetime, timedelta

import grpc

from cloudigrade.accounts.v1 import identity_pb2, identity_pb2_grpc
from libs.common.clock import Clock
from libs.common.identity import Principal, Role, User
from libs.common.instants import to_datetime
from libs.common.statuses import from_rpc_error
from libs.common.timestamps import from_timestamp

# As the comment of IdentityService.Authenticate allows.
KEPT = timedelta(seconds=30)
_MOST_KEPT = 1000
_TIMEOUT = 5.0
_ROLES = {identity_pb2.ROLE_ADMIN: Role.ADMIN, identity_pb2.ROLE_MEMBER: Role.MEMBER}


class RemoteAuthenticator:
    """Asks accounts whose a token is, and remembers a good answer for 30 seconds.

    The channel carries this service's own token. Tokens are remembered by their hashes only.
    """

    def __init__(self, accounts: grpc.Channel, clock: Clock) -> None:
        self._stub = identity_pb2_grpc.IdentityServiceStub(accounts)
        self._clock = clock
        self._kept: dict[bytes, tuple[Principal, datetime]] = {}
        self._lock = threading.Lock()

    def authenticate(self, token: str) -> Principal:
        """Return the user whose token it is.

        Raises Unauthenticated when it is nobody's, Unavailable while accounts is away.
        """
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock.now()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and now < kept[1]:
            return kept[0]
        principal, until = self._ask(token, now)
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = (principal, until)
        return principal

    def _ask(self, token: str, now: datetime) -> tuple[Principal, datetime]:
        request = identity_pb2.AuthenticateRequest(secret=token)
        try:
            answer = self._stub.Authenticate(request, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            known = from_rpc_error(error)
            if known is None:
                raise
            raise known from None
        user = User(id=answer.user.id, name=answer.user.name, role=_ROLES[answer.user.role])
        until = now + KEPT
        if answer.HasField("expire_time"):
            until = min(until, to_datetime(from_timestamp(answer.expire_time)))
        return Principal(user=user), until
