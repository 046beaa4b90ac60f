"""Sums that neither round nor overflow, though microseconds times MiB soon pass 64 bits."""

import numpy as np
from numpy.typing import NDArray

# int64, or Python's integers where int64 is too small.
Exact = NDArray[np.int64] | NDArray[np.object_]

_BITS = 63


def weighted_sums(
    values: Exact,
    weights: NDArray[np.int64],
    columns: NDArray[np.int64],
    begins: NDArray[np.int64],
) -> Exact:
    """Return for each row the sums of values times weights over runs of `columns`.

    The first sum is over `columns[begins[0]:begins[1]]`, and so on; none is over nothing. Values
    and weights are not negative. Where a sum could pass 64 bits, values are added up in limbs.
    """
    if not len(columns) or not len(values):
        return np.zeros((len(values), len(begins)), np.int64)
    factor = max(int(weights.max()), 1) * len(columns)
    if int(values.max()) * factor < 2**_BITS:
        picked = values.astype(np.int64, copy=False)[:, columns] * weights[columns]
        sums: Exact = np.add.reduceat(picked, begins, axis=1)
        return sums
    limb = _BITS - factor.bit_length()
    high = weighted_sums(values >> limb, weights, columns, begins)
    low = weighted_sums(values & (2**limb - 1), weights, columns, begins)
    exact: Exact = high.astype(object) * 2**limb + low.astype(object)
    return exact
