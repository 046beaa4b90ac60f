"""Stores listings: what they showed, what they lacked, and the runs that follow."""

from collections.abc import Mapping

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts.event_store import store_events, texts_of
from services.accounts.fact_writing import FactWriter, Writing
from services.accounts.facts import DESCRIBE_LAG
from services.accounts.image_naming import BY_DESCRIBE, NamedImage, name_images
from services.accounts.image_writing import describe_images
from services.accounts.instance_writing import show_instances
from services.accounts.listing import Listing, Recorded
from services.accounts.new_events import AHEAD, Outcome
from services.accounts.quarantine_store import keep_aside
from services.accounts.rederiving import Touch
from services.accounts.region_writing import meet_region, set_trouble
from services.accounts.schedule_store import check_epoch
from services.accounts.sessions import FOREVER
from services.accounts.sighting_writing import Place, sight
from services.accounts.type_store import TypeStore

_PLACE = """
SELECT coalesce((
    SELECT max(started_at) FROM listing
    WHERE account_id = %(account)s AND region = %(region)s AND started_at < %(at)s
), 0), coalesce((
    SELECT min(started_at) FROM listing
    WHERE account_id = %(account)s AND region = %(region)s AND started_at > %(at)s
), 0)
WHERE NOT EXISTS (
    SELECT FROM listing
    WHERE account_id = %(account)s AND region = %(region)s AND started_at = %(at)s
)
"""
_LIST = """
INSERT INTO listing (account_id, region, started_at, epoch, instances, recorded_at, complete)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
# What is on, and what anything later than the listing is known of: no event is recorded long
# before it happens.
_CONCERNED = """
SELECT i.instance_id FROM instance i JOIN (
    SELECT instance_id FROM run
    WHERE account_id = %(account)s AND (end_at = 0 OR end_latest = 253402300799999999)
    UNION
    SELECT instance_id FROM event
    WHERE account_id = %(account)s AND recorded_at >= %(at)s - %(ahead)s AND occurred_at > %(at)s
) c USING (instance_id)
WHERE i.account_id = %(account)s AND i.region = %(region)s
"""
_EVERY = "SELECT instance_id FROM instance WHERE account_id = %(account)s AND region = %(region)s"
_CONFIRM_REGION = """
UPDATE region SET last_listing_at = greatest(last_listing_at, %s),
                  confirmed_through = greatest(confirmed_through, %s)
WHERE account_id = %s AND region = %s
"""


class ListingStore:
    """Stores listings; each is one transaction."""

    def __init__(self, writer: FactWriter, types: TypeStore) -> None:
        self._writer = writer
        self._types = types

    def record(self, listing: Listing) -> Recorded:
        """Store a listing with all that follows from it.

        One that was stored before changes nothing. Raises NotFound for an account that is not
        there or was never proved, FailedPrecondition when the lease's epoch is another.
        """
        account_id, region = listing.account_id, listing.region
        events = list(listing.events())
        texts = texts_of(events) | {
            text
            for instance in listing.instances
            for text in (instance.stated.instance_type, instance.stated.usage_operation)
        }
        # In a transaction of its own: a type belongs to no account, and its lock comes first.
        self._types.learn(listing.types)
        with self._writer.writing([account_id], texts) as writing:
            if account_id not in writing.recorded_at:
                raise NotFound(
                    f"There is no cloud account {account_id} that is scanned.",
                    reason="ACCOUNT_NOT_FOUND",
                )
            check_epoch(writing.cursor, account_id, listing.epoch)
            writing.causes[account_id] = [f"a listing of {region}"]
            every = (*(each.ec2_id for each in listing.instances), *listing.unread)
            names = {(account_id, ec2_id): region for ec2_id in every}
            found = self._writer.find_instances(writing, names)
            ids = {ec2_id: number for (_, ec2_id), number in found.items()}
            place = _place(writing, listing)
            if place is not None:
                _take(writing, listing, ids, place)
            new_images = _images(writing, listing, ids)
            outcomes = store_events(self._writer, writing, events)
            keep_aside(writing.cursor, listing.asides, writing.now)
            through = _confirmed_through(writing, listing)
        return Recorded(outcomes.count(Outcome.STORED), new_images, through)


def _place(writing: Writing, listing: Listing) -> Place | None:
    """Say between which listings this one comes; None when it is stored already."""
    where = {"account": listing.account_id, "region": listing.region, "at": listing.started_at}
    writing.cursor.execute(_PLACE, where)
    row = writing.cursor.fetchone()
    return None if row is None else Place(*row)


def _take(writing: Writing, listing: Listing, ids: Mapping[str, int], place: Place) -> None:
    """Take in what a listing that is new shows and lacks."""
    account_id, region, at = listing.account_id, listing.region, listing.started_at
    cursor, recorded_at = writing.cursor, writing.recorded_at[account_id]
    writing.changed.add(account_id)
    show_instances(writing, listing, ids)
    sight(writing, listing, ids, place)
    if listing.complete:
        _miss(writing, listing, ids, late=bool(place.after))
    count = len(listing.instances)
    cursor.execute(
        _LIST, (account_id, region, at, listing.epoch, count, recorded_at, listing.complete)
    )
    meet_region(cursor, account_id, region, recorded_at)
    if listing.complete:
        cursor.execute(_CONFIRM_REGION, (at, at - DESCRIBE_LAG, account_id, region))
    if not place.after:
        set_trouble(cursor, account_id, region, _trouble(listing), at, recorded_at)


def _miss(writing: Writing, listing: Listing, ids: Mapping[str, int], *, late: bool) -> None:
    """Touch the instances that a listing did not show running since before it began.

    A late one can also say how far the Region was known when tracking ended, so it concerns all.
    """
    writing.cursor.execute(
        _EVERY if late else _CONCERNED,
        {
            "account": listing.account_id,
            "region": listing.region,
            "at": listing.started_at,
            "ahead": AHEAD,
        },
    )
    at = listing.started_at
    running = [each for each in listing.instances if each.running]
    # One that was launched while it was being listed may have been off when that began.
    concerned = {number for (number,) in writing.cursor.fetchall()}
    concerned -= {ids[each.ec2_id] for each in running if each.launch_time <= at}
    concerned |= {ids[each.ec2_id] for each in running if each.launch_time > at}
    for instance_id in concerned:
        writing.touch((listing.account_id, instance_id), Touch(at, FOREVER))


def _images(writing: Writing, listing: Listing, ids: Mapping[str, int]) -> int:
    """Keep images, and who has which; return how many are new."""
    new = describe_images(writing, listing)
    named = [
        NamedImage(
            (listing.account_id, ids[each.ec2_id]), each.image, listing.region, each.launch_time
        )
        for each in listing.instances
        if each.image
    ]
    name_images(writing, named, BY_DESCRIBE)
    return new


def _trouble(listing: Listing) -> str:
    """Say what is wrong with a listing; empty: nothing."""
    odd = len(listing.asides)
    if not odd:
        return ""
    return (
        f"{odd} {'instance' if odd == 1 else 'instances'} of the last listing"
        f" {'was' if odd == 1 else 'were'} not understood: see the account's quarantine"
    )


def _confirmed_through(writing: Writing, listing: Listing) -> Micros:
    writing.cursor.execute(
        "SELECT confirmed_through FROM region WHERE account_id = %s AND region = %s",
        (listing.account_id, listing.region),
    )
    (through,) = writing.cursor.fetchone() or (0,)
    return int(through)
