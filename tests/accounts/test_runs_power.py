"""Rules 1 to 4: from power events and listings to sessions."""

from services.accounts.facts import Source
from tests.support.timeline import (
    anomalies,
    change,
    fresh,
    off,
    on,
    shown_off,
    sighted,
    spans,
    terminated,
    typed,
)

# Rule 1: facts are taken in the order in which they took effect.


def test_an_on_and_an_off_make_a_run() -> None:
    """Rule 1: From on to off, however they arrive."""
    assert spans(off("11:00"), on("10:00")) == ["10:00-11:00"]


def test_an_on_without_an_off_is_open() -> None:
    """Rule 1: A session without an off has no end."""
    assert spans(on("10:00")) == ["10:00-"]


def test_an_on_and_an_off_at_one_instant_while_on_make_touching_sessions() -> None:
    """Rule 1: While on: off, then on again."""
    assert spans(on("10:00"), off("11:00"), on("11:00"), off("12:00")) == [
        "10:00-11:00",
        "11:00-12:00",
    ]


def test_an_on_and_an_off_at_one_instant_while_off_make_a_run_of_zero_length() -> None:
    """Rule 1: While off: on, then off again."""
    assert spans(on("10:00"), off("11:00"), off("12:00"), on("12:00")) == [
        "10:00-11:00",
        "12:00-12:00",
    ]


def test_a_start_that_listings_confirm_is_not_undone_by_an_off_of_the_same_second() -> None:
    """Rule 1: A late "stopped" has the second of the new LaunchTime: listings say that it runs."""
    assert spans(
        on("10:00"), off("11:59:50"), off("12:00"), fresh("12:00"), sighted("12:00", "12:01")
    ) == ["10:00-11:59:50", "12:00-"]


def test_several_witnesses_of_one_transition_count_once() -> None:
    """Rule 1: The first on and the first off decide."""
    assert spans(
        on("10:00"), on("10:00:05"), on("10:00:20"), off("11:00"), off("11:00:30"), off("11:01")
    ) == ["10:00-11:00"]


def test_at_one_instant_changes_come_before_ons() -> None:
    """Rule 1: A type changed at the instant of the start holds from the start."""
    assert typed(
        on("09:00", instance_type="a"),
        off("09:30"),
        on("10:00"),
        change("10:00", instance_type="b"),
    ) == ["09:00-09:30 a ? ?", "10:00- b ? ?"]


def test_contradictions_of_one_instant_are_settled_by_source() -> None:
    """Rule 1: Describe outranks CloudTrail, which outranks EventBridge."""
    bridge = on("10:00", instance_type="c", source=Source.EVENTBRIDGE, event_id="1")
    trail = on("10:00", instance_type="b", source=Source.CLOUDTRAIL, event_id="2")
    describe = on("10:00", instance_type="a", source=Source.DESCRIBE, event_id="3")
    assert typed(bridge, trail) == ["10:00- b ? ?"]
    assert typed(bridge, trail, describe) == ["10:00- a ? ?"]


def test_contradictions_of_one_source_are_settled_by_event_id() -> None:
    """Rule 1: The lower id holds."""
    first = on("10:00", instance_type="a", event_id="1")
    second = on("10:00", instance_type="b", event_id="2")
    assert typed(second, first) == ["10:00- a ? ?"]


# Rule 2: the first on opens a session, a fresh on proves a missed off.


def test_an_on_that_is_not_fresh_changes_nothing_while_on() -> None:
    """Rule 2: It may be a witness of the start that comes late."""
    assert spans(on("10:00"), on("11:00"), off("12:00")) == ["10:00-12:00"]


def test_a_fresh_on_within_30_seconds_is_a_witness_of_the_same_start() -> None:
    """Rule 2: LaunchTime and the events of one start differ by seconds."""
    assert spans(on("10:00"), fresh("10:00:30"), off("11:00")) == ["10:00-11:00"]


def test_a_fresh_on_after_30_seconds_proves_that_an_off_was_missed() -> None:
    """Rule 2: The session ends at its start, which is all that is confirmed of it."""
    assert spans(on("10:00"), fresh("10:00:30.000001"), off("11:00")) == [
        "10:00-10:00..10:00:30.000001",
        "10:00:30.000001-11:00",
    ]


def test_a_session_whose_off_was_missed_ends_at_its_latest_sighting() -> None:
    """Rule 2: A listing at 10:45 confirms until 10:40; the off came between that and 12:00."""
    assert spans(fresh("10:00"), sighted("10:00", "10:15", "10:45"), fresh("12:00")) == [
        "10:00-10:40..12:00",
        "12:00-",
    ]


def test_a_session_whose_off_was_missed_ends_at_its_latest_event() -> None:
    """Rule 2: Another on at 10:30 says that it was on then."""
    assert spans(fresh("10:00"), on("10:30"), fresh("12:00")) == ["10:00-10:30..12:00", "12:00-"]


def test_another_launch_time_proves_that_an_off_was_missed() -> None:
    """Rule 2: Two sightings with two LaunchTimes are two sessions."""
    assert spans(sighted("10:00", "10:15", "10:45"), sighted("12:00", "12:15")) == [
        "10:00-10:40..12:00",
        "12:00-",
    ]


# Rule 3: the first off closes the session.


def test_an_off_inside_a_sighting_is_ignored_and_kept_as_an_anomaly() -> None:
    """Rule 3: Listings from 10:15 to 11:00 showed it on until 10:55."""
    every = (fresh("10:00"), sighted("10:00", "10:15", "11:00"), off("10:30"), off("11:30"))
    assert spans(*every) == ["10:00-11:30"]
    assert anomalies(*every) == ["10:30 OFF_INSIDE_SIGHTING"]


