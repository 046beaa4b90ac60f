"""Sentences of the rules that no other test states: from facts to runs, in numbers."""

from services.accounts.attributes import Basis
from services.accounts.facts import Source
from tests.support.timeline import (
    anomalies,
    change,
    confirmed,
    derived,
    fresh,
    off,
    on,
    shown_off,
    sighted,
    spans,
    terminated,
    typed,
)

# Rule 1


def test_changes_of_one_instant_are_settled_by_source_for_each_attribute() -> None:
    """Rule 1: Describe says the type; only EventBridge says the usage operation of that instant."""
    assert typed(
        on("09:00", instance_type="a", usage_operation="x"),
        off("09:30"),
        change("09:40", instance_type="c", usage_operation="y", source=Source.EVENTBRIDGE),
        change("09:40", instance_type="b", source=Source.DESCRIBE),
        on("10:00"),
    ) == ["09:00-09:30 a ? x", "10:00- b ? y"]


def test_a_tie_while_on_is_two_sessions_and_the_second_takes_the_statement_of_its_on() -> None:
    """Rule 1: Off, then on again: what the on states is not the first session's own."""
    assert typed(
        on("10:00", instance_type="a"), off("11:00"), on("11:00", instance_type="b"), off("12:00")
    ) == ["10:00-11:00 a ? ?", "11:00-12:00 b ? ?"]


def test_a_run_of_zero_length_takes_the_statement_of_its_on() -> None:
    """Rule 1: While off: on, then off again."""
    assert typed(on("12:00", instance_type="a"), off("12:00")) == ["12:00-12:00 a ? ?"]


def test_what_a_listing_showed_comes_before_a_change_of_its_instant() -> None:
    """Rule 1: Shown off with type a at 10:00, made b and launched in that second."""
    every = (
        on("08:00"),
        off("09:00"),
        shown_off("10:00", instance_type="a"),
        change("10:00", instance_type="b"),
        on("10:00"),
    )
    assert typed(*every) == ["08:00-09:00 a ? ?", "10:00- b ? ?"]


# Rule 2


def test_a_fresh_on_is_measured_from_the_sessions_start_not_from_its_last_on() -> None:
    """Rule 2: The on of 10:00:25 does not make 10:00:50 a witness of the start at 10:00."""
    assert spans(on("10:00"), on("10:00:25"), fresh("10:00:50")) == [
        "10:00-10:00:25..10:00:50",
        "10:00:50-",
    ]


def test_a_change_confirms_that_its_session_was_on() -> None:
    """Rule 2: The last confirmed instant is the latest event, of whatever kind: 10:20."""
    assert spans(fresh("10:00"), change("10:20", usage_operation="y"), fresh("12:00")) == [
        "10:00-10:20..12:00",
        "12:00-",
    ]


# Rule 3


def test_a_termination_inside_a_sighting_is_ignored_too() -> None:
    """Rule 3: Listings showed it on until 10:55, so it was not terminated at 10:30."""
    every = (sighted("10:00", "10:15", "11:00"), terminated("10:30"), off("12:00"), on("13:00"))
    assert spans(*every) == ["10:00-12:00", "13:00-"]
    assert anomalies(*every) == ["10:30 OFF_INSIDE_SIGHTING"]


def test_an_off_at_the_launch_of_a_sighting_ends_the_session_before() -> None:
    """Rule 3: It is not strictly inside: off, then on again, both at 12:00."""
    every = (on("10:00"), off("12:00"), sighted("12:00", "12:15", "13:00"))
    assert spans(*every) == ["10:00-12:00", "12:00-"]
    assert anomalies(*every) == []


def test_a_termination_at_the_launch_of_a_sighting_is_ignored() -> None:
    """Rule 3: Listings showed it on after that, and what is terminated never is."""
    every = (terminated("12:00"), sighted("12:00", "12:15", "13:00"))
    assert spans(*every) == ["12:00-"]
    assert anomalies(*every) == ["12:00 OFF_INSIDE_SIGHTING"]


def test_an_off_after_an_off_inside_a_sighting_is_the_first() -> None:
    """Rule 3: The ignored one closes nothing: the session ends at 11:00, confirmed throughout."""
    every = (on("10:00"), sighted("10:00:01", "10:15", "10:45"), off("10:30"), off("11:00"))
    assert spans(*every) == ["10:00-11:00"]
    assert confirmed(*every) == ["10:00-11:00"]


