"""What speaks for or against a distribution, where it stands, and how much it is worth."""

from dataclasses import dataclass
from enum import Enum

# As protos/cloudigrade/inspector/v1/evidence.proto bounds a value.
_MAX_VALUE = 1000


class Strength(Enum):
    """How much a signal is worth."""

    DECISIVE = "decisive"
    SUPPORTING = "supporting"
    # Was looked for and could not be read: says nothing either way.
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signal: its kind ("os-release.ID"), the path where it stands, and what it says.

    The value of an unreadable one is why it could not be read.
    """

    signal: str
    path: str
    value: str
    strength: Strength


def printable(text: str) -> str:
    """Make a text from a disk fit to be shown: no control characters, at most 1,000 others."""
    shown = "".join(each if each.isprintable() else " " for each in text[:_MAX_VALUE])
    return shown.strip()
