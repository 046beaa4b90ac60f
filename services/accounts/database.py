"""accounts' database: a pool of connections, transactions, and migrations at the start."""

import contextlib
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import peewee
import psycopg2
import structlog
from playhouse.migrations import Runner
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from psycopg2 import errors, extensions

from libs.common.config import StartError
from libs.common.errors import (
    Aborted,
    CloudigradeError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from libs.common.instants import Micros
from services.accounts.fencing import fence

Cursor: TypeAlias = extensions.cursor

MIGRATIONS = Path(__file__).with_name("migrations")

_WAIT_SECONDS = 5.0
_MIGRATION_LOCK = (zlib.crc32(b"cloudigrade.accounts") >> 1, 1)
# peewee has its own names for what goes wrong while connecting.
_LOST = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    peewee.OperationalError,
    peewee.InterfaceError,
)


class SchemaTooNewError(StartError):
    """The database was migrated by a later version of cloudigrade than this one."""


class Database:
    """The database under one URL, shared by all threads of a service.

    A transaction belongs to the thread that began it, and a thread has one at a time. Never wait
    for a caller inside one: read, leave, then answer.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 40,
        time_left: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`time_left` gives the seconds that the current call may still take, None if any."""
        # Any, since peewee's stubs leave its pool untyped.
        self._pool: Any = PooledPostgresqlDatabase(  # type: ignore[no-untyped-call] # the same
            url,
            max_connections=pool_size,
            timeout=_WAIT_SECONDS,
            connect_timeout=10,
            application_name="cloudigrade-accounts",
        )
        self._time_left = time_left

    @contextlib.contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Cursor]:
        """Run one transaction: committed when the block ends, rolled back when it raises.

        With `snapshot` all its statements see the same state, and it can only read. Statements are
        cut off when the current call's time is up. Raises Unavailable when the database cannot be
        reached, has no connection free or takes too long; Aborted when it lost to another.
        """
        with _telling(), self._pool.connection_context():
            connection = self._pool.connection()
            with connection.cursor() as cursor:
                cursor.execute(self._begin(snapshot=snapshot))
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    _roll_back(connection)
                    raise

    @contextlib.contextmanager
    def fenced_snapshot(
        self,
        accounts: Callable[[Cursor], Collection[int]],
        now: Micros,
        asked: Micros | None = None,
    ) -> Iterator[tuple[Cursor, Micros]]:
        """Open a snapshot, and give with it the instant that it speaks for: `asked`, or now.

        Whatever of these accounts was recorded by that instant is in the snapshot, and whatever
        commits later is recorded later: who filters by the instant gets the same for ever. With
        `asked` the snapshot can hold more than was known then. `accounts` looks up the accounts'
        ids and raises what it likes.

        Waits for writers of these accounts that are under way, and for nobody else; they wait for
        nothing but the beginning of the snapshot. Raises InvalidRequest on as_of when `asked` lies
        ahead of the clock, and what `transaction` raises.
        """
        with _telling(), self._pool.connection_context():
            connection = self._pool.connection()
            try:
                with connection.cursor() as cursor:
                    cursor.execute(self._begin(snapshot=False))
                    instant = fence(cursor, accounts(cursor), now, asked)
                    cursor.execute("COMMIT")
                    cursor.execute(self._begin(snapshot=True))
                    # A statement begins by taking the snapshot, and only then gives the locks back.
                    cursor.execute("SELECT pg_advisory_unlock_all()")
                    yield cursor, instant
                    cursor.execute("COMMIT")
            except BaseException:
                _let_go(connection)
                raise

    def migrate(self) -> list[str]:
        """Bring the schema up to date and name the migrations applied.

        Of several that start at once one migrates and the others wait for it. Raises
        SchemaTooNewError when the database knows migrations that this version does not, and
        Unavailable when it cannot be reached.
        """
        with _telling(), self._pool.connection_context():
            self._pool.execute_sql("SELECT pg_advisory_lock(%s, %s)", _MIGRATION_LOCK)
            try:
                runner: Any = Runner(self._pool, str(MIGRATIONS))  # type: ignore[no-untyped-call] # peewee's
                unknown = [row.name for row in runner.status() if row.path is None]
                if unknown:
                    raise SchemaTooNewError(
                        f"The database was migrated by a later version ({', '.join(unknown)}). "
                        "Run that version, or one newer than it."
                    )
                applied: list[str] = runner.up()
            finally:
                self._pool.execute_sql("SELECT pg_advisory_unlock(%s, %s)", _MIGRATION_LOCK)
        structlog.get_logger().info("database.migrated", applied=applied)
        return applied

    def healthy(self) -> bool:
        """Whether the database answers now."""
        try:
            with self.transaction() as cursor:
                cursor.execute("SELECT 1")
        except CloudigradeError:
            return False
        return True

    def close(self) -> None:
        """Close every connection."""
        self._pool.close_all()

    def _begin(self, *, snapshot: bool) -> str:
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if snapshot else "BEGIN"
        left = self._time_left()
        if left is None:
            return begin
        return f"{begin}; SET LOCAL statement_timeout = {max(1, int(left * 1000))}"


