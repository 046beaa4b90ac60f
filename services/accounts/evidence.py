"""What speaks for or against a distribution, where it stands, and how much it is worth."""

from dataclasses import dataclass
from enum import IntEnum

# As protos/cloudigrade/inspector/v1/evidence.proto bounds a value.
_LONGEST_VALUE = 1000


class Strength(IntEnum):
    """How much a signal is worth; the numbers are the proto's."""

    DECISIVE = 1
    SUPPORTING = 2
    UNREADABLE = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for or against a distribution, and where it stands."""

    signal: str
    path: str
    value: str
    strength: Strength


def said(signal: str, value: str, strength: Strength) -> Evidence:
    """Return evidence that is not on a disk; what people or AWS wrote is made fit to be shown."""
    shown = value[:_LONGEST_VALUE]
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else " " for each in shown)
    return Evidence(signal, "", shown, strength)
