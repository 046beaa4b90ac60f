"""What is concluded about one instance's power: its sessions, and what does not fit."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts.facts import Attributes


class AnomalyKind(IntEnum):
    """What among the facts does not fit."""

    OFF_INSIDE_SIGHTING = 1
    """An off while listings showed the instance on, before and after: ignored."""
    OFF_WITHOUT_ON = 2
    """An off of an instance never known to be on: there was usage whose start is unknown."""
    ON_AFTER_TERMINATION = 3
    """An on, or a listing that showed it on, after it was terminated: ignored."""
    CHANGE_WHILE_ON = 4
    """A change of what changes only while stopped, inside a session: an off may be missing."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A fact that does not fit; `event_id` is empty when it is no event."""

    kind: AnomalyKind
    occurred_at: Micros
    event_id: str


class Session(NamedTuple):
    """From a power-on to a power-off."""

    start: Micros
    end: Micros = 0
    """0: it goes on."""
    end_latest: Micros = 0
    """It may have gone on from `end` until here; FOREVER: nobody knows how long; 0: the end is
    known, or it goes on."""
    confirmed_start: Micros = 0
    confirmed_end: Micros = 0
    """The part inside sightings, or all of it when its off was observed; 0 and 0: none."""


class Doubt(NamedTuple):
    """How a session that only describe showed terminated may have ended."""

    until: Micros
    """The last instant at which an off settles it."""
    stopped: Session
    """As it ended if it had been stopped before, ..."""
    observed: Session
    """or if it was terminated while on."""


class Stated(NamedTuple):
    """Attributes that were stated or changed, in the order in which they took effect."""

    at: Micros
    attributes: Attributes
    change: bool
    session: int = -1
    """Place among the sessions of the one whose own statement it is."""
    event_id: str = ""


class Power(NamedTuple):
    """What the sweep found."""

    sessions: list[Session]
    stated: list[Stated]
    anomalies: list[Anomaly]
