"""What a running `cloudigrade up` leaves in its state folder, so that others find and stop it."""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from libs.common.config import StartError

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves, and where."""

    pid: int
    targets: Mapping[str, str]


class InUse(StartError):
    """Another process serves from the folder."""


class StateFolder:
    """The folder of one `cloudigrade up`; locked by it for as long as it lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / "up.json"

    @property
    def log(self) -> Path:
        """Where the services log to."""
        return self.path / "cloudigrade.log"

    def make(self) -> None:
        """Make the folder unless it is there; StartError when it cannot be written to."""
        try:
            # Each by itself: `parents` would leave those above open to everybody.
            for folder in (*reversed(self.path.parents), self.path):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._file.open("a").close()
        except OSError as error:
            raise StartError(
                f"{self.path} cannot be written to ({error.strerror}):"
                " name another folder in CLOUDIGRADE_STATE"
            ) from None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder; InUse when a living process does, StartError when it is no use."""
        self.make()
        with self._file.open("a+") as file:
            if not _locked(file.fileno()):
                raise InUse(
                    f"it is running already, with its state in {self.path} (cloudigrade down)"
                )
            file.truncate(0)
            try:
                yield
            finally:
                file.truncate(0)

    def announce(self, targets: Mapping[str, str]) -> None:
        """Say that everything is up; only while the folder is held."""
        self._file.write_text(json.dumps({"pid": os.getpid(), "targets": dict(targets)}))

    def running(self) -> Running | None:
        """Return the process that holds the folder and has announced itself."""
        try:
            with self._file.open() as file:
                if _free(file.fileno()):
                    return None
                content = file.read()
        except OSError:
            return None
        if not content:
            return None
        said = json.loads(content)
        return Running(said["pid"], said["targets"])

    def stop(self, running: Running, patience: float) -> bool:
        """Ask the process to end, wait until it has; return whether it did within seconds."""
        deadline = time.monotonic() + patience
        with contextlib.ExitStack() as stack:
            process = _watched(running.pid, stack)
            os.kill(running.pid, signal.SIGTERM)
            pause = threading.Event()
            while time.monotonic() < deadline:
                with self._file.open() as file:
                    free = _free(file.fileno())
                if free:
                    _await_end(process, deadline)
                    return True
                pause.wait(_POLL_SECONDS)
        return False


def _watched(pid: int, stack: contextlib.ExitStack) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def _await_end(process: int | None, deadline: float) -> None:
    """Wait for what a process still does after it has let go of the folder."""
    if process is not None:
        select.select([process], [], [], max(0.0, deadline - time.monotonic()))


def _locked(descriptor: int) -> bool:
    # Whoever merely looks (`_free`) holds the lock for a moment too.
    pause = threading.Event()
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(_POLL_SECONDS)
        else:
            return True
    return False


def _free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
