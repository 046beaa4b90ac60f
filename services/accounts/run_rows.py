"""Rows of `run` and `anomaly`: read around what is new, and written where they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from libs.common.instants import Micros
from services.accounts.copying import array, copy_lines
from services.accounts.database import Cursor
from services.accounts.fact_reader import Window
from services.accounts.rederiving import Touch
from services.accounts.sessions import FOREVER

Key: TypeAlias = tuple[int, int]
"""An instance: its account's id and its own."""

RunRow: TypeAlias = tuple[int, ...]
"""A run as stored, from start_at to basis, with the numbers of its labels."""
AnomalyRow: TypeAlias = tuple[int, int, str]


# What is new mostly comes after all that was known: then the last run is all that matters.
_LAST_RUNS = """
SELECT t.place - 1, r.start_at, r.end_at, r.session_start, r.confirmed_start, r.confirmed_end,
       r.end_latest, r.instance_type, r.vcpu, r.usage_operation, r.basis
FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS t(account_id, instance_id, place)
CROSS JOIN LATERAL (
    SELECT * FROM run WHERE account_id = t.account_id AND instance_id = t.instance_id
    ORDER BY start_at DESC LIMIT 1
) r
"""
# For each instance the runs from the last session that began before what is new, up to the first
# that began after it. Sessions follow one another, so the runs next to what is new tell of both: an
# end of the index is read, where to look for session_start = start_at would read a whole history.
_RUNS = """
SELECT t.place - 1, r.start_at, r.end_at, r.session_start, r.confirmed_start, r.confirmed_end,
       r.end_latest, r.instance_type, r.vcpu, r.usage_operation, r.basis
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
     AS t(account_id, instance_id, first, last, place)
CROSS JOIN LATERAL (
    SELECT coalesce((
        SELECT session_start FROM run
        WHERE account_id = t.account_id AND instance_id = t.instance_id AND start_at < t.first
        ORDER BY start_at DESC LIMIT 1), 0) AS since,
      coalesce((
        SELECT start_at FROM run
        WHERE account_id = t.account_id AND instance_id = t.instance_id AND start_at > t.last
          AND session_start > t.last ORDER BY start_at LIMIT 1), %s) AS until
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
_TAKEN_AWAY = """
INSERT INTO taken_away SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT DO NOTHING
"""


@dataclass(slots=True)
class RowChanges:
    """What is to be written."""

    runs: list[str] = field(default_factory=list)
    lost_runs: list[tuple[int, int, int]] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)
    lost_anomalies: list[tuple[int, int, int, int, str]] = field(default_factory=list)


def read_runs(cursor: Cursor, touches: Mapping[Key, Touch]) -> list[list[RunRow]]:
    """Return each instance's runs around what is new, by start.

    From the last session that began before it, up to the first run of the first that began after.
    """
    every: list[list[RunRow]] = [[] for _ in touches]
    cursor.execute(_LAST_RUNS, (array(key[0] for key in touches), array(key[1] for key in touches)))
    new = list(touches.items())
    more: list[int] = []
    for row in cursor.fetchall():
        place, start, session_start = row[0], row[1], row[3]
        if start == session_start and start < new[place][1].first:
            every[place].append(row[1:])
        else:
            more.append(place)
    if more:
        cursor.execute(
            _RUNS,
            (
                array(new[place][0][0] for place in more),
                array(new[place][0][1] for place in more),
                array(new[place][1].first for place in more),
                array(new[place][1].last for place in more),
                FOREVER,
            ),
        )
        for row in cursor.fetchall():
            every[more[row[0]]].append(row[1:])
    return every


def read_anomalies(cursor: Cursor, windows: Sequence[Window]) -> dict[int, set[AnomalyRow]]:
    """Return the anomalies in each window that has any, without those at its very begin.

    By the window's place.
    """
    found: dict[int, set[AnomalyRow]] = {}
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
        found.setdefault(place, set()).add((row[0], row[1], row[2]))
    return found


def write_rows(cursor: Cursor, changes: RowChanges, recorded_at: Mapping[int, Micros]) -> None:
    """Write what differs, and of which instances rows were taken away.

    `recorded_at` is each account's.
    """
    cursor.execute(_STAGE)
    lost = {(row[0], row[1]) for row in changes.lost_runs}
    lost |= {(row[0], row[1]) for row in changes.lost_anomalies}
    if lost:
        rows = [(*key, recorded_at[key[0]]) for key in sorted(lost)]
        cursor.execute(_TAKEN_AWAY, [array(column) for column in zip(*rows, strict=True)])
    if changes.lost_runs:
        cursor.execute(
            _DROP_RUNS, [array(column) for column in zip(*changes.lost_runs, strict=True)]
        )
    if changes.runs:
        cursor.execute("DELETE FROM staged_run")  # unlike TRUNCATE this makes no files
        copy_lines(cursor, "staged_run", _RUN_COLUMNS, changes.runs)
        cursor.execute(_PUT_RUNS)
    if changes.lost_anomalies:
        *numbers, event_ids = zip(*changes.lost_anomalies, strict=True)
        cursor.execute(_DROP_ANOMALIES, [*map(array, numbers), list(event_ids)])
    if changes.anomalies:
        columns = "account_id, instance_id, occurred_at, kind, event_id, recorded_at"
        copy_lines(cursor, "anomaly", columns, changes.anomalies)
