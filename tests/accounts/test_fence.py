"""A snapshot holds what is recorded by the instant it speaks for; what commits later is later."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2
import pytest

from libs.common.errors import DeadlineExceeded, InvalidRequest
from libs.common.instants import Micros
from services.accounts.database import Cursor, Database, lock_accounts, next_recorded_at
from services.accounts.fencing import NO_ACCOUNT

_LOCKS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
WAITING = f"{_LOCKS} AND NOT granted"
HELD = f"{_LOCKS} AND granted"


@pytest.fixture
def account(database: Database) -> int:
    """Make an account whose facts were recorded last at 1000."""
    return make_account(database, 1000)


def make_account(database: Database, recorded_at: Micros) -> int:
    """Make an account; return its id."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO app_user (name, role, created_at) VALUES (%s, 1, 1) RETURNING id",
            (f"user {time.monotonic_ns()}",),
        )
        (owner,) = cursor.fetchone() or (0,)
        cursor.execute(
            "INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn,"
            " external_id, state, created_at, last_recorded_at)"
            " VALUES (%s, '', 'aws', '', '', '', 2, 1, %s) RETURNING id",
            (owner, recorded_at),
        )
        (account_id,) = cursor.fetchone() or (0,)
    return int(account_id)


def only(*ids: int) -> Callable[[Cursor], tuple[int, ...]]:
    """Look up accounts whose ids are known."""
    return lambda _cursor: ids


def instant(
    database: Database, account_id: int, now: Micros, asked: Micros | None = None
) -> Micros:
    """Return the instant that a snapshot speaks for."""
    with database.fenced_snapshot(only(account_id), now, asked) as (_, at):
        return at


def recorded(database: Database, account_id: int, now: Micros) -> Micros:
    """Record something, and return when."""
    with database.transaction() as cursor:
        lock_accounts(cursor, [account_id])
        return next_recorded_at(cursor, account_id, now)


def number(database: Database, statement: str) -> int:
    """Return the number that a statement selects."""
    with database.transaction() as cursor:
        cursor.execute(statement)
        (found,) = cursor.fetchone() or (0,)
    return int(found)


def until(database: Database, statement: str, wanted: int) -> None:
    """Wait until a statement selects a number, at most ten seconds."""
    ends = time.monotonic() + 10
    while number(database, statement) != wanted:
        assert time.monotonic() < ends, f"not {wanted}: {statement}"
        time.sleep(0.005)


@contextlib.contextmanager
def writing(database: Database, account_id: int, now: Micros) -> Iterator[Micros]:
    """Be a writer who has recorded something and has not committed yet."""
    ready, go, given = threading.Event(), threading.Event(), []

    def write() -> None:
        with database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            given.append(next_recorded_at(cursor, account_id, now))
            ready.set()
            go.wait(20)

    writer = threading.Thread(target=write)
    writer.start()
    assert ready.wait(10)
    try:
        yield given[0]
    finally:
        go.set()
        writer.join(20)


def test_an_answer_speaks_for_now_or_for_what_was_recorded_last(
    database: Database, account: int
) -> None:
    """At 2000 by the clock that is 2000; by a clock that is behind it is 1000."""
    assert instant(database, account, 500) == 1000
    assert instant(database, account, 2000) == 2000


def test_what_is_recorded_after_an_answer_is_later_whatever_the_clock_says(
    database: Database, account: int
) -> None:
    """The answer is for 2000; by a clock that stands still, or runs back, the next is at 2001."""
    assert instant(database, account, 2000) == 2000
    assert recorded(database, account, 2000) == 2001
    assert recorded(database, account, 1500) == 2002
    assert instant(database, account, 1500) == 2002


def test_an_answer_for_an_earlier_instant_does_not_take_the_later_one_back(
    database: Database, account: int
) -> None:
    """Of two answers, for 3000 and then for 1200, the first decides when is recorded next: 3001."""
    assert instant(database, account, 3000) == 3000
    assert instant(database, account, 2000, asked=1200) == 1200
    assert recorded(database, account, 2000) == 3001


def test_an_instant_ahead_of_all_that_is_known_is_refused(database: Database, account: int) -> None:
    """At 2000 by the clock 2001 is ahead, until an answer has spoken for it by another clock."""
    with pytest.raises(InvalidRequest) as raised:
        instant(database, account, 2000, asked=2001)
    assert [each.field for each in raised.value.violations] == ["as_of"]
    assert instant(database, account, 2001) == 2001
    assert instant(database, account, 2000, asked=2001) == 2001


def test_a_reader_waits_for_a_writer_of_its_account(database: Database, account: int) -> None:
    """What was dated 1500 is in the answer for 2000, which was asked for before the commit."""
    found: list[tuple[Micros, Micros]] = []

    def read() -> None:
        with database.fenced_snapshot(only(account), 2000) as (cursor, at):
            cursor.execute("SELECT last_recorded_at FROM cloud_account WHERE id = %s", (account,))
            found.append((at, *(cursor.fetchone() or (0,))))

    reader = threading.Thread(target=read)
    with writing(database, account, 1500) as recorded_at:
        assert recorded_at == 1500
        reader.start()
        until(database, WAITING, 1)
        assert found == []
    reader.join(10)
    assert found == [(2000, 1500)]


