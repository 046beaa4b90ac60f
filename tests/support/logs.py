"""Log lines as a test reads them."""

import io
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from libs.common import logs


class Lines:
    """The lines logged so far, newest last."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """Everything written."""
        return self._stream.getvalue()

    def all(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return every line, or every line of one event."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if event in {None, line["event"]}]

    def one(self, event: str) -> dict[str, Any]:
        """Return the only line of an event."""
        (line,) = self.all(event)
        return line


@contextmanager
def recorded_logs(level: str = "debug", secrets: Iterable[str] = ()) -> Iterator[Lines]:
    """Record what is logged inside the block, and put everything back after it."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, root_level = root.handlers, root.level
    verbosity = os.environ.get("GRPC_VERBOSITY")
    logs.configure("test", level=level, stream=stream, secrets=secrets)
    try:
        yield Lines(stream)
    finally:
        structlog.reset_defaults()
        root.handlers = handlers
        root.setLevel(root_level)
        if verbosity is None:
            os.environ.pop("GRPC_VERBOSITY", None)
