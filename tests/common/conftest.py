"""Fixtures of the tests of libs/common."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from libs.common.channels import open_channel
from tests.support.logs import Lines, recorded_logs
from tests.support.probe import ProbeStub, probe_server


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Record what is logged during the test."""
    with recorded_logs() as recorded:
        yield recorded


@pytest.fixture
def call(lines: Lines) -> Iterator[Callable[..., ProbeStub]]:
    """Start a probe server when called, and give a stub that calls it as ada unless told."""
    with ExitStack() as stack:

        def start(
            servicer: Any = None, *, token: str | None = "ada-token", **options: Any
        ) -> ProbeStub:
            server = stack.enter_context(probe_server(servicer, **options))
            channel = stack.enter_context(open_channel(f"127.0.0.1:{server.port}", token=token))
            return ProbeStub(channel)

        yield start