# Rule 4


def test_listings_count_from_the_last_on_not_from_the_start() -> None:
    """Rule 4: The on of 10:30 says that it was there: of three listings 10:40 alone lacks it."""
    every = (fresh("10:00"), on("10:30"))
    assert spans(*every, listings=["10:10", "10:34", "10:40"]) == ["10:00-"]
    assert spans(*every, listings=["10:10", "10:35", "10:40"]) == ["10:00-10:30..10:35"]


def test_a_stop_of_a_stopped_instance_ends_at_the_last_confirmed_instant() -> None:
    """Rule 4: Not only a termination may say so: on at 10:20, off some time before 15:00."""
    every = (fresh("10:00"), on("10:20"), off("15:00", previous_state="stopped"))
    assert spans(*every) == ["10:00-10:20..15:00"]
    assert confirmed(*every) == [""]


def test_a_stopped_instance_that_is_off_already_stays_as_it_ended() -> None:
    """Rule 4: Held to be off, nothing changes."""
    assert spans(on("10:00"), off("11:00"), terminated("15:00", previous_state="stopped")) == [
        "10:00-11:00"
    ]


def test_a_sighting_after_a_termination_is_an_anomaly() -> None:
    """Rule 4: What is terminated never runs again, whoever says so."""
    every = (on("10:00"), terminated("11:00"), sighted("12:00", "12:15", "13:00"))
    assert spans(*every) == ["10:00-11:00"]
    assert anomalies(*every) == ["12:00 ON_AFTER_TERMINATION"]


def test_a_fresh_on_after_two_listings_that_lack_it_is_not_the_bound() -> None:
    """Rule 4: The first of them is: it was gone by 11:00, an hour before the new start."""
    assert spans(fresh("10:00"), fresh("12:00"), listings=["11:00", "11:15"]) == [
        "10:00-10:00..11:00",
        "12:00-",
    ]


def test_a_stopped_told_just_after_describes_termination_settles_its_end() -> None:
    """Rule 4: Shown on until 10:40, terminated at 15:00; CloudTrail says: from `stopped`."""
    every = (sighted("10:00", "10:15", "10:45"), terminated("15:00", source=Source.DESCRIBE))
    for moment in ("15:00", "15:00:01", "15:00:30"):
        stopped = terminated(moment, previous_state="stopped")
        assert spans(*every, stopped) == ["10:00-10:40..15:00"]
        assert confirmed(*every, stopped) == ["10:00-10:40"]
    late = terminated("15:00:30.000001", previous_state="stopped")
    assert spans(*every, late) == ["10:00-15:00"]


def test_of_several_offs_after_describes_termination_the_first_that_says_so_settles_its_end() -> (
    None
):
    """Rule 4: EventBridge gives no state before, the first CloudTrail record `running`."""
    every = (
        fresh("10:00"),
        terminated("15:00", source=Source.DESCRIBE),
        terminated("15:00:05", source=Source.EVENTBRIDGE),
        terminated("15:00:10", previous_state="running"),
        terminated("15:00:20", previous_state="stopped"),
    )
    assert spans(*every) == ["10:00-15:00"]
    assert confirmed(*every) == ["10:00-15:00"]


def test_a_launch_after_describes_termination_does_not_reach_into_the_session_it_ended() -> None:
    """Rule 4: A sighting of 15:00:10 is an anomaly, and confirms nothing of what came before."""
    every = (
        fresh("10:00"),
        terminated("15:00", source=Source.DESCRIBE),
        sighted("15:00:10", "15:10", "15:15"),
        off("15:00:05", previous_state="stopped"),
    )
    assert spans(*every) == ["10:00-10:00..15:00"]
    assert anomalies(*every) == ["15:00:10 ON_AFTER_TERMINATION"]


# Rule 5


def test_a_change_of_type_inside_a_session_takes_back_the_cpu_options() -> None:
    """Rule 5: From then on the new type's own number of vCPUs holds."""
    assert typed(
        on("10:00", instance_type="a", vcpu=2), change("10:30", instance_type="b"), off("11:00")
    ) == ["10:00-10:30 a 2 ?", "10:30-11:00 b ? ?"]


