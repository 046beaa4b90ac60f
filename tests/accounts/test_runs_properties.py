"""Properties of deriving runs, against a brute-force reference."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.accounts.facts import Event, InstanceFacts
from services.accounts.rederiving import EVERYTHING, Touch, rederive, scope
from services.accounts.runs import Derived, Run, derive
from tests.accounts.fact_strategies import events, instance_facts
from tests.accounts.runs_reference import reference_runs


def _columns(run: Run) -> tuple[object, ...]:
    return run[:-1]  # all but how it is known


@settings(max_examples=300, deadline=None)
@given(instance_facts())
def test_runs_are_those_of_the_reference(facts: InstanceFacts) -> None:
    """Runs equal those that searching all facts for each instant gives."""
    assert [_columns(run) for run in derive(facts).runs] == reference_runs(facts)


@settings(max_examples=100, deadline=None)
@given(instance_facts(), st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(facts: InstanceFacts, random: object) -> None:
    """Facts in another order, or told twice, give the same runs and anomalies."""
    shuffled = [*facts.events, *facts.events[:3]]
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    again = facts._replace(
        events=shuffled,
        sightings=[*reversed(facts.sightings), *facts.sightings],
        statements=[*reversed(facts.statements)],
    )
    assert derive(again) == derive(facts)


@settings(max_examples=100, deadline=None)
@given(instance_facts())
def test_runs_of_an_instance_never_overlap(facts: InstanceFacts) -> None:
    """Runs follow one another, each confirmed within itself, with what is possible beyond it."""
    runs = derive(facts).runs
    for run, following in pairwise(runs):
        assert run.end
        assert run.end <= following.start
        assert run.end_latest <= following.start or run.end_latest == 0
    for run in runs:
        assert run.start <= (run.end or run.start)
        assert run.end_latest == 0 or run.end_latest >= run.end
        assert run.confirmed_start <= run.confirmed_end
        assert run.confirmed_start == 0 or run.confirmed_start >= run.start
        assert run.end == 0 or run.confirmed_end <= run.end


def _rederived(known: InstanceFacts, new: list[Event]) -> Derived:
    """Give what a store holds that derives again only what new events touch."""
    stored = derive(known)
    heads = [run for run in stored.runs if run.start == run.session_start]
    times = [event.occurred_at for event in new]
    touch = Touch(
        min(times),
        max(times),
        any(event.attributes.instance_type for event in new),
        any(event.attributes.vcpu for event in new),
        any(event.attributes.usage_operation for event in new),
    )
    before = [run for run in heads if run.start < touch.first]
    after = [run for run in heads if run.start > touch.last]
    part = scope(touch, before[-1] if before else None, after[0] if after else None)
    every = known._replace(events=[*known.events, *new])
    first = part.resume.start if part.resume else 0
    last = part.until.start if part.until else 10**18
    near = every._replace(events=[e for e in every.events if first <= e.occurred_at <= last])
    derived = rederive(touch, part, near)
    if derived is None:
        return derive(every)
    if part == EVERYTHING:
        return derived
    beyond = last if part.until else last + 1
    return Derived(
        [
            *(run for run in stored.runs if run.session_start < first),
            *derived.runs,
            *(run for run in stored.runs if run.session_start >= beyond),
        ],
        [
            *(odd for odd in stored.anomalies if odd.occurred_at <= first),
            *derived.anomalies,
            *(odd for odd in stored.anomalies if odd.occurred_at > last),
        ],
    )


@settings(max_examples=400, deadline=None)
@given(instance_facts(), events(), st.data())
def test_deriving_what_is_touched_equals_deriving_everything(
    known: InstanceFacts, late: list[Event], data: st.DataObject
) -> None:
    """After late events only the touched part is derived, and all runs are as if from nothing."""
    new = [event._replace(event_id=f"new-{event.event_id}") for event in late]
    if not new:
        return
    count = data.draw(st.integers(1, min(3, len(new))))
    every = known._replace(events=[*known.events, *new[:count]])
    assert _rederived(known, new[:count]) == derive(every)
