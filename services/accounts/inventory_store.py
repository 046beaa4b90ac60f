"""Reads what is known of instances; each method is one transaction.

Everything is asked on behalf of an `owner` (a user's id, or EVERYBODY). An account, instance or
image that they may not see is NotFound, as if it did not exist.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.errors import NotFound
from libs.common.paging import Key
from services.accounts.account_store import visible_account
from services.accounts.audit import AuditEntry
from services.accounts.classification import classify_run
from services.accounts.classification_store import NO_GROUNDS, Grounds, grounds
from services.accounts.database import Cursor, Database
from services.accounts.inventory import (
    ClassifiedRun,
    Instance,
    Quarantined,
    StoredAnomaly,
    StoredEvent,
    StoredRun,
)

_INSTANCES = """
SELECT i.account_id, i.ec2_id, i.region, coalesce(m.ami_id, ''), i.tags, i.instance_type,
       i.architecture, i.lifecycle, i.state, i.recorded_at, i.platform_details, i.usage_operation
FROM instance i LEFT JOIN image m ON m.account_id = i.account_id AND m.image_id = i.image_id
WHERE i.account_id = %(account)s
"""
_EVENTS = """
SELECT e.account_id, i.region, i.ec2_id, e.event_id, e.kind, e.occurred_at, e.source, e.fresh,
       e.termination, e.state, e.previous_state, e.raw_id, e.instance_type, e.vcpu,
       e.usage_operation, e.usage_operation_at, e.image, e.recorded_at, e.superseded_at
FROM event e JOIN instance i ON i.account_id = e.account_id AND i.instance_id = e.instance_id
WHERE e.account_id = %(account)s AND e.instance_id = %(instance)s
  AND (e.occurred_at, e.event_id, e.recorded_at) > (%(time)s, %(event)s, %(recorded)s)
ORDER BY e.occurred_at, e.event_id, e.recorded_at LIMIT %(limit)s
"""
_RUNS = """
SELECT i.ec2_id, r.start_at, r.end_at, r.session_start, r.confirmed_start, r.confirmed_end,
       r.end_latest, coalesce(t.text, ''), coalesce(nullif(r.vcpu, 0), k.vcpu, 0),
       coalesce(u.text, '')
FROM run r JOIN instance i ON i.account_id = r.account_id AND i.instance_id = r.instance_id
LEFT JOIN label t ON t.label_id = r.instance_type
LEFT JOIN label u ON u.label_id = r.usage_operation
LEFT JOIN LATERAL (
    SELECT vcpu FROM instance_type WHERE name = t.text ORDER BY recorded_at DESC LIMIT 1
) k ON true
WHERE r.account_id = %(account)s AND r.instance_id = %(instance)s
  AND r.start_at > %(start)s
ORDER BY r.start_at LIMIT %(limit)s
"""
_ANOMALIES = """
SELECT i.ec2_id, a.occurred_at, a.kind, a.event_id
FROM anomaly a JOIN instance i ON i.account_id = a.account_id AND i.instance_id = a.instance_id
WHERE a.account_id = %(account)s AND (%(instance)s = 0 OR a.instance_id = %(instance)s)
  AND (i.ec2_id, a.occurred_at, a.kind, a.event_id)
      > (%(ec2)s, %(time)s, %(kind)s, %(event)s)