def test_a_change_of_cpu_options_inside_a_session_is_an_anomaly() -> None:
    """Rule 5: They change only while stopped, as the type does."""
    every = (on("10:00", vcpu=2), change("10:30", vcpu=4), off("11:00"))
    assert typed(*every) == ["10:00-10:30 ? 2 ?", "10:30-11:00 ? 4 ?"]
    assert anomalies(*every) == ["10:30 CHANGE_WHILE_ON"]


def test_a_change_inside_a_session_holds_for_the_next_one() -> None:
    """Rule 5: It is the last change before it."""
    assert typed(
        on("10:00", usage_operation="x"),
        change("10:30", usage_operation="y"),
        off("11:00"),
        on("12:00"),
    ) == ["10:00-10:30 ? ? x", "10:30-11:00 ? ? y", "12:00- ? ? y"]


def test_what_was_said_before_outweighs_what_is_said_next() -> None:
    """Rule 5: The middle session is a, though the third states b."""
    assert typed(
        on("08:00", instance_type="a"),
        off("09:00"),
        on("10:00"),
        off("11:00"),
        on("12:00", instance_type="b"),
    ) == ["08:00-09:00 a ? ?", "10:00-11:00 a ? ?", "12:00- b ? ?"]


def test_what_a_stopped_instance_shows_holds_from_the_next_session_on() -> None:
    """Rule 5: Changed while off by nobody knows whom: shown at 09:30, so it held at 10:00."""
    assert typed(
        on("08:00", instance_type="a"),
        off("09:00"),
        shown_off("09:30", "09:45", instance_type="b"),
        on("10:00"),
        off("11:00"),
    ) == ["08:00-09:00 a ? ?", "10:00-11:00 b ? ?"]


def test_a_type_that_nobody_stated_is_unknown_and_says_so() -> None:
    """Rule 5: The run counts its hour, with no type and no vCPU."""
    (run,) = derived(on("10:00"), off("11:00")).runs
    assert (run.end - run.start, run.instance_type, run.vcpu) == (3_600_000_000, "", 0)
    assert run.bases() == (Basis.UNKNOWN, Basis.UNKNOWN, Basis.UNKNOWN)


# Rules 8 and 9


def test_a_termination_that_only_describe_shows_confirms_nothing_since_the_last_sighting() -> None:
    """Rule 8: It may have been stopped before 15:00: counted until then, confirmed until 10:40."""
    every = (sighted("10:00", "10:15", "10:45"), terminated("15:00", source=Source.DESCRIBE))
    assert spans(*every) == ["10:00-15:00"]
    assert confirmed(*every) == ["10:00-10:40"]


def test_a_termination_that_cloudtrail_tells_confirms_what_came_before_it() -> None:
    """Rule 8: Of a stopped instance TerminateInstances would say so: it was on until 15:00."""
    every = (sighted("10:00", "10:15", "10:45"), terminated("15:00", source=Source.CLOUDTRAIL))
    assert confirmed(*every) == ["10:00-15:00"]


def test_an_off_that_was_observed_confirms_what_came_before_it_across_a_gap() -> None:
    """Rule 8: On and off were both seen, so all between them was on."""
    assert confirmed(
        fresh("10:00"), off("15:00"), listings=["10:45"], gaps=[("11:00", "12:00", "10:40")]
    ) == ["10:00-15:00"]


def test_an_on_after_enabling_again_opens_another_session() -> None:
    """Rule 9: Even one that is not fresh: nobody knows what was between 10:40 and 13:00."""
    assert spans(on("10:00"), on("13:00"), gaps=[("11:00", "12:50", "10:40")]) == [
        "10:00-10:40..13:00",
        "13:00-",
    ]


def test_an_account_disabled_before_any_listing_counts_to_the_last_event() -> None:
    """Rule 9: Nothing was confirmed of its Region: the on of 10:20 is all there is."""
    assert spans(on("10:00"), on("10:20"), gaps=[("11:00", "", "")]) == ["10:00-10:20..ever"]


def test_an_instance_that_was_gone_before_tracking_ended_stays_so() -> None:
    """Rule 9: Two listings lacked it before 11:00; disabling adds no usage."""
    assert spans(fresh("10:00"), listings=["10:30", "10:45"], gaps=[("11:00", "", "10:40")]) == [
        "10:00-10:00..10:30"
    ]
