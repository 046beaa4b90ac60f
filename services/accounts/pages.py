"""Pages of a list: one more row is read than is given, to know whether there are others.

A list that is asked for as of an instant says which one that is, and the pages after the first are
as of the same one: it stands in their tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from libs.common import paging
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts.asked import asked_as_of

R = TypeVar("R")
M = TypeVar("M", bound=Message)

LARGEST_PAGE_BYTES = 3 * 1024 * 1024
"""What clients take without being told is 4 MiB."""


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """The messages of one page, and the token of the next; empty when this is the last."""

    items: Sequence[M]
    next_token: str


@dataclass(frozen=True, slots=True)
class DatedPage(Page[M]):
    """A page, and the instant whose knowledge it is."""

    as_of: Micros


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


def dated_page(
    request: Any,  # as page's, with the field as_of
    kinds: tuple[type[int] | type[str], ...],
    read: Callable[[Micros | None, Key | None, int], tuple[Micros, Sequence[R]]],
    key: Callable[[R], Key],
    convert: Callable[[R], M],
) -> DatedPage[M]:
    """Return the page that a request asks for, as `page` does, as of one instant for all pages.

    `read(asked, after, limit)` gives the instant that it speaks for with its rows; `asked` is None
    for now. Raises InvalidRequest for a bad token, size or instant.
    """
    size = min(paging.page_size(request.page_size), paging.LARGEST_PAGE_SIZE)
    asked, after = asked_as_of(request), None
    start = paging.page_start(request, request.page_token, (int, *kinds))
    if start is not None:
        asked, after = int(start[0]), start[1:]
    as_of, rows = read(asked, after, size + 1)
    items = _fitting([convert(row) for row in rows[:size]])
    if len(items) == len(rows):
        return DatedPage(items, "", as_of)
    token = paging.next_page_token(request, (as_of, *key(rows[len(items) - 1])))
    return DatedPage(items, token, as_of)


def _fitting(messages: list[M]) -> list[M]:
    """Return the messages from the first on that fit into a page together, at least one."""
    room = LARGEST_PAGE_BYTES
    for count, message in enumerate(messages):
        room -= message.ByteSize()
        if room < 0:
            return messages[: max(count, 1)]
    return messages
