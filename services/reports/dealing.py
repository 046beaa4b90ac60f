"""Rows dealt out to groups: in the order of the groups, and within each in the order they had."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.reports.columns import Codes
from services.reports.exact import Exact, weighted_sums
from services.reports.groups import Groups
from services.reports.ordering import stable_order

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Hand:
    """Rows by group, `counts` of them in each.

    `rows` says which; None, that they are all the rows in their own order.
    """

    rows: NDArray[np.int64] | None
    counts: NDArray[np.int64]

    def take(self, column: NDArray[T]) -> NDArray[T]:
        """Return a column's values in these rows."""
        return column if self.rows is None else column[self.rows]

    def begins(self) -> NDArray[np.int64]:
        """Return the place of each group's first row."""
        return np.cumsum(self.counts) - self.counts

    def groups(self) -> NDArray[np.int64]:
        """Return the group of each row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


class Dealer:
    """Knows which kinds of run are in which groups, and adds up or deals out accordingly."""

    def __init__(self, groups: Groups, kinds: int) -> None:
        self.count = len(groups)
        self._kind = groups.kind
        self._begins = np.searchsorted(groups.group, np.arange(self.count))
        by_kind = np.argsort(groups.kind, kind="stable")
        self._groups = groups.group[by_kind].astype(np.min_scalar_type(self.count))
        self._many = np.bincount(groups.kind, minlength=kinds)
        self._first = np.cumsum(self._many) - self._many
        self._single = int(self._many.max(initial=0)) <= 1
        # With one group for each kind this is it; the kinds that are in none are never asked for.
        self._only = np.zeros(kinds, self._groups.dtype)
        self._only[groups.kind] = groups.group

    def sums(self, values: Exact, weights: NDArray[np.int64]) -> Exact:
        """Return by bucket and group what values by bucket and kind add up to, times weights."""
        return weighted_sums(values, weights, self._kind, self._begins)

    def deal(self, kind: Codes) -> Hand:
        """Return rows of these kinds by group; a row is in each group that its kind is in.

        Every kind must be in a group.
        """
        if self.count == 1:
            return Hand(None, np.array([len(kind)]))
        if self._single:
            group = self._only[kind]
            rows = stable_order(group, self.count)
        else:
            spread, group = self._spread(kind)
            rows = spread[stable_order(group, self.count)]
        return Hand(rows, np.bincount(group, minlength=self.count))

    def _spread(self, kind: Codes) -> tuple[NDArray[np.int64], NDArray[np.unsignedinteger]]:
        """Return each row as often as its kind has groups, and its group each time."""
        many = self._many[kind]
        rows = np.repeat(np.arange(len(kind)), many)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
        return rows, self._groups[self._first[kind][rows] + within]
