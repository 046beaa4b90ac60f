"""The scans that go on in this process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from libs.common.clock import Clock
from libs.common.errors import CloudigradeError
from libs.common.interceptors import new_request_id
from services.scanner.leases import Lease, Target
from services.scanner.progress import Progress
from services.scanner.scan import Ledger, Reader, Scan

_PATIENCE = timedelta(seconds=10)
"""How long a closing process waits for its scans; their leases pass on when they expire."""


class Scans:
    """Starts scans, each in a thread of its own, and lets anybody watch them.

    All share one pool of `regions` threads for reading Regions. As a context manager it stops its
    scans on exit; what they did not finish another scanner takes over.
    """

    def __init__(
        self,
        accounts: Ledger,
        read: Callable[[Target], Reader],
        clock: Clock,
        *,
        most: int,
        regions: int,
    ) -> None:
        self._accounts = accounts
        self._read = read
        self._clock = clock
        self._most = most
        self._pool = ThreadPoolExecutor(regions, thread_name_prefix="scan-region")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[int, Progress] = {}
        self._threads: set[threading.Thread] = set()
        self._log = structlog.get_logger()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell every scan to stop, and wait a while for them."""
        self._stop.set()
        with self._lock:
            threads = list(self._threads)
        deadline = self._clock.monotonic() + _PATIENCE.total_seconds()
        for thread in threads:
            thread.join(max(deadline - self._clock.monotonic(), 0))
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def free(self) -> int:
        """How many more scans the schedule may start here."""
        with self._lock:
            return max(self._most - len(self._running), 0)

    def of(self, account_id: int) -> Progress | None:
        """Return the progress of the account's scan, if one goes on in this process."""
        with self._lock:
            return self._running.get(account_id)

    def start(self, lease: Lease) -> Progress:
        """Begin the scan that the lease gives the right to, under the present call's trace id."""
        progress = Progress()
        context = {"request_id": new_request_id(), **structlog.contextvars.get_contextvars()}
        thread = threading.Thread(
            target=self._run,
            args=(lease, progress, context),
            name=f"scan-{lease.target.account_id}",
            daemon=True,
        )
        with self._lock:
            self._running[lease.target.account_id] = progress
            self._threads.add(thread)
        thread.start()
        return progress

    def _run(self, lease: Lease, progress: Progress, log_context: dict[str, object]) -> None:
        account_id = lease.target.account_id
        try:
            with structlog.contextvars.bound_contextvars(**log_context):
                self._scan(lease, progress)
        finally:
            with self._lock:
                if self._running.get(account_id) is progress:
                    del self._running[account_id]
                self._threads.discard(threading.current_thread())

    def _scan(self, lease: Lease, progress: Progress) -> None:
        log = self._log.bind(account_id=lease.target.account_id, epoch=lease.epoch)
        try:
            scan = Scan(
                lease,
                self._read(lease.target),
                self._accounts,
                pool=self._pool,
                clock=self._clock,
                tell=progress.tell,
                stop=self._stop,
            )
            summary = scan.run()
        except CloudigradeError as error:
            log.warning("scan.failed", reason=error.reason, detail=error.message)
            progress.fail(error)
        except Exception as error:  # its watchers must not wait for ever
            log.exception("scan.failed")
            progress.fail(CloudigradeError(f"the scan failed: {type(error).__name__}"))
        else:
            log.info("scan.finished", regions=len(summary.regions))
            progress.tell(summary)