ORDER BY i.ec2_id, a.occurred_at, a.kind, a.event_id LIMIT %(limit)s
"""
_BEFORE_ALL_TIME = -(2**62)


class InventoryStore:
    """Reads instances, their events, runs and anomalies, and an account's records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def instances(
        self, account_id: int, owner: int, ami_id: str, after: Key | None, limit: int
    ) -> list[Instance]:
        """Return an account's instances, by id; with `ami_id` those of one image only."""
        (last,) = after or ("",)
        with self._reading(account_id, owner) as cursor:
            cursor.execute(
                f"{_INSTANCES} AND i.ec2_id > %(after)s AND (%(ami)s = '' OR m.ami_id = %(ami)s)"
                " ORDER BY i.ec2_id LIMIT %(limit)s",
                {"account": account_id, "after": last, "ami": ami_id, "limit": limit},
            )
            return [Instance(*row) for row in cursor.fetchall()]

    def instance(self, account_id: int, owner: int, ec2_id: str) -> Instance:
        """Return one instance."""
        with self._reading(account_id, owner) as cursor:
            cursor.execute(
                f"{_INSTANCES} AND i.ec2_id = %(ec2)s", {"account": account_id, "ec2": ec2_id}
            )
            row = cursor.fetchone()
        if row is None:
            raise _no_instance(ec2_id)
        return Instance(*row)

    def events(
        self, account_id: int, owner: int, ec2_id: str, after: Key | None, limit: int
    ) -> list[StoredEvent]:
        """Return an instance's events by time, superseded ones too."""
        time, event, recorded = after or (_BEFORE_ALL_TIME, "", 0)
        with self._reading(account_id, owner) as cursor:
            cursor.execute(
                _EVENTS,
                {
                    "account": account_id,
                    "instance": _instance_id(cursor, account_id, ec2_id),
                    "time": time,
                    "event": event,
                    "recorded": recorded,
                    "limit": limit,
                },
            )
            return [StoredEvent(*row) for row in cursor.fetchall()]

    def runs(
        self, account_id: int, owner: int, ec2_id: str, after: Key | None, limit: int
    ) -> list[ClassifiedRun]:
        """Return an instance's runs by their starts."""
        (start,) = after or (_BEFORE_ALL_TIME,)
        with self._reading(account_id, owner) as cursor:
            instance = _instance_id(cursor, account_id, ec2_id)
            cursor.execute(
                _RUNS,
                {"account": account_id, "instance": instance, "start": start, "limit": limit},
            )
            runs = [StoredRun(*row) for row in cursor.fetchall()]
            known = _grounds_of(cursor, account_id, instance)
        return [
            ClassifiedRun(
                run,
                classify_run(known.codes, known.installed, run.usage_operation),
                known.recorded_at,
            )
            for run in runs
        ]

    def anomalies(
        self, account_id: int, owner: int, ec2_id: str, after: Key | None, limit: int
    ) -> list[StoredAnomaly]:
        """Return an account's anomalies, by instance and time; of one instance if it is named."""
        ec2, time, kind, event = after or ("", _BEFORE_ALL_TIME, 0, "")
        with self._reading(account_id, owner) as cursor:
            cursor.execute(
                _ANOMALIES,
                {
                    "account": account_id,
                    "instance": _instance_id(cursor, account_id, ec2_id) if ec2_id else 0,
                    "ec2": ec2,
                    "time": time,
                    "kind": kind,
                    "event": event,
                    "limit": limit,
                },
            )
            return [StoredAnomaly(*row) for row in cursor.fetchall()]

    def quarantine(
        self, account_id: int, owner: int, after: Key | None, limit: int
    ) -> list[Quarantined]:
        """Return what was kept aside for an account, by id."""
        with self._reading(account_id, owner) as cursor:
            cursor.execute(
                "SELECT id, source, origin, reason, content, recorded_at FROM quarantine"
                " WHERE account_id = %s AND id > %s AND released_at = 0 ORDER BY id LIMIT %s",
                (account_id, *(after or (0,)), limit),
            )
            return [
                Quarantined(number, source, origin, reason, bytes(content), recorded_at)
                for number, source, origin, reason, content, recorded_at in cursor.fetchall()
            ]

    def audit(
        self, account_id: int, owner: int, before: Key | None, limit: int
    ) -> list[AuditEntry]:
        """Return who changed what in an account, newest first."""
        with self._reading(account_id, owner) as cursor:
            cursor.execute(
                "SELECT id, at, actor, action, subject, detail FROM audit"
                " WHERE account_id = %s AND id < %s ORDER BY id DESC LIMIT %s",
                (account_id, *(before or (2**62,)), limit),
            )
            return [AuditEntry(*row) for row in cursor.fetchall()]

    @contextmanager
    def _reading(self, account_id: int, owner: int) -> Iterator[Cursor]:
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner, deleted=True)
            yield cursor


def _instance_id(cursor: Cursor, account_id: int, ec2_id: str) -> int:
    cursor.execute(
        "SELECT instance_id FROM instance WHERE account_id = %s AND ec2_id = %s",
        (account_id, ec2_id),
    )
    row = cursor.fetchone()
    if row is None:
        raise _no_instance(ec2_id)
    return int(row[0])


def _grounds_of(cursor: Cursor, account_id: int, instance_id: int) -> Grounds:
    """Return what is known of an instance's image."""
    cursor.execute(
        "SELECT image_id FROM instance WHERE account_id = %s AND instance_id = %s",
        (account_id, instance_id),
    )
    (image_id,) = cursor.fetchone() or (0,)
    return grounds(cursor, account_id, image_ids=[image_id]).get(image_id, NO_GROUNDS)


def _no_instance(ec2_id: str) -> NotFound:
    return NotFound(f"There is no instance {ec2_id} in this account.", reason="INSTANCE_NOT_FOUND")
