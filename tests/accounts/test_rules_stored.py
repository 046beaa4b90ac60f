"""The rules of the design's section 5 through a real server and database, in numbers by hand.

Times are of one day, 2026-03-01. `tests.accounts.test_runs_*` hold the same rules apart from any
storage, sentence by sentence.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count, permutations

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, inventory_pb2
from libs.common.instants import to_micros
from libs.common.timestamps import timestamp
from services.accounts.attributes import Basis
from services.accounts.facts import Attributes, Event, Source
from tests.support.accounts import START, Accounts
from tests.support.feeding import (
    IMAGE,
    Feeder,
    attributes_message,
    feeder,
    instance,
    listed,
    message,
)
from tests.support.timeline import (
    anomalies_of,
    at,
    change,
    confirmed_of,
    fresh,
    off,
    on,
    seconds_of,
    shown,
    spans_of,
    terminated,
    typed_of,
)

I1 = instance(1)
M5 = Attributes("m5.large", 2, "RunInstances")
_numbers = count(100)
YEAR = 365 * 86_400 * 1_000_000


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account and its lease, at midnight after the day."""
    accounts.clock.advance(timedelta(hours=12))
    return feeder(accounts)


def _tell(feed: Feeder, *events: Event, ec2_id: str = I1) -> None:
    """Send events one after the other, each in a transaction of its own."""
    for event in events:
        assert feed.outcomes([message(event, ec2_id, feed.account_id)]) == ["STORED"]


def _show(feed: Feeder, launch: str, *times: str, stated: Attributes = M5) -> None:
    """Send listings that show it running."""
    for time in times:
        feed.show(at(time), [listed(I1, at(launch), stated)])


def _lack(feed: Feeder, *times: str) -> None:
    """Send listings that show nothing."""
    for time in times:
        feed.show(at(time), [])


def _spans(feed: Feeder) -> list[str]:
    return spans_of(feed.runs(I1))


def _every_order(
    feed: Feeder, first: Event, events: Sequence[Event]
) -> list[tuple[list[str], list[str]]]:
    """Send events in every order after a first, to one instance each; return what differs."""
    results = []
    for order in permutations(events):
        ec2_id = instance(next(_numbers))
        _tell(feed, first, *order, ec2_id=ec2_id)
        runs = feed.runs(ec2_id)
        result = (spans_of(runs), confirmed_of(runs))
        if result not in results:
            results.append(result)
    return results


# Rule 1


def test_rule_1_facts_count_by_when_they_took_effect(feed: Feeder) -> None:
    """The off of 11:00 is told first, the on of 10:00 a transaction later: an hour."""
    _tell(feed, off("11:00"), on("10:00"))
    assert _spans(feed) == ["10:00-11:00"]
    assert seconds_of(feed.runs(I1)) == (3600, 3600)


def test_rule_1_ties_give_the_same_in_every_order(feed: Feeder) -> None:
    """At 11:00 off, then on again: two touching sessions; at 13:00, while off, one of no length."""
    assert _every_order(feed, on("10:00"), [off("11:00"), on("11:00"), off("12:00")]) == [
        (["10:00-11:00", "11:00-12:00"], ["10:00-11:00", "11:00-12:00"])
    ]
    assert _every_order(feed, off("11:00"), [on("10:00"), off("13:00"), on("13:00")]) == [
        (["10:00-11:00", "13:00-13:00"], ["10:00-11:00", ""])
    ]


def test_rule_1_describe_outranks_the_others_at_one_instant(feed: Feeder) -> None:
    """Three sources name three types of the start at 10:00, and describe is told last."""
    _tell(
        feed,
        on("10:00", instance_type="c", source=Source.EVENTBRIDGE),
        on("10:00", instance_type="b", source=Source.CLOUDTRAIL),
        on("10:00", instance_type="a", source=Source.DESCRIBE),
    )
    assert typed_of(feed.runs(I1)) == ["10:00- a ? ?"]


