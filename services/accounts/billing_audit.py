"""Audits what AWS's word on billing changes in the past: runs that are classified otherwise now.

A run is classified by its own usage operation and product codes. The latter are told of an instance
as it was listed last, and count for its runs under the usage operation that it was listed with;
for all others the image's count. So a listing can change what runs of long ago are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from services.accounts.classification import Classification, classify_run
from services.accounts.classification_store import NO_GROUNDS, Grounds, grounds
from services.accounts.copying import array
from services.accounts.database import Cursor
from services.accounts.fact_writing import Writing
from services.accounts.image_audit import Change, said, tell, words

Codes: TypeAlias = tuple[str, ...]

_IMAGES = """
SELECT instance_id, image_id FROM instance WHERE account_id = %s AND instance_id = ANY(%s::bigint[])
"""
_RAN = """
SELECT i.instance_id, i.ec2_id, u.text, min(r.start_at)
FROM instance i
JOIN run r ON r.account_id = i.account_id AND r.instance_id = i.instance_id
JOIN label u ON u.label_id = r.usage_operation
WHERE i.account_id = %s AND i.instance_id = ANY(%s::bigint[]) AND u.text = ANY(%s)
GROUP BY i.instance_id, i.ec2_id, u.text ORDER BY i.ec2_id, u.text
"""
_BILLED_AS = """
SELECT DISTINCT i.image_id, u.text,
       CASE WHEN u.text <> '' AND u.text = i.usage_operation THEN i.product_codes END
FROM instance i
JOIN run r ON r.account_id = i.account_id AND r.instance_id = i.instance_id
JOIN label u ON u.label_id = r.usage_operation
WHERE i.account_id = %s AND i.image_id = ANY(%s::bigint[])
"""


class Billed(NamedTuple):
    """What AWS bills an instance by, as listed."""

    usage_operation: str
    product_codes: Codes

    def own_codes(self, usage_operation: str) -> Codes | None:
        """Return the product codes of runs under a usage operation; None: those of the image."""
        same = usage_operation and usage_operation == self.usage_operation
        return self.product_codes if same else None


def tell_billed(
    writing: Writing, account_id: int, changed: Mapping[int, tuple[Billed, Billed]]
) -> None:
    """Write into the audit log which instances' runs are another thing by what AWS bills them.

    By instance id, how each was billed and is; its image is looked up as it is known by now.
    """
    told = _told(writing, account_id, changed)
    if not told:
        return
    ids, operations = {each for each, _ in told}, {operation for _, operation in told}
    writing.cursor.execute(_RAN, (account_id, array(ids), list(operations)))
    changes = [
        Change(ec2_id, f"{told[instance_id, operation]} where {operation} holds", since)
        for instance_id, ec2_id, operation, since in writing.cursor.fetchall()
        if (instance_id, operation) in told
    ]
    tell(writing, account_id, "instance.billing_changed", "instances", changes)


def changed_images(
    cursor: Cursor, account_id: int, was: Mapping[int, Grounds], now: Mapping[int, Grounds]
) -> dict[int, str]:
    """Return in words how images, or runs of theirs, are another thing by what they rest on now.

    By image id, each as it was and as it is; those that are the same are not among them.
    """
    other = {
        image_id: each
        for image_id, each in was.items()
        if (each.codes, each.installed) != (now[image_id].codes, now[image_id].installed)
    }
    found: dict[int, str] = {}
    if not other:
        return found
    cursor.execute(_BILLED_AS, (account_id, array(other)))
    # What the image itself is said to be comes first.
    ways: Iterable[tuple[int, str, Sequence[str] | None]] = [
        *((image_id, "", None) for image_id in other),
        *cursor.fetchall(),
    ]
    for image_id, operation, listed in ways:
        codes = None if listed is None else tuple(listed)
        text = _change(
            _run(other[image_id], operation, codes), _run(now[image_id], operation, codes)
        )
        if text:
            found.setdefault(image_id, text)
    return found


def _told(
    writing: Writing, account_id: int, changed: Mapping[int, tuple[Billed, Billed]]
) -> dict[tuple[int, str], str]:
    """Return in words what is another thing, by instance and usage operation."""
    if not changed:
        return {}
    writing.cursor.execute(_IMAGES, (account_id, array(changed)))
    image_of: dict[int, int] = dict(writing.cursor.fetchall())
    known = grounds(writing.cursor, account_id, image_ids=set(image_of.values()))
    told = {}
    for instance_id, (was, now) in changed.items():
        ground = known.get(image_of[instance_id], NO_GROUNDS)
        images = ground.codes.product_codes
        for operation in {was.usage_operation, now.usage_operation}:
            before, after = was.own_codes(operation), now.own_codes(operation)
            # Nearly always an instance has the codes of its image, and nothing changes.
            if (images if before is None else before) == (images if after is None else after):
                continue
            text = _change(_run(ground, operation, before), _run(ground, operation, after))
            if text:
                told[instance_id, operation] = text
    return told


def _run(ground: Grounds, operation: str, codes: Codes | None) -> Classification:
    return classify_run(ground.codes, ground.installed, operation, codes)


def _change(was: Classification, now: Classification) -> str:
    return "" if said(was) == said(now) else f"{words(was)} to {words(now)}"
