"""`cloudigrade up` and `down` as an operator types them, and the command on a terminal."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

BIN = Path(sys.executable).parent
SECONDS = 90.0


def environment(folder: Path) -> dict[str, str]:
    """Return what leads the command to a folder of its own, and to free ports."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("CLOUDIGRADE")}
    ports = {f"CLOUDIGRADE_{name}_LISTEN": "127.0.0.1:0" for name in ("ACCOUNTS", "SCANNER")}
    ports |= {f"CLOUDIGRADE_{name}_LISTEN": "127.0.0.1:0" for name in ("INSPECTOR", "REPORTS")}
    return {**kept, **ports, "CLOUDIGRADE_STATE": str(folder / "state"), "TERM": "dumb"}


def cloudigrade(
    folder: Path, *arguments: str, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a folder."""
    return subprocess.run(
        [BIN / "cloudigrade", *arguments],
        cwd=folder,
        env={**environment(folder), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder from which all services run in the background; in the end `down` stops them."""
    folder = tmp_path_factory.mktemp("served")
    started = cloudigrade(folder, "up", "--detach")
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines()[-1].endswith(" down")
    yield folder
    process = pid(folder)
    stopped = cloudigrade(folder, "down")
    assert (stopped.returncode, stopped.stdout) == (0, "Stopped.\n")
    assert ended(process)


def pid(folder: Path) -> int:
    """Return the process that serves from a folder."""
    said: dict[str, int] = json.loads((folder / "state/up.json").read_text())
    return said["pid"]


def ended(process: int) -> bool:
    """Return whether a process has ended, even if nobody has taken note of it."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


def test_what_runs_is_found_wherever_it_listens(served: Path) -> None:
    """Commands in the folder need neither addresses nor a token, which is the owner's alone."""
    assert json.loads(cloudigrade(served, "token", "list").stdout)["userId"] == "1"
    assert (served / "state/admin.token").stat().st_mode & 0o077 == 0


def test_up_twice_says_so(served: Path) -> None:
    """In the background that is no error; in the foreground it is status 5."""
    again = cloudigrade(served, "up", "--detach")
    assert (again.returncode, "running already" in again.stdout) == (0, True)
    refused = cloudigrade(served, "up")
    assert (refused.returncode, json.loads(refused.stderr)["error"]["exit"]) == (5, 5)


def test_after_a_kill_up_brings_the_data_back(served: Path) -> None:
    """After kill -9 the next `up` has every user again."""
    name = f"user-{uuid4()}"
    assert cloudigrade(served, "user", "create", name).returncode == 0
    os.kill(pid(served), signal.SIGKILL)
    assert cloudigrade(served, "up", "--detach").returncode == 0
    assert f'"{name}"' in cloudigrade(served, "user", "list").stdout


def test_down_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    """It says that nothing runs."""
    idle = cloudigrade(tmp_path, "down")
    assert (idle.returncode, idle.stdout) == (0, "Nothing is running here.\n")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """Another program on the port: one sentence with the variable that moves it, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = cloudigrade(tmp_path, "up", "--detach", CLOUDIGRADE_ACCOUNTS_LISTEN=address)
    assert done.returncode == 1
    message = json.loads(done.stderr)["error"]["message"]
    assert address in message
    assert "CLOUDIGRADE_ACCOUNTS_LISTEN" in message


@pytest.mark.parametrize("words", [["up", "--detach"], ["demo"]], ids=" ".join)
def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path, words: list[str]) -> None:
    """A file in its place: one sentence that names it and the variable."""
    (tmp_path / "file").touch()
    done = cloudigrade(tmp_path, *words, CLOUDIGRADE_STATE=str(tmp_path / "file"))
    assert done.returncode == 1
    message = json.loads(done.stderr)["error"]["message"]
    assert str(tmp_path / "file") in message
    assert "CLOUDIGRADE_STATE" in message


def test_ctrl_c_stops_up(tmp_path: Path) -> None:
    """SIGINT ends it without a word once its database is stopped; 130 while it still starts."""
    process = subprocess.Popen(
        [BIN / "cloudigrade", "up"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "admin's token" not in (line := process.stdout.readline()):
        assert line, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode in {0, 130}, errors) == (True, "")
    assert not (tmp_path / "state/postgres/data/postmaster.pid").exists()


def typed(folder: Path, arguments: list[str], *answers: str) -> tuple[int, str]:
    """Run the command on a terminal, type the answers, return its status and what was shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(BIN / "cloudigrade", ["cloudigrade", *arguments], environment(folder))  # noqa: S606  # no shell is wanted
    os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
    shown, deadline = b"", time.monotonic() + SECONDS
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not more:
            break
        shown += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_on_a_terminal_names_are_asked_for_and_errors_are_sentences(
    served: Path,
) -> None:
    """`user create` asks; tables instead of JSON; an error is a line without JSON."""
    status, shown = typed(served, ["user", "create"], "robin")
    assert (status, "Name of the user" in shown, "{" in shown) == (0, True, False)
    assert [line.split()[1:3] for line in shown.splitlines()][-1] == ["robin", "member"]
    status, shown = typed(served, ["account", "show", "77"])
    assert status == 3
    assert shown.startswith("cloudigrade: There is no cloud account 77")
