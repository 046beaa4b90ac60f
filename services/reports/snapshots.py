"""What accounts says at one instant: who is visible, how much of it is confirmed, and the runs."""

from dataclasses import dataclass
from typing import Protocol

from libs.common.instants import Micros
from services.reports.columns import Fleet

# An account's id and the revision of its runs, for each account of a snapshot.
Revisions = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """How current the knowledge about a Region is; `confirmed_through` None: nothing is known."""

    region: str
    confirmed_through: Micros | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """A visible account."""

    id: int
    name: str
    regions: tuple[RegionStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent state of the accounts that a caller may see and asked for.

    `revisions` are those of the accounts, in the fleets' order; None for a past state that is not
    worth keeping anything of.
    """

    as_of: Micros
    accounts: tuple[AccountStatus, ...]
    fleets: tuple[Fleet, ...]
    revisions: Revisions | None


class Source(Protocol):
    """Where snapshots come from."""

    def snapshot(
        self, user_token: str, account_ids: tuple[int, ...], as_of: Micros | None
    ) -> Snapshot:
        """Return what a user may see of these accounts, of all when none is named.

        Raises NotFound for an account that the user may not see, and whatever else the caller of
        reports may be told.
        """
        ...
