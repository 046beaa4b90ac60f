"""accounts in a process of its own, which tests may kill: prints its address, then serves.

`python -m tests.support.accounts_process DATABASE_URL [NAME=VALUE ...]`
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

from tests.support.accounts import running_accounts


@contextmanager
def accounts_process(database_url: str, **settings: str) -> Iterator[tuple[Popen[str], str]]:
    """Start a process and give it with its address; it is killed at the end, if not before."""
    command = [sys.executable, "-m", "tests.support.accounts_process", database_url]
    command += [f"{name}={value}" for name, value in settings.items()]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")
            target = next(line for line in lines if line.startswith("target="))
            yield process, target.strip().removeprefix("target=")
        finally:
            process.kill()


def main() -> None:
    """Serve until standard input ends."""
    settings = dict(each.split("=", 1) for each in sys.argv[2:])
    with running_accounts(sys.argv[1], **settings) as accounts:
        sys.stdout.write(f"target={accounts.target}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
