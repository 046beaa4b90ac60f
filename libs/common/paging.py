"""Pages of a list: sizes, and tokens that hold the last key of the page before (AIP-158)."""

import base64
import binascii
import hashlib
import json

from google.protobuf.message import Message

from libs.common.errors import InvalidRequest

DEFAULT_PAGE_SIZE = 50
LARGEST_PAGE_SIZE = 1000

_DIGEST_SIZE = 12

Key = tuple[int | str, ...]


def page_size(requested: int) -> int:
    """Return how many to give: 50 for 0, at most 1000; InvalidRequest for a negative number."""
    if requested < 0:
        raise InvalidRequest("must not be negative", field="page_size")
    return min(requested or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)


def next_page_token(request: Message, last: Key) -> str:
    """Return the token of the page after the one whose last key this is.

    It holds for the request's own arguments only; page_size may change from page to page.
    """
    text = json.dumps([_arguments(request), *last], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def page_start(
    request: Message, token: str, kinds: tuple[type[int] | type[str], ...]
) -> Key | None:
    """Return the key after which the asked page begins, None for the first page.

    `token` is the request's page_token, and `kinds` are the types of the key's parts. Raises
    InvalidRequest on page_token when the token is not one of ours, has another shape, or was given
    for other arguments.
    """
    if not token:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        digest, *last = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _bad_token("is not a token that this list gave") from None
    if [type(part) for part in last] != list(kinds) or not all(map(_storable, last)):
        raise _bad_token("is not a token that this list gave")
    if digest != _arguments(request):
        raise _bad_token("belongs to a request with other arguments")
    return tuple(last)


def _storable(part: int | str) -> bool:
    """Return whether a database takes it: a bigint, or text without NUL or half a character."""
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return "\0" not in part and not any("\ud800" <= char <= "\udfff" for char in part)


def _arguments(request: Message) -> str:
    others = type(request)()
    others.CopyFrom(request)
    others.ClearField("page_token")
    others.ClearField("page_size")
    kind = request.DESCRIPTOR.full_name.encode()
    content = others.SerializeToString(deterministic=True)
    return hashlib.blake2b(kind + b"\0" + content, digest_size=_DIGEST_SIZE).hexdigest()


def _bad_token(description: str) -> InvalidRequest:
    return InvalidRequest(description, field="page_token", reason="PAGE_TOKEN_INVALID")
