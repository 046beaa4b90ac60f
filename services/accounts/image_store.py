"""Reads an account's images with what they are, as known at an instant.

Each method is one snapshot. Everything is asked on behalf of an `owner` (a user's id, or
EVERYBODY). What they may not see is NotFound, as if it did not exist. `asked` is the instant, None
for now, and comes back with what was known then. How far the reading of a disk is, is told as it
stands now.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import NotFound
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts.classification import Classification
from services.accounts.classification_store import classifications
from services.accounts.database import Database
from services.accounts.inventory import Image
from services.accounts.job_store import inspections_of
from services.accounts.jobs import Inspection
from services.accounts.override_store import overrides_at
from services.accounts.overrides import apply, known_since
from services.accounts.reading import Reading, reading
from services.accounts.versions import rows_at

_COLUMNS = (
    "account_id, image_id, ami_id, region, name, description, owner_id, owner_alias, architecture,"
    " platform, platform_details, usage_operation, product_codes, root_snapshot_id,"
    " root_device_type, root_device_name, public, made_at, state"
)


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image, what it is, since when and from whom that is known, and its inspection."""

    image: Image
    classification: Classification | None
    recorded_at: Micros
    author: str
    inspection: Inspection | None


class ImageStore:
    """Reads images."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def images(
        self, account_id: int, owner: int, asked: Micros | None, after: Key | None, limit: int
    ) -> tuple[Micros, list[KnownImage]]:
        """Return an account's images by their AMI ids, those after the given one."""
        (last,) = after or ("",)
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            read.cursor.execute(
                f"{_images(read)} WHERE ami_id > %(after)s ORDER BY ami_id LIMIT %(limit)s",
                read.asked(after=last, limit=limit),
            )
            return read.at, _known(read, [Image(*row) for row in read.cursor.fetchall()])

    def image(
        self, account_id: int, owner: int, asked: Micros | None, ami_id: str
    ) -> tuple[Micros, KnownImage]:
        """Return one image by its AMI id."""
        with reading(self._database, self._clock, account_id, owner, asked) as read:
            return read.at, image_of(read, ami_id)


def image_of(read: Reading, ami_id: str) -> KnownImage:
    """Return one image by its AMI id, inside a snapshot; NotFound."""
    read.cursor.execute(f"{_images(read)} WHERE ami_id = %(ami)s", read.asked(ami=ami_id))
    found = _known(read, [Image(*row) for row in read.cursor.fetchall()])
    if not found:
        raise NotFound(f"There is no image {ami_id} in this account.", reason="IMAGE_NOT_FOUND")
    return found[0]


def _images(read: Reading) -> str:
    rows = rows_at("image", _COLUMNS, changed=read.changed)
    return f"SELECT {_COLUMNS} FROM {rows} AS known"  # noqa: S608 # of constants


def _known(read: Reading, images: Sequence[Image]) -> list[KnownImage]:
    cursor, account_id = read.cursor, read.account_id
    ids = [image.image_id for image in images]
    classified = classifications(cursor, account_id, as_of=read.at, image_ids=ids)
    inspections = inspections_of(cursor, account_id, ids)
    overrides = overrides_at(cursor, account_id, read.at)
    found = []
    for image in images:
        classification, since, author = classified.get(image.image_id, (None, 0, ""))
        standing = overrides.standing(0, image.image_id, read.at)
        if classification is not None:
            classification = apply(classification, standing)
        inspection = inspections.get(image.image_id)
        if (latest := known_since(since, standing)) > since:
            author = max(standing, key=lambda each: each.recorded_at).author
        found.append(KnownImage(image, classification, latest, author, inspection))
    return found
