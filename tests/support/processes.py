"""The four services as four processes, over a PostgreSQL and a RabbitMQ by URL."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import IO

from tests.support.embedded import SERVICE_TOKENS, System

START_SECONDS = 60.0


class ServiceProcess:
    """`python -m services.<name>`, known to serve; its log is kept."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        """Start it, and wait until it says where it serves."""
        self.name = name
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"],
            env=dict(environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        ports: Queue[int] = Queue()
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr, ports))
        self._reader.start()
        try:
            self.target = f"127.0.0.1:{ports.get(timeout=START_SECONDS)}"
        except Empty:
            self.stop()
            raise AssertionError(f"{name} did not start: {''.join(self.log)}") from None

    def stop(self) -> int:
        """Ask it to end, and return its exit status once it has."""
        self._process.terminate()
        return self._ended()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._ended()

    def _ended(self) -> int:
        status = self._process.wait(START_SECONDS)
        self._reader.join()
        return status

    def _read(self, stream: IO[str], ports: "Queue[int]") -> None:
        with stream:
            for line in stream:
                self.log.append(line)
                if '"server.started"' in line:
                    ports.put(json.loads(line)["port"])


@contextmanager
def four_processes(
    database_url: str, broker_url: str, environ: Mapping[str, str], folder: Path
) -> Iterator[System]:
    """Run all four services until the context ends; each ends well when it is asked to."""
    settings = {
        **{key: value for key, value in os.environ.items() if not key.startswith("CLOUDIGRADE_")},
        **SERVICE_TOKENS,
        **environ,
        "CLOUDIGRADE_DATABASE_URL": database_url,
        "CLOUDIGRADE_BROKER_URL": broker_url,
        **{
            f"CLOUDIGRADE_{name}_LISTEN": "127.0.0.1:0"
            for name in ("ACCOUNTS", "SCANNER", "INSPECTOR", "REPORTS")
        },
    }
    made = subprocess.run(
        [sys.executable, "-m", "services.accounts", "create-admin", "ada"],
        env=settings,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    targets: dict[str, str] = {}
    statuses: dict[str, int] = {}
    with ExitStack() as stack:
        for name in ("accounts", "scanner", "inspector", "reports"):
            process = ServiceProcess(name, settings)
            stack.callback(_stop, process, statuses)
            targets[name] = process.target
            settings[f"CLOUDIGRADE_{name.upper()}_TARGET"] = process.target
        yield System(targets, made.stdout.strip())
    assert set(statuses.values()) == {0}, statuses


def _stop(process: ServiceProcess, statuses: dict[str, int]) -> None:
    statuses[process.name] = process.stop()
