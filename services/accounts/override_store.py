"""Overrides in the database; each method is one transaction.

An override is never changed but to be withdrawn, and never deleted: what it said, and until when,
is in the record. Everything is asked on behalf of an `owner` (a user's id, or EVERYBODY); what they
may not see is NotFound, as if it did not exist.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from libs.common.clock import Clock
from libs.common.errors import NotFound
from libs.common.instants import Micros, to_datetime
from libs.common.paging import Key
from services.accounts import audit
from services.accounts.account_rows import visible_account
from services.accounts.audit import Author
from services.accounts.billing import LicenseModel
from services.accounts.database import Cursor, Database, lock_accounts, next_recorded_at
from services.accounts.overrides import ALWAYS, Claim, Override, Overrides, words
from services.accounts.reading import reading
from services.accounts.repeats import RequestKey, made_before, remember

_COLUMNS = """
o.id, o.image_id, o.instance_id, o.distribution, o.version, o.license_model, o.products, o.reason,
o.author, o.effective_at, o.recorded_at, o.withdrawn_at, o.withdrawn_by, o.withdraw_reason
"""
_NAMED = f"""
SELECT {_COLUMNS}, coalesce(m.ami_id, ''), coalesce(i.ec2_id, '')
FROM override o
LEFT JOIN image m ON m.account_id = o.account_id AND m.image_id = o.image_id
LEFT JOIN instance i ON i.account_id = o.account_id AND i.instance_id = o.instance_id
WHERE o.account_id = %(account)s
"""  # noqa: S608 # of constants
_HOLDING = f"""
SELECT {_COLUMNS} FROM override o WHERE o.account_id = %(account)s
  AND (%(as_of)s = 0 OR o.recorded_at <= %(as_of)s)
  AND (o.withdrawn_at = 0 OR %(as_of)s <> 0 AND o.withdrawn_at > %(as_of)s)
