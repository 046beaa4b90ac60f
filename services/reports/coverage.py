"""What of a window nobody has confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.instants import Micros
from services.reports.snapshots import AccountStatus, RegionStatus

_NOTHING_KNOWN = (RegionStatus("", None),)


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A Region of an account that is not confirmed up to the end of what a report counts.

    Its Region is "" for an account of which no Region is known yet.
    """

    account: AccountStatus
    region: RegionStatus


def unconfirmed(
    accounts: Sequence[AccountStatus], upto: Micros, regions: Sequence[str]
) -> tuple[Unconfirmed, ...]:
    """Return what is not confirmed up to an instant, of these Regions or, for none, of all."""
    return tuple(
        Unconfirmed(account, status)
        for account in accounts
        for status in account.regions or _NOTHING_KNOWN
        if (not regions or not status.region or status.region in regions)
        and (status.confirmed_through is None or status.confirmed_through < upto)
    )
