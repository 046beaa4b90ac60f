"""Which runs of an instance to derive again when facts are added, and when that was enough.

Deriving from nothing is always right; this finds the part of an instance's history that can have
changed, so that a fact costs the same however long the history is.
"""

from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts.attributes import Basis
from services.accounts.facts import EventKind, InstanceFacts
from services.accounts.runs import Derived, Run, derive
from services.accounts.sessions import FOREVER


class Touch(NamedTuple):
    """What is new (or no longer holds) about one instance."""

    first: Micros
    """When the first of the facts took effect."""
    last: Micros
    """When the last did; FOREVER for a sighting or a listing, which reach on."""
    says_type: bool = False
    """Whether any of them states or changes the instance type, ..."""
    says_vcpu: bool = False
    says_usage_operation: bool = False

    def __or__(self, other: "Touch") -> "Touch":
        """Both together."""
        return Touch(
            min(self.first, other.first),
            max(self.last, other.last),
            self.says_type or other.says_type,
            self.says_vcpu or other.says_vcpu,
            self.says_usage_operation or other.says_usage_operation,
        )


class Scope(NamedTuple):
    """A part of an instance's history: the sessions from one up to another."""

    resume: Run | None
    """First run of the session to begin with; None: from nothing."""
    until: Run | None
    """First run of the session to end before; None: to the end."""


EVERYTHING = Scope(None, None)


def scope(touch: Touch, before: Run | None, after: Run | None) -> Scope:
    """Give the sessions that new facts can have changed, as a first try.

    `before` is the first run of the last session that began before `touch.first`, `after` of the
    first that began after `touch.last`, if there is one.
    """
    if before is None or _leans(before, touch):
        return EVERYTHING
    says = touch.says_type or touch.says_vcpu or touch.says_usage_operation
    return Scope(before, None if says else after)


def rederive(touch: Touch, part: Scope, facts: InstanceFacts) -> Derived | None:
    """Derive the sessions of a scope again; None when others changed too: take EVERYTHING.

    The facts are all those from the scope's first instant through its last. What is derived takes
    the place of the runs whose session began in [resume, until), and of the anomalies in
    (resume, until].
    """
    resume, until = part.resume, part.until
    if resume is not None and _reaches_back(resume, touch, facts):
        return None
    derived = derive(facts, resume, FOREVER if until is None else until.session_start)
    if resume is not None and _disowned(resume, derived.runs[0]):
        return None
    if until is None:
        return derived
    again = next((run for run in derived.runs if run.start == until.start), None)
    if again is None or not _same(until, again):
        return None
    return Derived(
        [run for run in derived.runs if run.session_start < until.session_start],
        derived.anomalies,
    )


_LEANING = (Basis.UNKNOWN, Basis.NEXT)
"""Nothing was said before: what is said now may reach back into this session and all before."""


def _leans(run: Run, touch: Touch) -> bool:
    type_, vcpu, operation = run.bases()
    return (
        (touch.says_type and type_ in _LEANING)
        or (touch.says_vcpu and vcpu in _LEANING)
        or (touch.says_usage_operation and operation in _LEANING)
    )


def _reaches_back(resume: Run, touch: Touch, facts: InstanceFacts) -> bool:
    """Whether earlier sessions lean on what is now the first that is said of an attribute."""
    type_, vcpu, operation = resume.bases()
    # A change of type says that CPU options no longer hold; it may be new, or moot.
    says_vcpu = touch.says_vcpu or (vcpu is not Basis.BEFORE and _type_changes(touch, facts))
    return (
        (touch.says_type and _first_said(type_, touch, facts, "instance_type"))
        or (says_vcpu and _first_said(vcpu, touch, facts, "vcpu"))
        or (touch.says_usage_operation and _first_said(operation, touch, facts, "usage_operation"))
    )


def _first_said(basis: Basis, touch: Touch, facts: InstanceFacts, attribute: str) -> bool:
    """Whether nothing was said of an attribute before what is new."""
    if basis is not Basis.OWN:
        return basis is not Basis.BEFORE
    stated = [event.attributes for event in facts.events if event.occurred_at < touch.first]
    stated += [s.attributes for s in facts.sightings if s.launch_time < touch.first]
    return not any(getattr(attributes, attribute) for attributes in stated)


def _type_changes(touch: Touch, facts: InstanceFacts) -> bool:
    changes = [event for event in facts.events if event.kind is EventKind.ATTRIBUTE_CHANGE]
    return any(e.attributes.instance_type and e.occurred_at >= touch.first for e in changes)


def _disowned(resume: Run, again: Run) -> bool:
    """Whether a statement that was the session's own no longer is: what came before then counts."""
    if resume.basis == again.basis:
        return False
    return any(
        was is Basis.OWN and now is not Basis.OWN
        for was, now in zip(resume.bases(), again.bases(), strict=True)
    )


def _same(until: Run, again: Run) -> bool:
    """Whether a session begins as it did, so that all that follows is the same."""
    held = zip(
        until.bases(),
        (until.instance_type, until.vcpu, until.usage_operation),
        (again.instance_type, again.vcpu, again.usage_operation),
        strict=True,
    )
    if _blip(until) != _blip(again):
        return False
    return all(basis is not Basis.BEFORE or was == now for basis, was, now in held)


def _blip(run: Run) -> bool:
    """Whether it went off again at the instant of its start."""
    return run.start == run.end and not run.end_latest
