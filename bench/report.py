"""The report path: a year by day by distribution, through gRPC, beside the same sums in SQL.

`python -m bench.report --runs 1000000`. accounts and reports run as processes of their own, on a
PostgreSQL of their own; the runs are written straight into accounts' table.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psycopg2

from cloudigrade.accounts.v1 import accounts_pb2, accounts_pb2_grpc, schedule_pb2, schedule_pb2_grpc
from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc
from libs.common.clock import SystemClock
from libs.common.embedded_postgres import EmbeddedPostgres
from libs.common.instants import to_micros
from services.accounts.bootstrap import create_admin
from services.accounts.classification import Installed
from services.accounts.classification_store import reclassify
from services.accounts.database import Database
from services.accounts.identity_store import IdentityStore

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
ZONE = "Europe/Berlin"
DISTRIBUTIONS = (
    ("rhel", "9.4"),
    ("rhel", "8.10"),
    ("centos", "7"),
    ("rocky", "9.3"),
    ("almalinux", "9.4"),
    ("ol", "9.4"),
    ("fedora", "40"),
    ("amzn", "2023"),
    ("ubuntu", "24.04"),
    ("debian", "12"),
    ("sles", "15.5"),
    ("unknown", ""),
)
IMAGES = 600
RUNS_OF_AN_INSTANCE = 10
_TOKENS = {name: f"{name}-token-for-benchmarks" for name in ("scanner", "inspector", "reports")}
_START_SECONDS = 60.0


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser("python -m bench.report", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--baseline-runs", type=int, default=100_000)
    parser.add_argument("--cold", type=int, default=3, help="how often to measure a fresh start")
    asked = parser.parse_args(arguments)
    print(f"report: a year by day by distribution, {asked.runs:,} runs,", end=" ")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with ExitStack() as stack:
        _measure(asked, stack)


def _measure(asked: argparse.Namespace, stack: ExitStack) -> None:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
    url = postgres.url("cloudigrade")
    environ = {
        "CLOUDIGRADE_DATABASE_URL": url,
        "CLOUDIGRADE_LOG_LEVEL": "warning",
        **{f"CLOUDIGRADE_{name.upper()}_TOKEN": token for name, token in _TOKENS.items()},
    }
