"""IdentityService: users, tokens, and who it is that calls."""

from collections.abc import Callable

import grpc

from cloudigrade.accounts.v1 import identity_pb2, identity_pb2_grpc
from libs.common.attempts import Attempts
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.errors import NotFound
from libs.common.identifiers import uuid
from libs.common.identity import ADMIN, USER, Access, Role, current_user, service
from libs.common.instants import to_micros
from libs.common.timestamps import from_timestamp, timestamp
from services.accounts import users
from services.accounts.callers import author, request_key
from services.accounts.identity_convert import role_from_proto, token_to_proto, user_to_proto
from services.accounts.identity_store import IdentityStore
from services.accounts.inventory_convert import audit_to_proto
from services.accounts.pages import page
from services.accounts.texts import text
from services.accounts.users import StoredUser

ACCESS: dict[str, Access] = {
    "CreateUser": ADMIN,
    "GetUser": USER,
    "ListUsers": ADMIN,
    "UpdateUser": ADMIN,
    "DeleteUser": ADMIN,
    "CreateToken": USER,
    "ListTokens": USER,
    "RevokeToken": USER,
    "GetCaller": USER,
    "Authenticate": service("scanner", "inspector", "reports"),
    "ListIdentityAuditEntries": ADMIN,
}


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Answers for the store; `random_bytes` makes secrets.

    `attempts` is the server's own, so that a user's wrong token counts once whether a service asks
    about it or calls with it for the user.
    """

    def __init__(
        self,
        store: IdentityStore,
        attempts: Attempts,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._clock = clock
        self._random_bytes = random_bytes

    def CreateUser(
        self, request: identity_pb2.CreateUserRequest, context: grpc.ServicerContext
    ) -> identity_pb2.CreateUserResponse:
        """Make a user."""
        checks = Checks()
        name = checks.parsed("name", users.user_name, request.name)
        role = checks.parsed("role", role_from_proto, request.role)
        request_id = (
            checks.parsed("request_id", uuid, request.request_id) if request.request_id else ""
        )
        checks.finish()
        key = request_key(request, request_id)
        user = self._store.create_user(name, role, author(self._clock), key)
        return identity_pb2.CreateUserResponse(user=user_to_proto(user))

    def GetUser(
        self, request: identity_pb2.GetUserRequest, context: grpc.ServicerContext
    ) -> identity_pb2.GetUserResponse:
        """Give one user."""
        return identity_pb2.GetUserResponse(user=user_to_proto(self._visible(request.id)))

    def ListUsers(
        self, request: identity_pb2.ListUsersRequest, context: grpc.ServicerContext
    ) -> identity_pb2.ListUsersResponse:
        """Give a page of users."""
        found = page(request, (int,), self._store.users, lambda user: (user.id,), user_to_proto)
        return identity_pb2.ListUsersResponse(users=found.items, next_page_token=found.next_token)

    def UpdateUser(
        self, request: identity_pb2.UpdateUserRequest, context: grpc.ServicerContext
    ) -> identity_pb2.UpdateUserResponse:
        """Change a user's role."""
        checks = Checks()
        checks.that(
            set(request.update_mask.paths) <= {"role"}, "update_mask", "names only the role"
        )
        role = checks.parsed("user.role", role_from_proto, request.user.role)
        checks.finish()
        user = self._store.change_role(request.user.id, role, author(self._clock))
        return identity_pb2.UpdateUserResponse(user=user_to_proto(user))

    def DeleteUser(
        self, request: identity_pb2.DeleteUserRequest, context: grpc.ServicerContext
    ) -> identity_pb2.DeleteUserResponse:
        """Delete a user and their tokens."""
        self._store.delete_user(request.id, author(self._clock))
        return identity_pb2.DeleteUserResponse()

    def CreateToken(
        self, request: identity_pb2.CreateTokenRequest, context: grpc.ServicerContext
    ) -> identity_pb2.CreateTokenResponse:
        """Make a token and show its secret this once."""
        made = author(self._clock)
        checks = Checks()
        checks.that(
            not (request.user_id and request.user_name), "user_name", "is not given with user_id"
        )
        label = checks.parsed("label", text(users.LONGEST_LABEL), request.label)
        asked = (
            checks.parsed("expire_time", from_timestamp, request.expire_time)
            if request.HasField("expire_time")
            else None
        )
        expires_at = checks.parsed(
            "expire_time", lambda moment: users.expiry(moment, made.at), asked
        )
        checks.finish()
        owner = self._owner(request.user_id, request.user_name)
        secret = users.new_secret(self._random_bytes)
        token = self._store.create_token(owner.id, secret, label, expires_at, made)
        return identity_pb2.CreateTokenResponse(token=token_to_proto(token), secret=secret)

    def ListTokens(
        self, request: identity_pb2.ListTokensRequest, context: grpc.ServicerContext
    ) -> identity_pb2.ListTokensResponse:
        """Give a page of a user's tokens."""
        owner = self._owner(request.user_id, "")
        found = page(
            request,
            (int,),
            lambda after, limit: self._store.tokens(owner.id, after, limit),
            lambda token: (token.id,),
            token_to_proto,
        )
        return identity_pb2.ListTokensResponse(tokens=found.items, next_page_token=found.next_token)

    def RevokeToken(
        self, request: identity_pb2.RevokeTokenRequest, context: grpc.ServicerContext
    ) -> identity_pb2.RevokeTokenResponse:
        """Make a token useless."""
        caller = current_user()
        owner_id = None if caller.role is Role.ADMIN else caller.id
        token = self._store.revoke_token(request.id, owner_id, author(self._clock))
        return identity_pb2.RevokeTokenResponse(token=token_to_proto(token))

    def GetCaller(
        self, request: identity_pb2.GetCallerRequest, context: grpc.ServicerContext
    ) -> identity_pb2.GetCallerResponse:
        """Give the caller."""
        user = self._store.user(current_user().id)
        return identity_pb2.GetCallerResponse(user=user_to_proto(user))

    def Authenticate(
        self, request: identity_pb2.AuthenticateRequest, context: grpc.ServicerContext
    ) -> identity_pb2.AuthenticateResponse:
        """Say whose a token is."""
        checks = Checks()
        checks.required("secret", request.secret)
        checks.finish()
        with self._attempts.attempt(request.secret, None):
            user, expires_at = self._store.bearer(request.secret, to_micros(self._clock.now()))
        return identity_pb2.AuthenticateResponse(
            user=user_to_proto(user), expire_time=timestamp(expires_at)
        )

    def ListIdentityAuditEntries(
        self,
        request: identity_pb2.ListIdentityAuditEntriesRequest,
        context: grpc.ServicerContext,
    ) -> identity_pb2.ListIdentityAuditEntriesResponse:
        """Give a page of who changed users and tokens."""
        found = page(request, (int,), self._store.audit, lambda entry: (entry.id,), audit_to_proto)
        return identity_pb2.ListIdentityAuditEntriesResponse(
            entries=found.items, next_page_token=found.next_token
        )

    def _owner(self, user_id: int, name: str) -> StoredUser:
        """Return the user meant, the caller when none is named."""
        if not name:
            return self._visible(user_id or current_user().id)
        caller = current_user()
        if "\0" in name or (caller.role is not Role.ADMIN and name != caller.name):
            raise _no_such_user()
        return self._store.user_named(name)

    def _visible(self, user_id: int) -> StoredUser:
        caller = current_user()
        if caller.role is not Role.ADMIN and user_id != caller.id:
            raise _no_such_user()
        return self._store.user(user_id)


def _no_such_user() -> NotFound:
    return NotFound("There is no such user.", reason="USER_NOT_FOUND")
