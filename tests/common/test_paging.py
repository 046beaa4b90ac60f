"""Page sizes and page tokens."""

import base64

import pytest

from libs.common.errors import InvalidRequest
from libs.common.paging import next_page_token, page_size, page_start
from tests.support.probe import Probe

KEY = (int, str)


@pytest.mark.parametrize(
    ("requested", "given"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_page_sizes_follow_the_convention(requested: int, given: int) -> None:
    """0 means 50, more than 1000 means 1000."""
    assert page_size(requested) == given


def test_a_negative_page_size_is_refused() -> None:
    """By its field."""
    with pytest.raises(InvalidRequest) as caught:
        page_size(-1)
    assert [each.field for each in caught.value.violations] == ["page_size"]


def test_a_token_brings_back_its_key() -> None:
    """Whatever is in its parts; and no token is the first page."""
    request = Probe(text="mine")
    token = next_page_token(request, (-5, "über/ß\n"))
    assert page_start(Probe(text="mine", page_token=token), token, KEY) == (-5, "über/ß\n")
    assert page_start(request, "", KEY) is None


def test_a_token_is_safe_in_urls_and_shells() -> None:
    """No padding, plus or slash."""
    token = next_page_token(Probe(), (1, "???>>>~~~"))
    assert token.replace("-", "").replace("_", "").isalnum()


def test_the_page_size_may_change_between_pages() -> None:
    """AIP-158 allows it; nothing else may change."""
    token = next_page_token(Probe(page_size=10), (1, "a"))
    assert page_start(Probe(page_size=20, page_token=token), token, KEY) == (1, "a")
    with pytest.raises(InvalidRequest, match="other arguments"):
        page_start(Probe(text="else", page_token=token), token, KEY)


def test_the_second_pages_token_continues() -> None:
    """A token made from a request that carried one itself is good for the third page."""
    first = next_page_token(Probe(), (1, "a"))
    second = next_page_token(Probe(page_token=first), (2, "b"))
    assert page_start(Probe(page_token=second), second, KEY) == (2, "b")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "====",
        "AAAA",
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b'["d", "1", "a"]').decode(),
        base64.urlsafe_b64encode(b'["d", true, "a"]').decode(),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b'["d", 9223372036854775808, "a"]').decode(),
        base64.urlsafe_b64encode(b'["d", 1, "a\\u0000"]').decode(),
        base64.urlsafe_b64encode(b'["d", 1, "\\ud800"]').decode(),
    ],
)
def test_a_token_not_of_ours_is_refused(token: str) -> None:
    """By its field and reason, whatever is in it."""
    with pytest.raises(InvalidRequest) as caught:
        page_start(Probe(), token, KEY)
    assert [each.field for each in caught.value.violations] == ["page_token"]
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
