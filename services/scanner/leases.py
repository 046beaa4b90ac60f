"""What accounts hands out for scanning: how to get into an account, and the right to list it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from libs.common.errors import Aborted, Unavailable


@dataclass(frozen=True, slots=True)
class Target:
    """How to get into an account."""

    account_id: int
    aws_account_id: str
    role_arn: str
    external_id: str = field(repr=False)
    known_image_ids: frozenset[str] = frozenset()
    """Images that were described before; an image never changes."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to list one account until it expires; a listing of an older epoch is refused."""

    target: Target
    epoch: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Running:
    """Somebody else's scan of the account that is under way."""

    holder: str
    started: datetime


@dataclass(frozen=True, slots=True)
class DueLeases:
    """Leases of accounts whose scan was due, and when the next scan will be."""

    leases: Sequence[Lease] = ()
    next_due: datetime | None = None


class LeaseLost(Aborted):
    """Somebody else scans the account now, or nobody: this scan must stop."""

    default_reason: ClassVar[str] = "LEASE_LOST"


class ScannerStops(Unavailable):
    """This scanner is shutting down; another one will do the work."""

    default_reason: ClassVar[str] = "SCANNER_STOPS"

    def __init__(self) -> None:
        super().__init__("The scanner is shutting down; try again.")
