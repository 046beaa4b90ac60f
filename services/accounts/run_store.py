"""Keeps `run` and `anomaly` in step with the facts, in the transaction that changes those."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from libs.common.instants import Micros
from services.accounts.copying import escaped
from services.accounts.database import Cursor
from services.accounts.fact_reader import Window, read_facts
from services.accounts.history import Past, day_of
from services.accounts.label_store import LabelStore
from services.accounts.rederiving import EVERYTHING, Scope, Touch, rederive, scope
from services.accounts.run_rows import (
    AnomalyRow,
    Key,
    RowChanges,
    RunRow,
    read_anomalies,
    read_runs,
    write_rows,
)
from services.accounts.runs import Derived, Run
from services.accounts.sessions import FOREVER

_AT_ONCE = 5_000
"""Instances rewritten together, which bounds the memory that a large listing takes."""


@dataclass(slots=True)
class _Rewriting:
    """An instance whose runs are derived again."""

    key: Key
    touch: Touch
    stored: list[RunRow]
    """Of its window, by start."""

    def heads(self) -> tuple[RunRow | None, RunRow | None]:
        """Return the first runs of the sessions just before and just after what is new."""
        before = self.stored[0] if self.stored else None
        after = self.stored[-1] if self.stored else None
        if before and before[0] >= self.touch.first:
            before = None
        if after and (after[0] <= self.touch.last or after[0] != after[2]):
            after = None
        return before, after


@dataclass(frozen=True, slots=True)
class _Changes:
    """What is to be written, when it is recorded, and how the past changes by it."""

    rows: RowChanges
    recorded_at: Mapping[int, Micros]
    pasts: Mapping[int, Past]


class RunStore:
    """Derives runs again where facts changed, and writes the rows that differ."""

    def __init__(self, labels: LabelStore) -> None:
        self._labels = labels

    def rewrite(
        self, cursor: Cursor, touches: Mapping[Key, Touch], recorded_at: Mapping[int, Micros]
    ) -> dict[int, Past]:
        """Bring the runs of instances up to date with their facts.

        The caller holds the accounts' locks, has stored the facts in the same transaction, and had
        the label store learn what they state. `recorded_at` is each account's. Returns how the past
        changed of each account of which it did; the caller writes that into the audit log.
        """
        pasts = {account_id: Past(day_of(at)) for account_id, at in recorded_at.items()}
        every = sorted(touches)
        for start in range(0, len(every), _AT_ONCE):
            keys = every[start : start + _AT_ONCE]
            changes = _Changes(RowChanges(), recorded_at, pasts)
            again = self._attempt(cursor, {key: touches[key] for key in keys}, changes)
            if again:
                self._attempt(cursor, dict.fromkeys(again, _ALWAYS), changes)
            write_rows(cursor, changes.rows, recorded_at)
        return {account_id: past for account_id, past in pasts.items() if past.runs}

    def retrack(
        self, cursor: Cursor, account_id: int, at: Micros, recorded_at: Micros
    ) -> Past | None:
        """Derive again what depends on when an account was tracked (rule 9), which changed.

        Tracking began or ended at `at`, which is recorded at `recorded_at`. The caller holds the
        account's lock, and writes into the audit log how the past changed, if it did.
        """
        cursor.execute(
            "SELECT DISTINCT instance_id FROM run"
            " WHERE account_id = %s AND (end_at = 0 OR end_at > %s OR end_latest > %s)",
            (account_id, at, at),
        )
        touches = {(account_id, number): Touch(at, FOREVER) for (number,) in cursor.fetchall()}
        return self.rewrite(cursor, touches, {account_id: recorded_at}).get(account_id)

    def _attempt(
        self,
        cursor: Cursor,
        touches: Mapping[Key, Touch],
        changes: _Changes,
    ) -> list[Key]:
        """Derive what can have changed; return the instances of which more can have."""
        again: list[Key] = []
        parts: list[tuple[_Rewriting, Scope]] = []
        every = _read(cursor, touches)
        labels = {number for each in every for row in each.stored for number in (row[6], row[8])}
        texts = self._labels.texts(cursor, labels)
        for each in every:
            part = _scope(each, texts)
            if part is None:
                again.append(each.key)
            else:
                parts.append((each, part))
        windows = [_window(each.key, part) for each, part in parts]
        odd = read_anomalies(cursor, windows)
        derived = [
            rederive(each.touch, part, facts)
            for (each, part), facts in zip(parts, read_facts(cursor, windows), strict=True)
        ]
        numbers = self._labels.numbers(cursor, _texts(derived))
        for place, ((each, part), result) in enumerate(zip(parts, derived, strict=True)):
            if result is None:
                again.append(each.key)
                continue
            _compare_runs(each.key, _within(part, each.stored), result, numbers, changes)
            if result.anomalies or place in odd:
                _compare_anomalies(each.key, odd.get(place, set()), result, changes)
        return again


def _scope(each: _Rewriting, texts: Mapping[int, str]) -> Scope | None:
    """Return the part to derive, or None when that is more than was read."""
    if each.touch is _ALWAYS:
        return EVERYTHING
    before, after = each.heads()
    part = scope(
        each.touch,
        None if before is None else _run(before, texts),
        None if after is None else _run(after, texts),
    )
    more = part == EVERYTHING and (before is not None or after is not None)
    return None if more else part


def _run(row: RunRow, texts: Mapping[int, str]) -> Run:
    start, end, session, sure, surely, latest, type_, vcpu, operation, basis = row
    return Run(
        start, end, session, sure, surely, latest, texts[type_], vcpu, texts[operation], basis
    )


_ALWAYS = Touch(0, FOREVER)


def _read(cursor: Cursor, touches: Mapping[Key, Touch]) -> list[_Rewriting]:
    reaching = {key: _reaching(touch) for key, touch in touches.items()}
    stored = read_runs(cursor, reaching)
    return [
        _Rewriting(key, touch, rows)
        for (key, touch), rows in zip(reaching.items(), stored, strict=True)
    ]


def _reaching(touch: Touch) -> Touch:
    """Return a touch that reaches as far as what it says does: into all sessions that follow.

    They are derived again then, so all their rows must have been read, for those that no longer
    follow to be found.
    """
    if touch.says_type or touch.says_vcpu or touch.says_usage_operation:
        return touch._replace(last=FOREVER)
    return touch


def _texts(derived: Iterable[Derived | None]) -> set[str]:
    texts = set()
    for each in derived:
        for run in () if each is None else each.runs:
            texts.add(run.instance_type)
            texts.add(run.usage_operation)
    return texts


def _window(key: Key, part: Scope) -> Window:
    begin = part.resume.start if part.resume else 0
    return Window(*key, begin, part.until.start if part.until else FOREVER)


def _within(part: Scope, stored: Iterable[RunRow]) -> dict[Micros, RunRow]:
    begin = part.resume.start if part.resume else 0
    until = part.until.start if part.until else FOREVER
    return {row[0]: row for row in stored if begin <= row[2] < until}


def _compare_runs(
    key: Key,
    stored: dict[Micros, RunRow],
    derived: Derived,
    numbers: Mapping[str, int],
    changes: _Changes,
) -> None:
    account_id, instance_id = key
    recorded_at, past = changes.recorded_at[account_id], changes.pasts[account_id]
    for run in derived.runs:
        row = (
            run.start,
            run.end,
            run.session_start,
            run.confirmed_start,
            run.confirmed_end,
            run.end_latest,
            numbers[run.instance_type],
            run.vcpu,
            numbers[run.usage_operation],
            run.basis,
        )
        was = stored.pop(run.start, None)
        if was != row:
            changes.rows.runs.append("\t".join(map(str, (*key, *row, recorded_at))))
            past.note(instance_id, was, row, recorded_at)
    for start, was in stored.items():
        changes.rows.lost_runs.append((*key, start))
        past.note(instance_id, was, None, recorded_at)


def _compare_anomalies(
    key: Key,
    stored: set[AnomalyRow],
    derived: Derived,
    changes: _Changes,
) -> None:
    recorded_at = changes.recorded_at[key[0]]
    found = {(odd.occurred_at, int(odd.kind), odd.event_id) for odd in derived.anomalies}
    for at, kind, event_id in found - stored:
        fields = (*key, at, kind, escaped(event_id), recorded_at)
        changes.rows.anomalies.append("\t".join(map(str, fields)))
    changes.rows.lost_anomalies.extend((*key, *row) for row in stored - found)
