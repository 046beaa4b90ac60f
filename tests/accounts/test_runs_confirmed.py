"""Rules 7 to 9: late facts, what is confirmed, and times when nobody watched."""

from services.accounts.runs import derive
from tests.support.timeline import (
    change,
    confirmed,
    facts,
    fresh,
    off,
    on,
    sighted,
    spans,
    typed,
)

# Rule 7: a late fact gives the same as if it had come on time.


def test_a_late_off_divides_a_session() -> None:
    """Rule 7: A stop of a year ago arrives after everything else."""
    every = [fresh("10:00"), fresh("12:00"), off("13:00")]
    assert spans(*every) == ["10:00-10:00..12:00", "12:00-13:00"]
    assert spans(*every, off("11:00")) == ["10:00-11:00", "12:00-13:00"]


def test_a_late_statement_changes_the_sessions_that_lean_on_it() -> None:
    """Rule 7: The type of the first start becomes known last."""
    every = [fresh("10:00"), off("11:00"), fresh("12:00")]
    assert typed(*every) == ["10:00-11:00 ? ? ?", "12:00- ? ? ?"]
    assert typed(*every, on("10:00", instance_type="a")) == ["10:00-11:00 a ? ?", "12:00- a ? ?"]


def test_deriving_from_a_session_on_gives_the_same_rows() -> None:
    """Rule 7: The second session's first run, and what follows it, are enough."""
    every = facts(
        fresh("10:00", instance_type="a"),
        off("11:00"),
        fresh("12:00"),
        off("13:00"),
        fresh("14:00"),
    )
    runs = derive(every).runs
    later = facts(fresh("12:00"), off("13:00"), fresh("14:00"))
    assert derive(later, runs[1]).runs == runs[1:]


# Rule 8: what is confirmed.


def test_time_between_an_on_and_an_off_is_confirmed() -> None:
    """Rule 8: Both were observed."""
    assert confirmed(on("10:00"), off("11:00")) == ["10:00-11:00"]


def test_an_open_session_is_confirmed_inside_its_sighting() -> None:
    """Rule 8: From LaunchTime to five minutes before the last listing that showed it."""
    assert confirmed(on("10:00"), sighted("10:00:02", "10:15", "10:45")) == ["10:00:02-10:40"]


def test_an_open_session_that_no_listing_showed_is_unconfirmed() -> None:
    """Rule 8: It is counted, and nothing of it is certain."""
    assert confirmed(on("10:00"), on("10:30")) == [""]


def test_a_session_whose_off_was_missed_is_confirmed_inside_its_sighting() -> None:
    """Rule 8: The event of 10:50 extends what is counted, not what is confirmed."""
    every = (fresh("10:00"), sighted("10:00", "10:15", "10:45"), on("10:50"), fresh("12:00"))
    assert spans(*every)[0] == "10:00-10:50..12:00"
    assert confirmed(*every)[0] == "10:00-10:40"


def test_a_listing_soon_after_the_launch_confirms_nothing() -> None:
    """Rule 8: It speaks for five minutes before its start."""
    assert confirmed(fresh("10:00"), sighted("10:00", "10:04")) == [""]


def test_a_run_of_zero_length_has_nothing_to_confirm() -> None:
    """Rule 8: It is seen, and adds nothing."""
    assert confirmed(on("10:00"), off("10:00")) == [""]


def test_the_parts_of_a_split_session_are_confirmed_each_for_itself() -> None:
    """Rule 8: A licence converted at 10:30 inside a sighting until 10:40."""
    assert confirmed(
        fresh("10:00", usage_operation="x"),
        sighted("10:00", "10:15", "10:45"),
        change("10:30", usage_operation="y"),
    ) == ["10:00-10:30", "10:30-10:40"]


# Rule 9: nobody watched.


def test_an_open_session_counts_to_where_all_was_known_when_tracking_ended() -> None:
    """Rule 9: Disabled at 11:00 after a listing at 10:45; nobody knows what came after."""
    assert spans(
        fresh("10:00"), sighted("10:00", "10:15", "10:45"), gaps=[("11:00", "", "10:40")]
    ) == ["10:00-10:40..ever"]


def test_what_no_listing_showed_counts_to_there_too() -> None:
    """Rule 9: Its on at 10:20 was told, and no off until the last listing."""
    assert spans(on("10:20"), gaps=[("11:00", "", "10:40")]) == ["10:20-10:40..ever"]
    assert confirmed(on("10:20"), gaps=[("11:00", "", "10:40")]) == [""]


def test_a_sighting_after_enabling_again_fills_the_gap() -> None:
    """Rule 9: It still has its LaunchTime of 10:00."""
    assert spans(
        fresh("10:00"), sighted("10:00", "10:15", "13:00"), gaps=[("11:00", "12:50", "10:40")]
    ) == ["10:00-"]


def test_another_launch_time_after_enabling_again_bounds_the_gap() -> None:
    """Rule 9: It was off at some time before 12:00."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        sighted("12:00", "13:00"),
        gaps=[("11:00", "12:50", "10:40")],
    ) == ["10:00-10:40..12:00", "12:00-"]


def test_an_instance_not_seen_after_enabling_again_is_gone() -> None:
    """Rule 9: The first listing after the gap bounds it."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        gaps=[("11:00", "12:50", "10:40")],
        listings=["10:45", "13:00", "13:15"],
    ) == ["10:00-10:40..13:00"]


def test_an_off_learnt_afterwards_ends_what_tracking_left_open() -> None:
    """Rule 9: CloudTrail's files tell of a stop inside the gap."""
    assert spans(
        fresh("10:00"),
        sighted("10:00", "10:15", "10:45"),
        off("11:30"),
        gaps=[("11:00", "12:50", "10:40")],
    ) == ["10:00-11:30"]


def test_a_closed_session_is_not_touched_by_the_end_of_tracking() -> None:
    """Rule 9: It ended before."""
    assert spans(on("10:00"), off("10:30"), gaps=[("11:00", "", "10:40")]) == ["10:00-10:30"]


def test_a_session_begun_after_tracking_ended_is_not_counted() -> None:
    """Rule 9: What arrives late of a disabled account has a start, and no more."""
    assert spans(on("11:30"), gaps=[("11:00", "", "10:40")]) == ["11:30-11:30..ever"]
