"""Reads instances, their events, and an account's records; each method is one snapshot.

Everything is asked on behalf of an `owner` (a user's id, or EVERYBODY). An account or instance that
they may not see is NotFound, as if it did not exist. `asked` is the instant whose knowledge is
wanted, None for now, and comes back with what was known then.
"""

from typing import NamedTuple

from libs.common.clock import Clock
from libs.common.errors import NotFound
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts.account_rows import visible_account
from services.accounts.audit import AuditEntry
from services.accounts.callers import EVERYBODY
from services.accounts.database import Database
from services.accounts.image_store import KnownImage, image_of
from services.accounts.inventory import Instance, Quarantined, Span, StoredEvent
from services.accounts.reading import Reading, reading
from services.accounts.versions import rows_at

_OF_INSTANCE = (
    "account_id, instance_id, ec2_id, region, image_id, tags, instance_type, architecture,"
    " lifecycle, state, recorded_at, platform_details, usage_operation"
)
_INSTANCES = """
SELECT i.account_id, i.ec2_id, i.region, coalesce(m.ami_id, ''), i.tags, i.instance_type,
       i.architecture, i.lifecycle, i.state, i.recorded_at, i.platform_details, i.usage_operation
FROM {} i LEFT JOIN image m ON m.account_id = i.account_id AND m.image_id = i.image_id
"""
_EVENTS = """
SELECT e.account_id, %(region)s, %(ec2)s, e.event_id, e.kind, e.occurred_at, e.source, e.fresh,
       e.termination, e.state, e.previous_state, e.raw_id, e.instance_type, e.vcpu,
       e.usage_operation, e.usage_operation_at, e.image, e.recorded_at,
       CASE WHEN e.superseded_at > %(at)s THEN 0 ELSE e.superseded_at END
FROM event e
WHERE e.account_id = %(account)s AND e.instance_id = %(instance)s AND e.recorded_at <= %(at)s
  AND (e.occurred_at, e.event_id, e.recorded_at) > (%(time)s, %(event)s, %(recorded)s)
ORDER BY e.occurred_at, e.event_id, e.recorded_at LIMIT %(limit)s
"""
_AUDIT = """
SELECT id, at, actor, action, subject, detail, affected_from, affected_until FROM audit
WHERE account_id = %(account)s AND id < %(before)s
  AND (%(since)s::bigint IS NULL
       OR affected_from < %(until)s AND affected_until > %(since)s)
ORDER BY id DESC LIMIT %(limit)s
"""
BEFORE_ALL_TIME: Micros = -(2**62)
_UNKNOWN_ACCOUNT = 0
"""Of what belongs to no account that is known."""


class InventoryStore:
    """Reads instances and their events, and an account's records."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def instances(
        self,
        account_id: int,
        owner: int,
        ami_id: str,
        asked: Micros | None,
        after: Key | None,
        limit: int,
    ) -> tuple[Micros, list[Instance]]:
        """Return an account's instances, by id; with `ami_id` those of one image only."""
        (last,) = after or ("",)
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            read.cursor.execute(
                f"{_instances(read)} WHERE i.ec2_id > %(after)s"
                " AND (%(ami)s = '' OR m.ami_id = %(ami)s) ORDER BY i.ec2_id LIMIT %(limit)s",
                read.asked(after=last, ami=ami_id, limit=limit),
            )
            return read.at, [Instance(*row) for row in read.cursor.fetchall()]

    def instance(
        self, account_id: int, owner: int, asked: Micros | None, ec2_id: str
    ) -> tuple[Micros, Instance, KnownImage | None]:
        """Return one instance with its image, None when that is not known."""
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            read.cursor.execute(
                f"{_instances(read)} WHERE i.ec2_id = %(ec2)s", read.asked(ec2=ec2_id)
            )
            row = read.cursor.fetchone()
            if row is None:
                raise no_instance(ec2_id)
            instance = Instance(*row)
            image = image_of(read, instance.ami_id) if instance.ami_id else None
            return read.at, instance, image

    def events(
        self,
        account_id: int,
        owner: int,
        ec2_id: str,
        asked: Micros | None,
        after: Key | None,
        limit: int,
    ) -> tuple[Micros, list[StoredEvent]]:
        """Return an instance's events by time, superseded ones too."""
        time, event, recorded = after or (BEFORE_ALL_TIME, "", 0)
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            instance = instance_of(read, ec2_id)
            parameters = {"instance": instance.number, "ec2": ec2_id, "region": instance.region}
            start = {"time": time, "event": event, "recorded": recorded, "limit": limit}
            read.cursor.execute(_EVENTS, read.asked(**parameters, **start))
            return read.at, [StoredEvent(*row) for row in read.cursor.fetchall()]

    def quarantine(
        self, account_id: int, owner: int, after: Key | None, limit: int
    ) -> list[Quarantined]:
        """Return what was kept aside for an account, by id; of account 0 only to EVERYBODY."""
        with self._database.transaction() as cursor:
            if (account_id, owner) != (_UNKNOWN_ACCOUNT, EVERYBODY):
                visible_account(cursor, account_id, owner, deleted=True)
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
        self, account_id: int, owner: int, affecting: Span | None, before: Key | None, limit: int
    ) -> list[AuditEntry]:
        """Return who changed what in an account, newest first.

        With `affecting`, only what changed reports of some of that time.
        """
        since, until = affecting or (None, None)
        (last,) = before or (2**62,)
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner, deleted=True)
            asked = {"account": account_id, "before": last, "limit": limit}
            cursor.execute(_AUDIT, {**asked, "since": since, "until": until})
            return [AuditEntry(*row) for row in cursor.fetchall()]


class Known(NamedTuple):
    """What else is read of an instance beside what is asked for."""

    number: int
    region: str
    image_id: int
    usage_operation: str
    product_codes: tuple[str, ...]


def instance_of(read: Reading, ec2_id: str) -> Known:
    """Return what is known of an instance by EC2's id; NotFound."""
    columns = "ec2_id, instance_id, region, image_id, usage_operation, product_codes"
    rows = rows_at("instance", columns, changed=read.changed)
    read.cursor.execute(
        f"SELECT {columns} FROM {rows} i WHERE ec2_id = %(ec2)s",  # noqa: S608 # of constants
        read.asked(ec2=ec2_id),
    )
    row = read.cursor.fetchone()
    if row is None:
        raise no_instance(ec2_id)
    _, number, region, image_id, usage_operation, product_codes = row
    return Known(number, region, image_id, usage_operation, tuple(product_codes))


def no_instance(ec2_id: str) -> NotFound:
    """Return the error for an instance that is not there, or was not known."""
    return NotFound(f"There is no instance {ec2_id} in this account.", reason="INSTANCE_NOT_FOUND")


def _instances(read: Reading) -> str:
    return _INSTANCES.format(rows_at("instance", _OF_INSTANCE, changed=read.changed))
