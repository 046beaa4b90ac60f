"""Which image an instance has: describe's word wins, then the earlier record."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from libs.common.instants import Micros
from services.accounts.audit import Author
from services.accounts.classification_store import reclassify
from services.accounts.copying import array
from services.accounts.fact_writing import Writing
from services.accounts.image_audit import Renamed, tell_renamed
from services.accounts.job_store import want_inspections
from services.accounts.run_rows import Key
from services.accounts.version_keeping import INSTANCE, keep_version

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
_BETTER = """
    SELECT n.*, i.image_id AS was_id, i.recorded_at AS made_at
    FROM (
        SELECT DISTINCT ON (account_id, instance_id) *
        FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[],
                    %s::bigint[])
             AS n(account_id, instance_id, image_id, at, ami_id, recorded_at),
             (SELECT %s::smallint AS rank) AS by
        ORDER BY account_id, instance_id, at, ami_id COLLATE "C"
    ) n JOIN instance i ON i.account_id = n.account_id AND i.instance_id = n.instance_id
    WHERE i.image_id = 0 OR (i.image_rank, i.image_at, (
        SELECT ami_id COLLATE "C" FROM image m
        WHERE m.account_id = i.account_id AND m.image_id = i.image_id
    )) > (n.rank, n.at, n.ami_id)
"""
# What the events that hold say, which is nothing where none names an image.
_TOLD = f"""
    SELECT w.account_id, w.instance_id, coalesce(e.image_id, 0) AS image_id,
           coalesce(e.occurred_at, 0) AS at, w.recorded_at, i.image_id AS was_id,
           i.recorded_at AS made_at, CASE WHEN e.image_id IS NULL THEN 0 ELSE %s END AS rank
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])
         AS w(account_id, instance_id, recorded_at)
    JOIN instance i ON i.account_id = w.account_id AND i.instance_id = w.instance_id
                   AND i.image_rank <> {BY_DESCRIBE}
    LEFT JOIN LATERAL (
        SELECT m.image_id, e.occurred_at FROM event e
        JOIN image m ON m.account_id = e.account_id AND m.ami_id = e.image
        WHERE e.account_id = w.account_id AND e.instance_id = w.instance_id
          AND e.superseded_at = 0 AND e.image <> ''
        ORDER BY e.occurred_at, e.image COLLATE "C" LIMIT 1
    ) e ON true
"""  # noqa: S608 # of constants


def _naming(chosen: str) -> str:
    """Give the statement that names images as chosen.

    Since when and by whom an image is named is kept for the next choice, and shown to nobody: no
    version of the instance ends when only that changes.
    """
    changed = "(SELECT * FROM news WHERE image_id <> was_id) n"
    return f"""
WITH news AS MATERIALIZED ({chosen}), was AS ({keep_version("instance", INSTANCE, changed)})
UPDATE instance i SET
    image_id = n.image_id, image_rank = n.rank, image_at = n.at,
    changed_at = CASE WHEN n.image_id = n.was_id THEN i.changed_at ELSE n.recorded_at END
FROM news n WHERE i.account_id = n.account_id AND i.instance_id = n.instance_id
RETURNING i.account_id, i.instance_id, n.was_id, n.image_id, n.made_at < n.recorded_at
"""  # noqa: S608 # of constants


_NAME, _NAME_AGAIN = _naming(_BETTER), _naming(_TOLD)


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
            array(writing.recorded_at[n.instance[0]] for n in named),
            rank,
        ),
    )
    _renamed(writing)
    return images


def name_images_again(writing: Writing, instances: Collection[Key]) -> None:
    """Give instances the images that the events say which hold now, others being superseded.

    As if what is superseded had never been told. What describe said stays.
    """
    if instances:
        keys = sorted(instances)
        writing.cursor.execute(
            _NAME_AGAIN,
            (
                BY_EVENT,
                array(account_id for account_id, _ in keys),
                array(instance_id for _, instance_id in keys),
                array(writing.recorded_at[account_id] for account_id, _ in keys),
            ),
        )
        _renamed(writing)


def _renamed(writing: Writing) -> None:
    """Deal with what naming changed."""
    told = []
    for account_id, instance_id, was, now, known_before in writing.cursor.fetchall():
        if was != now:
            writing.changed.add(account_id)
            if known_before:
                told.append(Renamed((account_id, instance_id), was, now))
    tell_renamed(writing, told)


def find_images(
    writing: Writing, regions: dict[tuple[int, str], str]
) -> dict[tuple[int, str], int]:
    """Return the number of each image, making it in its Region if it was never heard of.

    One that is made is to be inspected: its Region and its id are enough to find its disk.
    """
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
            author = Author("service:scanner", writing.recorded_at[account_id])
            reclassify(cursor, account_id, of_account, author)
            want_inspections(cursor, account_id, of_account, writing.now)
            writing.changed.add(account_id)
        writing.new_images = True
        found |= made
    return found
