"""Facts and runs of one instance on one day, written so that a person can check them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from libs.common.instants import Micros, to_datetime, to_micros
from services.accounts.facts import (
    Attributes,
    Event,
    EventKind,
    InstanceFacts,
    Sighting,
    Source,
    Statement,
    TrackingGap,
)
from services.accounts.power import Anomaly
from services.accounts.runs import Derived, Run, derive
from services.accounts.sessions import FOREVER

_ids = count(1)


def at(time: str) -> Micros:
    """Return an instant of 2026-03-01, given as "10:00", "10:00:30" or "10:00:30.000001"."""
    form = {1: "%H:%M", 2: "%H:%M:%S"}[time.count(":")]
    moment = datetime.strptime(time, form + (".%f" if "." in time else "")).replace(tzinfo=UTC)
    return to_micros(moment.replace(year=2026, month=3, day=1))


def shown(micros: Micros) -> str:
    """Return an instant as `at` takes it."""
    if micros == FOREVER:
        return "ever"
    text = to_datetime(micros).strftime("%H:%M:%S.%f")
    return text.removesuffix(".000000").removesuffix(":00")


def _event(kind: EventKind, time: str, stated: dict[str, Any]) -> Event:
    stated = {"event_id": f"e{next(_ids):06}", "source": Source.CLOUDTRAIL, **stated}
    names = ("instance_type", "vcpu", "usage_operation")
    attributes = {name: stated.pop(name) for name in names if name in stated}
    return Event(kind=kind, occurred_at=at(time), attributes=Attributes(**attributes), **stated)


def on(time: str, **stated: Any) -> Event:
    """Return a power-on; what is stated may be fields of the event or attributes."""
    return _event(EventKind.POWER_ON, time, stated)


def fresh(time: str, **stated: Any) -> Event:
    """Return a power-on that proves a start from off."""
    return on(time, fresh=True, **stated)


def off(time: str, **stated: Any) -> Event:
    """Return a power-off."""
    return _event(EventKind.POWER_OFF, time, stated)


def terminated(time: str, **stated: Any) -> Event:
    """Return a termination."""
    return off(time, termination=True, **stated)


def change(time: str, **stated: Any) -> Event:
    """Return an attribute change."""
    return _event(EventKind.ATTRIBUTE_CHANGE, time, stated)


def sighted(launch: str, first: str, last: str = "", **attributes: Any) -> Sighting:
    """Return a sighting by listings from first to last."""
    return Sighting(at(launch), at(first), at(last or first), Attributes(**attributes))


def shown_off(first: str, last: str = "", **attributes: Any) -> Statement:
    """Return what listings showed of it while it was not running."""
    return Statement(at(first), at(last or first), Attributes(**attributes))


def facts(
    *every: Event | Sighting | Statement,
    listings: Sequence[str] = (),
    gaps: Sequence[tuple[str, str, str]] = (),
) -> InstanceFacts:
    """Return facts in any order; gaps as (ended, resumed, confirmed through), "" for none."""
    return InstanceFacts(
        [fact for fact in every if isinstance(fact, Event)],
        [fact for fact in every if isinstance(fact, Sighting)],
        [fact for fact in every if isinstance(fact, Statement)],
        [at(time) for time in listings],
        [TrackingGap(*(at(time) if time else 0 for time in gap)) for gap in gaps],
    )


def derived(*every: Event | Sighting | Statement, **more: Any) -> Derived:
    """Derive from facts."""
    return derive(facts(*every, **more))


def spans(*every: Event | Sighting | Statement, **more: Any) -> list[str]:
    """Return runs as "10:00-11:00", or "10:00-" while open, with "..12:00" for the latest end."""
    return spans_of(derived(*every, **more).runs)


def confirmed(*every: Event | Sighting | Statement, **more: Any) -> list[str]:
    """Return the confirmed part of each run, "" where there is none."""
    return confirmed_of(derived(*every, **more).runs)


def anomalies(*every: Event | Sighting | Statement, **more: Any) -> list[str]:
    """Return anomalies as "10:00 OFF_WITHOUT_ON"."""
    return anomalies_of(derived(*every, **more).anomalies)


def typed(*every: Event | Sighting | Statement, **more: Any) -> list[str]:
    """Return runs with what held, as "10:00-11:00 m5.large 2 RunInstances", "?" for unknown."""
    return typed_of(derived(*every, **more).runs)


def spans_of(runs: Iterable[Run]) -> list[str]:
    """Return runs as `spans` does."""
    return [_span(run) for run in runs]


def confirmed_of(runs: Iterable[Run]) -> list[str]:
    """Return the confirmed part of each run as `confirmed` does."""
    return [
        f"{shown(run.confirmed_start)}-{shown(run.confirmed_end)}" if run.confirmed_end else ""
        for run in runs
    ]


def typed_of(runs: Iterable[Run]) -> list[str]:
    """Return runs as `typed` does."""
    return [
        f"{_span(run)} {run.instance_type or '?'} {run.vcpu or '?'} {run.usage_operation or '?'}"
        for run in runs
    ]


def anomalies_of(every: Iterable[Anomaly]) -> list[str]:
    """Return anomalies as `anomalies` does."""
    return [f"{shown(odd.occurred_at)} {odd.kind.name}" for odd in every]


def seconds_of(runs: Iterable[Run]) -> tuple[float, float]:
    """Return the seconds that ended runs count, and how many of those are confirmed."""
    every = list(runs)
    counted = sum(run.end - run.start for run in every if run.end)
    sure = sum(run.confirmed_end - run.confirmed_start for run in every)
    return counted / 1_000_000, sure / 1_000_000


def _span(run: Run) -> str:
    end = shown(run.end) if run.end else ""
    return f"{shown(run.start)}-{end}" + (f"..{shown(run.end_latest)}" if run.end_latest else "")
