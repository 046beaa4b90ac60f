"""The event path: from the gRPC stream to committed in PostgreSQL, with runs derived.

`python -m bench.events` measures with nothing, one and ten million events stored. accounts runs as
a process of its own on a PostgreSQL of its own, on this machine's processors together with the
caller. Beside it: the same events, one call and one transaction each. The database is at rest when
it begins: vacuumed, and just after a checkpoint, so that every page costs most when first changed.
"""

import argparse
import os
import platform
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import psycopg2

from bench.event_data import Fleet, batches
from bench.machine import limits
from bench.processes import processor_seconds, service_process
from cloudigrade.accounts.v1.events_pb2 import Event, RecordEventsResponse
from libs.common.clock import SystemClock
from libs.common.embedded_postgres import EmbeddedPostgres
from services.accounts.bootstrap import create_admin
from services.accounts.database import Database
from services.accounts.identity_store import IdentityStore
from services.accounts.partitioning import partition

_METHOD = "/cloudigrade.accounts.v1.EventService/RecordEvents"
_TOKEN = "scanner-token-for-benchmarks"  # noqa: S105 # of a server that lives for minutes
_WINDOW = 8
_POSTGRES = {"shared_buffers": "6GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
_SHOWN = (
    *("server_version", "shared_buffers", "max_wal_size", "checkpoint_timeout"),
    *("synchronous_commit", "fsync", "full_page_writes", "wal_compression", "data_checksums"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """How events of one kind went."""

    name: str
    events: int
    seconds: float
    accounts: float
    """Processor seconds of accounts, ..."""
    postgres: float
    wal: int
    """Bytes that PostgreSQL logged."""

    @property
    def rate(self) -> float:
        """Events in a second."""
        return self.events / self.seconds

    def show(self, beside: float = 0.0) -> None:
        """Print it, with how many times faster it is than another rate."""
        each = 1_000_000 / self.events
        print(
            f"    {self.name:<40} {self.rate:9,.0f}/s"
            + (f"{self.rate / beside:7.1f} times one by one" if beside else " " * 23)
            + f"  ({self.events:,} in {self.seconds:.1f} s; processor time of each: accounts"
            f" {self.accounts * each:.0f} us, PostgreSQL {self.postgres * each:.0f} us;"
            f" WAL {self.wal / self.events:,.0f} B)"
        )


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser("python -m bench.events", description=__doc__)
    parser.add_argument("--instances", type=int, default=100_000, help="how many there are")
    parser.add_argument("--accounts", type=int, default=10, help="over how many accounts")
    parser.add_argument(
        "--history",
        type=int,
        nargs="+",
        default=[0, 10, 100],
        metavar="EVENTS",
        help="events of each instance stored before; one database for each number",
    )
    parser.add_argument("--in-order", type=int, default=100_000, help="events to send in order")
    parser.add_argument("--replayed", type=int, default=100_000, help="ten or more of an instance")
    parser.add_argument("--late", type=int, default=10_000, help="each late into a history")
    parser.add_argument("--single", type=int, default=1_000, help="events to send one by one")
    parser.add_argument("--streams", type=int, default=2, help="streams at once")
    parser.add_argument("--partitions", type=int, default=0, help="of every table, by account")
    asked = parser.parse_args(arguments)
    print(f"this machine: {limits(Path(tempfile.gettempdir()))}")
    for history in asked.history:
        _measure(asked, Fleet(asked.instances, asked.accounts, history))


def _measure(asked: argparse.Namespace, fleet: Fleet) -> None:
    kinds: dict[str, tuple[Callable[[int], Iterator[Event]], int]] = {
        "in order, over all instances": (fleet.in_order, asked.in_order),
        "replayed, 10 of one instance": (partial(fleet.replay, each=10), asked.replayed),
    }
    if fleet.history:
        kinds[f"late, into {fleet.history} of its instance"] = fleet.late, asked.late
    with ExitStack() as stack:
        bench = _Bench(stack, fleet, asked.streams, asked.partitions)
        bench.describe()
        for name, (make, count) in kinds.items():
            every = list(make(asked.single + count))
            single = bench.measure(f"{name}, one by one", every[: asked.single], 1)
            single.show()
            bench.measure(name, every[asked.single :]).show(single.rate)


class _Bench:
    """A fleet in a database, and accounts in front of it."""

    def __init__(self, stack: ExitStack, fleet: Fleet, streams: int, partitions: int) -> None:
        self._fleet = fleet
        self._streams = streams
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(EmbeddedPostgres(folder / "postgres", _POSTGRES)).url("accounts")
        self._database = stack.enter_context(closing(Database(url, pool_size=2)))
        self._database.migrate()
        create_admin(IdentityStore(self._database), "bench", SystemClock(), secrets.token_bytes)
        began = time.perf_counter()
        fleet.store(self._database)
        self._filling = time.perf_counter() - began
        self._partitions = partitions
        if partitions:
            partition(self._database, partitions)
        _rest(url)
        environ = {
            **os.environ,
            "CLOUDIGRADE_DATABASE_URL": url,
            "CLOUDIGRADE_LOG_LEVEL": "warning",
            "CLOUDIGRADE_SCANNER_TOKEN": _TOKEN,
            "CLOUDIGRADE_INSPECTOR_TOKEN": secrets.token_hex(),
            "CLOUDIGRADE_REPORTS_TOKEN": secrets.token_hex(),
        }
        service = service_process("accounts", "bench.accounts_process", environ)
        self._target, self._server = stack.enter_context(service)

    def describe(self) -> None:
        """Print what is measured on what."""
        settings = ", ".join(f"{name} {self._show(name)}" for name in _SHOWN)
        fleet = self._fleet
        print(
            f"events: {fleet.instances:,} instances in {fleet.accounts} accounts,"
            f" {fleet.instances * fleet.history:,} events stored in {self._filling:.0f} s;"
            f" tables {f'in {self._partitions} partitions' if self._partitions else 'whole'};"
            f" {self._streams} streams; Python {platform.python_version()}, {os.cpu_count()}"
            f" processors (load {os.getloadavg()[0]:.1f})"
        )
        print(f"  PostgreSQL: {settings}")

    def measure(self, name: str, events: Iterable[Event], size: int = 1_000) -> Measured:
        """Send events in batches of a size, or each by a call of its own when that is 1."""
        streams = batches(events, self._streams, size)
        backends, wal = self._backends(), self._wal()
        cost = processor_seconds([self._server]), processor_seconds(backends)
        began = time.perf_counter()
        senders = [_Sender(self._target, requests, apart=size == 1) for requests in streams]
        stored = sum(sender.stored() for sender in senders)
        seconds = time.perf_counter() - began
        backends |= self._backends()
        return Measured(
            name,
            stored,
            seconds,
            processor_seconds([self._server]) - cost[0],
            processor_seconds(backends) - cost[1],
            self._wal() - wal,
        )

    def _wal(self) -> int:
        with self._database.transaction() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            (size,) = cursor.fetchone() or (0,)
        return int(size)

    def _backends(self) -> set[int]:
        with self._database.transaction() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity")
            return {pid for (pid,) in cursor.fetchall()}

    def _show(self, setting: str) -> str:
        with self._database.transaction() as cursor:
            cursor.execute("SELECT current_setting(%s)", (setting,))
            (value,) = cursor.fetchone() or ("?",)
        return str(value)


def _rest(url: str) -> None:
    """Leave a database as if it had long stood so."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")


class _Sender(threading.Thread):
    """Sends requests on one stream, or one stream each, as the scanner does."""

    def __init__(self, target: str, requests: Sequence[bytes], *, apart: bool) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._streams = [[request] for request in requests] if apart else [requests]
        self._stored = 0
        self.start()

    def run(self) -> None:
        """Send everything."""
        with grpc.insecure_channel(self._target) as channel:
            record = channel.stream_stream(
                _METHOD,
                request_serializer=lambda message: message,
                response_deserializer=RecordEventsResponse.FromString,
            )
            for requests in self._streams:
                free = threading.Semaphore(_WINDOW)
                metadata = (("authorization", f"Bearer {_TOKEN}"),)
                for answer in record(_paced(requests, free), metadata=metadata):
                    free.release()
                    self._stored += list(answer.outcomes).count(answer.OUTCOME_STORED)

    def stored(self) -> int:
        """Wait until everything is sent and return how many events were stored."""
        self.join()
        if self._stored == 0:
            raise SystemExit("nothing was stored")
        return self._stored


def _paced(requests: Iterable[bytes], free: threading.Semaphore) -> Iterator[bytes]:
    for request in requests:
        free.acquire()
        yield request


if __name__ == "__main__":
    main(sys.argv[1:])
