"""Reading what is known of one account: for whom, and as of which instant."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from libs.common.clock import Clock
from libs.common.instants import Micros, to_micros
from services.accounts.database import Cursor, Database
from services.accounts.past_accounts import account_at, visible_ids


class Reading(NamedTuple):
    """A snapshot of an account's rows, and the instant whose knowledge is asked for.

    The snapshot holds everything that was known then, and may hold more.
    """

    cursor: Cursor
    account_id: int
    at: Micros
    changed: bool
    """Whether it does hold more."""

    def asked(self, **more: object) -> dict[str, object]:
        """Return the parameters that SQL about the account has, and others."""
        return {"account": self.account_id, "at": self.at, **more}


@contextmanager
def reading(
    database: Database, clock: Clock, account_id: int, owner: int, asked: Micros | None
) -> Iterator[Reading]:
    """Open a snapshot of an account for a caller, as of an instant; None: now.

    Raises NotFound when the owner may not see the account, and InvalidRequest on as_of when the
    instant lies ahead of the clock.
    """
    now = to_micros(clock.now())
    with database.fenced_snapshot(
        lambda cursor: visible_ids(cursor, owner, [account_id]), now, asked
    ) as (cursor, at):
        account = account_at(cursor, account_id, at)
        yield Reading(cursor, account_id, at, account.changed_since(at))
