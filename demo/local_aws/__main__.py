"""Runs a local AWS until its input ends; says its address first."""

import os
import sys
from contextlib import suppress
from functools import cache

from botocore import loaders

from demo.local_aws.patches import replace


def main() -> None:
    """Serve for the process that started this one."""
    _read_descriptions_once()
    from demo.local_aws.server import LocalAws  # noqa: PLC0415  # after the line above

    with LocalAws() as aws, suppress(BrokenPipeError):  # when that process has ended already
        os.write(sys.stdout.fileno(), f"{aws.url}\n".encode())
        sys.stdin.read()


def _read_descriptions_once() -> None:
    """Spare a second: moto lets botocore parse EC2's 10 MB description five times."""
    plain = loaders.JSONFileLoader()
    read = cache(plain.load_file)

    replace(loaders.JSONFileLoader, load_file=lambda _, path: read(path))


if __name__ == "__main__":
    main()
