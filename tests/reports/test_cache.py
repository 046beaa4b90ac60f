"""What is kept, and how much of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.reports.cache import Cache


def test_what_was_not_used_for_longest_goes_first() -> None:
    """Room for two; the first was used again, so the second makes room for the third."""
    cache: Cache[str, int] = Cache(20)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_what_is_too_large_is_not_kept_and_drops_the_older_one() -> None:
    """A value of 30 bytes where 20 fit, in place of one that did."""
    cache: Cache[str, int] = Cache(20)
    cache.put("a", 1, 10)
    cache.put("a", 2, 30)
    assert (cache.get("a"), cache.nbytes) == (None, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12))))
@settings(max_examples=100)
def test_bytes_never_exceed_the_limit(puts: list[tuple[int, int]]) -> None:
    """Whatever is put, replaced or too large, and what is kept is what was put last."""
    cache: Cache[int, int] = Cache(20)
    sizes: dict[int, int] = {}
    for key, size in puts:
        cache.put(key, size, size)
        sizes[key] = size
        kept = cache.items()
        assert cache.nbytes == sum(kept.values()) <= 20
        assert all(sizes[each] == value for each, value in kept.items())
