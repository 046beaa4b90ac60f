"""How the demo speaks."""

import io
import re

from rich.console import Console

from demo.narrator import Narrator


def piped() -> tuple[Narrator, io.StringIO]:
    """Give a narrator who speaks into a file."""
    out = io.StringIO()
    return Narrator(Console(file=out, highlight=False)), out


def test_a_step_is_one_line_when_piped() -> None:
    """Its seconds, its title and the last detail; nothing that moves a cursor."""
    narrator, out = piped()
    with narrator.step("Reading") as detail:
        detail("1 of 2")
        detail("2 of 2")
    assert re.fullmatch(r" +\d+\.\d s  Reading: 2 of 2\n", out.getvalue())


def test_a_step_shows_its_details_on_a_terminal() -> None:
    """While it lasts the line moves; its end stays."""
    out = io.StringIO()
    narrator = Narrator(Console(file=out, force_terminal=True, highlight=False))
    with narrator.step("Reading") as detail:
        detail("2 of 2")
    assert "\x1b[" in out.getvalue()
    assert out.getvalue().endswith("Reading: 2 of 2\n")


def test_what_looks_like_markup_is_said_as_it_is() -> None:
    """Shell commands may have brackets."""
    narrator, out = piped()
    narrator.say("-d '[bold]'")
    assert out.getvalue() == "-d '[bold]'\n"


def test_a_long_line_is_not_broken_when_piped() -> None:
    """Commands stay whole, to be copied."""
    narrator, out = piped()
    narrator.say("x" * 500)
    assert out.getvalue() == "x" * 500 + "\n"
