"""The eraser: deletes the rows of erased accounts in the background, a bounded number at a time."""

import time
from threading import Event
from types import TracebackType
from typing import Self

import structlog

from libs.common.errors import CloudigradeError
from libs.common.instants import Micros
from libs.common.workers import Worker
from services.accounts.erasing import ErasureStore

POLL_SECONDS = 5.0
BATCHES_READ = 40
"""How many batches' places are read at once: so often are deleted rows walked over to find more."""


class Eraser:
    """Erases when it is woken, and looks every few seconds for what others left unfinished.

    A context manager: it works in a thread of its own from entry to exit. Each batch is a short
    transaction of its own, after which it rests for as long as that took, so that half of what the
    database can do is left to others. Whoever comes after a crash goes on where it stopped. Several
    erasers on one database take turns.
    """

    def __init__(
        self, store: ErasureStore, *, batch: int, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Take how many rows are deleted at once, and the longest wait between two looks."""
        self._store = store
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._wake = Event()
        self._worker = Worker("eraser", self._run)
        # When each was first seen here, by the database's clock.
        self._seen: dict[int, Micros] = {}
        self._log = structlog.get_logger()

    def wake(self) -> None:
        """Have it look now: an account was taken out. Any thread may."""
        self._wake.set()

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
        self.wake()
        self._worker.join()

    def _run(self, stop: Event) -> None:
        while not stop.is_set():
            self._wake.clear()
            try:
                self._look(stop)
            except CloudigradeError as error:
                self._log.warning("eraser.database_away", why=str(error))
            if not stop.is_set():
                self._wake.wait(self._poll_seconds)

    def _look(self, stop: Event) -> None:
        waiting = self._store.waiting()
        self._seen = {number: self._seen.get(number, now) for number, now in waiting.items()}
        for account_id, since in self._seen.items():
            rows = self._sweep(account_id, stop)
            if stop.is_set():
                return
            if self._store.finish(account_id, since):
                self._log.info("account.erased", account_id=account_id, rows=rows)
            elif rows:
                self._wake.set()

    def _sweep(self, account_id: int, stop: Event) -> int:
        """Delete an account's rows from every table, and return how many."""
        rows = 0
        for table in self._store.tables():
            while places := self._store.places(table, account_id, BATCHES_READ * self._batch):
                for start in range(0, len(places), self._batch):
                    began = time.monotonic()
                    some = places[start : start + self._batch]
                    if not self._store.delete(table, account_id, some):
                        return rows
                    rows += len(some)
                    if stop.wait(time.monotonic() - began):
                        return rows
        return rows
