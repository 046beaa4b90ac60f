"""What the present caller may see and change, and how their changes are signed."""

import hashlib

from google.protobuf.message import Message

from libs.common.clock import Clock
from libs.common.identity import Role, current_principal, current_user
from libs.common.instants import to_micros
from services.accounts.audit import Author, actor_of
from services.accounts.repeats import RequestKey

EVERYBODY = 0


def visible_owner() -> int:
    """Return whose accounts the caller may see: their own, or for an admin EVERYBODY's."""
    user = current_user()
    return EVERYBODY if user.role is Role.ADMIN else user.id


def author(clock: Clock) -> Author:
    """Return the caller as the author of a change made now."""
    return Author(actor_of(current_principal()), to_micros(clock.now()))


def request_key(request: Message, request_id: str) -> RequestKey | None:
    """Return the key under which the answer to a create call is remembered; None without an id."""
    if not request_id:
        return None
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    name = request.DESCRIPTOR.full_name.encode()
    digest = hashlib.sha256(name + b"\0" + content.SerializeToString(deterministic=True)).digest()
    return RequestKey(current_user().id, request_id, digest)
