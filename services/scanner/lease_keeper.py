"""Keeping a lease while its scan goes on."""

import threading
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import structlog

from libs.common.clock import Clock
from libs.common.errors import CloudigradeError, NotFound
from libs.common.workers import Worker
from services.scanner.leases import Lease, LeaseLost

_LOOK_UP = 0.5
"""Seconds after which the keeper looks at the clock."""


class Renewer(Protocol):
    """What leases are renewed at (`accounts_client.Accounts`)."""

    def renew(self, lease: Lease) -> datetime:
        """Keep the lease and return until when; LeaseLost when somebody else has it."""
        ...


class LeaseKeeper:
    """Renews a lease, while entered, each time a third of what is left of it has passed."""

    def __init__(self, lease: Lease, accounts: Renewer, clock: Clock) -> None:
        self._lease = lease
        self._accounts = accounts
        self._clock = clock
        self._lost = threading.Event()
        self._worker = Worker(f"lease.{lease.target.account_id}", self._keep)
        self._log = structlog.get_logger()

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.stop()
        self._worker.join()

    def check(self) -> None:
        """Return while the lease holds; LeaseLost afterwards."""
        if self._lost.is_set():
            raise LeaseLost("The lease of this scan was lost.")

    def _keep(self, stop: threading.Event) -> None:
        expires = self._lease.expires
        due = self._due(expires)
        while not stop.wait(_LOOK_UP):
            if self._clock.now() < due:
                continue
            try:
                expires = self._accounts.renew(self._lease)
                due = self._due(expires)
            except (LeaseLost, NotFound):
                break
            except CloudigradeError as error:
                self._log.warning("lease.not_renewed", reason=error.reason)
                if self._clock.now() >= expires:
                    break
        else:
            return
        self._log.warning("lease.lost", account_id=self._lease.target.account_id)
        self._lost.set()

    def _due(self, expires: datetime) -> datetime:
        now = self._clock.now()
        return now + (expires - now) / 3
