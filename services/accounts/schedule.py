"""Scan leases: their rules and values, without any storage."""

from dataclasses import dataclass
from enum import IntEnum

from libs.common.errors import FailedPrecondition
from libs.common.instants import Micros
from services.accounts.cloud_accounts import CloudAccount

LONGEST_HOLDER = 200
MOST_LEASES = 100


class Outcome(IntEnum):
    """What became of one Region in a scan; the numbers are those of the proto."""

    LISTED = 1
    DISABLED = 2
    DENIED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class RegionOutcome:
    """How one Region's listing went; `detail` says why it is none."""

    region: str
    outcome: Outcome
    detail: str
    instances: int

    @property
    def trouble(self) -> str:
        """Why there was no listing, empty when there was one."""
        if self.outcome is Outcome.LISTED:
            return ""
        words = f"Region {self.outcome.name.lower()}"
        return f"{words}: {self.detail}" if self.detail else words


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """A scan that ended."""

    started_at: Micros
    ended_at: Micros
    regions: tuple[RegionOutcome, ...]


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """An account to get into, with those of its images that need not be described again."""

    account: CloudAccount
    known_image_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to scan an account until it expires; a later epoch makes it worthless."""

    target: ScanTarget
    epoch: int
    expires_at: Micros


@dataclass(frozen=True, slots=True)
class Running:
    """Somebody else's scan that is under way."""

    holder: str
    started_at: Micros
    expires_at: Micros


def next_due(started_at: Micros, now: Micros, interval: Micros) -> Micros:
    """Return when the scan after one is due: scans begin an interval apart, none in the past."""
    return max(started_at + interval, now)


def lease_lost(account_id: int) -> FailedPrecondition:
    """Return the error for a scanner whose lease has passed to another or has ended."""
    return FailedPrecondition(
        f"The scan lease of account {account_id} is not this one any more. Stop the scan.",
        reason="LEASE_LOST",
    )
