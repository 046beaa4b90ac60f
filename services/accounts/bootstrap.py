"""The first admin, since no password comes with the installation."""

from collections.abc import Callable

from libs.common.clock import Clock
from libs.common.errors import AlreadyExists, NotFound
from libs.common.identity import Role
from libs.common.instants import to_micros
from services.accounts import users
from services.accounts.audit import Author
from services.accounts.identity_store import IdentityStore
from services.accounts.users import StoredUser

ACTOR = "operator"


def create_admin(
    store: IdentityStore, name: str, clock: Clock, random_bytes: Callable[[int], bytes]
) -> str:
    """Return the secret of a new token of the admin with this name, who is made if need be.

    For whoever can reach the database. Raises ValueError for a name that no user may have, and
    AlreadyExists when a member has it.
    """
    author = Author(ACTOR, to_micros(clock.now()))
    admin = _admin(store, users.user_name(name), author)
    secret = users.new_secret(random_bytes)
    expires_at = users.expiry(None, author.at)
    store.create_token(admin.id, secret, "made on the server", expires_at, author)
    return secret


def _admin(store: IdentityStore, name: str, author: Author) -> StoredUser:
    try:
        user = store.user_named(name)
    except NotFound:
        return store.create_user(name, Role.ADMIN, author)
    if user.role is not Role.ADMIN:
        raise AlreadyExists(
            f"{name} is a member, not an admin. Choose another name.", reason="USER_EXISTS"
        )
    return user
