"""Keeps aside, with its reason, what nobody understood."""

import hashlib
from collections.abc import Sequence

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts.database import Cursor, Database
from services.accounts.new_events import Aside

_KEEP = """
INSERT INTO quarantine (account_id, source, origin, reason, content, digest, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account_id, digest) DO UPDATE SET reason = excluded.reason RETURNING id
"""


def keep_aside(cursor: Cursor, items: Sequence[Aside], now: Micros) -> list[int]:
    """Keep items, the same content from the same place once, and return their ids."""
    ids: list[int] = []
    for item in items:
        place = f"{item.source}\0{item.origin}\0".encode()
        digest = hashlib.sha256(place + item.content).digest()
        row = (item.account_id, item.source, item.origin, item.reason, item.content, digest, now)
        cursor.execute(_KEEP, row)
        ids.extend(number for (number,) in cursor.fetchall())
    return ids


class QuarantineStore:
    """Keeps what the scanner could not read; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, item: Aside, now: Micros) -> int:
        """Keep an item and return its id; NotFound when its account does not exist."""
        with self._database.transaction() as cursor:
            if item.account_id:
                cursor.execute("SELECT FROM cloud_account WHERE id = %s", (item.account_id,))
                if not cursor.rowcount:
                    raise NotFound(
                        f"There is no cloud account {item.account_id}.",
                        reason="ACCOUNT_NOT_FOUND",
                    )
            (kept,) = keep_aside(cursor, [item], now)
        return kept
