"""Tables parted by account: PostgreSQL's own partitions hold what the service does, as before."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, inventory_pb2, schedule_pb2
from libs.common.config import StartError
from services.accounts import fact_reader, run_rows
from services.accounts.copying import array
from services.accounts.database import Database
from services.accounts.partitioning import partition
from services.accounts.sessions import FOREVER
from tests.accounts.test_main import command, environment
from tests.accounts.test_stream_runs import Streamed, stream
from tests.support.accounts import Accounts, running_accounts
from tests.support.feeding import IMAGE, Feeder, feeder, instance, listed, message
from tests.support.timeline import at, change, fresh, off, on
from tests.support.waiting import wait_until

I1, I2, I3 = instance(1), instance(2), instance(3)
PARTS = 4
NUMBERS = ("123456789012", "210987654321", "333333333333")
PARTED = {
    *("event", "sighting", "listing", "run", "anomaly", "taken_away", "instance", "instance_was"),
    *("image", "image_was", "classification", "override", "inspection_job", "quarantine", "audit"),
}


def _first_half(accounts: Accounts) -> list[Feeder]:
    """Fill three accounts with facts of every kind."""
    accounts.clock.advance(timedelta(hours=12))
    feeders = [feeder(accounts, number) for number in NUMBERS]
    for feed in feeders:
        every = [
            on("08:00", usage_operation="x", event_id="a"),
            off("09:00", event_id="b"),
            on("10:00", event_id="c"),
            change("10:30", usage_operation="y", event_id="d"),
        ]
        batch = [message(event, I1, feed.account_id, image_id=IMAGE) for event in every]
        batch.append(message(off("06:00", event_id="z"), I3, feed.account_id))
        bad = message(on("08:00", event_id="e"), "i-1", feed.account_id)
        assert feed.outcomes([*batch, bad]) == ["STORED"] * 5 + ["REJECTED"]
        feed.show(at("11:00"), [listed(I2, at("07:00"), image_id=IMAGE)])
    return feeders


def _second_half(accounts: Accounts, feeders: list[Feeder]) -> list[str]:
    """Store what is late, known, superseding, new; what listings show and lack; and return it all.

    The runs of one instance are taken away, and new instances, images and types take numbers.
    """
    outcomes = []
    accounts.clock.advance(timedelta(hours=1))
    for feed in feeders:
        every = [
            on("08:00", usage_operation="x", event_id="a"),
            off("08:30", event_id="b"),
            change("09:30", usage_operation="y", event_id="f"),
            off("12:00", event_id="g"),
        ]
        told = [message(event, I1, feed.account_id) for event in every]
        told.append(message(fresh("09:00", event_id="h"), I3, feed.account_id))
        told[0].image_id = IMAGE
        outcomes += feed.outcomes(told, told[1:3])
        feed.show(at("11:15"), [listed(I2, at("07:00"), image_id=IMAGE)])
        feed.show(at("11:30"), [])
        feed.show(at("11:45"), [])
    return outcomes


def _rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the tables hold, without what is random or the relay's, who has its own time."""
    found = {}
    with database.transaction() as cursor:
        for table in sorted(PARTED | {"cloud_account", "region"}):
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 # of a constant
            columns = [column.name for column in cursor.description or ()]
            left_out = {"external_id"}
            if table == "inspection_job":
                left_out = {"state", "attempts", "reason", "updated_at", "due_at"}
            found[table] = sorted(
                tuple(
                    str(bytes(value) if isinstance(value, memoryview) else value)
                    for name, value in zip(columns, row, strict=True)
                    if name not in left_out
                )
                for row in cursor.fetchall()
            )
    return found


def _answers(accounts: Accounts, feed: Feeder) -> list[object]:
    api = accounts.admin.inventory
    account_id = feed.account_id
    streamed = stream(accounts, accounts.admin)
    return [
        _without_order(streamed),
        api.ListInstances(inventory_pb2.ListInstancesRequest(account_id=account_id)),
        api.ListImages(inventory_pb2.ListImagesRequest(account_id=account_id)),
        api.ListQuarantine(inventory_pb2.ListQuarantineRequest(account_id=account_id)),
        api.ListAuditEntries(inventory_pb2.ListAuditEntriesRequest(account_id=account_id)),
        *(
            api.ListEvents(
                inventory_pb2.ListEventsRequest(account_id=account_id, instance_id=ec2_id)
            )
            for ec2_id in (I1, I2)
        ),
    ]


def _without_order(streamed: Streamed) -> list[object]:
    """Return the runs, and of what they are, as sets: their order is nobody's promise."""
    return [
        sorted(row[:4] for row in streamed.runs),
        *map(sorted, (streamed.instances, streamed.images)),
    ]


@pytest.fixture
def whole(accounts: Accounts) -> tuple[list[str], Accounts]:
    """Do it all on whole tables."""
    return _second_half(accounts, _first_half(accounts)), accounts


@pytest.fixture
def halfway(empty_database_url: str) -> Iterator[tuple[Accounts, list[Feeder]]]:
    """Run accounts on another database, filled, whose tables are parted while it does nothing."""
    with running_accounts(empty_database_url) as running:
        feeders = _first_half(running)
        before = [_answers(running, feed) for feed in feeders]
        assert ("event", 18) in partition(running.database, PARTS)
        assert [_answers(running, feed) for feed in feeders] == before
        yield running, feeders


