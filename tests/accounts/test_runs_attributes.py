"""Rule 5: which attributes hold in which session."""

from services.accounts.attributes import Basis
from tests.support.timeline import (
    anomalies,
    change,
    derived,
    fresh,
    off,
    on,
    shown_off,
    sighted,
    typed,
)


def test_a_session_takes_its_own_statement() -> None:
    """Rule 5: Whoever of its witnesses makes it, and whenever."""
    assert typed(on("10:00"), on("10:00:20", instance_type="a"), off("11:00")) == [
        "10:00-11:00 a ? ?"
    ]
    assert typed(on("10:00"), sighted("10:00:05", "10:15", instance_type="a")) == ["10:00- a ? ?"]


def test_a_session_without_a_statement_takes_the_last_before_it() -> None:
    """Rule 5: StartInstances names no type; RunInstances did."""
    every = (on("08:00", instance_type="a"), off("09:00"), fresh("10:00"), off("11:00"))
    assert typed(*every) == ["08:00-09:00 a ? ?", "10:00-11:00 a ? ?"]
    assert [run.bases()[0] for run in derived(*every).runs] == [Basis.OWN, Basis.BEFORE]


def test_a_session_without_a_statement_takes_the_last_change_before_it() -> None:
    """Rule 5: Changed while off, it holds from the next session."""
    assert typed(
        on("08:00", instance_type="a"),
        off("09:00"),
        change("09:30", instance_type="b"),
        on("10:00"),
    ) == ["08:00-09:00 a ? ?", "10:00- b ? ?"]


def test_a_session_before_the_first_statement_takes_that() -> None:
    """Rule 5: What is stated at 10:00 held at 08:00, as far as anybody knows."""
    every = (on("08:00"), off("09:00"), on("10:00", instance_type="a"))
    assert typed(*every) == ["08:00-09:00 a ? ?", "10:00- a ? ?"]
    assert [run.bases()[0] for run in derived(*every).runs] == [Basis.NEXT, Basis.OWN]


def test_a_change_in_between_bars_the_next_statement() -> None:
    """Rule 5: What it was before the change, nobody said: the run counts time but no vCPU."""
    assert typed(on("08:00"), off("09:00"), change("09:30", instance_type="b"), on("10:00")) == [
        "08:00-09:00 ? ? ?",
        "10:00- b ? ?",
    ]


def test_each_attribute_falls_back_for_itself() -> None:
    """Rule 5: The type from before, the usage operation from after, vCPU from nowhere."""
    assert typed(
        on("08:00", instance_type="a"),
        off("09:00"),
        on("10:00"),
        off("11:00"),
        on("12:00", usage_operation="x"),
        off("13:00"),
    ) == ["08:00-09:00 a ? x", "10:00-11:00 a ? x", "12:00-13:00 a ? x"]


def test_a_statement_made_while_off_is_the_next_one_only() -> None:
    """Rule 5: A stopped instance shows type b, which it may have got after it was stopped."""
    assert typed(on("08:00"), off("09:00"), shown_off("09:30", instance_type="b")) == [
        "08:00-09:00 b ? ?"
    ]
    assert typed(
        on("08:00", instance_type="a"),
        off("09:00"),
        shown_off("09:30", instance_type="b"),
        on("10:00"),
    ) == ["08:00-09:00 a ? ?", "10:00- b ? ?"]


def test_a_change_inside_a_session_splits_it() -> None:
    """Rule 5: A licence converted at 10:30; nothing is odd about that."""
    every = (
        on("10:00", usage_operation="RunInstances"),
        change("10:30", usage_operation="RunInstances:0010"),
        off("11:00"),
    )
    assert typed(*every) == ["10:00-10:30 ? ? RunInstances", "10:30-11:00 ? ? RunInstances:0010"]
    assert anomalies(*every) == []


def test_a_change_of_type_inside_a_session_is_an_anomaly_too() -> None:
    """Rule 5: Types change only while stopped: an off may be missing."""
    every = (on("10:00", instance_type="a"), change("10:30", instance_type="b"), off("11:00"))
    assert typed(*every) == ["10:00-10:30 a ? ?", "10:30-11:00 b ? ?"]
    assert anomalies(*every) == ["10:30 CHANGE_WHILE_ON"]


def test_a_change_to_the_value_already_held_splits_nothing() -> None:
    """Rule 5: And it is no anomaly."""
    every = (on("10:00", instance_type="a"), change("10:30", instance_type="a"), off("11:00"))
    assert typed(*every) == ["10:00-11:00 a ? ?"]
    assert anomalies(*every) == []


def test_a_change_at_the_instant_of_the_off_holds_from_the_next_session() -> None:
    """Rule 5: A session is half-open."""
    assert typed(
        on("10:00", instance_type="a"),
        change("11:00", instance_type="b"),
        off("11:00"),
        on("12:00"),
    ) == ["10:00-11:00 a ? ?", "12:00- b ? ?"]


def test_a_change_of_type_takes_back_the_cpu_options() -> None:
    """Rule 5: The new type has its default CPU options, whatever the old one had."""
    assert typed(
        on("08:00", instance_type="a", vcpu=2),
        off("09:00"),
        change("09:30", instance_type="b"),
        on("10:00"),
    ) == ["08:00-09:00 a 2 ?", "10:00- b ? ?"]


def test_a_change_to_the_type_already_held_leaves_the_cpu_options() -> None:
    """Rule 5: Nothing changed."""
    assert typed(
        on("08:00", instance_type="a", vcpu=2),
        off("09:00"),
        change("09:30", instance_type="a"),
        on("10:00"),
    ) == ["08:00-09:00 a 2 ?", "10:00- a 2 ?"]


def test_an_off_closes_a_session_whatever_type_it_names() -> None:
    """Rule 5: Offs state nothing."""
    assert typed(on("10:00", instance_type="a"), off("11:00", instance_type="b")) == [
        "10:00-11:00 a ? ?"
    ]


def test_the_halves_of_a_split_session_share_its_start() -> None:
    """Rule 5: Licensing minimums go by sessions."""
    runs = derived(
        on("10:00", usage_operation="x"), change("10:30", usage_operation="y"), off("11:00")
    ).runs
    assert len({run.session_start for run in runs}) == 1
