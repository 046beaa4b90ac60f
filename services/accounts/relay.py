"""The relay: publishes inspection jobs that are due, as the outbox in the database says."""

from threading import Event
from types import TracebackType
from typing import Self

import structlog

from libs.common.broker import INSPECTION_JOBS, Broker, BrokerError
from libs.common.clock import Clock
from libs.common.errors import CloudigradeError
from libs.common.instants import Micros, to_micros
from libs.common.workers import Worker
from services.accounts.inspection_convert import order_to_message
from services.accounts.job_store import JobStore
from services.accounts.jobs import Order

POLL_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 30.0
BATCH = 20


class Relay:
    """Publishes what is due: when it is woken, and at least every few seconds.

    A context manager: it works in a thread of its own from entry to exit. While the broker or the
    database is away it waits, longer and longer, and loses nothing, since the jobs stay due.
    Several relays on one database share the work.
    """

    def __init__(
        self,
        store: JobStore,
        broker: Broker,
        clock: Clock,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Take the longest wait between two looks, while nothing fails."""
        self._store = store
        self._broker = broker
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._wake = Event()
        self._worker = Worker("inspection-relay", self._run)
        self._delivering = True
        # What an earlier process published to a broker in its memory is gone with it.
        self._forgotten = not broker.durable
        self._log = structlog.get_logger()

    def wake(self) -> None:
        """Have it look now: a transaction that made jobs has been committed. Any thread may."""
        self._wake.set()

    def healthy(self) -> bool:
        """Say whether the broker took what was last to be published."""
        return self._delivering

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
        failures = 0
        while True:
            self._wake.clear()
            # Only now, so that being stopped is never waited for.
            if stop.is_set():
                return
            failures = 0 if self._look(stop) else failures + 1
            wait = self._poll_seconds * 2 ** min(failures, 10)
            self._wake.wait(min(wait, max(LONGEST_WAIT_SECONDS, self._poll_seconds)))

    def _look(self, stop: Event) -> bool:
        """Publish everything that is due; say whether the broker and the database were there."""
        published = 0
        try:
            if self._forgotten:
                self._store.reopen(self._now())
                self._forgotten = False
            while dealt := self._store.publish_due(self._publish, self._now(), BATCH):
                published += dealt
                if stop.is_set():
                    break
        except BrokerError as error:
            self._delivering = False
            self._log.warning("relay.broker_away", why=str(error))
            return False
        except CloudigradeError as error:
            self._log.warning("relay.database_away", why=str(error))
            return False
        self._delivering = True
        if published:
            self._log.info("relay.published", jobs=published)
        return True

    def _publish(self, order: Order) -> None:
        self._broker.publish(INSPECTION_JOBS, order_to_message(order))

    def _now(self) -> Micros:
        return to_micros(self._clock.now())
