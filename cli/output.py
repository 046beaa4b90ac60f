"""How results are shown: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from cloudigrade.reports.v1.reports_pb2 import UsageTime

_WIDEST = 1_000
_LONGEST_WORD = 80
"""Longer ones, which people can write into tags and reasons, are folded."""


class Format(StrEnum):
    """How to show a result."""

    AUTO = "auto"
    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--output", "-o", help="table, json, or auto: a table on a terminal, JSON when piped."
    ),
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; numbers stand to the right."""

    title: str
    right: bool = False


class Output:
    """Shows results on standard output, and all else on standard error."""

    def __init__(self, form: Format) -> None:
        terminal = sys.stdout.isatty()
        self.json = form is Format.JSON or (form is Format.AUTO and not terminal)
        # A pipe has no width of its own; a table squeezed into 80 columns loses its numbers. What
        # strangers named "[/b]" or ":smile:" is shown as it stands.
        self._console = Console(
            width=None if terminal else 200, highlight=False, markup=False, emoji=False
        )
        self.notes = Console(stderr=True, highlight=False)

    def message(self, message: Message, table: Callable[[], Table]) -> None:
        """Show one message: as JSON in the form that grpcurl prints, or as a table."""
        if self.json:
            sys.stdout.write(json.dumps(as_json(message), indent=2) + "\n")
        else:
            self._show(table())

    def messages(
        self,
        messages: Iterable[Message],
        columns: Sequence[Column],
        row: Callable[[Any], list[str]],
    ) -> None:
        """Show a list: one JSON object a line, or a table with one row each."""
        if self.json:
            for each in messages:
                sys.stdout.write(json.dumps(as_json(each)) + "\n")
            return
        self._show(table_of(columns, (row(each) for each in messages)))

    def table(self, table: Table) -> None:
        """Show one more table to a person; programs get none."""
        if not self.json:
            self._show(table)

    def _show(self, table: Table) -> None:
        """Show a table as wide as its longest words need: an id in two pieces cannot be copied."""
        options = self._console.options.update(max_width=_WIDEST)
        needed = Measurement.get(self._console, options, table).minimum
        self._console.print(table, width=max(self._console.width, needed), crop=False)

    def line(self, text: str) -> None:
        """Show a line of text to a person; programs get none."""
        if not self.json:
            # Broken by the terminal alone: a command in it can then be copied whole.
            self._console.print(text, soft_wrap=True)


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as proto3 JSON, numbers and zeros included."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def table_of(columns: Sequence[Column], rows: Iterable[Sequence[str]], title: str = "") -> Table:
    """Return a table in the one style that the command has."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    cells = [list(row) for row in rows]
    for place, column in enumerate(columns):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold",
            min_width=_longest_word(column.title, *(row[place] for row in cells)),
        )
    for row in cells:
        table.add_row(*row)
    return table


def _longest_word(*texts: str) -> int:
    words = (cell_len(word) for text in texts for word in text.split())
    return min(max(words, default=0), _LONGEST_WORD)


def instant(stamp: Timestamp) -> str:
    """Return a time to the second in UTC; "" for none."""
    if not stamp.seconds:
        return ""
    return datetime.fromtimestamp(stamp.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def hours(span: UsageTime) -> str:
    """Return a span as hours:minutes:seconds, with microseconds only where there are any.

    It is exact, so that it can be put beside an invoice.
    """
    whole, micros = span.seconds, span.nanos // 1000
    text = f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{text}.{micros:06}" if micros else text
