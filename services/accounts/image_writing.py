"""Keeps what describe says of images and instance types, and has new images inspected."""

from collections.abc import Sequence

from services.accounts.classification_store import reclassify
from services.accounts.fact_writing import Writing
from services.accounts.image_naming import find_images
from services.accounts.job_store import want_inspections
from services.accounts.listing import ListedImage, ListedType, Listing

UNAVAILABLE = "unavailable"
"""The state of an image that could not be described: what was known of it before stays."""

_DESCRIBE = """
UPDATE image SET
    region = %(region)s, name = %(name)s, description = %(description)s, owner_id = %(owner_id)s,
    owner_alias = %(owner_alias)s, architecture = %(architecture)s, platform = %(platform)s,
    platform_details = %(platform_details)s, usage_operation = %(usage_operation)s,
    product_codes = %(product_codes)s, root_snapshot_id = %(root_snapshot_id)s,
    root_device_type = %(root_device_type)s, root_device_name = %(root_device_name)s,
    public = %(public)s, made_at = %(made_at)s, state = %(state)s
WHERE account_id = %(account)s AND image_id = %(image)s
"""
_LOSE = "UPDATE image SET state = %s WHERE account_id = %s AND image_id = %s AND state = ''"
_KEEP_TYPE = """
INSERT INTO instance_type (name, vcpu, memory_mib, architectures, recorded_at)
SELECT new.* FROM (SELECT %s::text, %s::int, %s::bigint, %s::text[], %s::bigint)
    AS new(name, vcpu, memory_mib, architectures, recorded_at)
LEFT JOIN LATERAL (
    SELECT * FROM instance_type WHERE name = new.name ORDER BY recorded_at DESC LIMIT 1
) AS old ON true
WHERE (old.vcpu, old.memory_mib, old.architectures)
    IS DISTINCT FROM (new.vcpu, new.memory_mib, new.architectures)
ON CONFLICT (name, recorded_at) DO UPDATE SET
    vcpu = excluded.vcpu, memory_mib = excluded.memory_mib, architectures = excluded.architectures
"""


def describe_images(writing: Writing, listing: Listing) -> int:
    """Keep the images that a listing describes or its instances name; return how many are new.

    Each is inspected that never was, and classified again if what AWS says of it has changed.
    """
    account_id = listing.account_id
    named = {each.image for each in listing.instances if each.image}
    amis = named | {image.ami_id for image in listing.images}
    if not amis:
        return 0
    cursor = writing.cursor
    cursor.execute(
        "SELECT count(*) FROM image WHERE account_id = %s AND ami_id = ANY(%s)",
        (account_id, sorted(amis)),
    )
    (known,) = cursor.fetchone() or (0,)
    ids = {
        ami_id: number
        for (_, ami_id), number in find_images(
            writing, {(account_id, ami_id): listing.region for ami_id in amis}
        ).items()
    }
    for image in listing.images:
        _describe(writing, listing, ids[image.ami_id], image)
    reclassify(cursor, account_id, ids.values(), writing.recorded_at[account_id])
    want_inspections(cursor, account_id, ids.values(), writing.now)
    return len(amis) - int(known)


def describe_types(writing: Writing, types: Sequence[ListedType]) -> None:
    """Keep what instance types are, for all accounts; in a fixed order, against deadlocks."""
    for each in sorted(types, key=lambda each: each.name):
        row = (each.name, each.vcpu, each.memory_mib, list(each.architectures), writing.now)
        writing.cursor.execute(_KEEP_TYPE, row)


def _describe(writing: Writing, listing: Listing, image_id: int, image: ListedImage) -> None:
    if image.state == UNAVAILABLE:
        writing.cursor.execute(_LOSE, (UNAVAILABLE, listing.account_id, image_id))
        return
    writing.cursor.execute(
        _DESCRIBE,
        {
            "account": listing.account_id,
            "image": image_id,
            "region": listing.region,
            "name": image.name,
            "description": image.description,
            "owner_id": image.owner_id,
            "owner_alias": image.owner_alias,
            "architecture": image.architecture,
            "platform": image.platform,
            "platform_details": image.platform_details,
            "usage_operation": image.usage_operation,
            "product_codes": list(image.product_codes),
            "root_snapshot_id": image.root_snapshot_id,
            "root_device_type": image.root_device_type,
            "root_device_name": image.root_device_name,
            "public": image.public,
            "made_at": image.made_at,
            "state": image.state,
        },
    )
    writing.changed.add(listing.account_id)
