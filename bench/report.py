"""The report path: a year by day by distribution, through gRPC, beside the same sums in SQL.

`python -m bench.report --runs 1000000`. accounts and reports run as processes of their own, on a
PostgreSQL of their own; the runs are written straight into accounts' table.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from bench.report_data import DATABASE, fill
from bench.report_sql import baselines
from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc
from libs.common import logs
from libs.common.clock import SystemClock
from libs.common.embedded_postgres import EmbeddedPostgres
from libs.common.timestamps import from_timestamp
from services.accounts.bootstrap import create_admin
from services.accounts.database import Database
from services.accounts.identity_store import IdentityStore

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
ZONE = "UTC"  # of which the SQL beside it makes days as well
_SECRETS = {name: f"{name}-token-for-benchmarks" for name in ("scanner", "inspector", "reports")}
_SECONDS_TO_START = 60.0
_SECONDS_TO_ANSWER = 600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one report cost: seconds, and processor seconds of reports."""

    wall: float
    processor: float
    rows: int
    size: int


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser("python -m bench.report", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many runs there are")
    parser.add_argument("--sql-runs", type=int, default=100_000, help="how many the SQL adds up")
    parser.add_argument("--times", type=int, default=3, help="how often each is measured")
    asked = parser.parse_args(arguments)
    logs.configure("bench", level="warning")
    print(
        "report: a year by day by distribution, ten runs of each instance"
        f" (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors)"
    )
    for runs in sorted({asked.runs, asked.sql_runs}):
        with ExitStack() as stack:
            bench = _Bench(stack, runs)
            best = bench.reports(asked.times)
            if runs == asked.sql_runs:
                bench.beside_sql(best)


class _Bench:
    """A database of so many runs, and accounts in front of it."""

    def __init__(self, stack: ExitStack, runs: int) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._url = stack.enter_context(EmbeddedPostgres(folder / "postgres")).url(DATABASE)
        self._answer = reports_pb2.GetRuntimeResponse()
        began = time.perf_counter()
        with closing(Database(self._url, pool_size=2)) as database:
            database.migrate()
            self._token = create_admin(
                IdentityStore(database), "bench", SystemClock(), lambda size: b"b" * size
            )
            fill(database, runs, START, END)
        print(f"  {runs:,} runs stored in {time.perf_counter() - began:.1f} s")
        self._environ = {
            **os.environ,
            "CLOUDIGRADE_DATABASE_URL": self._url,
            "CLOUDIGRADE_LOG_LEVEL": "warning",
            **{f"CLOUDIGRADE_{name.upper()}_TOKEN": token for name, token in _SECRETS.items()},
        }
        accounts = _process("accounts", "bench.accounts_process", self._environ)
        self._environ["CLOUDIGRADE_ACCOUNTS_TARGET"], _ = stack.enter_context(accounts)

    def reports(self, times: int) -> float:
        """Measure reports cold, warm and recomputed; return the best cold time."""
        ended, going_on = (START, END), (START, datetime.now(UTC) + timedelta(days=1))
        cold, warm, again = [], [], []
        most = 0
        for _ in range(times):
            with _process("reports", "services.reports", self._environ) as (target, process):
                cold.append(self._ask(target, process, *ended))
                warm += [self._ask(target, process, *ended) for _ in range(3)]
                self._ask(target, process, *going_on)
                again += [self._ask(target, process, *going_on) for _ in range(3)]
                most = max(most, _most_memory(process))
        _line("cold: the first report after a start", cold)
        _line("warm: nothing changed", warm)
        _line("recomputed: a window that reaches now", again)
        print(f"    most memory of reports: {most / 2**20:.0f} MiB")
        return min(cost.wall for cost in cold)

    def beside_sql(self, best: float) -> None:
        """Measure the same sums in SQL."""
        for sql in baselines(self._url, START, END):
            same = [row[:5] + row[6:] for row in sql.rows] == _comparable(self._answer)
            print(
                f"    {sql.name:<42} {sql.seconds:7.3f} s, {sql.seconds / best:.1f} times the cold"
                f" report; {'the same numbers' if same else 'OTHER NUMBERS'}"
            )

    def _ask(self, target: str, process: int, start: datetime, end: datetime) -> Cost:
        request = reports_pb2.GetRuntimeRequest(
            start_time=start,
            end_time=end,
            time_zone=ZONE,
            bucket=reports_pb2.BUCKET_DAY,
            group_by=[reports_pb2.DIMENSION_DISTRIBUTION],
        )
        metadata = (("authorization", f"Bearer {self._token}"),)
        with grpc.insecure_channel(target) as channel:
            grpc.channel_ready_future(channel).result(_SECONDS_TO_START)
            stub = reports_pb2_grpc.ReportServiceStub(channel)
            used, began = _processor_seconds(process), time.perf_counter()
            answer = stub.GetRuntime(request, metadata=metadata, timeout=_SECONDS_TO_ANSWER)
            wall = time.perf_counter() - began
        if end == END:
            self._answer = answer
        return Cost(wall, _processor_seconds(process) - used, len(answer.rows), answer.ByteSize())


def _comparable(answer: reports_pb2.GetRuntimeResponse) -> list[tuple[int | str, ...]]:
    """Return what the SQL says, rows of zeros left out as there."""
    return [
        (
            from_timestamp(row.start_time),
            row.group[0].value,
            _micros(measures.runtime),
            _micros(measures.unconfirmed),
            _micros(measures.vcpu_time),
            measures.instances,
            measures.images,
        )
        for row in answer.rows
        if (measures := row.measures).instances
    ]


def _micros(span: reports_pb2.UsageTime) -> int:
    return span.seconds * 1_000_000 + span.nanos // 1000


def _line(name: str, costs: Sequence[Cost]) -> None:
    wall = sorted(cost.wall for cost in costs)
    best = min(costs, key=lambda cost: cost.wall)
    print(
        f"    {name:<42} {wall[0]:7.3f} s best, {wall[len(wall) // 2]:.3f} s median,"
        f" {best.processor:.2f} s of processor, {best.rows:,} rows"
    )


@contextmanager
def _process(name: str, module: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Run a service; give where it answers and its process."""
    target = f"127.0.0.1:{_free_port()}"
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env={**environ, f"CLOUDIGRADE_{name.upper()}_LISTEN": target},
    )
    try:
        _wait_for(target, process)
        yield target, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(target: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _SECONDS_TO_START
    with grpc.insecure_channel(target) as channel:
        ready = grpc.channel_ready_future(channel)
        while process.poll() is None and time.monotonic() < end:
            with suppress(grpc.FutureTimeoutError):
                ready.result(timeout=0.2)
                return
    raise SystemExit(f"no service came up at {target}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _most_memory(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
