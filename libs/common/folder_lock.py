"""A lock on a folder that lasts as long as any process that inherited it lives."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.05
_OWNER_SECONDS = 1.0  # an owner that was just killed may seem alive for a moment


class FolderLockedError(RuntimeError):
    """The folder cannot be had; the text says who has it, or why it cannot be used."""


@contextlib.contextmanager
def locked_folder(folder: Path, patience: float) -> Iterator[int]:
    """Make the folder if need be, lock it, and give the lock's descriptor.

    A child that inherits the descriptor keeps the lock after this context has ended, until the
    child ends. While the process that took the lock lives, others are refused within a second;
    when only its children are left, they are waited for `patience` seconds. Raises
    FolderLockedError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderLockedError(
            f"The folder {folder} cannot be used: {error.strerror}. Name a folder of your own."
        ) from error
    try:
        _lock(descriptor, folder, patience)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, patience: float) -> None:
    begin = time.monotonic()
    pause = threading.Event()
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        owner = os.pread(descriptor, 32, 0).decode()
        waited = time.monotonic() - begin
        if owner != str(os.getpid()) and waited > _OWNER_SECONDS and _alive(owner):
            raise FolderLockedError(
                f"The folder {folder} is in use by process {owner}. "
                "Stop that one first, or name another folder."
            )
        if waited > patience:
            raise FolderLockedError(
                f"Programs started by process {owner} still use the folder {folder}, though it "
                "has ended or given the folder up. Stop them, or name another folder."
            )
        pause.wait(_POLL_SECONDS)


def _alive(pid: str) -> bool:
    """Say whether a process runs; one that is dead and not yet reaped by its parent does not."""
    try:
        os.kill(int(pid), 0)
        state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except (PermissionError, FileNotFoundError):
        return True  # somebody else's, or no /proc to ask
    except (ValueError, ProcessLookupError):
        return False
    return state != "Z"
