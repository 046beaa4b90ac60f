"""The pool, transactions, and what callers are told when the database fails."""

import contextlib
import threading
from collections.abc import Iterator

import psycopg2
import pytest

from libs.common.embedded_postgres import EmbeddedPostgres
from libs.common.errors import Aborted, DeadlineExceeded, NotFound, Unavailable
from services.accounts.database import Database, lock_accounts, next_recorded_at


@pytest.fixture
def notes(empty_database_url: str) -> Iterator[Database]:
    """Open a pool on a database with a table to write."""
    with contextlib.closing(Database(empty_database_url)) as database:
        with database.transaction() as cursor:
            cursor.execute("CREATE TABLE note (number int PRIMARY KEY)")
        yield database


def add(database: Database, number: int) -> None:
    """Write one note in a transaction of its own."""
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", (number,))


def count(database: Database, statement: str) -> object:
    """Give the one value that a statement selects."""
    with database.transaction() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
        assert row is not None
        return row[0]


def test_a_transaction_commits_when_its_block_ends(notes: Database) -> None:
    """What a block wrote is there for the next."""
    add(notes, 1)
    assert count(notes, "SELECT count(*) FROM note") == 1


def test_a_transaction_that_raises_leaves_nothing(notes: Database) -> None:
    """An exception rolls back, and the connection serves the next transaction."""

    def fail() -> None:
        with notes.transaction() as cursor:
            cursor.execute("INSERT INTO note VALUES (1)")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert count(notes, "SELECT count(*) FROM note") == 0


def test_a_snapshot_sees_one_state_and_writes_nothing(notes: Database) -> None:
    """What commits during a snapshot is not in it, and a write in it is refused."""
    with notes.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT count(*) FROM note")
        writer = threading.Thread(
            target=count, args=(notes, "INSERT INTO note VALUES (1) RETURNING 1")
        )
        writer.start()
        writer.join(10)
        cursor.execute("SELECT count(*) FROM note")
        assert cursor.fetchone() == (0,)
    assert count(notes, "SELECT count(*) FROM note") == 1
    with (
        pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
        notes.transaction(snapshot=True) as cursor,
    ):
        cursor.execute("INSERT INTO note VALUES (2)")


def test_a_statement_ends_with_the_callers_time(empty_database_url: str) -> None:
    """A statement that takes longer than the call has left is cut off with DeadlineExceeded."""
    with contextlib.closing(Database(empty_database_url, time_left=lambda: 0.05)) as hurried:
        with pytest.raises(DeadlineExceeded), hurried.transaction() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        with hurried.transaction() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("50ms",)


def test_a_lost_database_is_unavailable_and_comes_back(private_postgres: EmbeddedPostgres) -> None:
    """While the server is dead callers get Unavailable; once it is back, the same pool works."""
    with contextlib.closing(Database(private_postgres.url())) as database:

        def lose() -> None:
            with database.transaction() as cursor:
                private_postgres.kill()
                cursor.execute("SELECT 1")

        with pytest.raises(Unavailable):
            lose()
        with pytest.raises(Unavailable):
            count(database, "SELECT 1")
        assert not database.healthy()
        private_postgres.start()
        assert count(database, "SELECT 1") == 1
        assert database.healthy()


def test_of_two_that_lock_each_other_out_one_is_aborted(notes: Database) -> None:
    """A deadlock ends with Aborted for one of the two, so that it can try again."""
    with notes.transaction() as cursor:
        cursor.execute("INSERT INTO note VALUES (1), (2)")
    meet = threading.Barrier(2)
    outcomes: list[str] = []

    def write(first: int, second: int) -> None:
        try:
            with notes.transaction() as cursor:
                cursor.execute("UPDATE note SET number = number WHERE number = %s", (first,))
                meet.wait(10)
                cursor.execute("UPDATE note SET number = number WHERE number = %s", (second,))
            outcomes.append("committed")
        except Aborted:
            outcomes.append("aborted")

    writers = [threading.Thread(target=write, args=pair) for pair in ((1, 2), (2, 1))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert sorted(outcomes) == ["aborted", "committed"]


def test_a_full_pool_makes_callers_wait_then_says_so(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every connection taken, a caller that has waited long enough gets Unavailable."""
    monkeypatch.setattr("services.accounts.database._WAIT_SECONDS", 0.05)
    with contextlib.closing(Database(empty_database_url, pool_size=1)) as small:
        outcome: list[str] = []

        def ask() -> None:
            try:
                count(small, "SELECT 1")
            except Unavailable as error:
                outcome.append(error.reason)

        with small.transaction():
            other = threading.Thread(target=ask)
            other.start()
            other.join(10)
        assert outcome == ["DATABASE_BUSY"]


def test_writers_of_one_account_take_turns(database: Database) -> None:
    """The lock of an account is held until its transaction ends; other accounts are free."""
    with database.transaction() as cursor:
        lock_accounts(cursor, [7, 3])
        got: list[object] = []
        tries = [
            threading.Thread(
                target=lambda i=i: got.append(
                    count(database, f"SELECT pg_try_advisory_xact_lock({i})")
                )
            )
            for i in (3, 7, 8)
        ]
        for each in tries:
            each.start()
            each.join(10)
        assert got == [False, False, True]
    assert count(database, "SELECT pg_try_advisory_xact_lock(7)") is True


def test_facts_of_an_account_are_recorded_at_ever_later_instants(database: Database) -> None:
    """Though the clock stands still or goes back, every next instant is later than the last."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO app_user (name, role, created_at) VALUES ('a', 1, 1) RETURNING id"
        )
        cursor.execute(
            "INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn,"
            " external_id, state, created_at) SELECT id, '', 'aws', '', '', '', 2, 1 FROM app_user"
            " RETURNING id"
        )
        row = cursor.fetchone()
        assert row is not None
        given = [next_recorded_at(cursor, row[0], now) for now in (100, 100, 90, 200)]
        assert given == [100, 101, 102, 200]
        with pytest.raises(NotFound):
            next_recorded_at(cursor, row[0] + 1, 300)
