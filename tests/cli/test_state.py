"""How `up` and `down` find one another."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.state import StateFolder
from libs.common.config import StartError

HOLD = """
import sys, signal, threading
from pathlib import Path
from cli.state import StateFolder
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
state = StateFolder(Path(sys.argv[1]))
with state.held():
    state.announce({"accounts": "127.0.0.1:50051"})
    print("held", flush=True)
    told.wait()
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    """Start a process that holds the folder until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_running_process_is_found_and_stopped(tmp_path: Path) -> None:
    """Another process sees who holds the folder and where it serves, and can end it."""
    process = holder(tmp_path)
    state = StateFolder(tmp_path)
    running = state.running()
    assert running is not None
    assert (running.pid, running.targets) == (process.pid, {"accounts": "127.0.0.1:50051"})
    assert state.stop(running, patience=30)
    assert state.running() is None
    assert process.wait(10) == 0
    process.communicate()


def test_a_folder_is_held_once(tmp_path: Path) -> None:
    """A second `up` on the folder is refused with one line."""
    process = holder(tmp_path)
    try:
        with pytest.raises(StartError, match="running already"), StateFolder(tmp_path).held():
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_killed_process_leaves_the_folder_free(tmp_path: Path) -> None:
    """After kill -9 nothing is said to be running, and the next `up` may start."""
    process = holder(tmp_path)
    process.kill()
    process.communicate()
    state = StateFolder(tmp_path)
    assert state.running() is None
    with state.held():
        state.announce({})
        assert state.running() is not None


def test_a_folder_that_was_never_used_runs_nothing(tmp_path: Path) -> None:
    """`down` in a fresh checkout has nothing to stop."""
    assert StateFolder(tmp_path / "absent").running() is None
