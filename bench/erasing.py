"""Erasing an account with a million events, while another account is written and read.

`python -m bench.erasing`. Beside it: the same calls of the other account with nothing erased. Also
beside it: the same rows deleted by one statement for each table in one transaction.
"""

import argparse
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import grpc
import psycopg2

from bench.event_data import Fleet
from bench.machine import limits
from bench.processes import service_process
from cloudigrade.accounts.v1 import accounts_pb2, accounts_pb2_grpc, runs_pb2, runs_pb2_grpc
from cloudigrade.accounts.v1.events_pb2 import RecordEventsRequest, RecordEventsResponse
from libs.common.clock import SystemClock
from libs.common.embedded_postgres import EmbeddedPostgres
from services.accounts.bootstrap import create_admin
from services.accounts.database import Database
from services.accounts.erasing import ErasureStore
from services.accounts.identity_store import IdentityStore

_RECORD = "/cloudigrade.accounts.v1.EventService/RecordEvents"
_TOKENS = {name: f"{name}-token-for-benchmarks" for name in ("scanner", "inspector", "reports")}
_EVENTS_IN_CALL = 20
_GONE, _OTHER = 1, 2


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser("python -m bench.erasing", description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000, help="of each of two accounts")
    parser.add_argument("--history", type=int, default=100, help="events of each instance")
    parser.add_argument("--seconds", type=float, default=15.0, help="to measure without erasing")
    asked = parser.parse_args(arguments)
    fleet = Fleet(2 * asked.instances, 2, asked.history)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(EmbeddedPostgres(folder / "postgres")).url("accounts")
        database = stack.enter_context(closing(Database(url, pool_size=4)))
        database.migrate()
        admin = create_admin(IdentityStore(database), "bench", SystemClock(), secrets.token_bytes)
        fleet.store(database)
        _vacuum(url)
        environ = {
            **os.environ,
            "CLOUDIGRADE_DATABASE_URL": url,
            "CLOUDIGRADE_LOG_LEVEL": "warning",
            **{f"CLOUDIGRADE_{name.upper()}_TOKEN": token for name, token in _TOKENS.items()},
        }
        service = service_process("accounts", "bench.accounts_process", environ)
        target, _ = stack.enter_context(service)
        channel = stack.enter_context(grpc.insecure_channel(target))
        print(f"this machine: {limits(folder)}")
        print(
            f"erasing: two accounts of {asked.instances * asked.history:,} events,"
            f" {asked.instances * asked.history // 2:,} runs and {asked.instances:,} instances each"
        )
        calls = _Calls(channel, fleet, admin)
        calls.show("nothing erased", lambda: time.sleep(asked.seconds))
        calls.show("one account erased", lambda: _erase(channel, admin, database))
        _all_at_once(database)


def _erase(channel: grpc.Channel, admin: str, database: Database) -> None:
    """Erase an account, and wait until nothing of it is left."""
    store = ErasureStore(database)
    began = time.perf_counter()
    accounts_pb2_grpc.AccountServiceStub(channel).DeleteCloudAccount(
        accounts_pb2.DeleteCloudAccountRequest(id=_GONE, history=accounts_pb2.HISTORY_ERASE),
        metadata=(("authorization", f"Bearer {admin}"),),
    )
    answered = time.perf_counter() - began
    while store.waiting():
        time.sleep(0.05)
    print(
        f"    gone from every answer after {answered * 1e3:.0f} ms;"
        f" every row deleted after {time.perf_counter() - began:.1f} s"
    )


def _all_at_once(database: Database) -> None:
    """Delete the other account's rows in one transaction, as a comparison."""
    tables = ErasureStore(database).tables()
    began = time.perf_counter()
    with database.transaction() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM {table} WHERE account_id = %s", (_OTHER,))  # noqa: S608 # our own names
    print(
        f"    by one transaction, with nothing else going on: {time.perf_counter() - began:.1f} s"
    )


class _Calls:
    """Writes and reads the other account, again and again, and times each call."""

    def __init__(self, channel: grpc.Channel, fleet: Fleet, admin: str) -> None:
        self._record = channel.stream_stream(
            _RECORD,
            request_serializer=RecordEventsRequest.SerializeToString,
            response_deserializer=RecordEventsResponse.FromString,
        )
        self._runs = runs_pb2_grpc.RunServiceStub(channel)
        self._admin = admin
        # Of the accounts' instances in turn, odd ones are the other's.
        events = [each for each in fleet.in_order(200_000) if int(each.account_id) == _OTHER]
        self._requests = iter(
            [
                RecordEventsRequest(sequence=1, events=events[at : at + _EVENTS_IN_CALL])
                for at in range(0, len(events), _EVENTS_IN_CALL)
            ]
        )

    def show(self, name: str, work: Callable[[], None]) -> None:
        """Call for as long as the work takes, and print how long calls took."""
        stop = threading.Event()
        took: dict[str, list[float]] = {"write 20 events": [], "read every run": []}
        threads = [
            threading.Thread(target=self._repeat, args=(call, times, stop, pause))
            for (call, pause), times in zip(
                ((self._write, 0.02), (self._read, 0.5)), took.values(), strict=True
            )
        ]
        print(f"  {name}")
        for thread in threads:
            thread.start()
        work()
        stop.set()
        for thread in threads:
            thread.join()
        for call, times in took.items():
            times.sort()
            print(
                f"    {call:<16} {len(times):5} calls, median {statistics.median(times):7.1f} ms,"
                f" 95% {times[int(len(times) * 0.95)]:7.1f} ms, longest {times[-1]:7.1f} ms"
            )

    @staticmethod
    def _repeat(
        call: Callable[[], None], times: list[float], stop: threading.Event, pause: float
    ) -> None:
        while not stop.wait(pause):
            began = time.perf_counter()
            call()
            times.append((time.perf_counter() - began) * 1e3)

    def _write(self) -> None:
        metadata = (("authorization", f"Bearer {_TOKENS['scanner']}"),)
        (answer,) = self._record(iter([next(self._requests)]), metadata=metadata)
        assert set(answer.outcomes) == {answer.OUTCOME_STORED}

    def _read(self) -> None:
        metadata = (
            ("authorization", f"Bearer {_TOKENS['reports']}"),
            ("x-on-behalf-of", f"Bearer {self._admin}"),
        )
        request = runs_pb2.StreamRunsRequest(account_ids=[_OTHER])
        assert len(list(self._runs.StreamRuns(request, metadata=metadata))) > 1


def _vacuum(url: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main()
