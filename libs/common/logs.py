"""Logs: one JSON object a line, with the trace id of the call that it belongs to."""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from libs.common.config import one_of, setting

LEVELS = ("debug", "info", "warning", "error")

_SECRET = "(secret)"  # noqa: S105  # the word that stands for one
_SECRET_KEY = re.compile(
    r"(^|[_-])(token|secret|password|authorization|credential)s?$", re.IGNORECASE
)
# Passwords inside URLs, and tokens as they travel in metadata.
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@\"]*):[^\s/@\"]+(?=@)")
_BEARER = re.compile(r"\b(Bearer|Token) [^\s\",')]{16,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What a process logs."""

    level: str = setting(
        "CLOUDIGRADE_LOG_LEVEL",
        default="info",
        parse=one_of(*LEVELS),
        doc="The least important level that is logged: debug, info, warning or error.",
        why="Info has a line for each call and each change of state, and no more.",
    )


def configure(
    service: str,
    *,
    level: str = "info",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send every log line of this process, other libraries' included, to a stream as JSON.

    A line has `time` (ISO 8601, UTC), `level`, `event`, `service`, what was bound around it
    (`request_id`, `method`, `worker`, ...) and its own key-values. `secrets` never appear in it,
    nor values under keys such as `token`, nor passwords in URLs, nor tokens after "Bearer".
    """
    out = stream or sys.stderr
    # gRPC's core writes plain lines of its own to stderr otherwise; it reads this when first used.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _Service(service),
            structlog.processors.format_exc_info,
            _hide_keys,
            structlog.processors.JSONRenderer(serializer=_Renderer(secrets)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    # Libraries say too much at info (pika each connection, boto3 each credential source).
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


class _Service:
    """Adds the process's name to lines whose context names no service."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", self._name)
        return event


def _hide_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        key: _SECRET if value and _SECRET_KEY.search(key) else value for key, value in event.items()
    }


class _Renderer:
    """Renders a line, and takes secrets out of it wherever they stand."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {json.dumps(each)[1:-1] for each in secrets if each}
        # The longest first: one secret may hold another.
        self._secrets = sorted(forms, key=len, reverse=True)

    def __call__(self, event: EventDict, **_options: Any) -> str:
        first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
        line = json.dumps({**first, **event}, default=str)
        for secret in self._secrets:
            line = line.replace(secret, _SECRET)
        line = _URL_PASSWORD.sub(rf"\1:{_SECRET}", line)
        return _BEARER.sub(rf"\1 {_SECRET}", line)


class _ToStructlog(logging.Handler):
    """Hands other libraries' records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.said",
            logger=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )
