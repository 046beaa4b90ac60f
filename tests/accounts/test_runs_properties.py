"""Properties of deriving runs, against a brute-force reference."""

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import or_

from hypothesis import given
from hypothesis import strategies as st

from services.accounts.facts import (
    DESCRIBE_LAG,
    Attributes,
    Event,
    EventKind,
    InstanceFacts,
    Sighting,
    Source,
    Statement,
)
from services.accounts.rederiving import EVERYTHING, Touch, rederive, scope
from services.accounts.runs import Derived, derive
from services.accounts.sessions import FOREVER
from tests.accounts.fact_strategies import (
    TICK,
    attributes,
    events,
    histories,
    instance_facts,
    instants,
    sightings,
    ticks,
)
from tests.accounts.runs_reference import reference
from tests.support.effort import examples


def _plain(derived: Derived) -> tuple[list[tuple[object, ...]], list[tuple[int, int, str]]]:
    """Give runs but for how their attributes are known, and anomalies, as the reference does."""
    odd = [(each.occurred_at, int(each.kind), each.event_id) for each in derived.anomalies]
    return [run[:-1] for run in derived.runs], odd


@examples(300)
@given(instance_facts())
def test_runs_and_anomalies_are_those_of_the_reference(facts: InstanceFacts) -> None:
    """They equal what searching all facts at each instant gives."""
    assert _plain(derive(facts)) == reference(facts)


@examples(100)
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


@examples(100)
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


def _touch(first: int, last: int, *stating: Event | Sighting | Statement) -> Touch:
    """Say what facts can change that took effect from first to last."""
    stated = [fact.attributes for fact in stating]
    return Touch(
        first,
        last,
        any(each.instance_type for each in stated),
        any(each.vcpu for each in stated),
        any(each.usage_operation for each in stated),
    )


def _touches(new: InstanceFacts) -> Iterator[Touch]:
    """Give what each new fact can change; of all but events everything from then on."""
    for event in new.events:
        yield _touch(event.occurred_at, event.occurred_at, event)
    for sighting in new.sightings:
        yield _touch(sighting.launch_time, FOREVER, sighting)
    for statement in new.statements:
        yield _touch(statement.first_listing, FOREVER, statement)
    for listing in new.listings:
        yield _touch(listing, FOREVER)
    for gap in new.gaps:
        yield _touch(gap.ended_at, FOREVER)


def _together(known: InstanceFacts, new: InstanceFacts) -> InstanceFacts:
    return InstanceFacts(
        [*known.events, *new.events],
        [*known.sightings, *new.sightings],
        [*known.statements, *new.statements],
        sorted({*known.listings, *new.listings}),
        sorted([*known.gaps, *new.gaps], key=lambda gap: gap.ended_at),
    )


def _within(every: InstanceFacts, first: int, last: int) -> InstanceFacts:
    """Give the facts of a window and those that reach into it."""
    return every._replace(
        events=[e for e in every.events if first <= e.occurred_at <= last],
        sightings=[
            s
            for s in every.sightings
            if s.launch_time <= last and max(s.launch_time, s.last_listing) >= first
        ],
        statements=[
            s for s in every.statements if s.first_listing <= last and s.last_listing >= first
        ],
    )


def _rederived(known: InstanceFacts, every: InstanceFacts, touch: Touch) -> Derived:
    """Give what a store holds that derives again only what is touched."""
    stored = derive(known)
    heads = [run for run in stored.runs if run.start == run.session_start]
    before = [run for run in heads if run.start < touch.first]
    after = [run for run in heads if run.start > touch.last]
    part = scope(touch, before[-1] if before else None, after[0] if after else None)
    first = part.resume.start if part.resume else 0
    last = part.until.start if part.until else FOREVER
    derived = rederive(touch, part, _within(every, first, last))
    if derived is None:
        return derive(every)
    if part == EVERYTHING:
        return derived
    beyond = last if part.until else FOREVER + 1
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


@examples(150)
@given(instance_facts(), events(), st.data())
def test_deriving_what_events_touch_equals_deriving_everything(
    known: InstanceFacts, late: list[Event], data: st.DataObject
) -> None:
    """After late events only the touched part is derived, and all runs are as if from nothing."""
    new = [event._replace(event_id=f"new-{event.event_id}") for event in late]
    if not new:
        return
    new = new[: data.draw(st.integers(1, min(3, len(new))))]
    every = _together(known, InstanceFacts(new))
    touch = reduce(or_, _touches(InstanceFacts(new)))
    assert _rederived(known, every, touch) == derive(every)


@examples(150)
@given(histories(), st.lists(ticks, min_size=3, max_size=3), attributes)
def test_deriving_what_a_change_touches_equals_deriving_everything(
    known: list[Event], places: list[int], stated: Attributes
) -> None:
    """Into a history of many sessions, few of which state anything: what they say reaches far."""
    new = [
        Event(f"new-{n}", kind, place * TICK, Source.CLOUDTRAIL, attributes=stated)
        for n, (kind, place) in enumerate(
            zip(
                (EventKind.ATTRIBUTE_CHANGE, EventKind.POWER_ON, EventKind.POWER_OFF),
                places,
                strict=True,
            )
        )
    ]
    for event in new:
        before, after = InstanceFacts(known), InstanceFacts([*known, event])
        (touch,) = _touches(InstanceFacts([event]))
        assert _rederived(before, after, touch) == derive(after)


@examples(200)
@given(instance_facts(), instance_facts())
def test_deriving_what_any_facts_touch_equals_deriving_everything(
    known: InstanceFacts, late: InstanceFacts
) -> None:
    """Sightings, statements, listings and gaps reach on from where they begin."""
    new = late._replace(
        events=[event._replace(event_id=f"new-{event.event_id}") for event in late.events[:2]],
        gaps=[] if known.gaps else late.gaps,
    )
    touches = list(_touches(new))
    if not touches:
        return
    every = _together(known, new)
    assert _rederived(known, every, reduce(or_, touches)) == derive(every)


@examples(100)
@given(instance_facts(), sightings(), st.integers(0, 120))
def test_deriving_what_a_longer_sighting_touches_equals_deriving_everything(
    known: InstanceFacts, seen: Sighting, more: int
) -> None:
    """One more listing shows it as before: news only from where it was confirmed."""
    longer = replace(seen, last_listing=seen.last_listing + more * TICK)
    touch = Touch(max(seen.launch_time + 1, seen.last_listing - DESCRIBE_LAG), FOREVER)
    before = _together(known, InstanceFacts(sightings=[seen]))
    after = _together(known, InstanceFacts(sightings=[longer]))
    assert _rederived(before, after, touch) == derive(after)


@examples(50)
@given(instance_facts(), sightings(), st.sets(instants, min_size=1, max_size=6))
def test_a_sighting_told_in_segments_is_one_sighting(
    known: InstanceFacts, seen: Sighting, cuts: set[int]
) -> None:
    """A row each for listings that follow one another: they say no more than one for them all."""
    ends = sorted(cuts)
    segments = [
        replace(seen, first_listing=first, last_listing=last)
        for first, last in zip(ends, [*ends[1::2], ends[-1]], strict=False)
    ]
    whole = replace(
        seen,
        first_listing=min(segment.first_listing for segment in segments),
        last_listing=max(segment.last_listing for segment in segments),
    )
    once = derive(_together(known, InstanceFacts(sightings=[whole])))
    assert derive(_together(known, InstanceFacts(sightings=segments))) == once
