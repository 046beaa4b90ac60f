"""`cloudigrade demo`, as a new user runs it, with the commands that it shows at its end."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_LINE_BEFORE_WAITING = "It runs until you press Ctrl-C, or elsewhere: "


@dataclass(frozen=True, slots=True)
class Kept:
    """A demo that was left running, and what it said."""

    process: "subprocess.Popen[str]"
    said: str
    folder: Path

    def command(self, word: str) -> str:
        """Return the shell lines shown under the heading that has the word."""
        [block] = [part for part in self.said.split("\n\n") if word in part.partition("\n")[0]]
        return block.partition("\n")[2]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Run `cloudigrade demo --keep` in a folder of its own, until it waits; then stop it."""
    folder = tmp_path_factory.mktemp("demo")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CLOUDIGRADE")}
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "demo", "--keep"],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if _LINE_BEFORE_WAITING in line:
            break
    else:
        pytest.fail(f"the demo ended early:\n{''.join(lines)}{process.communicate()[1]}")
    yield Kept(process, "".join(lines), folder)
    # As it says that it is stopped.
    subprocess.run(
        ["sh", "-ec", lines[-1].partition(_LINE_BEFORE_WAITING)[2]],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    process.communicate(timeout=60)
    assert process.returncode == 0


def runtimes(report: dict[str, Any]) -> dict[str, int]:
    """Give the seconds of each distribution in a report's JSON."""
    return {
        row["group"][0]["value"]: int(row["measures"]["runtime"]["seconds"])
        for row in report["rows"]
    }


def shell(kept: Kept, commands: str) -> dict[str, Any]:
    """Run shown commands in the folder where the demo runs."""
    done = subprocess.run(
        ["sh", "-ec", commands],
        cwd=kept.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_demo_ends_with_a_report_that_is_right_to_the_second(kept: Kept) -> None:
    """The table has nine rows and the total, and the fleet's own log agrees with it."""
    rows = re.findall(r"^ ?([a-z]+) +(\d+:\d\d:\d\d) ", kept.said, re.MULTILINE)
    assert {name for name, _ in rows} == {
        "almalinux", "amzn", "centos", "debian", "ol", "rhel", "rocky", "total", "ubuntu",
        "unknown",
    }  # fmt: skip
    assert "To the second what was done to the fleet." in kept.said


def test_its_command_line_gives_the_same_report(kept: Kept) -> None:
    """The shown `cloudigrade report` prints the table's numbers."""
    found = runtimes(shell(kept, kept.command("by the command line")))
    assert len(found) == 9
    for name, seconds in found.items():
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        assert re.search(rf"^ ?{name} +{clock} ", kept.said, re.MULTILINE)


def test_its_grpcurl_gives_the_same_report(kept: Kept) -> None:
    """The shown grpcurl command answers as the command line does."""
    by_command_line = runtimes(shell(kept, kept.command("by the command line")))
    assert runtimes(shell(kept, kept.command("with grpcurl"))) == by_command_line


def test_progress_is_told_in_plain_lines_when_piped(kept: Kept) -> None:
    """Each step is a line with its seconds, and nothing moves the cursor."""
    assert "\x1b" not in kept.said
    steps = re.findall(r"^ *\d+\.\d s  (.+)$", kept.said, re.MULTILINE)
    assert len(steps) == 9


def test_a_second_demo_says_that_one_is_running(kept: Kept) -> None:
    """The state folder belongs to one at a time, and the message says what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "demo"],
        cwd=kept.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "running already" in done.stderr
