"""Settings from environment variables, documented where they are used.

A component declares a frozen dataclass whose fields are made by `setting`, or are such dataclasses
themselves; `load` reads it. A variable that is set but empty counts as not set. In the name of a
variable `{service}` stands for the service that loads it, in upper case, so that four services in
one process can listen on four ports.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, dataclass, field, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints, overload

T = TypeVar("T")

PREFIX = "CLOUDIGRADE_"
_KEY = "cloudigrade.setting"


class _Required:
    """The type of REQUIRED, told apart from every text."""


REQUIRED: Final = _Required()
Default = str | Callable[[str], str] | _Required


class StartError(Exception):
    """Why a process cannot start, in one line for its operator."""


class ConfigError(StartError):
    """A setting that cannot be used; the line names its variable."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as its component declares it. `default` is None when there must be a value."""

    env: str
    default: str | None
    doc: str
    why: str
    secret: bool
    parse: Callable[[str], Any] = field(repr=False)

    def given(self, environ: Mapping[str, str]) -> str | None:
        """Return the text that holds: the variable's, else the default, else None."""
        return environ.get(self.env) or self.default

    def shown(self, environ: Mapping[str, str]) -> str:
        """Return the value as an operator may see it."""
        text = self.given(environ)
        if text is None:
            return "(not set, required)"
        if not text:
            return "(not set)"
        return "(secret, set)" if self.secret else text

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return the parsed value; ConfigError when it is missing or cannot be read."""
        text = self.given(environ)
        if text is None:
            raise ConfigError(f"{self.env} must be set: {self.doc}")
        try:
            return self.parse(text)
        except ValueError as error:
            got = "(secret)" if self.secret else repr(text)
            wants = "has a wrong form" if self.secret else str(error)
            raise ConfigError(f"{self.env} is {got}: {wants}") from None


@overload
def setting(
    env: str, *, doc: str, why: str, default: Default = REQUIRED, secret: bool = False
) -> str: ...


@overload
def setting(
    env: str,
    *,
    doc: str,
    why: str,
    default: Default = REQUIRED,
    parse: Callable[[str], T],
    secret: bool = False,
) -> T: ...


def setting(
    env: str,
    *,
    doc: str,
    why: str,
    default: Default = REQUIRED,
    parse: Callable[[str], Any] = str,
    secret: bool = False,
) -> Any:
    """Declare a dataclass's field that comes from an environment variable.

    `default` is text, parsed as a given value would be, or a function from the service's name to
    such text; "" with `optional(...)` says that there need be none. `doc` says what it is; `why`,
    why it has its default (or none). The field is keyword-only and, built by hand, has its default
    unless that depends on the service.
    """
    metadata = {_KEY: (env, default, doc, why, parse, secret)}
    if isinstance(default, str):
        return field(default=parse(default), metadata=metadata, kw_only=True, repr=not secret)
    return field(metadata=metadata, kw_only=True, repr=not secret)


def load(cls: type[T], environ: Mapping[str, str], *, service: str = "") -> T:
    """Return the configuration that the environment gives.

    Raises ConfigError, one line that names every variable that is missing or wrong.
    """
    problems: list[str] = []
    loaded = _load(cls, environ, service, problems)
    if problems:
        raise ConfigError("; ".join(problems))
    return loaded


def _load(cls: type[T], environ: Mapping[str, str], service: str, problems: list[str]) -> T:
    values: dict[str, Any] = {}
    for name, declared in _declared(cls, service):
        if isinstance(declared, Setting):
            try:
                values[name] = declared.value(environ)
            except ConfigError as error:
                problems.append(str(error))
        else:
            values[name] = _load(declared, environ, service, problems)
    # With a problem the object would be incomplete, and load() raises before anybody sees it.
    return cls(**values) if not problems else cls.__new__(cls)


def settings_of(cls: type[Any], *, service: str = "") -> list[Setting]:
    """Return every setting of a configuration, in the order of declaration."""
    found: list[Setting] = []
    for _, declared in _declared(cls, service):
        found += (
            [declared] if isinstance(declared, Setting) else settings_of(declared, service=service)
        )
    return found


def secrets_of(cls: type[Any], environ: Mapping[str, str], *, service: str = "") -> list[str]:
    """Return the secret values that are set, for the log to keep out."""
    given = [each.given(environ) for each in settings_of(cls, service=service) if each.secret]
    return [text for text in given if text]


def unknown(environ: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """Return the CLOUDIGRADE_* variables that nothing reads, each with the nearest that is read.

    The nearest is "" when none resembles it.
    """
    names = set(known)
    return {
        env: next(iter(difflib.get_close_matches(env, names, n=1, cutoff=0.8)), "")
        for env in sorted(environ)
        if env.startswith(PREFIX) and env not in names
    }


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Turn a StartError into its one line on stderr and exit status 2 (for `main`)."""
    try:
        yield
    except StartError as error:
        sys.stderr.write(f"cloudigrade: {error}\n")
        raise SystemExit(2) from None


def _declared(cls: type[Any], service: str) -> Iterator[tuple[str, Setting | type[Any]]]:
    hints = get_type_hints(cls)
    for each in fields(cls):
        if _KEY in each.metadata:
            yield each.name, _setting(each, service)
        elif is_dataclass(hints[each.name]):
            yield each.name, hints[each.name]
        else:
            raise TypeError(f"{cls.__name__}.{each.name} is neither a setting nor a configuration")


def _setting(declared: "Field[Any]", service: str) -> Setting:
    env, default, doc, why, parse, secret = declared.metadata[_KEY]
    if isinstance(default, _Required):
        text = None
    else:
        text = default if isinstance(default, str) else default(service)
    return Setting(env.format(service=service.upper()), text, doc, why, secret, parse)


# Parsers: text to value, ValueError saying what is wanted.

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_HIGHEST_PORT = 65535


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`, both allowed."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"wants a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(text: str) -> timedelta:
    """Return a span from text such as 500ms, 30s, 5m, 2h, 1d."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("wants a span such as 500ms, 30s, 5m or 2h")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def flag(text: str) -> bool:
    """Return whether a text says yes."""
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError("wants yes or no") from None


def path(text: str) -> Path:
    """Return a path, with a leading ~ meaning the home folder."""
    return Path(text).expanduser()


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes these words only."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"wants one of {', '.join(choices)}")
        return text

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser that makes None of an empty text."""
    return lambda text: parse(text) if text else None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen_address(text: str) -> ListenAddress:
    """Return the address in a text such as 127.0.0.1:50051 or [::1]:50051."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    plain = bare == host and ":" in host
    if not colon or not bare or plain or not port.isascii() or not port.isdigit():
        raise ValueError("wants host:port, such as 127.0.0.1:50051 or [::1]:50051")
    if int(port) > _HIGHEST_PORT:
        raise ValueError("wants a port from 0 to 65535")
    return ListenAddress(bare, int(port))
