"""Users and tokens, to and from protobuf."""

from cloudigrade.accounts.v1 import identity_pb2
from libs.common.identity import Role
from libs.common.timestamps import timestamp
from services.accounts.users import StoredUser, Token

_ROLE_TO_PROTO = {Role.ADMIN: identity_pb2.ROLE_ADMIN, Role.MEMBER: identity_pb2.ROLE_MEMBER}
_ROLE_FROM_PROTO = {number: role for role, number in _ROLE_TO_PROTO.items()}


def role_from_proto(number: "identity_pb2.Role") -> Role:
    """Return a role; ValueError when none is stated."""
    try:
        return _ROLE_FROM_PROTO[number]
    except KeyError:
        raise ValueError("is ROLE_ADMIN or ROLE_MEMBER") from None


def user_to_proto(user: StoredUser) -> identity_pb2.User:
    """Return a user's message."""
    return identity_pb2.User(
        id=user.id,
        name=user.name,
        role=_ROLE_TO_PROTO[user.role],
        create_time=timestamp(user.created_at),
    )


def token_to_proto(token: Token) -> identity_pb2.Token:
    """Return a token's message."""
    return identity_pb2.Token(
        id=token.id,
        user_id=token.user_id,
        label=token.label,
        create_time=timestamp(token.created_at),
        expire_time=timestamp(token.expires_at),
        revoke_time=timestamp(token.revoked_at) if token.revoked_at else None,
    )
