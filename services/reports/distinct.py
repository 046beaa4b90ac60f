"""How many distinct things were seen, by bucket and group."""

import numpy as np
from numpy.typing import NDArray

from services.reports.columns import Codes
from services.reports.dealing import Dealer

Counts = NDArray[np.int64]


def distinct(
    dealer: Dealer, kind: Codes, item: Codes, first: Codes, last: Codes, buckets: int
) -> Counts:
    """Return by bucket and group how many distinct items had a run there.

    Each run lies in the buckets from `first` to `last`. Runs come by item, and those of an item by
    `first`. A run adds its item to the buckets that no earlier run of it in the group reached.
    """
    hand = dealer.deal(kind)
    width = buckets + 1
    if not hand.counts.any():
        return np.zeros((buckets, dealer.count), np.int64)
    item, first, last = hand.take(item), hand.take(first), hand.take(last)
    other = np.concatenate(([True], item[1:] != item[:-1]))
    other[hand.begins()[hand.counts > 0]] = True
    # Each item of each group has a range of numbers of its own, above all those before it.
    small = (len(item) + 1) * width < 2**31
    kind_of_number: np.dtype[np.signedinteger] = np.dtype(np.int32 if small else np.int64)
    base: NDArray[np.signedinteger] = np.cumsum(other, dtype=kind_of_number)
    base *= width
    reached = np.maximum.accumulate(base + last)
    base[1:] -= reached[:-1]
    base[0] = 1
    new = np.maximum(first, 1 - base)
    adds = new <= last
    cell = np.repeat(np.arange(dealer.count) * width, hand.counts)[adds]
    size = dealer.count * width
    begins = np.bincount(cell + new[adds], minlength=size)
    ends = np.bincount(cell + last[adds] + 1, minlength=size)
    return np.cumsum((begins - ends).reshape(-1, width), axis=1)[:, :-1].T
