"""How often authentication may fail: by the credential, and by the address that it comes from."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import unquote

from libs.common.clock import Clock
from libs.common.errors import ResourceExhausted, Unauthenticated

REASON = "TOO_MANY_ATTEMPTS"
MOST_REMEMBERED = 10_000
"""Of credentials and of addresses each; one takes about 250 bytes."""

_MINUTE = 60.0
_ONE_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """How many attempts may fail at once, and how many a minute after that."""

    per_credential: int = 10
    per_address: int = 100


class Attempts:
    """Counts failed attempts, and refuses more than the limits allow. Thread-safe.

    A credential that failed too often is refused without being looked up. What fails stays wrong
    (tokens are made by the server, and one that was revoked never comes back), so this locks nobody
    out; and it costs its address nothing more, so that one script with an old token does not use up
    what the others behind the same address have.

    An address from which too many different credentials failed is slowed down and never shut out: a
    whole office, or every client of a proxy, can stand behind it. From there a credential that was
    good before passes as ever; another is looked up, but only while no other from that address is,
    so that guessing takes one connection at most and gets no faster by being done in parallel. A
    good one gets in; a wrong one is told to wait. Guessing is hopeless at any speed: a token is 256
    random bits.

    Memory is bounded: the least recently used are forgotten, which is the same as having waited.
    Credentials are remembered by their hashes.
    """

    def __init__(
        self, limits: AttemptLimits, clock: Clock, *, most_remembered: int = MOST_REMEMBERED
    ) -> None:
        """Take how many credentials and how many addresses are remembered at most."""
        self._clock = clock
        self._credentials = _Buckets(limits.per_credential, most_remembered)
        self._addresses = _Buckets(limits.per_address, most_remembered)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._most = most_remembered
        self._looking: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def attempt(self, credential: str, peer: str | None) -> Iterator[None]:
        """Look a credential up inside the block, which raises Unauthenticated for a wrong one.

        `peer` is the caller's address as gRPC writes it. It is None where a service gives its
        user's token: only that is counted then, and apart from where it is a caller's own, since a
        service's token is good there and wrong here. Raises ResourceExhausted, with how long to
        wait, instead of looking or in place of the block's Unauthenticated.
        """
        kind = b"users" if peer is None else b"callers"
        key = hashlib.sha256(kind + b"\0" + credential.encode()).digest()
        address = address_of(peer or "")
        slowed = self._admit(key, address)
        try:
            yield
        except Unauthenticated:
            self._failed(key, address, slowed=slowed)
            raise
        else:
            self._succeeded(key)
        finally:
            if slowed:
                with self._lock:
                    self._looking.discard(address)

    def _admit(self, key: bytes, address: str) -> bool:
        """Return whether this is the one lookup that a slowed address may have at a time."""
        with self._lock:
            now = self._clock.monotonic()
            wait = self._credentials.wait(key, now)
            if wait:
                raise _exhausted("This token was refused too often", wait)
            if not address or key in self._good or not self._addresses.wait(address, now):
                return False
            if address in self._looking:
                raise _exhausted("Too many wrong tokens came from your address", _ONE_SECOND)
            self._looking.add(address)
            return True

    def _failed(self, key: bytes, address: str, *, slowed: bool) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._good.pop(key, None)
            self._credentials.take(key, now)
            if slowed:
                wait = self._addresses.wait(address, now) or _ONE_SECOND
                raise _exhausted("Too many wrong tokens came from your address", wait)
            if address:
                self._addresses.take(address, now)

    def _succeeded(self, key: bytes) -> None:
        with self._lock:
            self._good[key] = None
            self._good.move_to_end(key)
            while len(self._good) > self._most:
                self._good.popitem(last=False)


class _Buckets:
    """Token buckets that hold a minute's worth, each full until it is first taken from."""

    def __init__(self, per_minute: int, most: int) -> None:
        self._size = float(per_minute)
        self._rate = per_minute / _MINUTE
        self._most = most
        self._kept: OrderedDict[bytes | str, tuple[float, float]] = OrderedDict()

    def wait(self, key: bytes | str, now: float) -> timedelta:
        """Return how long until there is something to take; zero when there is now."""
        lacking = 1.0 - self._level(key, now)
        return timedelta(seconds=max(0.0, lacking) / self._rate)

    def take(self, key: bytes | str, now: float) -> None:
        """Take one, or what is left of one."""
        self._kept[key] = max(0.0, self._level(key, now) - 1.0), now
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _level(self, key: bytes | str, now: float) -> float:
        level, then = self._kept.get(key, (self._size, now))
        return min(self._size, level + (now - then) * self._rate)


def address_of(peer: str) -> str:
    """Return the part of a gRPC peer that stands for one caller: no port, of IPv6 the /64.

    Whoever has one IPv6 address has its 2**64 neighbours too (RFC 6177, 2011).
    """
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest.rpartition(":")[0]
    if kind == "ipv6":
        inside = unquote(rest).partition("]")[0].lstrip("[")
        return _first_half(inside)
    return peer


def _first_half(text: str) -> str:
    try:
        address = IPv6Address(text.partition("%")[0])
    except ValueError:
        return text
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))


def _exhausted(what: str, wait: timedelta) -> ResourceExhausted:
    return ResourceExhausted(
        f"{what}. Try again later, with a token that is good.", retry_after=wait, reason=REASON
    )
