"""Fixtures that tests of several services use; each is written where its subject is."""

from collections import Counter

import pytest

pytest_plugins = [
    "tests.support.accounts",
    "tests.support.brokers",
    "tests.support.inspections",
    "tests.support.local_aws",
    "tests.support.postgres",
    "tests.support.rabbitmq",
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the very end what this machine could not run, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(str(report.longrepr[2]) for report in skipped)
    terminalreporter.section("NOT RUN ON THIS MACHINE", red=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} tests: {reason}", red=True)
