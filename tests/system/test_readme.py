"""README's own commands, as printed, against all four services."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.exits import Exit
from tests.support.embedded import System, embedded_system

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PORTS = {"accounts": "50051", "scanner": "50052", "inspector": "50053", "reports": "50054"}


def console(heading: str) -> list[str]:
    """Return the commands of the first console block under a heading, in their order."""
    section = (ROOT / "README.md").read_text().split(f"{heading}\n", 1)[1]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None, heading
    return [command.rstrip() for command in re.split(r"^\s*\$ ", block[1], flags=re.MULTILINE)[1:]]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run all four services; the state folder is where README has it."""
    folder = tmp_path_factory.mktemp("readme")
    with embedded_system(folder / ".cloudigrade", {}) as running:
        yield running


def typed(system: System, folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run what README prints in a shell, with the ports that the services really have."""
    for name, port in PORTS.items():
        script = script.replace(f"127.0.0.1:{port}", system.targets[name])
    (folder / ".cloudigrade").mkdir(exist_ok=True)
    (folder / ".cloudigrade/admin.token").write_text(system.token)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_grpcurl_lines_work_as_printed(system: System, tmp_path: Path) -> None:
    """They register, are told that the account must be proved first, and give a report."""
    if not (BIN / "grpcurl").exists():
        pytest.skip("grpcurl is not installed: its package has x86-64 Linux programs only")
    token, create, verify, scan, report = console("### The same with grpcurl")
    made = typed(system, tmp_path, f"{token}\n{create}")
    assert '"externalId"' in made.stdout, made.stderr
    verified = typed(system, tmp_path, f"{token}\n{verify}")
    assert '"detail"' in verified.stdout, verified.stderr
    scanned = typed(system, tmp_path, f"{token}\n{scan}")
    assert "Verify or enable it first" in scanned.stderr
    reported = typed(system, tmp_path, f"{token}\n{report}")
    assert '"totals"' in reported.stdout, reported.stderr


def test_every_make_target_and_command_that_readme_names_exists() -> None:
    """`make x` is in the Makefile, and `cloudigrade x` is a command."""
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text))
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    assert {each for each in targets if f"\n{each}:" not in makefile} == set()
    used = set(re.findall(r"^\s*\$ cloudigrade ((?:[a-z]+ )?[a-z]+)", text, re.MULTILINE))
    assert used >= {"account add", "account verify"}
    for words in used:
        shown = subprocess.run(
            [BIN / "cloudigrade", *words.split(), "--help"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert shown.returncode == 0, words


def test_the_exit_statuses_are_those_of_the_command() -> None:
    """README's table has each status of the command, and no other."""
    table = re.findall(r"^\| ([0-9]) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [int(number) for number in table] == [int(each) for each in Exit]