def test_rule_1_a_listing_that_showed_it_off_speaks_of_before_a_change_of_its_instant(
    feed: Feeder,
) -> None:
    """Stopped, shown with type a at 12:00; made b and launched in that very second."""
    _tell(feed, on("10:00"), off("11:00"))
    old = Attributes("a", 2)
    feed.show(at("12:00"), [listed(I1, at("10:00"), old, sighted=False)])
    _tell(feed, change("12:00", instance_type="b"), fresh("12:00"))
    assert [run.instance_type for run in feed.runs(I1)] == ["a", "b"]


# Rule 2


def test_rule_2_a_missed_off_ends_at_the_last_confirmed_instant(feed: Feeder) -> None:
    """On at 10:00 and 10:30, started anew at 12:00, off at 13:00: 30 min and 60 min count.

    Of the first session nothing is confirmed, and it may have gone on until 12:00.
    """
    _tell(feed, fresh("10:00"), on("10:30"), off("13:00"), fresh("12:00"))
    assert _spans(feed) == ["10:00-10:30..12:00", "12:00-13:00"]
    assert seconds_of(feed.runs(I1)) == (1800 + 3600, 3600)


def test_rule_2_two_launch_times_are_two_sessions(feed: Feeder) -> None:
    """Listings at 10:15 and 10:45 show the first, one at 12:30 another: off between the two."""
    _show(feed, "10:00", "10:15", "10:45")
    _show(feed, "12:00", "12:30")
    assert _spans(feed) == ["10:00-10:40..12:00", "12:00-"]
    assert confirmed_of(feed.runs(I1)) == ["10:00-10:40", "12:00-12:25"]


def test_rule_2_witnesses_within_30_seconds_are_one_start(feed: Feeder) -> None:
    """LaunchTime 10:00:10, RunInstances 10:00:00, EventBridge 10:00:30: one session."""
    _tell(feed, on("10:00:30", source=Source.EVENTBRIDGE), off("11:00"), fresh("10:00"))
    _show(feed, "10:00:10", "10:15")
    assert _spans(feed) == ["10:00-11:00"]


# Rule 3


def test_rule_3_the_first_off_closes_and_further_offs_change_nothing(feed: Feeder) -> None:
    """`stopping` at 11:00 is told after `stopped` at 11:00:40."""
    _tell(feed, on("10:00"), off("11:00:40"), off("11:00"))
    assert _spans(feed) == ["10:00-11:00"]


def test_rule_3_an_off_inside_a_sighting_is_ignored_whichever_came_first(feed: Feeder) -> None:
    """The off of 10:30 counts until a listing at 11:00 shows it on until 10:55."""
    _show(feed, "10:00", "10:15")
    _tell(feed, off("10:30"))
    assert _spans(feed) == ["10:00-10:30"]
    _show(feed, "10:00", "11:00")
    assert _spans(feed) == ["10:00-"]
    assert anomalies_of(feed.anomalies(I1)) == ["10:30 OFF_INSIDE_SIGHTING"]


def test_rule_3_an_off_at_the_end_of_a_sighting_counts_until_a_listing_reaches_beyond(
    feed: Feeder,
) -> None:
    """11:00 confirms until 10:55, where it went off and on; 11:30 shows the old launch still on."""
    _show(feed, "10:00", "11:00")
    _tell(feed, off("10:55"), on("10:55"))
    assert _spans(feed) == ["10:00-10:55", "10:55-"]
    _show(feed, "10:00", "11:30")
    assert _spans(feed) == ["10:00-"]
    assert anomalies_of(feed.anomalies(I1)) == ["10:55 OFF_INSIDE_SIGHTING"]


def test_rule_3_an_off_at_a_launch_time_came_before_that_start(feed: Feeder) -> None:
    """A stop and a start in one second, 12:00; listings show that it runs since."""
    _tell(feed, on("10:00"), off("12:00"))
    _show(feed, "12:00", "12:30")
    assert _spans(feed) == ["10:00-12:00", "12:00-"]


