"""One inspection: a disk read in a child process, with limits on whatever it may take."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryFile
from typing import IO, Any

import structlog

from libs.common.config import integer, seconds, setting
from services.inspector.disk.errors import SourceError
from services.inspector.disk.source import BLOCK, MAX_READ, Blocks
from services.inspector.finding import Finding
from services.inspector.outcome import BlocksUnavailable, Cost, Failure, FailureReason, Outcome
from services.inspector.wire import (
    WireError,
    finding_from_json,
    receive_message,
    send_frame,
    send_message,
)

# Told what is being done, and the blocks fetched so far. What it raises ends the inspection.
Progress = Callable[[str, int], None]

_MAX_AT_ONCE = MAX_READ // BLOCK + 1
_STDERR_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class InspectionLimits:
    """What one inspection may take."""

    blocks: int = setting(
        "CLOUDIGRADE_INSPECTION_BLOCKS",
        default="512",
        parse=integer(1, 100_000),
        doc="the blocks of 512 KiB that one inspection may read",
        why="a clean disk takes 4 to 32, its package database up to 192 more; a hostile one must"
        " not cost a whole disk",
    )
    wall_time: timedelta = setting(
        "CLOUDIGRADE_INSPECTION_WALL_TIME",
        default="2m",
        parse=seconds,
        doc="how long one inspection may last",
        why="a clean disk takes seconds, also when AWS throttles; ten minutes is the promise",
    )
    processor_time: timedelta = setting(
        "CLOUDIGRADE_INSPECTION_PROCESSOR_TIME",
        default="60s",
        parse=seconds,
        doc="the processor time that one inspection may use",
        why="a clean disk takes a fraction of a second; a hostile one may lead round in circles",
    )
    memory: int = setting(
        "CLOUDIGRADE_INSPECTION_MEMORY_MIB",
        default="512",
        parse=integer(128, 16_384),
        doc="the memory (address space) in MiB that one inspection may use",
        why="48 MiB of kept blocks and the interpreter take under 150, the largest package"
        " database that is read three times its 96",
    )


def inspect(
    blocks: Blocks, limits: InspectionLimits, progress: Progress, *, packages: bool = False
) -> Outcome:
    """Read a disk and find out what is installed on it.

    With `packages` the package database is read also where nothing makes it necessary.
    Whatever the disk holds and whatever becomes of the child, this returns an outcome in little
    more than the wall time, plus the time of the fetch then in progress.
    """
    started = time.monotonic()
    counted = _Counted(blocks, limits.blocks)
    log = structlog.get_logger()
    with _child(limits) as child:
        dialogue = _Dialogue(child, counted, limits, progress, packages=packages)
        try:
            answer = dialogue.run()
        except BlocksUnavailable as error:
            answer = error.failure
        except SourceError as error:
            answer = Failure(FailureReason.AWS_TROUBLE, str(error), passing=True)
        except TimeoutError:
            answer = Failure(
                FailureReason.LIMIT,
                f"The inspection took more than {limits.wall_time.total_seconds():g} s.",
                passing=True,
            )
        except WireError as error:
            answer = _crashed(child, str(error))
            log.exception("inspection.crashed", stderr=child.stderr_tail())
    elapsed = timedelta(seconds=time.monotonic() - started)
    return Outcome(answer, Cost(counted.blocks, counted.bytes, elapsed=elapsed))


class _Counted:
    """Fetches blocks for a child, and counts what that costs."""

    def __init__(self, blocks: Blocks, limit: int) -> None:
        self.size = blocks.size
        self.blocks = 0
        self.bytes = 0
        self._source = blocks
        self._limit = limit

    def fetch(self, indexes: list[int]) -> list[bytes]:
        last = (self.size - 1) // BLOCK
        if len(indexes) > _MAX_AT_ONCE or not all(0 <= index <= last for index in indexes):
            raise WireError("asked for blocks that there are not")
        if self.blocks + len(indexes) > self._limit + _MAX_AT_ONCE:
            raise WireError("asked for more blocks than it may have")
        found = self._source.fetch(indexes)
        self.blocks += sum(1 for block in found if block)
        self.bytes += sum(len(block) for block in found)
        return found


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    socket: socket.socket
    stderr: IO[bytes]

    def stderr_tail(self) -> str:
        self.stderr.seek(0, os.SEEK_END)
        self.stderr.seek(max(0, self.stderr.tell() - _STDERR_SHOWN))
        return self.stderr.read().decode(errors="replace")


@contextmanager
def _child(limits: InspectionLimits) -> Iterator[_Child]:
    """Start a child that reads one disk; it is gone at the end, in any case."""
    ours, theirs = socket.socketpair()
    with ours, TemporaryFile() as stderr:
        with theirs:
            # Not multiprocessing: that would import the service's own main module again.
            process = subprocess.Popen(  # noqa: S603  # this interpreter, and numbers of ours
                _command(theirs.fileno(), limits),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                # Without what this process was given to act with: credentials above all.
                env={"PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        try:
            yield _Child(process, ours, stderr)
        finally:
            process.kill()
            process.wait()


def _command(descriptor: int, limits: InspectionLimits) -> list[str]:
    processor = max(1, round(limits.processor_time.total_seconds()))
    arguments = [descriptor, limits.memory * 1024 * 1024, processor]
    module = "services.inspector.child"
    # -S: the paths are passed on, and finding them again would take longer than to inspect.
    return [sys.executable, "-S", "-P", "-m", module, *map(str, arguments)]


class _Dialogue:
    """Gives a child its blocks until it has an answer, or the time is over."""

    def __init__(
        self,
        child: _Child,
        blocks: _Counted,
        limits: InspectionLimits,
        progress: Progress,
        *,
        packages: bool,
    ) -> None:
        self._packages = packages
        self._child = child
        self._blocks = blocks
        self._limits = limits
        self._progress = progress
        self._end = time.monotonic() + limits.wall_time.total_seconds()

    def run(self) -> Finding | Failure:
        send_message(
            self._child.socket,
            size=self._blocks.size,
            blocks=self._limits.blocks,
            seconds=self._limits.wall_time.total_seconds(),
            packages=self._packages,
        )
        step = "starting to read"
        while True:
            self._progress(step, self._blocks.blocks)
            self._child.socket.settimeout(self._left())
            message = receive_message(self._child.socket)
            if "fetch" in message:
                self._give(message["fetch"])
            elif "step" in message:
                step = str(message["step"])
            else:
                return _answer(message)

    def _give(self, indexes: Any) -> None:
        if not isinstance(indexes, list) or not all(type(each) is int for each in indexes):
            raise WireError("asked for no blocks")
        for block in self._blocks.fetch(indexes):
            self._child.socket.settimeout(self._left())
            send_frame(self._child.socket, block)

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _answer(message: dict[str, Any]) -> Finding | Failure:
    if "finding" in message:
        return finding_from_json(message["finding"])
    if "limit" in message:
        return Failure(FailureReason.LIMIT, f"The inspection {message['limit']}.")
    if "trouble" in message:
        return Failure(FailureReason.CRASHED, f"The disk was not read: {message['trouble']}.")
    raise WireError(str(message.get("crashed", "sent no answer")))


def _crashed(child: _Child, what: str) -> Failure:
    """Say how a child ended that gave no answer."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        # It has closed its socket or broken the rules: the one is dying, the other will be killed.
        child.process.wait(timeout=1)
    code = child.process.returncode
    if code == -signal.SIGXCPU:
        return Failure(FailureReason.LIMIT, "The inspection used more processor time than it may.")
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return Failure(
            FailureReason.CRASHED, f"The reader of the disk was killed ({name}).", passing=True
        )
    return Failure(FailureReason.CRASHED, f"The reader of the disk failed: {what}.", passing=True)
