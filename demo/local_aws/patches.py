"""The one way in which these modules change other people's classes."""

from collections.abc import Callable
from typing import Any


def replace(owner: type, **members: object) -> None:
    """Set members of a class."""
    for name, member in members.items():
        setattr(owner, name, member)


def wrap(owner: type, **wrappers: Callable[[Any], object]) -> None:
    """Replace each named method by what its wrapper makes of it."""
    replace(owner, **{name: make(getattr(owner, name)) for name, make in wrappers.items()})
