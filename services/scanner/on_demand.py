"""A scan that a person asked for: begun now, or joined where one is under way."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from libs.common.clock import Clock
from services.scanner.leases import Lease, LeaseLost, Running, ScannerStops
from services.scanner.progress import Progress, Summary, Update
from services.scanner.scans import Scans

_POLL = 0.5
"""Seconds between questions whether another scanner's scan has ended."""


class Leases(Protocol):
    """What hands out the lease of one account (`accounts_client.Accounts`)."""

    def acquire(
        self, account_id: int, holder: str, user_token: str, after: datetime
    ) -> Lease | Running | Summary:
        """Take the lease, unless a scan is under way or one that began after `after` has ended."""
        ...


class ScanOnDemand:
    """Gives every caller a whole scan, and every account one at a time."""

    def __init__(
        self, accounts: Leases, scans: Scans, holder: str, clock: Clock, stop: threading.Event
    ) -> None:
        self._accounts = accounts
        self._scans = scans
        self._holder = holder
        self._clock = clock
        self._stop = stop

    def scan(
        self, account_id: int, user_token: str, wanted: Callable[[], bool]
    ) -> Iterator[Update]:
        """Yield what becomes of the account's scan, from its beginning to its summary.

        A scan that loses its lease is joined where it goes on. Ends early when `wanted` says no.
        Raises what accounts says of the account and the user, and ScannerStops.
        """
        after = self._clock.now()
        while wanted():
            if self._stop.is_set():
                raise ScannerStops
            taken = self._accounts.acquire(account_id, self._holder, user_token, after)
            if isinstance(taken, Summary):
                yield taken
                return
            progress, joined = self._progress(account_id, taken)
            if progress is None:
                if isinstance(taken, Running):
                    after = min(after, taken.started - timedelta(microseconds=1))
                self._stop.wait(_POLL)
                continue
            try:
                yield from _watched(progress, wanted, joined=joined)
            except LeaseLost:
                continue
            return

    def _progress(self, account_id: int, taken: Lease | Running) -> tuple[Progress | None, bool]:
        if isinstance(taken, Lease):
            return self._scans.start(taken), False
        ours = taken.holder == self._holder
        return (self._scans.of(account_id) if ours else None), True


def _watched(progress: Progress, wanted: Callable[[], bool], *, joined: bool) -> Iterator[Update]:
    for update in progress.watch(wanted):
        yield replace(update, joined=joined) if isinstance(update, Summary) else update
