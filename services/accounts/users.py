"""Users and tokens: their rules, without any storage."""

import base64
import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from libs.common.identity import Role
from libs.common.instants import MICROS_PER_SECOND, Micros

LONGEST_NAME = 100
LONGEST_LABEL = 200
_MINUTE = 60 * MICROS_PER_SECOND
_DAY = 24 * 60 * _MINUTE
USUAL_LIFETIME: Micros = 90 * _DAY
SHORTEST_LIFETIME: Micros = _MINUTE
LONGEST_LIFETIME: Micros = 3652 * _DAY
"""Ten years."""

# A fixed beginning lets scanners of repositories and logs recognise a token that got there.
_SECRET_PREFIX = "cgt_"  # noqa: S105 - what every secret begins with is none
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user as accounts keeps it."""

    id: int
    name: str
    role: Role
    created_at: Micros


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; `revoked_at` is 0 while it was not revoked."""

    id: int
    user_id: int
    label: str
    created_at: Micros
    expires_at: Micros
    revoked_at: Micros = 0


def user_name(text: str) -> str:
    """Return a name that a user may have; ValueError otherwise."""
    if not 1 <= len(text) <= LONGEST_NAME:
        raise ValueError(f"has 1 to {LONGEST_NAME} characters")
    if text != text.strip():
        raise ValueError("has no white space at either end")
    if any(unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in text):
        raise ValueError("has no control characters")
    return text


def expiry(asked: Micros | None, now: Micros) -> Micros:
    """Return when a token made now expires; ValueError for a lifetime that is not allowed."""
    if asked is None:
        return now + USUAL_LIFETIME
    if not SHORTEST_LIFETIME <= asked - now <= LONGEST_LIFETIME:
        raise ValueError("lies one minute to ten years ahead")
    return asked


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """Return the secret of a new token: 256 random bits in text that needs no quoting."""
    text = base64.urlsafe_b64encode(random_bytes(_SECRET_BYTES)).decode().rstrip("=")
    return _SECRET_PREFIX + text


def digest_of(secret: str) -> bytes:
    """Return what is stored of a secret.

    Plain SHA-256 is enough, since 256 random bits cannot be guessed as a password can.
    """
    return hashlib.sha256(secret.encode()).digest()
