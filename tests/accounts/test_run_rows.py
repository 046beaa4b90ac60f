"""Stored runs are those that all facts give, where only a part of them is derived again."""

from datetime import timedelta
from typing import Any

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2, schedule_pb2
from services.accounts import run_rows
from services.accounts.copying import array
from services.accounts.database import Database
from services.accounts.sessions import FOREVER
from tests.support.accounts import START, Accounts
from tests.support.feeding import Feeder, feeder, instance, listed, message
from tests.support.timeline import at, change, fresh, off, on, shown

I1, I2 = instance(1), instance(2)
OTHER_ROLE = "arn:aws:iam::123456789012:role/other"


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account, at midnight after 2026-03-01."""
    accounts.clock.advance(timedelta(hours=12))
    return feeder(accounts)


def _spans(feed: Feeder, ec2_id: str = I1) -> list[str]:
    return [
        f"{shown(run.start)}-{shown(run.end) if run.end else ''}"
        + (f"..{shown(run.end_latest)}" if run.end_latest else "")
        for run in feed.runs(ec2_id)
    ]


def _change_role(accounts: Accounts, feed: Feeder) -> accounts_pb2.CloudAccount:
    return accounts.admin.accounts.UpdateCloudAccount(
        accounts_pb2.UpdateCloudAccountRequest(
            account=accounts_pb2.CloudAccount(id=feed.account_id, role_arn=OTHER_ROLE)
        )
    ).account


def test_a_late_change_takes_back_the_split_of_a_later_session(feed: Feeder) -> None:
    """What changes at 10:30 was so from 09:30 on, so nothing splits: one open run, not two."""
    every = [
        on("08:00", usage_operation="x"),
        off("09:00"),
        on("10:00"),
        change("10:30", usage_operation="y"),
    ]
    feed.send([message(event, I1, feed.account_id) for event in every])
    assert _spans(feed) == ["08:00-09:00", "10:00-10:30", "10:30-"]
    feed.send([message(change("09:30", usage_operation="y"), I1, feed.account_id)])
    assert _spans(feed) == ["08:00-09:00", "10:00-"]


def test_a_late_off_after_a_split_ends_the_session_that_was_split(feed: Feeder) -> None:
    """On at 10:00, converted at 10:30, off at 10:45: both runs are of the session of 10:00."""
    every = [
        on("10:00", usage_operation="x"),
        change("10:30", usage_operation="y"),
        off("11:00"),
        on("12:00"),
        off("13:00"),
    ]
    feed.send([message(event, I1, feed.account_id) for event in every])
    feed.send([message(off("10:45"), I1, feed.account_id)])
    assert _spans(feed) == ["10:00-10:30", "10:30-10:45", "12:00-13:00"]
    assert [shown(run.session_start) for run in feed.runs(I1)] == ["10:00", "10:00", "12:00"]


_MANY_RUNS = """
INSERT INTO run SELECT 1, i, n * 100, n * 100 + 50, n * 100, 0, 0, 0, 0, 0, 0, 0, 1
FROM generate_series(1, 200) i, generate_series(1, 50) n
"""


@pytest.mark.parametrize("statistics", ["", "ANALYZE run"], ids=["none", "fresh"])
def test_what_is_late_reads_the_runs_around_it_and_no_whole_history(
    database: Database, statistics: str
) -> None:
    """Of fifty runs three, each found and then read, whatever PostgreSQL knows of the table."""
    middle = array([2_560])
    with database.transaction() as cursor:
        cursor.execute(_MANY_RUNS)
        if statistics:
            cursor.execute(statistics)
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {run_rows._RUNS}",
            (array([1]), array([3]), middle, middle, FOREVER),
        )
        ((plans,),) = cursor.fetchall()
    assert 3 <= _rows_read(plans[0]["Plan"]) <= 5


def _rows_read(plan: dict[str, Any]) -> float:
    """Return how many rows of runs, or entries of their index, a plan read."""
    own = 0.0
    if plan.get("Relation Name") == "run" or plan.get("Index Name") == "run_pkey":
        own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return own + sum(_rows_read(part) for part in plan.get("Plans", ()))


def test_disabling_reaches_a_session_that_ends_later_by_another_clock(
    feed: Feeder, accounts: Accounts
) -> None:
    """By AWS's clock on at 00:02 and stopped by 00:04; by ours, tracking ended at midnight."""
    midnight = START + timedelta(hours=12)
    witness = message(on("10:00"), I1, feed.account_id, occur_time=midnight + timedelta(minutes=2))
    stopped = message(
        off("10:00", previous_state="stopped"),
        I1,
        feed.account_id,
        occur_time=midnight + timedelta(minutes=4),
    )
    feed.send([message(fresh("23:50"), I1, feed.account_id), witness, stopped])
    assert _spans(feed) == ["23:50-00:02..00:04"]
    accounts.admin.accounts.DisableCloudAccount(
        accounts_pb2.DisableCloudAccountRequest(id=feed.account_id)
    )
    assert _spans(feed) == ["23:50-23:50..00:02", "00:02-00:02..00:04"]


def test_another_role_ends_tracking_until_it_is_proved(feed: Feeder, accounts: Accounts) -> None:
    """Nobody scans meanwhile: what is open counts to the last listing, and is filled afterwards."""
    feed.show(at("23:30"), [listed(I1, at("10:00"))])
    assert _spans(feed) == ["10:00-"]
    moved = _change_role(accounts, feed)
    assert moved.state == accounts_pb2.CloudAccount.STATE_PENDING
    assert _spans(feed) == ["10:00-23:25..ever"]
    accounts.clock.advance(timedelta(hours=1))
    accounts.verify(moved)
    (lease,) = (
        accounts.service("scanner")
        .schedule.AcquireDueLeases(
            schedule_pb2.AcquireDueLeasesRequest(holder="test", max_leases=1)
        )
        .leases
    )
    again = START + timedelta(hours=13)
    feed.show(_micros(again), [listed(I1, at("10:00"))], epoch=lease.epoch)
    assert _spans(feed) == ["10:00-"]


def test_a_source_that_nobody_knows_is_rejected_and_stops_nothing_else(feed: Feeder) -> None:
    """An enum's number may be any; the database has no room for this one."""
    bad = message(on("10:00"), I1, feed.account_id, source=99_999)
    good = message(on("10:00"), I2, feed.account_id)
    assert feed.outcomes([bad, good]) == ["REJECTED", "STORED"]


def _micros(moment: object) -> int:
    stamp = events_pb2.Event(occur_time=moment).occur_time  # type: ignore[arg-type] # a datetime
    return stamp.seconds * 1_000_000
