"""`cloudigrade up`, `down` and `demo`.

The services are imported when they are needed: a command that only asks a question must not load
NumPy and boto3.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.connection import Connections
from cli.exits import CommandError, Exit
from cli.state import StateFolder
from libs.common import logs
from libs.common.config import load
from libs.common.logs import LogConfig

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


def up(
    context: typer.Context,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return as soon as everything is up.")
    ] = False,
) -> None:
    """Run all four services here, with a database and a broker of their own."""
    connections: Connections = context.obj
    state = StateFolder(connections.config.state)
    if detach:
        _start_detached(state)
    else:
        _serve(connections, state)


def down(context: typer.Context) -> None:
    """Stop what `cloudigrade up` started from this folder; its data stays."""
    connections: Connections = context.obj
    state = StateFolder(connections.config.state)
    running = state.running()
    if running is None:
        _say("Nothing is running here.")
        return
    try:
        stopped = state.stop(running, _STOP_SECONDS)
    except PermissionError:
        raise CommandError(
            f"process {running.pid} is another user's: stop it as that user", Exit.NOT_ALLOWED
        ) from None
    if not stopped:
        raise CommandError(f"process {running.pid} has not ended; see {state.log}")
    _say("Stopped.")


def demo(
    context: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running until Ctrl-C (or cloudigrade down).")
    ] = False,
) -> None:
    """Run everything on a local AWS with a small fleet, and print its report."""
    from demo.story import tell  # noqa: PLC0415  # moto's import is slow, and needed here only

    connections: Connections = context.obj
    tell(connections, keep=keep)


def _serve(connections: Connections, state: StateFolder) -> None:
    from cli.embedded import serve_all  # noqa: PLC0415  # see the top
    from libs.common.server import run_until_signal  # noqa: PLC0415  # see the top

    with ExitStack() as stack:
        stack.enter_context(state.held())
        log = stack.enter_context(state.log.open("a", buffering=1))
        logs.configure("cloudigrade", level=load(LogConfig, connections.environ).level, stream=log)
        embedded = serve_all(connections.environ, state.path, connections.clock, stack)
        for name, target in embedded.targets.items():
            _say(f"{name:<10} {target}")
        _say(f"The admin's token is in {connections.config.admin_token_file}, logs in {state.log}.")
        # Last, since `--detach` returns as soon as it reads this.
        state.announce(embedded.targets)
        run_until_signal()
        _say("Stopping ...")


def _start_detached(state: StateFolder) -> None:
    if (running := state.running()) is not None:
        _say(f"It is running already, as process {running.pid}.")
        return
    state.make()
    with (state.path / "up.out").open("w+") as out:
        process = subprocess.Popen(  # this very program
            [sys.executable, "-P", "-m", "cli", "up"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _wait_until_up(state, process)
        out.seek(0)
        _say(out.read().rstrip())
    _say(f"Stop it with: {_program()} down")


def _wait_until_up(state: StateFolder, process: "subprocess.Popen[bytes]") -> None:
    pause = threading.Event()
    deadline = time.monotonic() + _START_SECONDS
    while state.running() is None:
        if process.poll() is not None:
            raise _why_not(state)
        if time.monotonic() > deadline:
            process.terminate()
            raise CommandError(f"it did not start in time; see {state.log}", Exit.TRY_AGAIN)
        pause.wait(0.05)


def _why_not(state: StateFolder) -> CommandError:
    """Return the error with which the process in the background ended."""
    said = (state.path / "up.out").read_text().strip().splitlines()
    try:
        error = json.loads(said[-1])["error"]
        return CommandError(error["message"], Exit(error["exit"]), reason=error["reason"])
    except (IndexError, KeyError, TypeError, ValueError):
        return CommandError(f"it did not start; see {state.log} and {state.path / 'up.out'}")


def _program() -> str:
    """Return how to call this very program from here."""
    beside = Path(sys.executable).with_name("cloudigrade")
    found = shutil.which("cloudigrade")
    return "cloudigrade" if found and Path(found) == beside else os.path.relpath(beside)


def _say(text: str) -> None:
    Console(highlight=False).print(text, markup=False, soft_wrap=True)
