"""The embedded PostgreSQL: any user, any path, any death."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from libs.common import embedded_postgres, postgres_host
from libs.common.embedded_postgres import (
    UNSAFE_SETTINGS,
    EmbeddedPostgres,
    EmbeddedPostgresError,
)

ROOT = os.geteuid() == 0
CHECKOUT = Path(__file__).parents[2]
HOLD = """
import sys, threading
from pathlib import Path
from libs.common.embedded_postgres import UNSAFE_SETTINGS, EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), UNSAFE_SETTINGS) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name a data folder; pytest makes the folders above it for their owner only (mode 700)."""
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    return tmp_path / "postgres"


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement in a transaction of its own and give its rows."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def gone(pid: int, seconds: float = 20) -> bool:
    """Wait until a process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        threading.Event().wait(0.02)
    return False


@contextlib.contextmanager
def holder(folder: Path, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that runs a server on the folder, and the server's process id."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline() or 0)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_data_survives_a_clean_stop(folder: Path) -> None:
    """What was committed before a stop is there after the next start."""
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        query(server.url("kept"), "CREATE TABLE fact AS SELECT 7 AS number")
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        assert query(server.url("kept"), "SELECT number FROM fact") == [(7,)]


def test_a_killed_server_starts_again_under_its_url(folder: Path) -> None:
    """After SIGKILL of the server the same object starts it again; commits and URL are kept."""
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        url = server.url("kept")
        query(url, "CREATE TABLE fact AS SELECT 7 AS number")
        server.kill()
        assert not server.running
        with pytest.raises(psycopg2.OperationalError):
            query(url, "SELECT 1")
        server.start()
        assert query(url, "SELECT number FROM fact") == [(7,)]


def test_a_killed_owner_takes_its_server_along(folder: Path) -> None:
    """After SIGKILL of the owner the server ends by itself, and the folder can be used at once."""
    with holder(folder) as (owner, server_pid):
        owner.kill()
        sockets = Path((folder / "sockets").read_text())
        with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
            assert gone(server_pid)
            assert not sockets.exists()
            assert query(server.url(), "SELECT 1") == [(1,)]


def test_a_folder_serves_one_process(folder: Path) -> None:
    """A second process is told who uses the folder."""
    with (
        holder(folder) as (owner, _),
        pytest.raises(EmbeddedPostgresError, match=f"in use by process {owner.pid}"),
    ):
        EmbeddedPostgres(folder, UNSAFE_SETTINGS).start()


def test_a_stale_pid_file_is_no_obstacle(folder: Path) -> None:
    """A pid file left by a crash whose number now belongs to another program stops nothing."""
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        left = (folder / "data" / "postmaster.pid").read_text().splitlines()
        server.kill()
        with holder(folder.with_name("other")) as (other, _):
            pid_file = folder / "data" / "postmaster.pid"
            pid_file.write_text("\n".join([str(other.pid), *left[1:]]) + "\n")
            server.start()
            assert query(server.url(), "SELECT 1") == [(1,)]


def test_a_path_longer_than_a_socket_may_have_serves(tmp_path: Path) -> None:
    """A data folder of more than 107 bytes works, since the socket stands elsewhere."""
    folder = tmp_path / ("long" * 40) / "postgres"
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        assert query(server.url(), "SELECT 1") == [(1,)]


def test_nobody_else_reaches_the_socket(folder: Path) -> None:
    """The server listens on no network, and on a socket in a folder of mode 700."""
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        url = server.url()
        assert query(url, "SHOW listen_addresses") == [("",)]
        sockets = Path(url.partition("host=")[2])
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()


def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    """A cluster that was being made when the power went is made again."""
    half_made = folder / "data.unfinished"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        assert query(server.url(), "SELECT 1") == [(1,)]
    assert not half_made.exists()


def test_data_of_another_version_is_refused(folder: Path) -> None:
    """A cluster made by PostgreSQL 16 is named as such and left as it is."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="was made by PostgreSQL 16"):
        EmbeddedPostgres(folder, UNSAFE_SETTINGS).start()


def test_a_bad_setting_is_reported_with_the_log(folder: Path) -> None:
    """When the server refuses to start, the error shows what it said, and its sockets are gone."""
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        EmbeddedPostgres(folder, {**UNSAFE_SETTINGS, "no_such_setting": "1"}).__enter__()


@pytest.mark.skipif(not ROOT, reason="only root needs another identity")
def test_root_needs_neither_namespaces_nor_other_users_permissions(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where namespaces are forbidden (containers), programs and data under mode 700 are reached."""
    installed = postgres_host.programs().parents[1]
    for package in (installed, installed.with_name(f"{installed.name}.libs")):
        shutil.copytree(package, tmp_path / package.name, copy_function=link)
    programs = tmp_path / installed.name / "pginstall18" / "bin"
    monkeypatch.setattr(embedded_postgres, "programs", lambda: programs)
    stub = tmp_path / "bin" / "unshare"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}:{os.environ['PATH']}")
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        query(server.url("kept"), "CREATE TABLE fact AS SELECT 7 AS number")
    assert (folder / "data").stat().st_uid != 0
    stub.unlink()
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        assert (folder / "data").stat().st_uid == 0
        assert query(server.url("kept"), "SELECT number FROM fact") == [(7,)]


@pytest.mark.skipif(not ROOT, reason="only root needs another identity")
def test_root_without_means_is_told_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without unshare and setpriv the error names both ways out."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(EmbeddedPostgresError, match=r"ordinary user .* CLOUDIGRADE_DATABASE_URL"):
        EmbeddedPostgres(folder, UNSAFE_SETTINGS).start()


@pytest.mark.skipif(not ROOT, reason="only root can become an ordinary user")
@pytest.mark.parametrize("uid", [65534, 65533], ids=["named", "nameless"])
def test_an_ordinary_user_needs_nothing_special(uid: int, tmp_path: Path) -> None:
    """Any user, named or not, runs a server in a folder of theirs, and none in somebody else's."""
    user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    if subprocess.run([*user, "test", "-r", __file__], check=False).returncode != 0:
        pytest.skip("this checkout lies where other users cannot read it")
    if uid == 65533 and subprocess.run([*user, "unshare", "-U", "true"], check=False).returncode:
        pytest.skip("ordinary users may make no user namespace here")
    home = Path("/tmp") / f"cloudigrade-ordinary-{os.getpid()}"
    home.mkdir(mode=0o700)
    os.chown(home, uid, uid)
    try:
        with holder(home / "postgres", *user) as (_, server_pid):
            assert Path(f"/proc/{server_pid}").stat().st_uid == uid
        refused = subprocess.run(
            [*user, sys.executable, "-c", HOLD, str(tmp_path / "postgres")],
            capture_output=True,
            check=False,
            text=True,
            cwd=CHECKOUT,
        )
        assert "Permission denied. Name a folder of your own." in refused.stderr
    finally:
        shutil.rmtree(home)


def test_ctrl_c_of_the_owner_is_not_the_servers(folder: Path) -> None:
    """The server is in a session of its own, so a terminal's Ctrl-C reaches the owner alone."""
    with EmbeddedPostgres(folder, UNSAFE_SETTINGS) as server:
        assert os.getsid(server.pid) != os.getsid(0)
        assert server.running


def link(source: str, target: str) -> None:
    """Copy a file, by a hard link where the file system allows it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
