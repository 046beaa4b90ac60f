"""Reads what follows from the facts, runs and anomalies, as it followed from those known then.

As in inventory_store: on behalf of an `owner`, as of the instant `asked`, one snapshot a method.
"""

from collections.abc import Iterator, Mapping, Sequence

from libs.common.clock import Clock
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts.classification import classify_run
from services.accounts.classification_store import NO_GROUNDS, Grounds, grounds
from services.accounts.database import Database
from services.accounts.inventory import ClassifiedRun, StoredAnomaly, StoredRun
from services.accounts.inventory_store import BEFORE_ALL_TIME, Known, instance_of
from services.accounts.override_store import overrides_at
from services.accounts.overrides import Standing, apply, known_since, parts
from services.accounts.past_runs import changed_since, derived_at
from services.accounts.reading import Reading, reading
from services.accounts.runs import Run

# From the run on that began last by the start: a part of it may come after.
_RUNS = """
SELECT r.start_at, r.end_at, r.session_start, r.confirmed_start, r.confirmed_end, r.end_latest,
       coalesce(t.text, ''), r.vcpu, coalesce(u.text, ''), r.basis
FROM run r
LEFT JOIN label t ON t.label_id = r.instance_type
LEFT JOIN label u ON u.label_id = r.usage_operation
WHERE r.account_id = %(account)s AND r.instance_id = %(instance)s
  AND r.start_at >= coalesce((
      SELECT max(start_at) FROM run
      WHERE account_id = %(account)s AND instance_id = %(instance)s AND start_at <= %(start)s
  ), %(start)s)
ORDER BY r.start_at LIMIT %(limit)s
"""
_VCPUS = """
SELECT DISTINCT ON (name) name, vcpu FROM instance_type
WHERE name = ANY(%s) AND recorded_at <= %s ORDER BY name, recorded_at DESC
"""
_ANOMALIES = """
SELECT i.ec2_id, a.occurred_at, a.kind, a.event_id
FROM anomaly a JOIN instance i ON i.account_id = a.account_id AND i.instance_id = a.instance_id
WHERE a.account_id = %(account)s AND (%(instance)s = 0 OR a.instance_id = %(instance)s)
  AND NOT a.instance_id = ANY(%(changed)s)
  AND (i.ec2_id, a.occurred_at, a.kind, a.event_id COLLATE "C")
      > (%(ec2)s, %(time)s, %(kind)s, %(event)s)
ORDER BY i.ec2_id, a.occurred_at, a.kind, a.event_id COLLATE "C" LIMIT %(limit)s
"""
# Those whose anomalies are no longer what they were, from one on.
_CHANGED = """
SELECT i.instance_id, i.ec2_id FROM (
    SELECT instance_id FROM anomaly WHERE account_id = %(account)s AND recorded_at > %(at)s
    UNION SELECT instance_id FROM taken_away WHERE account_id = %(account)s AND recorded_at > %(at)s
) c JOIN instance i ON i.account_id = %(account)s AND i.instance_id = c.instance_id
WHERE %(instance)s = 0 OR i.instance_id = %(instance)s
ORDER BY i.ec2_id
"""


