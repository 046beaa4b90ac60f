"""Services as processes of their own, and what they cost."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

_SECONDS_TO_START = 60.0


@contextmanager
def service_process(
    name: str, module: str, environ: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    """Run a service; give where it answers and its process id."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        target = f"127.0.0.1:{probe.getsockname()[1]}"
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


def processor_seconds(processes: Iterable[int]) -> float:
    """Return the processor time that processes have used; those that ended count for nothing."""
    ticks = 0
    for process in processes:
        with suppress(FileNotFoundError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _wait_for(target: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _SECONDS_TO_START
    with grpc.insecure_channel(target) as channel:
        ready = grpc.channel_ready_future(channel)
        while process.poll() is None and time.monotonic() < end:
            with suppress(grpc.FutureTimeoutError):
                ready.result(timeout=0.2)
                return
    raise SystemExit(f"no service came up at {target}")