def test_rule_3_a_termination_at_a_launch_time_is_misplaced(feed: Feeder) -> None:
    """What is terminated never runs again, and listings show that it runs: it does not count."""
    _tell(feed, on("10:00"), terminated("12:00"))
    assert _spans(feed) == ["10:00-12:00"]
    _show(feed, "12:00", "12:30")
    assert _spans(feed) == ["10:00-10:00..12:00", "12:00-"]
    assert anomalies_of(feed.anomalies(I1)) == ["12:00 OFF_INSIDE_SIGHTING"]


def test_rule_3_an_off_without_an_on_makes_no_run_until_the_on_is_told(feed: Feeder) -> None:
    """An anomaly, which goes when the start of 10:00 becomes known."""
    _tell(feed, off("11:00"))
    assert (_spans(feed), anomalies_of(feed.anomalies(I1))) == ([], ["11:00 OFF_WITHOUT_ON"])
    _tell(feed, on("10:00"))
    assert (_spans(feed), feed.anomalies(I1)) == (["10:00-11:00"], [])


# Rule 4


def test_rule_4_gone_from_two_listings_and_a_true_off_told_later(feed: Feeder) -> None:
    """Shown at 10:30, lacking at 10:45 and 11:00: 25 min. Stopped at 10:40, told last: 40 min."""
    _show(feed, "10:00", "10:30")
    _lack(feed, "10:45")
    assert _spans(feed) == ["10:00-"]
    _lack(feed, "11:00")
    assert _spans(feed) == ["10:00-10:25..10:45"]
    assert seconds_of(feed.runs(I1)) == (1500, 1500)
    _tell(feed, off("10:40"))
    assert _spans(feed) == ["10:00-10:40"]
    assert seconds_of(feed.runs(I1)) == (2400, 2400)


def test_rule_4_a_later_sighting_replaces_that_it_was_gone(feed: Feeder) -> None:
    """Lacking at 10:45 and 11:00, shown at 11:15 with the LaunchTime it had: on all the time."""
    _show(feed, "10:00", "10:30")
    _lack(feed, "10:45", "11:00")
    _show(feed, "10:00", "11:15")
    assert _spans(feed) == ["10:00-"]
    assert confirmed_of(feed.runs(I1)) == ["10:00-11:10"]


def test_rule_4_what_describe_does_not_show_yet_is_not_gone(feed: Feeder) -> None:
    """Started at 10:00: listings of 10:01 and 10:04:59 are too early, 10:05 and 10:20 are not."""
    _tell(feed, fresh("10:00"))
    _lack(feed, "10:01", "10:04:59", "10:05")
    assert _spans(feed) == ["10:00-"]
    _lack(feed, "10:20")
    assert _spans(feed) == ["10:00-10:00..10:05"]


def test_rule_4_listings_that_come_in_any_order_lack_the_same(feed: Feeder) -> None:
    """11:00 is told before 10:45, and 10:30, which showed it, last."""
    _tell(feed, fresh("10:00"))
    _lack(feed, "11:00", "10:45")
    assert _spans(feed) == ["10:00-10:00..10:45"]
    _show(feed, "10:00", "10:30")
    assert _spans(feed) == ["10:00-10:25..10:45"]


def test_rule_4_a_terminate_of_a_stopped_instance_ends_at_the_last_confirmed_instant(
    feed: Feeder,
) -> None:
    """Shown on until 10:40, terminated at 15:00 from `stopped`: 40 min, the rest is unknown."""
    _show(feed, "10:00", "10:45")
    _tell(feed, terminated("15:00", previous_state="stopped"))
    assert _spans(feed) == ["10:00-10:40..15:00"]
    assert seconds_of(feed.runs(I1)) == (2400, 2400)


