"""The scanner as a process."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.common.config import settings_of
from services.scanner.config import ScannerConfig

COMMAND = [sys.executable, "-m", "services.scanner"]


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment without cloudigrade's settings, and with these."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CLOUDIGRADE_")}
    return kept | settings


def test_a_missing_token_stops_the_start_with_one_line() -> None:
    """The line names the variable; the exit status is 2."""
    ended = subprocess.run(
        COMMAND, env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "CLOUDIGRADE_SCANNER_TOKEN must be set" in line


def test_a_scanner_serves_while_accounts_is_away_and_ends_on_sigterm() -> None:
    """It logs JSON, is healthy without accounts, and ends with status 0 when told to."""
    with subprocess.Popen(
        COMMAND,
        env=environment(
            CLOUDIGRADE_SCANNER_TOKEN="a-token-that-must-not-be-logged",
            CLOUDIGRADE_SCANNER_LISTEN="127.0.0.1:0",
            CLOUDIGRADE_ACCOUNTS_TARGET="127.0.0.1:1",
        ),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        logged: list[str] = []
        for line in process.stderr:
            logged.append(line)
            if json.loads(line)["event"] == "server.started":
                break
        with grpc.insecure_channel(f"127.0.0.1:{json.loads(logged[-1])['port']}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # its stub lacks the methods
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        logged += process.stderr
        assert process.wait(timeout=30) == 0
    assert "a-token-that-must-not-be-logged" not in "".join(logged)


def test_every_setting_says_what_it_is_and_why_it_has_its_default() -> None:
    """`cloudigrade config` prints these."""
    settings = settings_of(ScannerConfig, service="scanner")
    assert all(each.doc and each.why for each in settings)
    assert [each.env for each in settings if each.default is None] == ["CLOUDIGRADE_SCANNER_TOKEN"]