def test_an_off_at_the_end_of_a_sighting_closes() -> None:
    """Rule 3: Only strictly inside is it ignored: the listing of 11:00 speaks until 10:55."""
    every = (fresh("10:00"), sighted("10:00", "10:15", "11:00"), off("10:55"))
    assert spans(*every) == ["10:00-10:55"]
    assert anomalies(*every) == []


def test_a_late_stopped_inside_a_later_sighting_is_ignored() -> None:
    """Rule 3: The second witness of the stop at 11:00 is dated after the new start."""
    assert spans(
        fresh("10:00"), off("11:00"), off("11:05:10"), fresh("11:05"), sighted("11:05", "11:15")
    ) == ["10:00-11:00", "11:05-"]


def test_an_off_without_an_on_makes_no_run() -> None:
    """Rule 3: Usage before it has no known start: one anomaly, however many witnesses."""
    every = (off("10:00"), off("10:00:30"))
    assert spans(*every) == []
    assert anomalies(*every) == ["10:00 OFF_WITHOUT_ON"]


def test_an_off_while_off_changes_nothing() -> None:
    """Rule 3: Nor is it an anomaly."""
    every = (on("10:00"), off("11:00"), off("15:00"))
    assert spans(*every) == ["10:00-11:00"]
    assert anomalies(*every) == []


# Rule 4: instances that are gone, terminated, or were stopped already.


def test_an_instance_missing_from_two_listings_is_gone() -> None:
    """Rule 4: It ends where it was last confirmed, at the latest at the first that lacked it."""
    assert spans(
        fresh("10:00"), sighted("10:00", "10:15", "10:45"), listings=["10:45", "11:00", "11:15"]
    ) == ["10:00-10:40..11:00"]


def test_an_instance_missing_from_one_listing_is_not_gone() -> None:
    """Rule 4: It takes two."""
    assert spans(
        fresh("10:00"), sighted("10:00", "10:15", "10:45"), listings=["10:45", "11:00"]
    ) == ["10:00-"]


def test_listings_within_five_minutes_of_an_on_do_not_count() -> None:
    """Rule 4: Describe does not show it yet at 10:04:59; at 10:05 it would."""
    assert spans(fresh("10:00"), listings=["10:04:59", "10:10"]) == ["10:00-"]
    assert spans(fresh("10:00"), listings=["10:05", "10:10"]) == ["10:00-10:00..10:05"]


def test_listings_within_five_minutes_of_the_last_sighting_do_not_count() -> None:
    """Rule 4: The listing of 10:45 showed it: one of 10:49 that lacks it may be stale."""
    assert spans(
        fresh("10:00"), sighted("10:00", "10:15", "10:45"), listings=["10:49", "11:00"]
    ) == ["10:00-"]


def test_a_true_off_told_later_replaces_what_listings_say() -> None:
    """Rule 4: It was stopped at 10:50, after the last sighting."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        off("10:50"),
        listings=["11:00", "11:15"],
    ) == ["10:00-10:50"]


def test_a_later_sighting_replaces_what_listings_say() -> None:
    """Rule 4: It was missing from two and is shown again, with its old LaunchTime."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "12:00"),
        listings=["10:15", "11:00", "11:15", "12:00"],
    ) == ["10:00-"]


def test_an_on_after_it_was_gone_opens_another_session() -> None:
    """Rule 4: What listings lacked in between is not counted."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        on("13:00"),
        off("14:00"),
        listings=["11:00", "11:15"],
    ) == ["10:00-10:40..11:00", "13:00-14:00"]


def test_an_instance_shown_stopped_without_a_time_is_as_good_as_missing() -> None:
    """Rule 4: Listings show it, but not on."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        shown_off("11:00", "11:15"),
        listings=["10:45", "11:00", "11:15"],
    ) == ["10:00-10:40..11:00"]


def test_a_termination_is_final() -> None:
    """Rule 4: An on after it is an anomaly and opens nothing."""
    every = (on("10:00"), terminated("11:00"), fresh("12:00"))
    assert spans(*every) == ["10:00-11:00"]
    assert anomalies(*every) == ["12:00 ON_AFTER_TERMINATION"]


def test_an_on_at_the_instant_of_the_termination_opens_nothing() -> None:
    """Rule 4: Off, then on again: that on comes after what is final."""
    every = (on("10:00"), terminated("11:00"), on("11:00"))
    assert spans(*every) == ["10:00-11:00"]
    assert anomalies(*every) == ["11:00 ON_AFTER_TERMINATION"]


def test_a_termination_of_a_stopped_instance_ends_at_the_last_confirmed_instant() -> None:
    """Rule 4: It was stopped some time after 10:40; nobody told when."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        terminated("15:00", previous_state="stopped"),
    ) == ["10:00-10:40..15:00"]


def test_a_termination_of_a_stopped_instance_that_was_gone_keeps_the_tighter_bound() -> None:
    """Rule 4: The first listing that lacked it says more than the termination."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        terminated("15:00", previous_state="stopped"),
        listings=["11:00", "11:15"],
    ) == ["10:00-10:40..11:00"]


def test_a_stop_of_a_running_instance_is_its_end() -> None:
    """Rule 4: The previous state `running` says nothing else."""
    assert spans(fresh("10:00"), off("15:00", previous_state="running")) == ["10:00-15:00"]