@pytest.mark.parametrize("moment", ["14:59:58", "15:00", "15:00:02", "15:00:30"])
def test_rule_4_describe_and_cloudtrail_tell_one_terminate_of_a_stopped_instance(
    feed: Feeder, moment: str
) -> None:
    """Describe dates it 15:00 and knows no more; CloudTrail says `stopped` a moment beside that.

    On at 10:00 and 10:20, so it ends there, in every order of arrival.
    """
    bound = min(moment, "15:00", key=at)
    events = [
        fresh("10:00"),
        terminated("15:00", source=Source.DESCRIBE),
        terminated(moment, previous_state="stopped"),
    ]
    assert _every_order(feed, on("10:20"), events) == [([f"10:00-10:20..{bound}"], [""])]


def test_rule_4_a_second_witness_may_say_that_it_was_running(feed: Feeder) -> None:
    """Then the termination that describe showed was the end: five hours, all confirmed."""
    events = [
        terminated("15:00", source=Source.DESCRIBE),
        terminated("15:00:02", previous_state="running"),
    ]
    assert _every_order(feed, fresh("10:00"), events) == [(["10:00-15:00"], ["10:00-15:00"])]


def test_rule_4_what_is_said_later_than_30_seconds_settles_nothing(feed: Feeder) -> None:
    """At 15:00:31 it is another transition: the termination stays the end, unconfirmed."""
    events = [
        terminated("15:00", source=Source.DESCRIBE),
        off("15:00:31", previous_state="stopped"),
    ]
    assert _every_order(feed, fresh("10:00"), events) == [(["10:00-15:00"], [""])]


def test_rule_4_a_termination_is_final(feed: Feeder) -> None:
    """The start of 12:00 is an anomaly, as is a listing that shows one."""
    _tell(feed, on("10:00"), fresh("12:00"), terminated("11:00"))
    assert _spans(feed) == ["10:00-11:00"]
    _show(feed, "13:00", "13:30")
    assert _spans(feed) == ["10:00-11:00"]
    assert anomalies_of(feed.anomalies(I1)) == [
        "12:00 ON_AFTER_TERMINATION",
        "13:00 ON_AFTER_TERMINATION",
    ]


# Rule 5


def test_rule_5_late_facts_change_what_a_session_had(feed: Feeder) -> None:
    """From the next statement, to unknown behind a change, to its own."""
    _tell(feed, on("10:00"), off("11:00"), on("12:00", instance_type="b"), off("13:00"))
    assert typed_of(feed.runs(I1)) == ["10:00-11:00 b ? ?", "12:00-13:00 b ? ?"]
    _tell(feed, change("11:30", instance_type="b"))
    assert typed_of(feed.runs(I1)) == ["10:00-11:00 ? ? ?", "12:00-13:00 b ? ?"]
    assert [run.bases()[0] for run in feed.runs(I1)] == [Basis.UNKNOWN, Basis.OWN]
    _tell(feed, on("10:00:05", instance_type="a"))
    assert typed_of(feed.runs(I1)) == ["10:00-11:00 a ? ?", "12:00-13:00 b ? ?"]


def test_rule_5_a_late_change_of_type_bars_the_cpu_options_of_all_sessions_before_it(
    feed: Feeder,
) -> None:
    """Two sessions lean on the 4 vCPUs stated at 12:00, until a change at 11:30 lies between."""
    _tell(feed, on("08:00", instance_type="a"), off("09:00"), on("10:00"), off("11:00"))
    _tell(feed, on("12:00", vcpu=4))
    assert [run.vcpu for run in feed.runs(I1)] == [4, 4, 4]
    _tell(feed, change("11:30", instance_type="b"))
    assert typed_of(feed.runs(I1)) == [
        "08:00-09:00 a ? ?",
        "10:00-11:00 a ? ?",
        "12:00- b 4 ?",
    ]


