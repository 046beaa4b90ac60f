"""Users' tokens, checked by accounts, for the services that take calls from users."""

import hashlib
import threading
from collections import OrderedDict
from datetime import timedelta

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

    So a token that is revoked, or whose user loses a role, ends here within that time. A refusal is
    not remembered. The channel carries this service's own token. Tokens are remembered by their
    hashes only, a thousand at most; the least recently asked for are forgotten first.
    """

    def __init__(self, accounts: grpc.Channel, clock: Clock) -> None:
        self._stub = identity_pb2_grpc.IdentityServiceStub(accounts)
        self._clock = clock
        # With the reading of the clock up to which each may be used.
        self._kept: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(self, token: str) -> Principal:
        """Return the user whose token it is.

        Raises Unauthenticated when it is nobody's, Unavailable while accounts is away.
        """
        key = hashlib.sha256(token.encode()).digest()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and self._clock.monotonic() < kept[1]:
                self._kept.move_to_end(key)
                return kept[0]
        # Read before accounts is asked, so that the answer is never kept for longer.
        asked = self._clock.monotonic()
        principal, holds = self._ask(token)
        with self._lock:
            self._kept[key] = principal, asked + holds.total_seconds()
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return principal

    def _ask(self, token: str) -> tuple[Principal, timedelta]:
        """Return whose it is, and how long that may be taken for granted."""
        now = self._clock.now()
        request = identity_pb2.AuthenticateRequest(secret=token)
        try:
            answer = self._stub.Authenticate(request, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            known = from_rpc_error(error)
            if known is None:
                raise
            raise known from None
        user = User(id=answer.user.id, name=answer.user.name, role=_ROLES[answer.user.role])
        holds = KEPT
        if answer.HasField("expire_time"):
            holds = min(holds, to_datetime(from_timestamp(answer.expire_time)) - now)
        return Principal(user=user), holds
