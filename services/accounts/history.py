"""What of the past changed when runs were derived again: rule 7's entries in the audit log."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from libs.common.instants import Micros
from services.accounts.facts import Source
from services.accounts.new_events import DATED, NewEvent

DAY: Micros = 86_400_000_000

CHANGED = "history.changed"
"""The action of the entries."""

_SESSION, _ATTRIBUTES = 2, slice(6, 9)


def day_of(instant: Micros) -> Micros:
    """Return when an instant's UTC day began; what is counted before is the past."""
    return instant - instant % DAY


def changed_span(
    was: Sequence[int] | None, row: Sequence[int] | None, now: Micros
) -> tuple[Micros, Micros] | None:
    """Return the usage in which a run differs from what it was; None: in what is counted, nowhere.

    Both are rows of `run` from start_at to basis, None where there was or is none, and begin at
    the same time. What is open is so until `now`. What is confirmed of it counts for nothing. A run
    of zero length is counted as seen, so its instant is given.
    """
    some = row or was
    if some is None:
        return None
    start = some[0]
    if was is None or row is None:
        return start, max(some[1] or now, start + 1)
    ends = was[1] or now, row[1] or now
    if was[_SESSION] != row[_SESSION] or was[_ATTRIBUTES] != row[_ATTRIBUTES]:
        return start, max(*ends, start + 1)
    return None if ends[0] == ends[1] else (min(ends), max(ends))


@dataclass(slots=True)
class Past:
    """How an account's past changed in one transaction."""

    day: Micros
    """The day of recording: what is counted from here on is no past."""
    runs: int = 0
    instances: set[int] = field(default_factory=set)
    since: Micros = 0
    until: Micros = 0

    def note(
        self,
        instance_id: int,
        was: Sequence[int] | None,
        row: Sequence[int] | None,
        now: Micros,
    ) -> None:
        """Note that a row of `run` was another."""
        span = changed_span(was, row, now)
        if span is None or span[0] >= self.day:
            return
        self.since = min(self.since, span[0]) if self.runs else span[0]
        self.until = max(self.until, span[1])
        self.runs += 1
        self.instances.add(instance_id)

    def told(self, causes: Sequence[str]) -> str:
        """Say how much of it changed, and by what."""
        why = f" by {' and '.join(causes)}" if causes else ""
        return f"{_count(self.runs, 'run')} of {_count(len(self.instances), 'instance')}{why}"


def events_told(events: Iterable[NewEvent], days: Mapping[int, Micros]) -> dict[int, list[str]]:
    """Say of each account in `days` how many late events each source told.

    Late are those before the account's day. Where none is, all count: what is said today of an
    attribute can reach back.
    """
    late: Counter[tuple[int, int]] = Counter()
    every: Counter[tuple[int, int]] = Counter()
    for event in events:
        day = days.get(event.account_id)
        if day is not None and not event.event_id.endswith(DATED):
            told = (event.account_id, event.source)
            every[told] += 1
            late[told] += event.occurred_at < day
    found: dict[int, list[str]] = {}
    for account_id in days:
        for counts, kind in ((late, "late event"), (every, "event")):
            words = [
                f"{_count(number, kind)} of {Source(source).name.lower()}"
                for (account, source), number in sorted(counts.items())
                if account == account_id and number
            ]
            if words:
                found[account_id] = words
                break
    return found


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
