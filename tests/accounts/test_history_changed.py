"""Whoever changes reports of a past day leaves an entry in the audit log that says how and why."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from cloudigrade.accounts.v1 import accounts_pb2
from libs.common.instants import Micros
from services.accounts.facts import Event, EventKind, Source
from services.accounts.history import Past, changed_span, day_of, events_told
from tests.support.accounts import Accounts
from tests.support.feeding import Feeder, feeder, instance, listed, message
from tests.support.timeline import at, change, off, on, shown

I1, I2, I3 = instance(1), instance(2), instance(3)
DAY = 86_400_000_000
NOON = at("12:00")
MIDNIGHT = at("00:00") + DAY


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account, at noon of 2026-03-01."""
    return feeder(accounts)


def _entries(feed: Feeder, action: str = "history.changed") -> list[tuple[str, Micros, Micros]]:
    """Return what the audit log says of changes of the past: in words, from when and until when."""
    with feed.database.transaction() as cursor:
        cursor.execute(
            "SELECT detail, affected_from, affected_until FROM audit"
            " WHERE account_id = %s AND action = %s ORDER BY id",
            (feed.account_id, action),
        )
        return cursor.fetchall()


def _taken_away(feed: Feeder) -> list[Micros]:
    with feed.database.transaction() as cursor:
        cursor.execute(
            "SELECT recorded_at FROM taken_away WHERE account_id = %s", (feed.account_id,)
        )
        return [recorded_at for (recorded_at,) in cursor.fetchall()]


# What is in order


def test_what_is_told_on_its_day_changes_no_past(feed: Feeder, accounts: Accounts) -> None:
    """On at 10:00 and off at 11:00, told at noon; on at 12:30 and off at 13:00, told at 14:00."""
    feed.send([message(on("10:00"), I1, feed.account_id)])
    feed.send([message(off("11:00"), I1, feed.account_id)])
    accounts.clock.advance(timedelta(hours=2))
    feed.send([message(event, I1, feed.account_id) for event in (on("12:30"), off("13:00"))])
    assert len(feed.runs(I1)) == 2
    assert _entries(feed) == []
    assert _taken_away(feed) == []


