"""Which image an instance has: describe's word wins, then the earlier record."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.instants import Micros
from services.accounts.classification_store import reclassify
from services.accounts.copying import array
from services.accounts.fact_writing import Writing
from services.accounts.run_rows import Key

BY_DESCRIBE, BY_EVENT = 1, 2
"""Ranks of who named the image, the stronger one first; 0: nobody yet."""

_FIND = """
SELECT account_id, ami_id, image_id FROM image
JOIN unnest(%s::bigint[], %s::text[]) AS w(account_id, ami_id) USING (account_id, ami_id)
"""
_MAKE = """
INSERT INTO image (account_id, ami_id, region, recorded_at, changed_at)
SELECT n.*, n.recorded_at FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[])
     AS n(account_id, ami_id, region, recorded_at)
RETURNING account_id, ami_id, image_id
"""
_NAME = """
UPDATE instance i SET image_id = n.image_id, image_rank = n.rank, image_at = n.at
FROM (
    SELECT DISTINCT ON (account_id, instance_id) *
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
         AS n(account_id, instance_id, image_id, at, ami_id), (SELECT %s::smallint AS rank) AS by
    ORDER BY account_id, instance_id, at, ami_id COLLATE "C"
) n
WHERE i.account_id = n.account_id AND i.instance_id = n.instance_id
  AND (i.image_id = 0 OR (i.image_rank, i.image_at, (
      SELECT ami_id COLLATE "C" FROM image m
      WHERE m.account_id = i.account_id AND m.image_id = i.image_id
  )) > (n.rank, n.at, n.ami_id))
"""


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that a record names for an instance."""

    instance: Key
    ami_id: str
    region: str
    at: Micros


def name_images(
    writing: Writing, named: Sequence[NamedImage], rank: int = BY_EVENT
) -> dict[tuple[int, str], int]:
    """Note which images instances have, making images never heard of; return the images' numbers.

    By account and AMI id. Of two that are named at one instant the lower id holds, whichever came
    first.
    """
    if not named:
        return {}
    images = find_images(writing, {(n.instance[0], n.ami_id): n.region for n in named})
    writing.cursor.execute(
        _NAME,
        (
            array(n.instance[0] for n in named),
            array(n.instance[1] for n in named),
            array(images[n.instance[0], n.ami_id] for n in named),
            array(n.at for n in named),
            [n.ami_id for n in named],
            rank,
        ),
    )
    return images


def find_images(
    writing: Writing, regions: dict[tuple[int, str], str]
) -> dict[tuple[int, str], int]:
    """Return the number of each image, making it in its Region if it was never heard of."""
    cursor, wanted = writing.cursor, sorted(regions)
    cursor.execute(_FIND, (array(w[0] for w in wanted), [w[1] for w in wanted]))
    found = {(account, ami): number for account, ami, number in cursor.fetchall()}
    new = [each for each in wanted if each not in found]
    if new:
        columns = [n[1] for n in new], [regions[n] for n in new]
        recorded_at = array(writing.recorded_at[n[0]] for n in new)
        cursor.execute(_MAKE, (array(n[0] for n in new), *columns, recorded_at))
        made = {(account, ami): number for account, ami, number in cursor.fetchall()}
        for account_id in {account for account, _ in new}:
            of_account = [number for (account, _), number in made.items() if account == account_id]
            reclassify(cursor, account_id, of_account, writing.recorded_at[account_id])
            writing.changed.add(account_id)
        found |= made
    return found
