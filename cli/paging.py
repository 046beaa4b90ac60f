"""Reading a list page by page."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


Answer = TypeVar("Answer", bound=_Page)
Item = TypeVar("Item")


def all_pages(
    ask: Callable[[str], Answer], items: Callable[[Answer], Iterable[Item]]
) -> Iterator[Item]:
    """Yield the items of every page; `ask` takes a page token and gives a page."""
    token = ""
    while True:
        answer = ask(token)
        yield from items(answer)
        token = answer.next_page_token
        if not token:
            return
