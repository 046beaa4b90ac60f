"""Instance types in the database, the same for all accounts: what is known, and since when."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from psycopg2.extras import Json

from libs.common.clock import Clock
from libs.common.instants import Micros, to_micros
from services.accounts.database import Cursor, Database, lock_accounts
from services.accounts.fencing import NO_ACCOUNT
from services.accounts.history import day_of
from services.accounts.listing import ListedType
from services.accounts.type_audit import ran_before, tell_learnt

TRUSTED: Micros = 60 * 1_000_000
"""How long what was read is held to be what is stored: another process may have been told more."""

_STORED = """
SELECT DISTINCT ON (name) name, vcpu, memory_mib, architectures FROM instance_type
WHERE name = ANY(%s) ORDER BY name, recorded_at DESC
"""
_NEXT = """
SELECT greatest(%s, coalesce(max(recorded_at), 0) + 1, (SELECT last_value + 1 FROM answered_at))
FROM instance_type
"""
_ADD = "INSERT INTO instance_type SELECT * FROM json_populate_recordset(NULL::instance_type, %s)"


class TypeStore:
    """Keeps what is told of instance types as dated rows, of which the newest holds.

    They hardly ever change, and every listing tells of them: what is known already costs nothing.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Mapping[str, ListedType] = {}
        self._read_at: Micros = 0

    def learn(self, types: Iterable[ListedType]) -> None:
        """Keep what is news about types, in a transaction of its own.

        Each account whose past it changes is told so in its audit log.

        Raises Unavailable or Aborted, and then nothing is kept.
        """
        told = {each.name: each for each in types}
        now = to_micros(self._clock.now())
        if self._knows(told, now):
            return
        with self._database.transaction() as cursor:
            stored = _stored(cursor, told)
            if told != stored:
                # Before the lock, which every reader waits for: runs may be many.
                ran = ran_before(cursor, _news(told, stored).values(), stored, day_of(now))
                lock_accounts(cursor, [NO_ACCOUNT])
                stored = _stored(cursor, told)
                news = _news(told, stored)
                recorded_at = _add(cursor, list(news.values()), now)
                tell_learnt(cursor, ran, news, stored, recorded_at)
        # Only now that it is committed: what was rolled back must not be remembered.
        self._remember(told, now)

    def _knows(self, told: Mapping[str, ListedType], now: Micros) -> bool:
        with self._lock:
            fresh = 0 <= now - self._read_at < TRUSTED
            return not told or (fresh and told.items() <= self._known.items())

    def _remember(self, told: Mapping[str, ListedType], now: Micros) -> None:
        with self._lock:
            if not 0 <= now - self._read_at < TRUSTED:
                self._known, self._read_at = {}, now
            self._known = {**self._known, **told}


def _stored(cursor: Cursor, names: Iterable[str]) -> dict[str, ListedType]:
    cursor.execute(_STORED, (list(names),))
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return {
        name: ListedType(name, vcpu, memory_mib, tuple(architectures))
        for name, vcpu, memory_mib, architectures in rows
    }


def _news(
    told: Mapping[str, ListedType], stored: Mapping[str, ListedType]
) -> dict[str, ListedType]:
    return {name: each for name, each in told.items() if each != stored.get(name)}


def _add(cursor: Cursor, types: list[ListedType], now: Micros) -> Micros:
    """Keep types, and return when that is recorded."""
    if not types:
        return now
    cursor.execute(_NEXT, (now,))
    (recorded_at,) = cursor.fetchone() or (now,)
    rows = [{**asdict(each), "recorded_at": recorded_at} for each in types]
    cursor.execute(_ADD, (Json(rows),))
    return int(recorded_at)
