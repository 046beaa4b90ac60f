"""Keeps what describe says of images: the word of the latest listing that described one holds."""

from dataclasses import asdict

from psycopg2.extras import Json

from services.accounts.audit import Author
from services.accounts.billing_audit import changed_images
from services.accounts.classification_store import grounds, reclassify
from services.accounts.copying import array
from services.accounts.fact_writing import Writing
from services.accounts.image_audit import tell_described
from services.accounts.image_naming import find_images
from services.accounts.job_store import want_inspections
from services.accounts.listing import ListedImage, Listing
from services.accounts.version_keeping import IMAGE, keep_version

UNAVAILABLE = "unavailable"
"""The state of an image that could not be described: what was known of it before stays."""

_SAID = (
    *("region", "name", "description", "owner_id", "owner_alias", "architecture", "platform"),
    *("platform_details", "usage_operation", "product_codes", "root_snapshot_id"),
    *("root_device_type", "root_device_name", "public", "made_at", "state"),
)
_TOLD = "json_populate_recordset(NULL::image, %s) t"
_DESCRIBE = f"""
WITH news AS MATERIALIZED (
    SELECT i.image_id, t.account_id, {", ".join(f"t.{name}" for name in _SAID)}, t.recorded_at,
           i.recorded_at < t.recorded_at AS known_before
    FROM {_TOLD} JOIN image i ON i.account_id = t.account_id AND i.ami_id = t.ami_id
    WHERE i.described_at <= t.described_at
      AND ({", ".join(f"i.{name}" for name in _SAID)})
       IS DISTINCT FROM ({", ".join(f"t.{name}" for name in _SAID)})
), was AS (
    {keep_version("image", IMAGE, "news n")}
)
UPDATE image i SET
    {", ".join(f"{name} = n.{name}" for name in _SAID)}, changed_at = n.recorded_at
FROM news n WHERE i.account_id = n.account_id AND i.image_id = n.image_id
RETURNING i.image_id, n.known_before
"""  # noqa: S608 # of constants
_DESCRIBED = f"""
UPDATE image i SET described_at = t.described_at FROM {_TOLD}
WHERE i.account_id = t.account_id AND i.ami_id = t.ami_id AND i.described_at < t.described_at
"""  # noqa: S608 # of constants
# Where nobody has described an image, it is where a listing shows an instance of it, whatever an
# event said; and once it could not be described, that is what is known.
_PLACE = f"""
WITH news AS MATERIALIZED (
    SELECT m.account_id, m.image_id, a.region, coalesce(nullif(t.state, ''), m.state) AS state,
           a.recorded_at
    FROM (SELECT %s::bigint AS account_id, %s AS region, %s::bigint AS recorded_at) a
    CROSS JOIN unnest(%s::bigint[], %s::text[]) AS t(image_id, state)
    JOIN image m ON m.account_id = a.account_id AND m.image_id = t.image_id
    WHERE m.described_at = 0 AND m.state IN ('', 'unavailable')
      AND (m.region, m.state) <> (a.region, coalesce(nullif(t.state, ''), m.state))
), was AS (
    {keep_version("image", IMAGE, "news n")}
)
UPDATE image i SET region = n.region, state = n.state, changed_at = n.recorded_at
FROM news n WHERE i.account_id = n.account_id AND i.image_id = n.image_id
"""  # noqa: S608 # of constants


def describe_images(writing: Writing, listing: Listing) -> int:
    """Keep the images that a listing describes or its instances name; return how many are new.

    Each is inspected that never was, and classified again if what AWS says of it has changed.
    """
    account_id, cursor = listing.account_id, writing.cursor
    amis = {each.image for each in listing.instances if each.image}
    amis |= {image.ami_id for image in listing.images}
    if not amis:
        return 0
    cursor.execute(
        "SELECT count(*) FROM image WHERE account_id = %s AND ami_id = ANY(%s)",
        (account_id, sorted(amis)),
    )
    (known,) = cursor.fetchone() or (0,)
    found = find_images(writing, {(account_id, ami_id): listing.region for ami_id in amis})
    ids = {ami_id: number for (_, ami_id), number in found.items()}
    _place(writing, listing, ids)
    _describe(writing, listing)
    if want_inspections(cursor, account_id, ids.values(), writing.now):
        writing.new_images = True
    return len(amis) - int(known)


def _describe(writing: Writing, listing: Listing) -> None:
    """Keep descriptions, and what follows for the classification of what they describe."""
    described = [image for image in listing.images if image.state != UNAVAILABLE]
    if not described:
        return
    account_id, cursor = listing.account_id, writing.cursor
    recorded_at = writing.recorded_at[account_id]
    told = Json([_row(listing, image, recorded_at) for image in described])
    cursor.execute(_DESCRIBE, (told,))
    changed = dict(cursor.fetchall())
    cursor.execute(_DESCRIBED, (told,))
    if changed:
        writing.changed.add(account_id)
        known = [image_id for image_id, known_before in changed.items() if known_before]
        was = grounds(cursor, account_id, image_ids=known)
        reclassify(cursor, account_id, changed, Author("service:scanner", recorded_at))
        now = grounds(cursor, account_id, image_ids=known)
        tell_described(writing, account_id, changed_images(cursor, account_id, was, now))


def _row(listing: Listing, image: ListedImage, recorded_at: int) -> dict[str, object]:
    return {
        **asdict(image),
        "account_id": listing.account_id,
        "region": listing.region,
        "recorded_at": recorded_at,
        "described_at": listing.started_at,
    }


def _place(writing: Writing, listing: Listing, ids: dict[str, int]) -> None:
    """Note where images are that nobody has described, and which could not be described."""
    lost = {image.ami_id for image in listing.images if image.state == UNAVAILABLE}
    writing.cursor.execute(
        _PLACE,
        (
            listing.account_id,
            listing.region,
            writing.recorded_at[listing.account_id],
            array(ids.values()),
            [UNAVAILABLE if ami_id in lost else "" for ami_id in ids],
        ),
    )
    if writing.cursor.rowcount:
        writing.changed.add(listing.account_id)
