"""The record of who changed what; it is only ever added to."""

from dataclasses import dataclass

from libs.common.identity import Principal
from libs.common.instants import Micros
from services.accounts.database import Cursor

OUTSIDE_ACCOUNTS = 0
"""The account id of what concerns users and tokens."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: who did what to which thing, and the rest in words."""

    id: int
    at: Micros
    actor: str
    action: str
    subject: str
    detail: str
    affected_from: Micros = 0
    """The part of the past for which reports changed, [affected_from, affected_until), ..."""
    affected_until: Micros = 0
    """... where 0 and 0 mean that none did."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, and when."""

    actor: str
    at: Micros


def actor_of(principal: Principal) -> str:
    """Return a user's name, or "service:" and a service's."""
    if principal.user is not None:
        return principal.user.name
    return f"service:{principal.service}"


def record(
    cursor: Cursor,
    author: Author,
    account_id: int,
    action: str,
    subject: str,
    detail: str = "",
    affected: tuple[Micros, Micros] = (0, 0),
) -> None:
    """Add an entry in the transaction that makes the change.

    `affected` is the part of the past for which reports changed, from and until; (0, 0): none.
    """
    cursor.execute(
        "INSERT INTO audit"
        " (account_id, at, actor, action, subject, detail, affected_from, affected_until)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (account_id, author.at, author.actor, action, subject, detail, *affected),
    )