def test_a_reader_does_not_wait_for_writers_of_other_accounts(
    database: Database, account: int
) -> None:
    """While another account is written to, the answer comes."""
    with writing(database, make_account(database, 1), 1500):
        assert instant(database, account, 2000) == 2000


def test_who_waits_for_one_account_keeps_no_writer_of_another_waiting(
    database: Database, account: int
) -> None:
    """Asked about two accounts while one is written to: the other is written to meanwhile."""
    slow = make_account(database, 1)
    ids = only(account, slow)

    def read() -> None:
        with database.fenced_snapshot(ids, 2000):
            pass

    reader = threading.Thread(target=read)
    done: list[Micros] = []
    writer = threading.Thread(target=lambda: done.append(recorded(database, account, 1600)))
    with writing(database, slow, 1500):
        reader.start()
        until(database, WAITING, 1)
        writer.start()
        writer.join(10)
        assert done == [1600]
    reader.join(10)


def test_nobody_waits_for_a_snapshot_that_is_open(
    database: Database, database_url: str, account: int
) -> None:
    """Another process opens one of the same account, and a writer is not kept out."""
    with (
        contextlib.closing(Database(database_url)) as other,
        database.fenced_snapshot(only(account), 2000),
        other.fenced_snapshot(only(account), 2000),
    ):
        done: list[Micros] = []
        writer = threading.Thread(target=lambda: done.append(recorded(database, account, 2000)))
        writer.start()
        writer.join(10)
        assert done == [2001]


def test_what_commits_while_a_snapshot_is_open_is_not_in_it(
    database: Database, account: int
) -> None:
    """The account's last is 1000 all through, though 2001 is recorded meanwhile."""
    statement = "SELECT last_recorded_at FROM cloud_account WHERE id = %s"
    with database.fenced_snapshot(only(account), 2000) as (cursor, _):
        writer = threading.Thread(target=recorded, args=(database, account, 2000))
        writer.start()
        writer.join(10)
        cursor.execute(statement, (account,))
        assert cursor.fetchone() == (1000,)


def test_no_lock_is_left_when_the_callers_time_is_up(
    database: Database, database_url: str, account: int
) -> None:
    """A reader that waits too long for a writer gives up, and its connection holds nothing."""
    with contextlib.closing(Database(database_url, pool_size=1, time_left=lambda: 0.1)) as hurried:
        with writing(database, account, 1500), pytest.raises(DeadlineExceeded):
            instant(hurried, account, 2000)
        assert number(hurried, HELD) == 0
        assert instant(hurried, account, 2000) == 2000
        assert number(hurried, HELD) == 0


@pytest.mark.parametrize("where", ["looking up", "reading"])
def test_no_lock_is_left_when_a_reader_fails(database: Database, account: int, where: str) -> None:
    """Neither by an error before the locks are given back nor by one after."""

    def fail(_cursor: Cursor) -> tuple[int, ...]:
        raise ValueError("stop")

    def read() -> None:
        look_up = fail if where == "looking up" else only(account)
        with database.fenced_snapshot(look_up, 2000):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        read()
    assert number(database, HELD) == 0


def test_a_snapshot_cannot_write(database: Database, account: int) -> None:
    """It only reads."""
    with (
        pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
        database.fenced_snapshot(only(account), 2000) as (cursor, _),
    ):
        cursor.execute("DELETE FROM cloud_account")


def test_instance_types_are_fenced_as_an_account_is(
    database: Database, database_url: str, account: int
) -> None:
    """Who writes facts of no account keeps readers waiting, since these may be in their answers."""
    found: list[Micros] = []
    reader = threading.Thread(target=lambda: found.append(instant(database, account, 2000)))
    with (
        contextlib.closing(Database(database_url)) as other,
        other.transaction() as cursor,
    ):
        lock_accounts(cursor, [NO_ACCOUNT])
        cursor.execute("INSERT INTO instance_type VALUES ('m5.large', 2, 8192, '{}', 2500)")
        reader.start()
        until(database, WAITING, 1)
    reader.join(10)
    assert found == [2500]


def test_more_accounts_than_are_locked_at_once_are_fenced_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two at a time, of five accounts the last is waited for, and nothing is left locked.

    Its second writer comes between the reader's two looks: the first one waits with no lock held.
    """
    monkeypatch.setattr("services.accounts.fencing._LOCKED_AT_ONCE", 2)
    ids = [make_account(database, 1000) for _ in range(5)]
    found: list[Micros] = []
    begun, over = threading.Event(), threading.Event()

    def read() -> None:
        with database.fenced_snapshot(only(*ids), 2000) as (_, at):
            found.append(at)

    def write_next() -> None:
        with writing(database, ids[-1], 1600):
            begun.set()
            over.wait(20)

    threads = [threading.Thread(target=read), threading.Thread(target=write_next)]
    with writing(database, ids[-1], 1500):
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            until(database, WAITING, waiting)
    assert begun.wait(10)
    until(database, WAITING, 1)
    assert found == []
    # The others are not kept from writing meanwhile, and what they write is later.
    assert recorded(database, ids[0], 1500) == 2001
    over.set()
    for thread in threads:
        thread.join(10)
    assert found == [2000]
    assert number(database, HELD) == 0