def test_parted_tables_hold_what_whole_ones_do(
    whole: tuple[list[str], Accounts], halfway: tuple[Accounts, list[Feeder]]
) -> None:
    """Facts, runs, names, numbers and audit of three accounts, and what became of each event."""
    outcomes, accounts = whole
    running, feeders = halfway
    assert _second_half(running, feeders) == outcomes
    assert outcomes[:7] == [
        *("DUPLICATE", "SUPERSEDED", "STORED", "STORED", "STORED"),
        *("DUPLICATE", "DUPLICATE"),
    ]
    expected, found = _rows(accounts.database), _rows(running.database)
    for table, rows in expected.items():
        assert found[table] == rows, table
    assert all(expected[table] for table in ("run", "taken_away", "anomaly", "image"))


def test_an_account_is_erased_from_all_partitions(
    halfway: tuple[Accounts, list[Feeder]],
) -> None:
    """Nothing is left of it but that it was; the others keep every row."""
    running, (gone, *others) = halfway
    before = [_answers(running, feed)[1:] for feed in others]
    running.admin.accounts.DeleteCloudAccount(
        accounts_pb2.DeleteCloudAccountRequest(
            id=gone.account_id, history=accounts_pb2.HISTORY_ERASE
        )
    )

    def left() -> dict[str, int]:
        found = {}
        with running.database.transaction() as cursor:
            for table in PARTED - {"audit"}:
                cursor.execute(
                    f"SELECT count(*) FROM {table} WHERE account_id = %s",  # noqa: S608 # constants
                    (gone.account_id,),
                )
                (found[table],) = cursor.fetchone() or (0,)
        return {table: count for table, count in found.items() if count}

    wait_until(lambda: not left())
    assert [_answers(running, feed)[1:] for feed in others] == before


def test_a_lease_and_its_jobs_are_found_in_partitions(
    halfway: tuple[Accounts, list[Feeder]],
) -> None:
    """Rows are locked and skipped over as in a whole table."""
    running, feeders = halfway
    running.clock.advance(timedelta(days=1))
    leases = (
        running.service("scanner")
        .schedule.AcquireDueLeases(
            schedule_pb2.AcquireDueLeasesRequest(holder="again", max_leases=10)
        )
        .leases
    )
    assert len(leases) == len(feeders)


def test_an_operator_parts_the_tables(database_url: str) -> None:
    """The command says what it did to each table; a second time it says why not."""
    environ = environment(database_url)
    done = command(environ, "partition", "--into", "2")
    assert done.returncode == 0, done.stderr
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} >= PARTED
    assert "event: 0 rows in 2 partitions" in done.stdout.splitlines()
    again = command(environ, "partition", "--into", "2")
    assert (again.returncode, again.stdout) == (2, "")
    assert "parted already: anomaly, " in again.stderr


@pytest.fixture
def parted(database: Database) -> Database:
    """Part the tables of an empty database."""
    assert {each.table for each in partition(database, PARTS)} >= PARTED
    return database


def test_parting_twice_is_refused(parted: Database) -> None:
    """And so is what makes no sense; nothing is changed."""
    with pytest.raises(StartError, match="parted already: anomaly, audit, "):
        partition(parted, PARTS)
    with pytest.raises(StartError, match="2 to 256"):
        partition(parted, 1)


def _plan(database: Database, statement: str, *arguments: object) -> str:
    with database.transaction() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the tables are empty
        cursor.execute(f"EXPLAIN (ANALYZE) {statement}", arguments)
        return "\n".join(row[0] for row in cursor.fetchall())


def _looked_at(plan: str, table: str) -> set[str]:
    """Return the partitions that a plan really looked at."""
    return {
        f"{table}_{number}"
        for number in range(PARTS)
        for line in plan.splitlines()
        if f" on {table}_{number} " in line and "never executed" not in line
    }


def test_one_account_is_looked_for_in_one_partition(parted: Database) -> None:
    """Whether the statement names it, or each row of what is looked for does."""
    assert len(_looked_at(_plan(parted, "SELECT FROM run WHERE account_id = %s", 7), "run")) == 1
    seven, one = array([7]), array([1])
    window = (seven, one, array([0]), array([FOREVER]))
    events = _plan(parted, fact_reader._EVENTS, *window)
    assert len(_looked_at(events, "event")) == 1
    runs = _plan(parted, run_rows._LAST_RUNS, seven, one)
    assert len(_looked_at(runs, "run")) == 1


def test_a_table_keeps_its_keys_room_and_numbers(database: Database) -> None:
    """Names of keys and sequences, fill factors, and the number after the last."""
    names = """
        SELECT c.relname, c.relkind IN ('i', 'I') FROM pg_class c
        WHERE c.relkind IN ('i', 'I', 'S') AND NOT c.relispartition
          AND c.relnamespace = 'public'::regnamespace ORDER BY 1
    """
    keep = (
        "INSERT INTO quarantine (account_id, source, origin, reason, content, digest, recorded_at)"
        " VALUES (7, 1, '', '', '', %s, 1) RETURNING id"
    )
    with database.transaction() as cursor:
        cursor.execute(names)
        before = cursor.fetchall()
        cursor.execute(keep, (b"a",))
        cursor.execute(keep, (b"b",))
        assert cursor.fetchall() == [(2,)]
    partition(database, PARTS)
    with database.transaction() as cursor:
        cursor.execute(names)
        assert cursor.fetchall() == before
        cursor.execute(keep, (b"c",))
        assert cursor.fetchall() == [(3,)]
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'run_3'")
        assert cursor.fetchall() == [(["fillfactor=80"],)]