class HistoryStore:
    """Reads runs and anomalies."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def runs(
        self,
        account_id: int,
        owner: int,
        ec2_id: str,
        asked: Micros | None,
        after: Key | None,
        limit: int,
    ) -> tuple[Micros, list[ClassifiedRun]]:
        """Return an instance's runs by their starts."""
        start = int(after[0]) if after else BEFORE_ALL_TIME
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            instance = instance_of(read, ec2_id)
            runs = _runs(read, instance.number, start, limit)
            vcpus = _vcpus(read, {run.instance_type for run in runs})
            known = grounds(read.cursor, account_id, as_of=read.at, image_ids=[instance.image_id])
            overrides = overrides_at(read.cursor, account_id, read.at)
        ground = known.get(instance.image_id, NO_GROUNDS)
        timeline = overrides.timeline(instance.number, instance.image_id)
        found = [
            _classified(part, ground, instance, standing)
            for run in runs
            for part, standing in parts(_stored(ec2_id, run, vcpus), timeline)
            if part.start_at > start
        ]
        return read.at, found[:limit]

    def anomalies(
        self,
        account_id: int,
        owner: int,
        ec2_id: str,
        asked: Micros | None,
        after: Key | None,
        limit: int,
    ) -> tuple[Micros, list[StoredAnomaly]]:
        """Return an account's anomalies, by instance and time; of one instance if it is named."""
        start = after or ("", BEFORE_ALL_TIME, 0, "")
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            instance_id = instance_of(read, ec2_id).number if ec2_id else 0
            changed = _changed(read, instance_id)
            begin = dict(zip(("ec2", "time", "kind", "event"), start, strict=True))
            which = {"instance": instance_id, "changed": list(changed), "limit": limit}
            read.cursor.execute(_ANOMALIES, read.asked(**begin, **which))
            found = [StoredAnomaly(*row) for row in read.cursor.fetchall()]
            found += _derived_anomalies(read, changed, start, limit)
        return read.at, sorted(found, key=place)[:limit]


def place(anomaly: StoredAnomaly) -> tuple[str, Micros, int, str]:
    """Return an anomaly's place in the order in which they are given."""
    return anomaly.ec2_id, anomaly.occurred_at, anomaly.kind, anomaly.event_id


def _runs(read: Reading, instance_id: int, start: Micros, limit: int) -> list[Run]:
    """Return an instance's runs from the one on that began last by `start`, one more than asked."""
    if read.changed and changed_since(read.cursor, read.account_id, read.at, instance_id, "run"):
        ((_, derived),) = derived_at(read.cursor, read.account_id, read.at, [instance_id])
        began = [run.start for run in derived.runs if run.start <= start]
        first = max(began, default=start)
        return [run for run in derived.runs if run.start >= first][: limit + 1]
    asked = read.asked(instance=instance_id, start=start, limit=limit + 1)
    read.cursor.execute(_RUNS, asked)
    return [Run(*row) for row in read.cursor.fetchall()]


def _vcpus(read: Reading, types: set[str]) -> Mapping[str, int]:
    read.cursor.execute(_VCPUS, (list(types), read.at))
    return dict(read.cursor.fetchall())


def _stored(ec2_id: str, run: Run, vcpus: Mapping[str, int]) -> StoredRun:
    vcpu = run.vcpu or vcpus.get(run.instance_type, 0)
    return StoredRun(ec2_id, *run[:6], run.instance_type, vcpu, run.usage_operation)


def _classified(
    run: StoredRun, ground: Grounds, instance: Known, standing: Standing
) -> ClassifiedRun:
    # Product codes are told of an instance as it was listed last, with its usage operation then.
    same = run.usage_operation and run.usage_operation == instance.usage_operation
    own = instance.product_codes if same else None
    base = classify_run(ground.codes, ground.installed, run.usage_operation, own)
    return ClassifiedRun(run, apply(base, standing), known_since(ground.recorded_at, standing))


def _changed(read: Reading, instance_id: int) -> dict[int, str]:
    """Return the instances whose anomalies changed since, with their EC2 ids, in that order."""
    if not read.changed:
        return {}
    read.cursor.execute(_CHANGED, read.asked(instance=instance_id))
    return dict(read.cursor.fetchall())


def _derived_anomalies(
    read: Reading, changed: Mapping[int, str], start: Sequence[int | str], limit: int
) -> Iterator[StoredAnomaly]:
    """Yield the first anomalies after a place that followed then, of instances that changed."""
    left = [number for number, ec2_id in changed.items() if ec2_id >= str(start[0])]
    for instance_id, derived in derived_at(read.cursor, read.account_id, read.at, left):
        for odd in derived.anomalies:
            anomaly = StoredAnomaly(
                changed[instance_id], odd.occurred_at, int(odd.kind), odd.event_id
            )
            if place(anomaly) > tuple(start):
                limit -= 1
                yield anomaly
        if limit <= 0:
            return
