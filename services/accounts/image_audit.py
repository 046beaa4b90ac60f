"""Audits what images change in the past: of an instance its image, of an image what it is."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts import audit
from services.accounts.audit import Author
from services.accounts.classification import Classification
from services.accounts.copying import array
from services.accounts.fact_writing import Writing
from services.accounts.history import day_of
from services.accounts.run_rows import Key

_MOST_NAMED = 5
_RENAMED = """
SELECT w.account_id, i.ec2_id, coalesce(was.ami_id, ''), coalesce(now.ami_id, ''), r.start_at
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
     AS w(account_id, instance_id, was_id, now_id)
JOIN instance i ON i.account_id = w.account_id AND i.instance_id = w.instance_id
LEFT JOIN image was ON was.account_id = w.account_id AND was.image_id = w.was_id
LEFT JOIN image now ON now.account_id = w.account_id AND now.image_id = w.now_id
CROSS JOIN LATERAL (
    SELECT start_at FROM run WHERE account_id = w.account_id AND instance_id = w.instance_id
    ORDER BY start_at LIMIT 1
) r
ORDER BY w.account_id, i.ec2_id
"""
_OF_IMAGES = """
SELECT m.image_id, m.ami_id, min(r.start_at)
FROM image m
JOIN instance i ON i.account_id = m.account_id AND i.image_id = m.image_id
CROSS JOIN LATERAL (
    SELECT start_at FROM run WHERE account_id = i.account_id AND instance_id = i.instance_id
    ORDER BY start_at LIMIT 1
) r
WHERE m.account_id = %s AND m.image_id = ANY(%s)
GROUP BY m.image_id, m.ami_id ORDER BY m.ami_id
"""


class Renamed(NamedTuple):
    """An instance whose image is another, by the images' numbers; 0: none is known."""

    instance: Key
    was: int
    now: int


class Change(NamedTuple):
    """How one thing changed."""

    subject: str
    words: str
    since: Micros
    """Start of the first run that it concerns."""


def tell_renamed(writing: Writing, renamed: Sequence[Renamed]) -> None:
    """Write into the audit log which instances' images changed, of those that ran in the past."""
    if not renamed:
        return
    columns = zip(*((*each.instance, each.was, each.now) for each in renamed), strict=True)
    writing.cursor.execute(_RENAMED, [array(column) for column in columns])
    for account_id, rows in groupby(writing.cursor.fetchall(), lambda row: row[0]):
        changes = [
            Change(ec2_id, f"{was or 'no image'} to {now or 'no image'}", since)
            for _, ec2_id, was, now, since in rows
        ]
        tell(writing, account_id, "instance.image_changed", "instances", changes)


def tell_described(writing: Writing, account_id: int, told: Mapping[int, str]) -> None:
    """Write into the audit log which images are another thing by what AWS says of them now.

    By image id, how, in words.
    """
    if not told:
        return
    writing.cursor.execute(_OF_IMAGES, (account_id, list(told)))
    changes = [
        Change(ami_id, told[image_id], since)
        for image_id, ami_id, since in writing.cursor.fetchall()
    ]
    tell(writing, account_id, "image.described", "images", changes)


def tell(
    writing: Writing, account_id: int, action: str, things: str, changes: Sequence[Change]
) -> None:
    """Write one entry about those of an account's changes that concern its past, if any does."""
    at = writing.recorded_at[account_id]
    past = [each for each in changes if each.since < day_of(at)]
    if not past:
        return
    if len(past) == 1:
        subject, detail = past[0].subject, past[0].words
    else:
        subject = f"{len(past):,} {things}"
        detail = "; ".join(f"{each.subject}: {each.words}" for each in past[:_MOST_NAMED])
        if len(past) > _MOST_NAMED:
            detail += f"; and {len(past) - _MOST_NAMED:,} more"
    span = (min(each.since for each in past), at)
    author = Author("service:scanner", at)
    audit.record(writing.cursor, author, account_id, action, subject, detail, span)


def said(each: Classification) -> tuple[object, ...]:
    """Return what of a classification reports group by, beside the syspurpose."""
    return each.distribution, each.version, each.license_model, each.products


def words(each: Classification) -> str:
    """Say the same in words."""
    products = f" with {', '.join(each.products)}" if each.products else ""
    name = f"{each.distribution} {each.version}".strip()
    return f"{name} ({each.license_model.name.lower()}){products}"