ORDER BY o.id
"""  # noqa: S608 # of constants
_INSERT = """
INSERT INTO override (account_id, image_id, instance_id, distribution, version, license_model,
                      products, reason, effective_at, author, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
# The time from effective_at on in which instances that it is about were on, or may have been.
_AFFECTED = """
SELECT min(greatest(r.start_at, %(since)s)),
       max(greatest(
           CASE WHEN r.end_at = 0 THEN %(now)s
                ELSE least(greatest(r.end_at, r.end_latest), %(now)s) END,
           r.start_at + 1))
FROM instance i JOIN run r ON r.account_id = i.account_id AND r.instance_id = i.instance_id
WHERE i.account_id = %(account)s
  AND CASE WHEN %(instance)s <> 0 THEN i.instance_id = %(instance)s ELSE i.image_id = %(image)s END
  AND (r.end_at = 0 OR r.end_at > %(since)s OR r.start_at >= %(since)s)
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An override that somebody asks for; it names an image or an instance by AWS's id."""

    account_id: int
    ami_id: str
    ec2_id: str
    claim: Claim
    reason: str
    effective_at: Micros


@dataclass(frozen=True, slots=True)
class NamedOverride:
    """An override with AWS's ids of what it is about; one of the two is empty."""

    account_id: int
    ami_id: str
    ec2_id: str
    override: Override


class OverrideStore:
    """Keeps what people say images and instances are."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(
        self, proposal: Proposal, owner: int, author: Author, key: RequestKey | None = None
    ) -> NamedOverride:
        """Store an override, or return the one that an earlier call with the key made.

        Raises NotFound for an account, an image or an instance that is not there.
        """
        account_id = proposal.account_id
        with self._database.transaction() as cursor:
            before = made_before(cursor, key)
            if before is not None:
                visible_account(cursor, account_id, owner, deleted=True)
                return _one(cursor, account_id, before)
            lock_accounts(cursor, [account_id])
            visible_account(cursor, account_id, owner, deleted=True)
            image_id, instance_id = _about(cursor, proposal)
            recorded_at = next_recorded_at(cursor, account_id, author.at)
            claim = proposal.claim
            cursor.execute(
                _INSERT,
                (
                    *(account_id, image_id, instance_id, claim.distribution, claim.version),
                    *(claim.license_model or 0, list(claim.products), proposal.reason),
                    *(proposal.effective_at, author.actor, recorded_at),
                ),
            )
            (number,) = cursor.fetchone() or (0,)
            remember(cursor, key, number, account_id=account_id)
            made = _one(cursor, account_id, number)
            _audit(cursor, replace(author, at=recorded_at), made, "created", proposal.reason)
            return made

    def overrides(
        self, account_id: int, owner: int, asked: Micros | None, before: Key | None, limit: int
    ) -> tuple[Micros, list[NamedOverride]]:
        """Return an account's overrides as known at `asked` (None: now), newest first.

        Those that were withdrawn too. With them comes the instant for which they are given. Raises
        NotFound, and InvalidRequest when `asked` lies ahead of the clock.
        """
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            read.cursor.execute(
                f"{_NAMED} AND o.id < %(before)s AND o.recorded_at <= %(at)s"
                " ORDER BY o.id DESC LIMIT %(limit)s",
                read.asked(before=(before or (2**62,))[0], limit=limit),
            )
            return read.at, [_named(account_id, row, read.at) for row in read.cursor.fetchall()]

    def withdraw(
        self, account_id: int, number: int, reason: str, owner: int, author: Author
    ) -> NamedOverride:
        """Take an override back from now on; one that was withdrawn stays as it is. NotFound."""
        with self._database.transaction() as cursor:
            lock_accounts(cursor, [account_id])
            visible_account(cursor, account_id, owner, deleted=True)
            found = _one(cursor, account_id, number)
            if found.override.withdrawn_at:
                return found
            recorded_at = next_recorded_at(cursor, account_id, author.at)
            cursor.execute(
                "UPDATE override SET withdrawn_at = %s, withdrawn_by = %s, withdraw_reason = %s"
                " WHERE account_id = %s AND id = %s",
                (recorded_at, author.actor, reason, account_id, number),
            )
            _audit(cursor, replace(author, at=recorded_at), found, "withdrawn", reason)
            return _one(cursor, account_id, number)


def overrides_at(cursor: Cursor, account_id: int, as_of: Micros = 0) -> Overrides:
    """Return an account's overrides that were known at `as_of` (0: now) and not withdrawn by it."""
    cursor.execute(_HOLDING, {"account": account_id, "as_of": as_of})
    return Overrides(_override(row) for row in cursor.fetchall())


def _about(cursor: Cursor, proposal: Proposal) -> tuple[int, int]:
    """Return accounts' own numbers of the image and of the instance; 0 for the one not named."""
    image, instance = proposal.ami_id, proposal.ec2_id
    cursor.execute(
        "SELECT coalesce((SELECT image_id FROM image WHERE account_id = %s AND ami_id = %s), 0),"
        " coalesce((SELECT instance_id FROM instance WHERE account_id = %s AND ec2_id = %s), 0)",
        (proposal.account_id, image, proposal.account_id, instance),
    )
    image_id, instance_id = cursor.fetchone() or (0, 0)
    if instance and not instance_id:
        raise NotFound(
            f"There is no instance {instance} in this account.", reason="INSTANCE_NOT_FOUND"
        )
    if image and not image_id:
        raise NotFound(f"There is no image {image} in this account.", reason="IMAGE_NOT_FOUND")
    return image_id, instance_id


def _one(cursor: Cursor, account_id: int, number: int) -> NamedOverride:
    cursor.execute(f"{_NAMED} AND o.id = %(id)s", {"account": account_id, "id": number})
    row = cursor.fetchone()
    if row is None:
        raise NotFound(
            f"There is no override {number} in this account.", reason="OVERRIDE_NOT_FOUND"
        )
    return _named(account_id, row)


def _audit(cursor: Cursor, author: Author, changed: NamedOverride, what: str, reason: str) -> None:
    override = changed.override
    cursor.execute(
        _AFFECTED,
        {
            "account": changed.account_id,
            "instance": override.instance_id,
            "image": override.image_id,
            "since": override.effective_at,
            "now": author.at,
        },
    )
    since, until = cursor.fetchone() or (None, None)
    when = (
        "for all history"
        if override.effective_at == ALWAYS
        else f"from {to_datetime(override.effective_at):%Y-%m-%d %H:%M:%S} UTC on"
    )
    detail = f"override {override.id}: {words(override.claim)}, {when}"
    audit.record(
        cursor,
        author,
        changed.account_id,
        f"override.{what}",
        changed.ami_id or changed.ec2_id,
        f"{detail}: {reason}" if reason else detail,
        (0, 0) if since is None else (since, until),
    )


def _named(account_id: int, row: Sequence[Any], as_of: Micros = 0) -> NamedOverride:
    *columns, ami_id, ec2_id = row
    override = _override(columns)
    if as_of and override.withdrawn_at > as_of:
        override = replace(override, withdrawn_at=0, withdrawn_by="", withdraw_reason="")
    return NamedOverride(account_id, ami_id, ec2_id, override)


def _override(row: Sequence[Any]) -> Override:
    number, image_id, instance_id, distribution, version, model, products, *rest = row
    claim = Claim(distribution, version, LicenseModel(model) if model else None, tuple(products))
    return Override(number, image_id, instance_id, claim, *rest)
