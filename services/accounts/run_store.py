"""Keeps `run` and `anomaly` in step with the facts, in the transaction that changes those."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from libs.common.instants import Micros
from services.accounts.copying import array, copy_lines, escaped
from services.accounts.database import Cursor, next_recorded_at
from services.accounts.fact_reader import Window, read_facts
from services.accounts.label_store import LabelStore
from services.accounts.rederiving import EVERYTHING, Scope, Touch, rederive, scope
from services.accounts.runs import Derived, Run
from services.accounts.sessions import FOREVER

Key: TypeAlias = tuple[int, int]
"""An instance: its account's id and its own."""

_AT_ONCE = 5_000
"""Instances rewritten together, which bounds the memory that a large listing takes."""

# For each instance the runs from the last session that began before what is new, up to the first
# that began after it.
_RUNS = """
SELECT t.place - 1, r.start_at, r.end_at, r.session_start, r.confirmed_start, r.confirmed_end,
       r.end_latest, r.instance_type, r.vcpu, r.usage_operation, r.basis
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
     AS t(account_id, instance_id, first, last, place)
CROSS JOIN LATERAL (
    SELECT coalesce((
        SELECT start_at FROM run
        WHERE account_id = t.account_id AND instance_id = t.instance_id AND start_at < t.first
          AND session_start = start_at ORDER BY start_at DESC LIMIT 1), 0) AS since,
      coalesce((
        SELECT start_at FROM run
        WHERE account_id = t.account_id AND instance_id = t.instance_id AND start_at > t.last
          AND session_start = start_at ORDER BY start_at LIMIT 1), %s) AS until
    OFFSET 0
) w
CROSS JOIN LATERAL (
    SELECT * FROM run
    WHERE account_id = t.account_id AND instance_id = t.instance_id
      AND start_at BETWEEN w.since AND w.until
    OFFSET 0
) r
ORDER BY t.place, r.start_at
"""
_ANOMALIES = """
SELECT w.place - 1, a.occurred_at, a.kind, a.event_id
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
     AS w(account_id, instance_id, since, until, place)
JOIN anomaly a ON a.account_id = w.account_id AND a.instance_id = w.instance_id
              AND a.occurred_at > w.since AND a.occurred_at <= w.until
"""
_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS staged_run (LIKE run) ON COMMIT DELETE ROWS
"""
_RUN_COLUMNS = (
    "account_id, instance_id, start_at, end_at, session_start, confirmed_start, confirmed_end,"
    " end_latest, instance_type, vcpu, usage_operation, basis, recorded_at"
)
_PUT_RUNS = """
INSERT INTO run SELECT * FROM staged_run
ON CONFLICT (account_id, instance_id, start_at) DO UPDATE SET
    end_at = excluded.end_at, session_start = excluded.session_start,
    confirmed_start = excluded.confirmed_start, confirmed_end = excluded.confirmed_end,
    end_latest = excluded.end_latest, instance_type = excluded.instance_type,
    vcpu = excluded.vcpu, usage_operation = excluded.usage_operation, basis = excluded.basis,
    recorded_at = excluded.recorded_at
"""
_DROP_RUNS = """
DELETE FROM run USING unnest(%s::bigint[], %s::bigint[], %s::bigint[])
    AS d(account_id, instance_id, start_at)
WHERE run.account_id = d.account_id AND run.instance_id = d.instance_id
  AND run.start_at = d.start_at
"""
_DROP_ANOMALIES = """
DELETE FROM anomaly USING unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])
    AS d(account_id, instance_id, occurred_at, kind, event_id)
WHERE anomaly.account_id = d.account_id AND anomaly.instance_id = d.instance_id
  AND anomaly.occurred_at = d.occurred_at AND anomaly.kind = d.kind
  AND anomaly.event_id = d.event_id
