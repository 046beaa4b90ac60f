"""Who calls, and who may: principals, service tokens and the access rule of each RPC."""

import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, Self

from libs.common.errors import PermissionDenied, Unauthenticated


class Role(Enum):
    """What a user may do: an admin everything, a member what concerns their own."""

    ADMIN = "admin"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class User:
    """A user. `token` is the one they called with, to be passed on and never shown."""

    id: int
    name: str
    role: Role
    token: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose account a call is made: a user, a service, or a service for a user."""

    user: User | None = None
    service: str | None = None


ANONYMOUS = Principal()

# Reasons that are the fault of a calling service, not of the user it calls for: that service must
# not pass them on.
FAULTS_OF_SERVICES = frozenset(
    {"SERVICE_TOKEN_UNKNOWN", "SERVICE_TOKEN_REFUSED", "SERVICE_NOT_ALLOWED", "SERVICES_ONLY"}
)

_principal: ContextVar[Principal] = ContextVar("principal", default=ANONYMOUS)


def current_principal() -> Principal:
    """Return who makes the call being handled; ANONYMOUS in a public RPC and outside calls."""
    return _principal.get()


def current_user() -> User:
    """Return the user for whom the call is made; Unauthenticated when there is none."""
    user = _principal.get().user
    if user is None:
        raise Unauthenticated("This call needs a user's token.", reason="USER_TOKEN_MISSING")
    return user


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Make a principal the current one inside the block."""
    token = _principal.set(principal)
    try:
        yield
    finally:
        _principal.reset(token)


class Authenticator(Protocol):
    """Knows whose a token is."""

    def authenticate(self, token: str) -> Principal:
        """Return the user or the service whose token it is; Unauthenticated when nobody's.

        Must take as long for one wrong token as for another.
        """
        ...


class ServiceTokens:
    """Authenticates services by their tokens, and leaves every other token to `others`."""

    def __init__(self, tokens: Mapping[str, str], others: Authenticator | None = None) -> None:
        if not all(tokens.values()):
            raise ValueError("a service's token is never empty")
        self._tokens = {name: token.encode() for name, token in tokens.items()}
        self._others = others

    def service_of(self, token: str) -> str | None:
        """Return whose token it is; every token is compared, each in constant time."""
        given = token.encode()
        found = None
        for name, held in self._tokens.items():
            if hmac.compare_digest(given, held):
                found = name
        return found

    def authenticate(self, token: str) -> Principal:
        """Return the service whose token it is, or whom `others` know by it."""
        name = self.service_of(token)
        if name is not None:
            return Principal(service=name)
        if self._others is None:
            raise Unauthenticated("The token is not known.", reason="TOKEN_UNKNOWN")
        return self._others.authenticate(token)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call an RPC; alternatives are joined by `|`."""

    public: bool = False
    roles: frozenset[Role] = frozenset()
    services: frozenset[str] = frozenset()
    services_for_user: frozenset[str] = frozenset()

    def __or__(self, other: Self) -> "Access":
        return Access(
            self.public or other.public,
            self.roles | other.roles,
            self.services | other.services,
            self.services_for_user | other.services_for_user,
        )

    def admit(self, principal: Principal) -> None:
        """Return when the principal may call; else PermissionDenied, or Unauthenticated."""
        if self.public:
            return
        if principal.service is not None:
            self._admit_service(principal.service, principal.user)
        elif principal.user is None:
            raise Unauthenticated("This call needs a token.", reason="TOKEN_MISSING")
        elif not self.roles:
            raise PermissionDenied("Only services may call this.", reason="SERVICES_ONLY")
        elif principal.user.role not in self.roles:
            raise PermissionDenied("Only an admin may call this.", reason="ADMIN_ONLY")

    def _admit_service(self, service: str, user: User | None) -> None:
        if service in self.services or (user is not None and service in self.services_for_user):
            return
        if service in self.services_for_user:
            raise Unauthenticated(
                "A service calls this for a user: the user's token belongs in x-on-behalf-of.",
                reason="USER_TOKEN_MISSING",
            )
        raise PermissionDenied(
            "This service may not call this.",
            reason="SERVICE_NOT_ALLOWED",
            metadata={"service": service},
        )


PUBLIC = Access(public=True)
USER = Access(roles=frozenset(Role))
ADMIN = Access(roles=frozenset({Role.ADMIN}))


def service(*names: str) -> Access:
    """Return the rule: these services, for themselves or on behalf of a user."""
    return Access(services=frozenset(names))


def service_for_user(*names: str) -> Access:
    """Return the rule: these services, on behalf of a user only."""
    return Access(services_for_user=frozenset(names))
