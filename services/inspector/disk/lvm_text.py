"""The text in which LVM writes what its volume groups are made of.

The form is LVM2's own ("format_text" in its source, and lvm.conf(5), read 2026-11): sections in
braces, values that are numbers, strings or lists of both, and comments from # to the line's end.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

from services.inspector.disk.errors import DamagedError

Value: TypeAlias = "int | str | list[int | str]"
Section: TypeAlias = "dict[str, Value | Section]"

_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\s*)*(?:
        (?P<name>[A-Za-z_][\w.+-]*) | (?P<number>-?\d+) | "(?P<text>(?:[^"\\]|\\.)*)"
        | (?P<sign>[={}\[\],]) | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_DEEPEST = 8

_Token: TypeAlias = tuple[str, str]


def parse_sections(text: str) -> Section:
    """Return what a text holds, by name; DamagedError when it is not of that form."""
    tokens = _tokens(text)
    section = _section(tokens, 0, "end")
    # What the lexer gave after the end of the outermost section would be left over.
    if next(tokens, None) is not None:
        raise _odd("something after its end")
    return section


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _odd("a character that stands for nothing")
        kind = found.lastgroup
        yield (found[kind] if kind == "sign" else kind, found[kind])
        if kind == "end":
            return
        at = found.end()


def _section(tokens: Iterator[_Token], depth: int, end: str) -> Section:
    if depth > _DEEPEST:
        raise _odd("sections within sections without end")
    section: Section = {}
    for kind, name in tokens:
        if kind == end:
            return section
        # Volumes may have names that are numbers.
        if kind not in {"name", "number"}:
            raise _odd(f"{name[:20]!r} where a name belongs")
        sign, _ = next(tokens, ("end", ""))
        if sign == "{":
            section[name] = _section(tokens, depth + 1, "}")
        elif sign == "=":
            section[name] = _value(tokens)
        else:
            raise _odd(f"neither a value nor a section after {name[:40]!r}")
    raise _odd("no end")


def _value(tokens: Iterator[_Token]) -> Value:
    token = next(tokens, ("end", ""))
    if token[0] != "[":
        return _scalar(token)
    values: list[int | str] = []
    for each in tokens:
        if each[0] == "]":
            return values
        if each[0] != ",":
            values.append(_scalar(each))
    raise _odd("a list without an end")


def _scalar(token: _Token) -> int | str:
    kind, text = token
    if kind == "number":
        return int(text[:20])
    if kind == "text":
        return re.sub(r"\\(.)", r"\1", text)
    raise _odd(f"{text[:20]!r} where a value belongs")


def _odd(what: str) -> DamagedError:
    return DamagedError(f"the metadata of LVM has {what}")
