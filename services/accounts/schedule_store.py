"""Scan leases in the database; each method is one transaction."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts.account_rows import visible_account
from services.accounts.callers import EVERYBODY
from services.accounts.cloud_accounts import CloudAccount, State, not_enabled
from services.accounts.database import Cursor, Database, lock_accounts, next_recorded_at
from services.accounts.region_writing import meet_region, set_trouble
from services.accounts.schedule import (
    Lease,
    Outcome,
    RegionOutcome,
    Running,
    ScanSummary,
    ScanTarget,
    lease_lost,
    next_due,
)

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often accounts are scanned and how long a lease holds, in microseconds."""

    interval: Micros
    lease: Micros

    @classmethod
    def of(cls, interval: timedelta, lease: timedelta) -> Self:
        """Return the pace of two spans."""
        return cls(interval // _MICROSECOND, lease // _MICROSECOND)


class ScheduleStore:
    """Keeps leases; `pace` is the same for all accounts."""

    def __init__(self, database: Database, pace: Pace) -> None:
        self._database = database
        self._pace = pace

    def acquire_due(self, holder: str, limit: int, now: Micros) -> tuple[list[Lease], Micros]:
        """Take leases of due accounts, the longest due first, and say when the next one is due.

        0 when there is no account to scan. Two that ask at once get different accounts.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT l.account_id FROM scan_lease l JOIN cloud_account a ON a.id = l.account_id"
                " WHERE a.state = %s AND l.due_at <= %s AND l.expires_at <= %s"
                " ORDER BY l.due_at, l.account_id LIMIT %s FOR UPDATE OF l SKIP LOCKED",
                (State.ENABLED, now, now, limit),
            )
            due = [account_id for (account_id,) in cursor.fetchall()]
            # Looked at again now that their leases are held: one may just have been paused.
            found = [visible_account(cursor, each, EVERYBODY, deleted=True) for each in due]
            leases = [
                self._take(cursor, account, holder, now)
                for account in found
                if account.state is State.ENABLED
            ]
            cursor.execute(
                "SELECT coalesce(min(greatest(l.due_at, l.expires_at)), 0)"
                " FROM scan_lease l JOIN cloud_account a ON a.id = l.account_id WHERE a.state = %s",
                (State.ENABLED,),
            )
            (next_at,) = cursor.fetchone() or (0,)
            return leases, next_at

    def acquire(
        self, account_id: int, owner: int, holder: str, after: Micros | None, now: Micros
    ) -> Lease | Running | ScanSummary:
        """Take an account's lease, or say who scans it, or give the scan after `after` that ended.

        Raises NotFound, and FailedPrecondition while it is not enabled.
        """
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner)
            cursor.execute(
                "SELECT holder, started_at, expires_at, last_scan FROM scan_lease"
                " WHERE account_id = %s FOR UPDATE",
                (account_id,),
            )
            holding, started_at, expires_at, last = cursor.fetchone() or ("", 0, 0, None)
            # Looked at now that its lease is held: it may just have been paused.
            account = visible_account(cursor, account_id, owner)
            if account.state is not State.ENABLED:
                raise not_enabled(account.state)
            summary = _summary(last) if last else None
            if after is not None and summary is not None and summary.started_at > after:
                return summary
            if expires_at > now:
                return Running(holding, started_at, expires_at)
            return self._take(cursor, account, holder, now)

    def renew(self, account_id: int, epoch: int, now: Micros) -> Micros:
        """Let a lease hold from now for its usual time; FailedPrecondition when it was lost."""
        expires_at = now + self._pace.lease
        with self._database.transaction() as cursor:
            check_epoch(cursor, account_id, epoch)
            cursor.execute(
                "UPDATE scan_lease SET expires_at = %s WHERE account_id = %s",
                (expires_at, account_id),
            )
        return expires_at

    def complete(self, account_id: int, epoch: int, summary: ScanSummary, now: Micros) -> Micros:
        """Keep how a scan ended, give its lease back, and say when the next one is due.

        Raises FailedPrecondition when the lease was lost.
        """
        due_at = next_due(summary.started_at, now, self._pace.interval)
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            check_epoch(cursor, account_id, epoch)
            cursor.execute(
                "UPDATE scan_lease SET expires_at = 0, due_at = %s, last_scan = %s"
                " WHERE account_id = %s",
                (due_at, _as_json(summary), account_id),
            )
            cursor.execute(
                "UPDATE cloud_account SET last_scan_at = %s WHERE id = %s",
                (summary.ended_at, account_id),
            )
            _note_troubles(cursor, account_id, summary, now)
        return due_at

    def target(self, account_id: int, owner: int) -> ScanTarget:
        """Return how to get into an account; NotFound."""
        with self._database.transaction() as cursor:
            return _target(cursor, visible_account(cursor, account_id, owner))

    def _take(self, cursor: Cursor, account: CloudAccount, holder: str, now: Micros) -> Lease:
        expires_at = now + self._pace.lease
        cursor.execute(
            "INSERT INTO scan_lease (account_id, epoch, holder, started_at, expires_at, due_at)"
            " VALUES (%(id)s, 1, %(holder)s, %(now)s, %(until)s, %(now)s)"
            " ON CONFLICT (account_id) DO UPDATE SET epoch = scan_lease.epoch + 1,"
            " holder = %(holder)s, started_at = %(now)s, expires_at = %(until)s RETURNING epoch",
            {"id": account.id, "holder": holder, "now": now, "until": expires_at},
        )
        (epoch,) = cursor.fetchone() or (0,)
        return Lease(_target(cursor, account), epoch, expires_at)


def check_epoch(cursor: Cursor, account_id: int, epoch: int) -> None:
    """Hold an account's lease as it is until the transaction ends.

    Raises FailedPrecondition when its epoch is another, NotFound when there is no such account.
    """
    cursor.execute("SELECT epoch FROM scan_lease WHERE account_id = %s FOR UPDATE", (account_id,))
    row = cursor.fetchone()
    if row is None:
        raise NotFound(
            f"There is no cloud account {account_id} that is scanned.", reason="ACCOUNT_NOT_FOUND"
        )
    if row[0] != epoch:
        raise lease_lost(account_id)


def _target(cursor: Cursor, account: CloudAccount) -> ScanTarget:
    cursor.execute(
        "SELECT ami_id FROM image WHERE account_id = %s AND state NOT IN ('', 'unavailable')"
        " ORDER BY ami_id",
        (account.id,),
    )
    return ScanTarget(account, tuple(ami_id for (ami_id,) in cursor.fetchall()))


def _note_troubles(cursor: Cursor, account_id: int, summary: ScanSummary, now: Micros) -> None:
    """Keep why Regions were not listed; a listing has taken away what was noted before.

    A Region that was never met and is merely not enabled is not worth a row.
    """
    cursor.execute("SELECT region, trouble FROM region WHERE account_id = %s", (account_id,))
    noted: dict[str, str] = dict(cursor.fetchall())
    news = [
        each
        for each in summary.regions
        if each.outcome is not Outcome.LISTED
        and (each.region in noted or each.outcome is not Outcome.DISABLED)
        and noted.get(each.region) != each.trouble
    ]
    if news:
        recorded_at = next_recorded_at(cursor, account_id, now)
        for each in news:
            meet_region(cursor, account_id, each.region, recorded_at)
            set_trouble(
                cursor, account_id, each.region, each.trouble, summary.ended_at, recorded_at
            )


def _as_json(summary: ScanSummary) -> str:
    regions = [[each.region, each.outcome, each.detail, each.instances] for each in summary.regions]
    return json.dumps([summary.started_at, summary.ended_at, regions])


def _summary(stored: list[Any]) -> ScanSummary:
    started_at, ended_at, regions = stored
    return ScanSummary(
        started_at,
        ended_at,
        tuple(RegionOutcome(name, Outcome(number), *rest) for name, number, *rest in regions),
    )
