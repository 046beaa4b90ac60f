"""The scans that are due, shared among all scanners by leases."""

import threading
from datetime import timedelta
from typing import Protocol

import structlog

from libs.common.clock import Clock
from libs.common.errors import CloudigradeError
from services.scanner.leases import DueLeases
from services.scanner.scans import Scans

LONGEST_PAUSE = timedelta(seconds=15)
"""How long a new account, or a dead scanner's, may wait to be noticed."""
_SHORTEST_PAUSE = timedelta(seconds=1)
_MOST_AT_ONCE = 10
"""Leases in one answer: each names its account's known images, and 4 MiB must hold all."""


class Dispatcher(Protocol):
    """What hands out leases (`accounts_client.Accounts`)."""

    def acquire_due(self, holder: str, most: int) -> DueLeases:
        """Take leases of accounts whose scan is due, the longest due first."""
        ...


class Schedule:
    """A worker's function: takes leases that are due and starts their scans, as room is."""

    def __init__(self, accounts: Dispatcher, scans: Scans, holder: str, clock: Clock) -> None:
        self._accounts = accounts
        self._scans = scans
        self._holder = holder
        self._clock = clock
        self._log = structlog.get_logger()

    def __call__(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.is_set():
            stop.wait(self._turn().total_seconds())

    def _turn(self) -> timedelta:
        """Start what is due, and return how long to wait."""
        free = min(self._scans.free, _MOST_AT_ONCE)
        if free == 0:
            return _SHORTEST_PAUSE
        try:
            due = self._accounts.acquire_due(self._holder, free)
        except CloudigradeError as error:
            self._log.warning("schedule.accounts_away", reason=error.reason)
            return LONGEST_PAUSE
        for lease in due.leases:
            self._scans.start(lease)
        if len(due.leases) == free:  # there may be more
            return _SHORTEST_PAUSE
        if due.next_due is None:
            return LONGEST_PAUSE
        return min(max(due.next_due - self._clock.now(), _SHORTEST_PAUSE), LONGEST_PAUSE)
