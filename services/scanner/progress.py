"""How a scan goes, Region by Region, told to any number of watchers."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

_LOOK_UP = 1.0
"""Seconds after which a watcher looks whether it is still wanted."""


class RegionState(Enum):
    """Where the scan of one Region stands."""

    WAITING = "waiting"
    LISTING = "listing"
    LISTED = "listed"
    DISABLED = "disabled"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RegionProgress:
    """How one Region's scan goes; `detail` is for a person."""

    region: str
    state: RegionState
    instances: int = 0
    detail: str = ""
    events_stored: int = 0
    images_new: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """How a scan ended; of somebody else's only times and Regions are known."""

    started: datetime
    ended: datetime
    regions: tuple[RegionProgress, ...]
    joined: bool = False


Update = RegionProgress | Summary


class Progress:
    """What has become of a scan so far. One thread tells it, any number watch it.

    Watchers may come late and miss nothing; a Region takes few updates, so all are kept.
    """

    def __init__(self) -> None:
        self._updates: list[Update] = []
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def tell(self, update: Update) -> None:
        """Add an update; a summary is the last."""
        with self._changed:
            self._updates.append(update)
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """End without a summary: the watchers get the error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def watch(self, wanted: Callable[[], bool]) -> Iterator[Update]:
        """Yield every update from the first on, and end after the summary.

        Ends early when `wanted` says no. Raises what the scan failed with.
        """
        seen = 0
        while wanted():
            with self._changed:
                if seen == len(self._updates) and self._error is None:
                    self._changed.wait(_LOOK_UP)
                fresh, error = self._updates[seen:], self._error
            yield from fresh
            seen += len(fresh)
            if fresh and isinstance(fresh[-1], Summary):
                return
            if error is not None:
                raise error
