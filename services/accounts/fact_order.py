"""The order of facts: by when they took effect, by kind, and by who tells them (rule 1).

At one instant what listings showed of an instance that was off comes first: it held until then, so
a change or a start of that very instant is newer. Attribute changes come next, then all ons as one
and all offs as one.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from libs.common.instants import Micros
from services.accounts.facts import (
    NOTHING,
    Attributes,
    Event,
    InstanceFacts,
    Sighting,
    Source,
    Statement,
)

Start: TypeAlias = Event | Sighting
Fact: TypeAlias = Start | Statement


def by_instant(facts: InstanceFacts) -> dict[Micros, list[Fact]]:
    """Return the facts of each instant, in no order.

    A sighting stands at its LaunchTime, a statement at its first listing and at its last.
    """
    instants: dict[Micros, list[Fact]] = {}
    for event in facts.events:
        instants.setdefault(event.occurred_at, []).append(event)
    for sighting in facts.sightings:
        instants.setdefault(sighting.launch_time, []).append(sighting)
    for statement in facts.statements:
        instants.setdefault(statement.first_listing, []).append(statement)
        instants.setdefault(statement.last_listing, []).append(statement)
    return instants


def apart(
    facts: list[Fact],
) -> tuple[list[Statement], list[Start], list[Event], list[Event]]:
    """Part the facts of an instant by kind, each kind in order of precedence."""
    if len(facts) > 1:
        facts.sort(key=_precedence)
    parts: tuple[list[Any], ...] = ([], [], [], [])
    for fact in facts:
        parts[fact.kind].append(fact)
    shown, ons, offs, changes = parts
    return shown, ons, offs, changes


def settle(facts: Sequence[Fact]) -> Attributes:
    """Return what facts in order of precedence state together, each attribute for itself."""
    if len(facts) == 1:
        return facts[0].attributes
    every = [fact.attributes for fact in facts if fact.attributes is not NOTHING]
    if not every:
        return NOTHING
    return Attributes(
        next((a.instance_type for a in every if a.instance_type), ""),
        next((a.vcpu for a in every if a.vcpu), 0),
        next((a.usage_operation for a in every if a.usage_operation), ""),
    )


def state_before(offs: Sequence[Event]) -> str:
    """Return the state that the offs of an instant give as the one before; empty: none does.

    By the best of them that tells.
    """
    return next((off.previous_state for off in offs if off.previous_state), "")


def may_have_been_stopped(offs: Sequence[Event]) -> bool:
    """Whether all that is known is that describe showed it terminated: it may have been stopped."""
    return all(
        off.source is Source.DESCRIBE and off.termination and not off.previous_state for off in offs
    )


def _precedence(fact: Fact) -> tuple[int, str, Micros, str, int, str]:
    """Order of the facts of one kind at one instant: the first that states a thing decides it."""
    if isinstance(fact, Event):
        return (fact.source, fact.event_id, 0, "", 0, "")
    stated = fact.attributes
    return (
        0,  # a listing, which is describe itself
        "",
        fact.first_listing,
        stated.instance_type,
        stated.vcpu,
        stated.usage_operation,
    )