def test_what_goes_on_over_midnight_changes_no_past(feed: Feeder, accounts: Accounts) -> None:
    """On since yesterday; an off of today ends it today."""
    feed.send([message(on("10:00"), I1, feed.account_id)])
    accounts.clock.advance(timedelta(hours=13))
    stop = Event("stop", EventKind.POWER_OFF, MIDNIGHT + DAY // 48, Source.CLOUDTRAIL)
    feed.send([message(stop, I1, feed.account_id)])
    assert [run.end for run in feed.runs(I1)] == [MIDNIGHT + DAY // 48]
    assert _entries(feed) == []


# What is late


def test_a_late_off_says_from_when_reports_counted_too_much(
    feed: Feeder, accounts: Accounts
) -> None:
    """Told at 01:00 of the next day that it was off at 22:00: three hours go."""
    feed.send([message(on("10:00"), I1, feed.account_id)])
    accounts.clock.advance(timedelta(hours=13))
    feed.send([message(off("22:00"), I1, feed.account_id)])
    assert _entries(feed) == [
        ("1 run of 1 instance by 1 late event of cloudtrail", at("22:00"), MIDNIGHT + DAY // 24)
    ]


def test_a_backfill_writes_one_entry_for_a_transaction(feed: Feeder) -> None:
    """Three instances, on for an hour 90, 89 and 88 days ago: one batch, one entry."""
    batch = []
    for number, ec2_id in enumerate((I1, I2, I3)):
        past = (number - 90) * DAY
        for event in (on("10:00", source=Source.LOOKUP), off("11:00")):
            moved = message(event, ec2_id, feed.account_id)
            moved.occur_time.seconds += past // 1_000_000
            batch.append(moved)
    assert feed.outcomes(batch) == ["STORED"] * 6
    assert _entries(feed) == [
        (
            "3 runs of 3 instances by 3 late events of cloudtrail and 3 late events of lookup",
            at("10:00") - 90 * DAY,
            at("11:00") - 88 * DAY,
        )
    ]


def test_each_account_has_an_entry_of_its_own(feed: Feeder, accounts: Accounts) -> None:
    """One batch with late events of two accounts."""
    other = feeder(accounts, "210987654321")
    accounts.clock.advance(timedelta(days=1))
    feed.send(
        [
            message(on("10:00"), I1, feed.account_id),
            message(on("10:00"), I1, other.account_id),
            message(off("11:00"), I1, other.account_id),
        ]
    )
    ((one, *_),), ((two, *_),) = _entries(feed), _entries(other)
    assert one == "1 run of 1 instance by 1 late event of cloudtrail"
    assert two == "1 run of 1 instance by 2 late events of cloudtrail"


def test_an_attribute_told_today_that_reaches_back_changes_the_whole_run(
    feed: Feeder, accounts: Accounts
) -> None:
    """A session of yesterday takes the type that the next one states: its vCPU time appears."""
    feed.send([message(event, I1, feed.account_id) for event in (on("08:00"), off("09:00"))])
    accounts.clock.advance(timedelta(hours=13))
    start = Event("start", EventKind.POWER_ON, MIDNIGHT + 1, Source.CLOUDTRAIL)
    stated = message(start, I1, feed.account_id)
    stated.attributes.instance_type = "m5.large"
    feed.send([stated])
    assert [run.instance_type for run in feed.runs(I1)] == ["m5.large", "m5.large"]
    assert _entries(feed) == [
        ("1 run of 1 instance by 1 event of cloudtrail", at("08:00"), at("09:00"))
    ]


def test_an_event_told_again_changes_no_past(feed: Feeder, accounts: Accounts) -> None:
    """Not a row of runs differs."""
    accounts.clock.advance(timedelta(days=1))
    events = [message(on("10:00", event_id="x"), I1, feed.account_id)]
    feed.send(events)
    feed.send(events)
    assert len(_entries(feed)) == 1


# Listings and tracking


def test_what_only_confirms_changes_no_past(feed: Feeder, accounts: Accounts) -> None:
    """A listing of yesterday, told today, shows on what was held to be on."""
    feed.show(at("11:00"), [listed(I1, at("10:00"))])
    accounts.clock.advance(timedelta(hours=13))
    (before,) = feed.runs(I1)
    feed.show(at("23:30"), [listed(I1, at("10:00"))])
    (after,) = feed.runs(I1)
    assert (shown(before.confirmed_end), shown(after.confirmed_end)) == ("10:55", "23:25")
    assert _entries(feed) == []


def test_the_end_of_tracking_takes_what_was_counted_since_the_last_listing(
    feed: Feeder, accounts: Accounts
) -> None:
    """Listed at 11:30, disabled an hour after midnight: what was counted from 11:25 on goes."""
    feed.show(at("11:30"), [listed(I1, at("10:00"))])
    accounts.clock.advance(timedelta(hours=13))
    accounts.admin.accounts.DisableCloudAccount(
        accounts_pb2.DisableCloudAccountRequest(id=feed.account_id)
    )
    ((words, since, until),) = _entries(feed, "account.disabled")
    assert "1 run of 1 instance" in words
    assert shown(since) == "11:25"
    assert MIDNIGHT + DAY // 24 <= until <= MIDNIGHT + DAY // 24 + 10
    assert _entries(feed) == []


def test_an_instance_missing_from_two_listings_takes_what_was_counted_since_it_was_shown(
    feed: Feeder, accounts: Accounts
) -> None:
    """Shown at 11:30, missing at 23:00 and 23:30, told after midnight: it counts to 11:25."""
    feed.show(at("11:30"), [listed(I1, at("10:00"))])
    accounts.clock.advance(timedelta(hours=13))
    feed.show(at("23:00"), [])
    assert _entries(feed) == []
    feed.show(at("23:30"), [])
    assert [shown(run.end) for run in feed.runs(I1)] == ["11:25"]
    ((words, since, _),) = _entries(feed)
    assert words == "1 run of 1 instance by a listing of us-east-1"
    assert shown(since) == "11:25"


# Rows that leave no trace


def test_runs_that_are_taken_away_are_noted(feed: Feeder) -> None:
    """A change at 09:30 takes back the split at 10:30: two rows become one, in one transaction."""
    every = [
        on("08:00", usage_operation="x"),
        off("09:00"),
        on("10:00"),
        change("10:30", usage_operation="y"),
    ]
    feed.send([message(event, I1, feed.account_id) for event in every])
    assert _taken_away(feed) == []
    feed.send([message(change("09:30", usage_operation="y"), I1, feed.account_id)])
    assert [shown(run.start) for run in feed.runs(I1)] == ["08:00", "10:00"]
    assert _taken_away(feed) == [feed.revision()]


def test_anomalies_that_are_taken_away_are_noted(feed: Feeder) -> None:
    """An off without an on, whose on is told later."""
    feed.send([message(off("11:00"), I1, feed.account_id)])
    assert len(feed.anomalies(I1)) == 1
    feed.send([message(on("10:00"), I1, feed.account_id)])
    assert feed.anomalies(I1) == []
    assert _taken_away(feed) == [feed.revision()]


def test_a_run_that_is_replaced_is_not_taken_away(feed: Feeder) -> None:
    """Its end moves, and the row tells when."""
    feed.send([message(event, I1, feed.account_id) for event in (on("10:00"), off("11:00"))])
    feed.send([message(off("10:30"), I1, feed.account_id)])
    assert [shown(run.end) for run in feed.runs(I1)] == ["10:30"]
    assert _taken_away(feed) == []


# Which part of a run differs


def _row(start: str, end: str = "", session: str = "", kind: int = 1, sure: str = "") -> list[int]:
    """Return a row of `run` from start_at to basis."""
    confirmed = [at(start), at(sure)] if sure else [0, 0]
    return [
        at(start),
        at(end) if end else 0,
        at(session or start),
        *confirmed,
        *(0, kind, 0, 0, 1),
    ]


@pytest.mark.parametrize(
    ("was", "row", "span"),
    [
        (None, _row("08:00", "09:00"), ("08:00", "09:00")),
        (_row("08:00", "09:00"), None, ("08:00", "09:00")),
        (None, _row("08:00"), ("08:00", "12:00")),
        (_row("08:00"), _row("08:00", "09:00"), ("09:00", "12:00")),
        (_row("08:00", "09:00"), _row("08:00", "08:30"), ("08:30", "09:00")),
        (_row("08:00", "09:00"), _row("08:00", "09:00", kind=2), ("08:00", "09:00")),
        (_row("08:00", "09:00"), _row("08:00", "10:00", session="07:00"), ("08:00", "10:00")),
        (_row("08:00", "09:00"), _row("08:00", "09:00", sure="08:30"), None),
        (None, _row("08:00", "08:00"), ("08:00", "08:00:00.000001")),
    ],
    ids=[
        *("new", "lost", "new and open", "ended", "ended earlier", "another type"),
        *("of another session", "confirmed", "of zero length"),
    ],
)
def test_a_run_differs_where_reports_count_it_otherwise(
    was: Sequence[int] | None, row: Sequence[int] | None, span: tuple[str, str] | None
) -> None:
    """What is open counts to now, noon."""
    found = changed_span(was, row, NOON)
    assert (found and (shown(found[0]), shown(found[1]))) == span


def test_an_account_counts_what_began_before_its_day() -> None:
    """Two of three runs, of one instance; the third begins with the day."""
    past = Past(day_of(MIDNIGHT + NOON % DAY))
    past.note(7, None, _row("08:00", "09:00"), MIDNIGHT)
    past.note(7, None, _row("23:00"), MIDNIGHT + 5)
    past.note(8, None, [MIDNIGHT, *_row("08:00")[1:]], MIDNIGHT + 5)
    assert past.told(["x", "y"]) == "2 runs of 1 instance by x and y"
    assert (shown(past.since), past.until) == ("08:00", MIDNIGHT + 5)


def test_no_events_are_told_of_an_account_whose_past_did_not_change() -> None:
    """Nothing to say."""
    assert events_told([], {}) == {}