def test_rule_5_what_was_stated_a_year_ago_holds_until_something_newer_is_told(
    feed: Feeder,
) -> None:
    """A session of last year is told last; the one of today leans on it."""
    _tell(feed, on("10:00"), off("11:00"))
    old = on("10:00", instance_type="a", vcpu=2)
    stopped = off("10:30")
    _tell(feed, *(e._replace(occurred_at=e.occurred_at - YEAR) for e in (stopped, old)))
    assert [(run.instance_type, run.vcpu) for run in feed.runs(I1)] == [("a", 2), ("a", 2)]
    assert seconds_of(feed.runs(I1)) == (1800 + 3600, 1800 + 3600)


def test_rule_5_a_licence_conversion_splits_the_run_where_it_took_effect(
    feed: Feeder, accounts: Accounts
) -> None:
    """UsageOperationUpdateTime is 11:00, the listing that tells of it 12:00; the image stays."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5, image_id=IMAGE)])
    converted = attributes_message(replace(M5, usage_operation="RunInstances:0010"))
    assert converted is not None
    converted.usage_operation_time.CopyFrom(timestamp(at("11:00")))
    feed.show(at("12:00"), [listed(I1, at("10:00"), attributes=converted, image_id=IMAGE)])
    _tell(feed, off("13:00"))
    runs = feed.runs(I1)
    assert typed_of(runs) == [
        "10:00-11:00 m5.large 2 RunInstances",
        "11:00-13:00 m5.large 2 RunInstances:0010",
    ]
    assert {run.session_start for run in runs} == {at("10:00")}
    assert feed.anomalies(I1) == []
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    assert found.image_id == IMAGE


def test_rule_5_a_change_of_type_inside_a_session_is_an_anomaly_until_the_stop_is_told(
    feed: Feeder,
) -> None:
    """Types change only while stopped: from 10:40 to 11:20 it was, as is told last."""
    _tell(feed, on("10:00", instance_type="a"), change("11:00", instance_type="b"), off("12:00"))
    assert typed_of(feed.runs(I1)) == ["10:00-11:00 a ? ?", "11:00-12:00 b ? ?"]
    assert anomalies_of(feed.anomalies(I1)) == ["11:00 CHANGE_WHILE_ON"]
    _tell(feed, off("10:40"), fresh("11:20"))
    assert typed_of(feed.runs(I1)) == ["10:00-10:40 a ? ?", "11:20-12:00 b ? ?"]
    assert feed.anomalies(I1) == []


# Rule 6


def test_rule_6_an_event_of_an_unknown_instance_makes_it(feed: Feeder, accounts: Accounts) -> None:
    """Image and type follow by listing; the run was there before, of an unknown distribution."""
    _tell(feed, on("10:00"))
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    assert (found.instance_id, found.image_id) == (I1, "")
    assert typed_of(feed.runs(I1)) == ["10:00- ? ? ?"]
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5, image_id=IMAGE)])
    assert typed_of(feed.runs(I1)) == ["10:00- m5.large 2 RunInstances"]


def test_rule_6_events_from_before_the_registration_count(feed: Feeder) -> None:
    """The account was registered today; its history of last year is an hour long."""
    events = [on("10:00"), off("11:00")]
    assert at("10:00") - YEAR < to_micros(START)
    _tell(feed, *(e._replace(occurred_at=e.occurred_at - YEAR) for e in events))
    assert seconds_of(feed.runs(I1)) == (3600, 3600)


def test_rule_6_ids_are_unique_in_an_account_only(feed: Feeder, accounts: Accounts) -> None:
    """Two accounts tell of the same instance id by the same event id, and both count."""
    other = feeder(accounts, "210987654321")
    for each in (feed, other):
        _tell(each, on("10:00", event_id="same"))
        assert _spans(each) == ["10:00-"]


# Rule 7


def test_rule_7_only_rows_that_differ_are_written(feed: Feeder) -> None:
    """Of three sessions a late off shortens the second: the others stay as they were recorded."""
    _tell(feed, on("08:00"), off("09:00"), on("10:00"), off("11:00"), on("12:00"), off("13:00"))
    before = _recorded(feed)
    _tell(feed, off("10:30"))
    assert _spans(feed) == ["08:00-09:00", "10:00-10:30", "12:00-13:00"]
    after = _recorded(feed)
    assert [time for time, at_ in after.items() if at_ != before[time]] == ["10:00"]


def _recorded(feed: Feeder) -> dict[str, int]:
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT start_at, recorded_at FROM run ORDER BY start_at")
        return {shown(start): recorded for start, recorded in cursor.fetchall()}


# Rules 8 and 9


def test_rule_8_time_is_confirmed_inside_sightings_and_between_observed_ends(feed: Feeder) -> None:
    """Open and shown until 10:40: 40 min of it; after the off of 11:00 the whole hour."""
    _show(feed, "10:00", "10:15", "10:45")
    assert confirmed_of(feed.runs(I1)) == ["10:00-10:40"]
    _tell(feed, off("11:00"))
    assert confirmed_of(feed.runs(I1)) == ["10:00-11:00"]


def _pause(accounts: Accounts, account_id: int) -> None:
    accounts.admin.accounts.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=account_id))


def _disable(accounts: Accounts, account_id: int) -> None:
    accounts.admin.accounts.DisableCloudAccount(
        accounts_pb2.DisableCloudAccountRequest(id=account_id)
    )


def _delete(accounts: Accounts, account_id: int) -> None:
    accounts.admin.accounts.DeleteCloudAccount(
        accounts_pb2.DeleteCloudAccountRequest(id=account_id, history=accounts_pb2.HISTORY_KEEP)
    )


@pytest.mark.parametrize("end_tracking", [_pause, _disable, _delete])
def test_rule_9_open_sessions_count_to_where_all_was_known_when_tracking_ended(
    feed: Feeder, accounts: Accounts, end_tracking: Callable[[Accounts, int], None]
) -> None:
    """Last listed at 23:45 of the day, ended at midnight: until 23:40, or nobody knows when."""
    _tell(feed, on("10:00"))
    _show(feed, "10:00", "23:45")
    end_tracking(accounts, feed.account_id)
    assert _spans(feed) == ["10:00-23:40..ever"]
    assert confirmed_of(feed.runs(I1)) == ["10:00-23:40"]


def test_rule_9_a_late_off_ends_what_tracking_left_open(feed: Feeder, accounts: Accounts) -> None:
    """CloudTrail's files of the day arrive after the account was paused."""
    _tell(feed, on("10:00"))
    _show(feed, "10:00", "10:45")
    _pause(accounts, feed.account_id)
    assert _spans(feed) == ["10:00-10:40..ever"]
    _tell(feed, off("12:00"))
    assert _spans(feed) == ["10:00-12:00"]


def test_rule_9_a_sighting_after_enabling_again_fills_the_gap(
    feed: Feeder, accounts: Accounts
) -> None:
    """Paused at midnight for ten hours, and then shown with the LaunchTime it had."""
    _show(feed, "10:00", "10:45")
    _pause(accounts, feed.account_id)
    accounts.clock.advance(timedelta(hours=10))
    accounts.admin.accounts.EnableCloudAccount(
        accounts_pb2.EnableCloudAccountRequest(id=feed.account_id)
    )
    assert _spans(feed) == ["10:00-10:40..ever"]
    accounts.clock.advance(timedelta(minutes=30))
    after = at("23:59") + (10 * 60 + 20) * 60_000_000
    feed.leased().show(after, [listed(I1, at("10:00"), M5)])
    assert _spans(feed) == ["10:00-"]
    (run,) = feed.runs(I1)
    assert run.confirmed_end == after - 300_000_000