def lock_accounts(cursor: Cursor, account_ids: Iterable[int]) -> None:
    """Take the locks under which facts of these accounts are written, until the transaction ends.

    In ascending order, so that two writers never wait for each other.
    """
    ids = sorted(set(account_ids))
    cursor.execute("SELECT pg_advisory_xact_lock(id) FROM unnest(%s::bigint[]) AS id", (ids,))


def next_recorded_at(cursor: Cursor, account_id: int, now: Micros) -> Micros:
    """Take the instant at which an account's facts are recorded: now, but later than any before.

    Later also than any that an answer has spoken for. It is the account's revision too. The caller
    holds the account's lock. Raises NotFound.
    """
    cursor.execute(
        "UPDATE cloud_account SET last_recorded_at ="
        " greatest(%s, last_recorded_at + 1, (SELECT last_value + 1 FROM answered_at))"
        " WHERE id = %s RETURNING last_recorded_at",
        (now, account_id),
    )
    row = cursor.fetchone()
    if row is None:
        raise NotFound(f"There is no cloud account {account_id}.")
    recorded_at: Micros = row[0]
    return recorded_at


def _let_go(connection: extensions.connection) -> None:
    """Roll back, and leave no lock behind on a connection that goes back to the pool."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK; SELECT pg_advisory_unlock_all()")
    except psycopg2.Error:
        connection.close()


def _roll_back(connection: extensions.connection) -> None:
    # Fails when the connection is lost; the pool then drops it, and the server has rolled back.
    with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Turn what the database raises inside the block into what a caller may be told."""
    try:
        yield
    except (psycopg2.Error, peewee.PeeweeException, MaxConnectionsExceeded) as error:
        told = _told(error)
        if told is None:
            raise
        raise told from error
    except ValueError as error:
        # What psycopg2 says of a text that PostgreSQL cannot hold.
        if "NUL" not in str(error):
            raise
        raise InvalidRequest("A text in the request holds a NUL character.") from error


def _told(error: Exception) -> CloudigradeError | None:
    """Give what a caller is told of a database error; None when it is a programmer's mistake."""
    if isinstance(error, MaxConnectionsExceeded):
        return Unavailable(
            "The database has no connection free. Try again.",
            reason="DATABASE_BUSY",
        )
    if isinstance(error, errors.QueryCanceled):
        return DeadlineExceeded(
            "The database did not answer in the time that the call had left. Allow more time.",
            reason="DATABASE_SLOW",
        )
    if isinstance(error, extensions.TransactionRollbackError):
        return Aborted("Another change came first. Try again.", reason="CONCURRENT_CHANGE")
    if isinstance(error, errors.NumericValueOutOfRange):
        return InvalidRequest("A number in the request is larger than any that is stored.")
    if isinstance(error, _LOST):
        structlog.get_logger().warning("database.unavailable", error=str(error).strip())
        return Unavailable(
            "The database cannot be reached. Try again.",
            reason="DATABASE_UNAVAILABLE",
        )
    return None
