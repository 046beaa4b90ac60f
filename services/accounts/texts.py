"""Texts that callers may send to be stored."""

from collections.abc import Callable


def text(limit: int) -> Callable[[str], str]:
    """Return a parser that takes texts of at most `limit` characters; ValueError for others.

    PostgreSQL stores every character but NUL.
    """

    def parse(value: str) -> str:
        if len(value) > limit:
            raise ValueError(f"is {len(value)} characters long; at most {limit} are allowed")
        if "\0" in value:
            raise ValueError("holds a NUL character")
        return value

    return parse
