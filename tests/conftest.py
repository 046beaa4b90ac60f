"""Fixtures that tests of several services use; each is written where its subject is."""

import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = [
    "tests.support.accounts",
    "tests.support.brokers",
    "tests.support.inspections",
    "tests.support.local_aws",
    "tests.support.postgres",
    "tests.support.rabbitmq",
]


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Put the process's logging back, which a service that a test starts in it may set up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the very end what this machine could not run, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(str(report.longrepr[2]) for report in skipped)
    terminalreporter.section("NOT RUN ON THIS MACHINE", red=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} tests: {reason}", red=True)
