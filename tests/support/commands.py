"""The `cloudigrade` command, run in this process as a script would run it."""

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest

from cli.__main__ import main
from libs.common import logs


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """Return the one JSON document that it printed."""
        return json.loads(self.out)

    @property
    def answers(self) -> list[Any]:
        """Return the JSON documents that it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """Return the error that it printed, which must be all there is on standard error."""
        error: dict[str, Any] = json.loads(self.err)["error"]
        return error


def command(environ: Mapping[str, str], *arguments: str) -> Done:
    """Run the command with these variables set; neither its input nor its output is a terminal."""
    out, err = io.StringIO(), io.StringIO()
    # Services in this process would write their log between the command's lines.
    logs.configure("tests", stream=io.StringIO())
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in environ.items():
            patch.setenv(name, value)
        patch.setattr("sys.stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
