"""Instance types: dated rows, kept apart from the listings that tell of them."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from cloudigrade.accounts.v1 import events_pb2
from libs.common.clock import ManualClock
from libs.common.instants import to_micros
from services.accounts.database import Database
from services.accounts.listing import ListedType
from services.accounts.type_store import TypeStore
from tests.support.accounts import START, Accounts
from tests.support.feeding import feeder, instance, message
from tests.support.timeline import at, on
from tests.support.waiting import wait_until

NOW = to_micros(START)
LARGE = ListedType("m5.large", 2, 8192, ("x86_64",))
ODD = ListedType("m5.large", 4, 8192, ("x86_64", "i386"))


@pytest.fixture
def clock() -> ManualClock:
    """Give the stores' clock."""
    return ManualClock(START)


@contextmanager
def _store(
    url: str, clock: ManualClock, connections: int = 2
) -> Iterator[tuple[TypeStore, Database]]:
    """Open a store of its own, as another process would."""
    with closing(Database(url, pool_size=connections)) as database:
        database.migrate()
        yield TypeStore(database, clock), database


def _rows(database: Database) -> list[tuple[object, ...]]:
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT name, vcpu, memory_mib, architectures, recorded_at FROM instance_type"
            " ORDER BY recorded_at, name"
        )
        return cursor.fetchall()


def test_what_changes_is_added_and_what_was_stays(database_url: str, clock: ManualClock) -> None:
    """Three rows for two that differ and one that is told again after them; none for repeats."""
    with _store(database_url, clock) as (store, database):
        for told in (LARGE, LARGE, ODD, ODD, LARGE):
            store.learn([told])
        assert _rows(database) == [
            ("m5.large", 2, 8192, ["x86_64"], NOW),
            ("m5.large", 4, 8192, ["x86_64", "i386"], NOW + 1),
            ("m5.large", 2, 8192, ["x86_64"], NOW + 2),
        ]


def test_what_is_recorded_is_later_than_any_answer(database_url: str, clock: ManualClock) -> None:
    """An answer has spoken for an hour from now."""
    hour = NOW + 3_600_000_000
    with _store(database_url, clock) as (store, database):
        with database.transaction() as cursor:
            cursor.execute("SELECT setval('answered_at', %s)", (hour,))
        store.learn([LARGE])
        assert [row[-1] for row in _rows(database)] == [hour + 1]


def test_what_is_known_already_needs_no_database(database_url: str, clock: ManualClock) -> None:
    """Its only connection is taken, and what was told before is told again."""
    with _store(database_url, clock, connections=1) as (store, database):
        store.learn([LARGE, ListedType("t3.nano", 2, 512, ("x86_64",))])
        done = threading.Event()

        def learn() -> None:
            store.learn([LARGE])
            done.set()

        with database.transaction():
            learner = threading.Thread(target=learn)
            learner.start()
            learner.join(30)
        assert done.is_set()


def test_two_processes_add_what_both_are_told_once(database_url: str, clock: ManualClock) -> None:
    """And what one was told last holds, also after the other was told something else."""
    with _store(database_url, clock) as (one, database), _store(database_url, clock) as (two, _):
        one.learn([LARGE])
        two.learn([LARGE])
        two.learn([ODD])
        one.learn([ODD])
        assert [row[1] for row in _rows(database)] == [2, 4]
        two.learn([LARGE])
        clock.advance(timedelta(minutes=1))
        one.learn([ODD])
        assert [row[1] for row in _rows(database)] == [2, 4, 2, 4]


def test_who_waited_for_another_writer_looks_again(database_url: str, clock: ManualClock) -> None:
    """What the other was writing is stored when the lock is had, and is no news."""
    with _store(database_url, clock) as (store, database):
        waiter = threading.Thread(target=store.learn, args=([LARGE],))
        with database.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(0)")
            cursor.execute(
                "INSERT INTO instance_type VALUES ('m5.large', 2, 8192, '{x86_64}', %s)", (NOW,)
            )
            waiter.start()

            def waits() -> bool:
                cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                return cursor.rowcount > 0

            wait_until(waits)
        waiter.join(30)
        assert _rows(database) == [("m5.large", 2, 8192, ["x86_64"], NOW)]


def test_a_listing_waits_for_nobody_who_writes_types(accounts: Accounts) -> None:
    """Another process holds their lock, while a listing tells of those that are known."""
    accounts.clock.advance(timedelta(hours=12))
    feed = feeder(accounts)
    told = [events_pb2.InstanceTypeDescription(instance_type="m5.large", vcpus=2, memory_mib=8192)]
    feed.show(at("10:30"), [], instance_types=told)
    accounts.clock.advance(timedelta(hours=1))
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(0)")
        cursor.execute("SELECT FROM instance_type FOR UPDATE")
        assert cursor.rowcount == 1
        answer = feed.show(at("10:45"), [], instance_types=told)
    assert answer.HasField("confirmed_through")


def test_what_is_learnt_of_a_type_is_audited_where_it_ran_in_the_past(accounts: Accounts) -> None:
    """Of the first account's types one ran yesterday; CPU options say for themselves what counts.

    The second account, which scans, never ran it; and what is told again is no news.
    """
    accounts.clock.advance(timedelta(hours=12))  # to the midnight after
    feed, other = feeder(accounts), feeder(accounts, "210987654321")
    day = 24 * 3_600_000_000
    told = [("m5.large", 0, 0), ("t3.nano", day, 0), ("c5.large", 0, 1)]
    feed.send(
        [
            message(
                on("08:00", instance_type=name, vcpu=vcpu)._replace(occurred_at=at("08:00") + add),
                instance(number),
                feed.account_id,
            )
            for number, (name, add, vcpu) in enumerate(told)
        ]
    )
    accounts.clock.advance(timedelta(hours=9))
    for vcpus in (2, 4, 4):
        types = [
            events_pb2.InstanceTypeDescription(instance_type=name, vcpus=vcpus)
            for name in ("m5.large", "t3.nano", "c5.large")
        ]
        accounts.clock.advance(timedelta(minutes=2))
        other.show(at("10:30") + vcpus, [], instance_types=types)
    with feed.database.transaction() as cursor:
        cursor.execute(
            "SELECT account_id, subject, detail, affected_from, affected_until - at FROM audit"
            " WHERE action = 'instance_type.learnt' ORDER BY id"
        )
        entries = cursor.fetchall()
    first = "m5.large has 2 vCPU and 0 MiB; before that nothing was known"
    second = "m5.large has 4 vCPU and 0 MiB; before that 2 vCPU and 0 MiB was known"
    assert entries == [
        (feed.account_id, "m5.large", detail, at("08:00"), 0) for detail in (first, second)
    ]
