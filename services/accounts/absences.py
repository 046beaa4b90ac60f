"""Which listings can lack an instance: not those that named it without being understood."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from libs.common.instants import Micros
from services.accounts.facts import DESCRIBE_LAG, TrackingGap

Spans: TypeAlias = Sequence[tuple[Micros, Micros]]
"""The first and the last listing, by their starts, of each stretch that named an instance so."""


def looked_for(listings: Sequence[Micros], unread: Spans) -> Sequence[Micros]:
    """Return those of a Region's listings, ascending, that tell whether an instance was on."""
    for first, last in unread:
        begin, end = bisect_left(listings, first), bisect_right(listings, last)
        if begin < end:
            listings = [*listings[:begin], *listings[end:]]
    return listings


def known_through(gaps: Iterable[TrackingGap], unread: Spans) -> list[TrackingGap]:
    """Return gaps in tracking as they are for an instance of which less was known at their start.

    Where the last listing before one does not tell of it, its own facts alone say how far it was
    known.
    """
    return [
        replace(gap, confirmed_through=0)
        if any(first <= gap.confirmed_through + DESCRIBE_LAG <= last for first, last in unread)
        else gap
        for gap in gaps
    ]