"""

RunRow: TypeAlias = tuple[int, ...]
"""A run as stored, from start_at to basis, with the numbers of its labels."""
AnomalyRow: TypeAlias = tuple[int, int, str]


@dataclass(slots=True)
class _Rewriting:
    """An instance whose runs are derived again."""

    key: Key
    touch: Touch
    stored: list[RunRow] = field(default_factory=list)
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


@dataclass(slots=True)
class _Changes:
    """What is to be written."""

    runs: list[str] = field(default_factory=list)
    lost_runs: list[tuple[int, int, int]] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)
    lost_anomalies: list[tuple[int, int, int, int, str]] = field(default_factory=list)


class RunStore:
    """Derives runs again where facts changed, and writes the rows that differ."""

    def __init__(self, labels: LabelStore) -> None:
        self._labels = labels

    def rewrite(
        self, cursor: Cursor, touches: Mapping[Key, Touch], recorded_at: Mapping[int, Micros]
    ) -> None:
        """Bring the runs of instances up to date with their facts.

        The caller holds the accounts' locks, has stored the facts in the same transaction, and had
        the label store learn what they state. `recorded_at` is each account's.
        """
        cursor.execute(_STAGE)
        every = sorted(touches)
        for start in range(0, len(every), _AT_ONCE):
            keys = every[start : start + _AT_ONCE]
            changes = _Changes()
            again = self._attempt(cursor, {key: touches[key] for key in keys}, changes, recorded_at)
            if again:
                self._attempt(cursor, dict.fromkeys(again, _ALWAYS), changes, recorded_at)
            _write(cursor, changes)

    def retrack(self, cursor: Cursor, account_id: int, at: Micros) -> None:
        """Derive again what depends on when an account was tracked (rule 9), which changed.

        The caller holds the account's lock.
        """
        cursor.execute(
            "SELECT DISTINCT instance_id FROM run"
            " WHERE account_id = %s AND (end_at = 0 OR end_latest = 253402300799999999)",
            (account_id,),
        )
        touches = {(account_id, number): Touch(at, FOREVER) for (number,) in cursor.fetchall()}
        if touches:
            recorded_at = next_recorded_at(cursor, account_id, at)
            self.rewrite(cursor, touches, {account_id: recorded_at})

    def _attempt(
        self,
        cursor: Cursor,
        touches: Mapping[Key, Touch],
        changes: _Changes,
        recorded_at: Mapping[int, Micros],
    ) -> list[Key]:
        """Derive what can have changed; return the instances of which more can have."""
        again: list[Key] = []
        parts: list[tuple[_Rewriting, Scope]] = []
        for each in _read_runs(cursor, touches):
            part = self._scope(cursor, each)
            if part is None:
                again.append(each.key)
            else:
                parts.append((each, part))
        windows = [_window(each.key, part) for each, part in parts]
        odd = _read_anomalies(cursor, windows)
        derived = [
            rederive(each.touch, part, facts)
            for (each, part), facts in zip(parts, read_facts(cursor, windows), strict=True)
        ]
        numbers = self._labels.numbers(cursor, _texts(derived))
        for (each, part), result, anomalies in zip(parts, derived, odd, strict=True):
            if result is None:
                again.append(each.key)
                continue
            at = recorded_at[each.key[0]]
            _compare_runs(each.key, _within(part, each.stored), result, numbers, changes, at)
            _compare_anomalies(each.key, anomalies, result, changes, at)
        return again

    def _scope(self, cursor: Cursor, each: _Rewriting) -> Scope | None:
        """Return the part to derive, or None when that is more than was read."""
        if each.touch is _ALWAYS:
            return EVERYTHING
        before, after = each.heads()
        part = scope(each.touch, self._run(cursor, before), self._run(cursor, after))
        more = part == EVERYTHING and (before is not None or after is not None)
        return None if more else part

    def _run(self, cursor: Cursor, row: RunRow | None) -> Run | None:
        if row is None:
            return None
        start, end, session, confirmed_start, confirmed_end, latest = row[:6]
        type_, vcpu, operation, basis = row[6:]
        texts = self._labels.texts(cursor, (type_, operation))
        return Run(
            start=start,
            end=end,
            session_start=session,
            confirmed_start=confirmed_start,
            confirmed_end=confirmed_end,
            end_latest=latest,
            instance_type=texts[type_],
            vcpu=vcpu,
            usage_operation=texts[operation],
            basis=basis,
        )


_ALWAYS = Touch(0, FOREVER)


def _read_runs(cursor: Cursor, touches: Mapping[Key, Touch]) -> list[_Rewriting]:
    every = [_Rewriting(key, touch) for key, touch in touches.items()]
    cursor.execute(
        _RUNS,
        (
            array(key[0] for key in touches),
            array(key[1] for key in touches),
            array(touch.first for touch in touches.values()),
            array(touch.last for touch in touches.values()),
            FOREVER,
        ),
    )
    for row in cursor.fetchall():
        every[row[0]].stored.append(row[1:])
    return every


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


def _read_anomalies(cursor: Cursor, windows: Sequence[Window]) -> list[set[AnomalyRow]]:
    found: list[set[AnomalyRow]] = [set() for _ in windows]
    cursor.execute(
        _ANOMALIES,
        (
            array(w.account_id for w in windows),
            array(w.instance_id for w in windows),
            array(w.begin for w in windows),
            array(w.until for w in windows),
        ),
    )
    for place, *row in cursor.fetchall():
        found[place].add((row[0], row[1], row[2]))
    return found


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
    recorded_at: Micros,
) -> None:
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
        if stored.pop(run.start, None) != row:
            changes.runs.append("\t".join(map(str, (*key, *row, recorded_at))))
    changes.lost_runs.extend((*key, start) for start in stored)


def _compare_anomalies(
    key: Key,
    stored: set[AnomalyRow],
    derived: Derived,
    changes: _Changes,
    recorded_at: Micros,
) -> None:
    if not stored and not derived.anomalies:
        return
    found = {(odd.occurred_at, int(odd.kind), odd.event_id) for odd in derived.anomalies}
    for at, kind, event_id in found - stored:
        fields = (*key, at, kind, escaped(event_id), recorded_at)
        changes.anomalies.append("\t".join(map(str, fields)))
    changes.lost_anomalies.extend((*key, *row) for row in stored - found)


def _write(cursor: Cursor, changes: _Changes) -> None:
    if changes.lost_runs:
        cursor.execute(
            _DROP_RUNS, [array(column) for column in zip(*changes.lost_runs, strict=True)]
        )
    if changes.runs:
        copy_lines(cursor, "staged_run", _RUN_COLUMNS, changes.runs)
        cursor.execute(_PUT_RUNS)
        cursor.execute("TRUNCATE staged_run")
    if changes.lost_anomalies:
        *numbers, event_ids = zip(*changes.lost_anomalies, strict=True)
        cursor.execute(_DROP_ANOMALIES, [*map(array, numbers), list(event_ids)])
    if changes.anomalies:
        columns = "account_id, instance_id, occurred_at, kind, event_id, recorded_at"
        copy_lines(cursor, "anomaly", columns, changes.anomalies)
