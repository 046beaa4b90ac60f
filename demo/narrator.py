"""How the demo speaks: with a moving line on a terminal, in plain lines when piped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table


class Narrator:
    """Tells what is being done, and what came of it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            # A pipe has no width of its own; a table squeezed into 80 columns loses its numbers.
            self._console.width = 200

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Do a step of the story; what is called with details shows them while it lasts.

        The last detail stays, with how long the step took.
        """
        began, last = time.monotonic(), ""
        with self._console.status(title) as status:

            def detail(text: str) -> None:
                nonlocal last
                last = text
                status.update(f"{title}: {text}")

            yield detail
        took = time.monotonic() - began
        self._console.print(f"{took:5.1f} s  {title}{': ' if last else ''}{last}", markup=False)

    def say(self, text: str = "") -> None:
        """Say a paragraph."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        """Show a table."""
        self._console.print(table)
