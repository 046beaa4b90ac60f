"""Stable orders of many numbers by radix, several times faster than a comparing sort."""

import numpy as np
from numpy.typing import NDArray

from libs.common.instants import MICROS_PER_SECOND
from services.reports.columns import OPEN, Times

_DIGIT = 16


def stable_order(codes: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """Return the stable order of codes in `[0, size)`.

    numpy sorts integers of up to 16 bits by radix, in linear time; wider codes take more passes.
    """
    if size <= 2**8:
        return np.argsort(codes.astype(np.uint8, copy=False), kind="stable")
    low = np.argsort(codes.astype(np.uint16, copy=False), kind="stable")
    if size <= 2**_DIGIT:
        return low
    rest = (size - 1 >> _DIGIT) + 1
    digits = codes >> _DIGIT
    high = (digits.astype(np.uint16) if rest <= 2**_DIGIT else digits)[low]
    return low[stable_order(high, rest)]


def time_order(times: Times) -> NDArray[np.int64]:
    """Return the stable order of times, those that are OPEN last.

    Whole seconds are ordered by radix; then the few that share one are compared.
    """
    closed = times[times < OPEN]
    if not len(closed):
        return np.arange(len(times))
    first, last = int(closed.min()), int(closed.max())
    seconds = (np.minimum(times, last + MICROS_PER_SECOND) - first) // MICROS_PER_SECOND
    order = stable_order(seconds, (last - first) // MICROS_PER_SECOND + 2)
    ordered = times[order]
    wrong = np.flatnonzero(ordered[1:] < ordered[:-1])
    if len(wrong):
        seconds = seconds[order]
        shared = np.flatnonzero(np.isin(seconds, seconds[wrong]))
        order[shared] = order[shared][np.argsort(ordered[shared], kind="stable")]
    return order
