"""From the facts of one instance to its runs, by the rules of the design's section 5.

A run is a half-open part [start, end) of a session in which no attribute changes. Runs are a pure
function of the facts: derived from nothing, or again from some session on, they are the same.

What reports count of a run inside a window that ends at `until`:

- counted: [start, end), or [start, until) while it is open;
- confirmed: [confirmed_start, confirmed_end) of it, and the rest is unconfirmed;
- possible: [end, min(end_latest, until)) beyond it.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts.attributes import (
    UNKNOWN,
    Attended,
    Basis,
    Change,
    Held,
    One,
    courses,
)
from services.accounts.facts import InstanceFacts
from services.accounts.power import Anomaly, AnomalyKind, Session
from services.accounts.sessions import FOREVER, sweep_power


class Run(NamedTuple):
    """A part of a session in which no attribute changes."""

    start: Micros
    end: Micros
    """0: it goes on."""
    session_start: Micros
    confirmed_start: Micros
    confirmed_end: Micros
    """The part that is confirmed; 0 and 0: none is."""
    end_latest: Micros
    """It may have gone on from `end` until here, at most FOREVER; 0: the end is known, or open."""
    instance_type: str
    vcpu: int
    """By CPU options; 0: as many as the type has."""
    usage_operation: str
    basis: int
    """How each attribute is known: `Basis` of type, vCPU and usage operation, two bits each."""

    def bases(self) -> tuple[Basis, Basis, Basis]:
        """How type, vCPU and usage operation are known."""
        return _BASES[self.basis]


_BASES = [(Basis(n & 3), Basis(n >> 2 & 3), Basis(n >> 4 & 3)) for n in range(64)]


class Derived(NamedTuple):
    """What follows from the facts: runs by start, anomalies by time."""

    runs: list[Run]
    anomalies: list[Anomaly]


def derive(facts: InstanceFacts, resume: Run | None = None, until: Micros = FOREVER) -> Derived:
    """Derive the runs of one instance from the facts that took effect by `until`.

    With `resume`, the first run of a session as derived before, only what follows that session's
    start is derived: its runs and later ones, and the anomalies after its start. The facts need
    then only be those from its start on, and the sightings and statements that reach beyond it.
    `services.accounts.rederiving` says when that is enough.
    """
    power = sweep_power(facts, None if resume is None else _session(resume), until)
    held = UNKNOWN if resume is None else _held(*resume[6:])
    runs: list[Run] = []
    anomalies = power.anomalies
    for session, attributes in zip(
        power.sessions, courses(power.sessions, power.stated, held), strict=True
    ):
        if attributes.changes:
            runs.extend(_cut(session, attributes))
            anomalies.extend(_impossible(attributes))
        else:
            runs.append(_run(session, session.start, session.end, attributes.first))
    if len(anomalies) > 1:
        anomalies.sort(key=lambda a: (a.occurred_at, a.kind, a.event_id))
    return Derived(runs, anomalies)


def _session(run: Run) -> Session:
    return Session(run.start, run.end, run.end_latest)


@lru_cache(maxsize=1024)
def _held(instance_type: str, vcpu: int, usage_operation: str, basis: int) -> Held:
    bases = _BASES[basis]
    return Held(One(instance_type, bases[0]), One(vcpu, bases[1]), One(usage_operation, bases[2]))


def _cut(session: Session, attributes: Attended) -> Iterator[Run]:
    """Cut a session where an attribute changes."""
    held, every = attributes.first, attributes.changes or ()
    start = session.start
    for cut in sorted({change.at for changes in every for change in changes}):
        yield _run(session, start, cut, held)
        start = cut
        held = Held(*(_after(cut, *each) for each in zip(held, every, strict=True)))
    yield _run(session, start, session.end, held)


def _after(cut: Micros, before: One, changes: Sequence[Change]) -> One:
    changed = (change.value for change in changes if change.at == cut)
    return next((One(value, Basis.OWN) for value in changed), before)


def _run(session: Session, start: Micros, end: Micros, held: Held) -> Run:
    confirmed_start, confirmed_end = session.confirmed_start, session.confirmed_end
    latest = session.end_latest
    if start != session.start or end != session.end:
        confirmed_start = max(start, confirmed_start)
        confirmed_end = min(end or confirmed_end, confirmed_end)
        if confirmed_end <= confirmed_start:
            confirmed_start = confirmed_end = 0
        latest = latest if end == session.end else 0
    return Run(start, end, session.start, confirmed_start, confirmed_end, latest, *_columns(held))


@lru_cache(maxsize=1024)
def _columns(held: Held) -> tuple[str, int, str, int]:
    type_, vcpu, operation = held
    basis = type_.basis | vcpu.basis << 2 | operation.basis << 4
    return str(type_.value or ""), int(vcpu.value or 0), str(operation.value or ""), basis


def _impossible(attributes: Attended) -> Iterator[Anomaly]:
    """Find changes of what changes only while the instance is stopped."""
    types, vcpus, _ = attributes.changes or ((), (), ())
    for at, event_id in {(change.at, change.event_id) for change in (*types, *vcpus)}:
        yield Anomaly(AnomalyKind.CHANGE_WHILE_ON, at, event_id)
