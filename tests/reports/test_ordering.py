"""Fast orders and fast buckets are what the plain ones are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.reports.columns import OPEN
from services.reports.grid import bucket_of
from services.reports.ordering import stable_order, time_order


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_536, 65_537, 200_000, 2**33, 2**45])
def test_the_order_is_stable_for_codes_of_any_size(size: int) -> None:
    """Through 8 bits, 16 bits, and the passes that wider codes take."""
    codes = np.random.default_rng(size).integers(0, size, 5_000)
    codes[:4] = [size - 1, 0, size - 1, 0]
    expected = np.argsort(codes, kind="stable")
    assert stable_order(codes, size).tolist() == expected.tolist()


instants = st.integers(0, 5_000_000) | st.integers(0, 2**57) | st.just(OPEN)


@given(st.lists(instants, max_size=60))
@settings(max_examples=300)
def test_times_are_ordered_to_the_microsecond(times: list[int]) -> None:
    """Many in one second, some thousands of years apart, some open, some equal."""
    column = np.array(times, np.int64)
    assert time_order(column).tolist() == np.argsort(column, kind="stable").tolist()


@given(
    st.lists(st.integers(0, 2**21), min_size=2, max_size=12, unique=True).map(sorted),
    st.lists(st.integers(0, 2**21), max_size=30),
)
@settings(max_examples=300)
def test_the_bucket_of_a_time_is_that_of_a_binary_search(
    marks: list[int], times: list[int]
) -> None:
    """For buckets of one length and of many, and more than the grid holds."""
    inside = np.array([it for it in [*marks, *times] if marks[0] <= it < marks[-1]], np.int64)
    found = bucket_of(np.array(marks, np.int64), inside)
    assert found.tolist() == (np.searchsorted(marks, inside, side="right") - 1).tolist()
