"""Pages of a list: one more row is read than is given, to know whether there are others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from libs.common import paging
from libs.common.paging import Key

R = TypeVar("R")
M = TypeVar("M", bound=Message)

LARGEST_PAGE_BYTES = 3 * 1024 * 1024
"""What clients take without being told is 4 MiB."""


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """The messages of one page, and the token of the next; empty when this is the last."""

    items: Sequence[M]
    next_token: str


def page(
    request: Any,  # any list request: their two fields are all that protobuf's messages share
    kinds: tuple[type[int] | type[str], ...],
    read: Callable[[Key | None, int], Sequence[R]],
    key: Callable[[R], Key],
    convert: Callable[[R], M],
    *,
    most: int = paging.LARGEST_PAGE_SIZE,
) -> Page[M]:
    """Return the page that a request asks for, shorter where it would be too large to send.

    `read(after, limit)` gives rows in order, from the first when `after` is None; `key` gives a
    row's place in that order, whose parts are of `kinds`; `most` is for rows that are large. Raises
    InvalidRequest for a bad token or size.
    """
    size = min(paging.page_size(request.page_size), most)
    rows = read(paging.page_start(request, request.page_token, kinds), size + 1)
    items = _fitting([convert(row) for row in rows[:size]])
    if len(items) == len(rows):
        return Page(items, "")
    return Page(items, paging.next_page_token(request, key(rows[len(items) - 1])))


def _fitting(messages: list[M]) -> list[M]:
    """Return the messages from the first on that fit into a page together, at least one."""
    room = LARGEST_PAGE_BYTES
    for count, message in enumerate(messages):
        room -= message.ByteSize()
        if room < 0:
            return messages[: max(count, 1)]
    return messages
