"""Numbers for the texts that rows of `run` hold: instance types and usage operations."""

import threading
from collections.abc import Collection, Mapping

from services.accounts.database import Cursor, Database


class LabelStore:
    """Gives each text its number, the same for all accounts and for ever.

    The vocabulary is AWS's and small, so all of it is kept in memory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._numbers: Mapping[str, int] = {"": 0}
        self._texts: Mapping[int, str] = {0: ""}

    def learn(self, texts: Collection[str]) -> None:
        """Give numbers to texts that have none, in a transaction of their own."""
        new = [text for text in texts if text not in self._numbers]
        if not new:
            return
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO label (text) SELECT unnest(%s) ON CONFLICT DO NOTHING", (sorted(new),)
            )
        # Only once they are committed: a number that was rolled back must not be remembered.
        with self._database.transaction() as cursor:
            self._read(cursor)

    def numbers(self, cursor: Cursor, texts: Collection[str]) -> Mapping[str, int]:
        """Return the numbers of texts that somebody has learnt; the empty text's is 0."""
        if any(text not in self._numbers for text in texts):
            self._read(cursor)
        return self._numbers

    def texts(self, cursor: Cursor, numbers: Collection[int]) -> Mapping[int, str]:
        """Return the texts of all numbers, reading those that others gave meanwhile."""
        if any(number not in self._texts for number in numbers):
            self._read(cursor)
        return self._texts

    def _read(self, cursor: Cursor) -> None:
        cursor.execute("SELECT label_id, text FROM label")
        rows = cursor.fetchall()
        with self._lock:
            self._texts = {**self._texts, **dict(rows)}
            self._numbers = {text: number for number, text in self._texts.items()}
