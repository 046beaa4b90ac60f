"""Reads an account's images with what they are; each method is one transaction.

Everything is asked on behalf of an `owner` (a user's id, or EVERYBODY). What they may not see is
NotFound, as if it did not exist.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.errors import NotFound
from libs.common.instants import Micros
from libs.common.paging import Key
from services.accounts.account_store import visible_account
from services.accounts.classification import Classification
from services.accounts.classification_store import classifications
from services.accounts.database import Cursor, Database
from services.accounts.inventory import Image
from services.accounts.job_store import inspections_of
from services.accounts.jobs import Inspection

_IMAGES = """
SELECT account_id, image_id, ami_id, region, name, description, owner_id, owner_alias, architecture,
       platform, platform_details, usage_operation, product_codes, root_snapshot_id,
       root_device_type, root_device_name, public, made_at, state
FROM image WHERE account_id = %s
"""


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image, what it is, since when that is known, and how far the reading of its disk is."""

    image: Image
    classification: Classification | None
    recorded_at: Micros
    inspection: Inspection | None


class ImageStore:
    """Reads images."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def images(
        self, account_id: int, owner: int, after: Key | None, limit: int
    ) -> list[KnownImage]:
        """Return an account's images by their AMI ids, those after the given one."""
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner, deleted=True)
            cursor.execute(
                f"{_IMAGES} AND ami_id > %s ORDER BY ami_id LIMIT %s",
                (account_id, *(after or ("",)), limit),
            )
            return _known(cursor, account_id, [Image(*row) for row in cursor.fetchall()])

    def image(self, account_id: int, owner: int, ami_id: str) -> KnownImage:
        """Return one image by its AMI id."""
        with self._database.transaction() as cursor:
            visible_account(cursor, account_id, owner, deleted=True)
            cursor.execute(f"{_IMAGES} AND ami_id = %s", (account_id, ami_id))
            found = _known(cursor, account_id, [Image(*row) for row in cursor.fetchall()])
        if not found:
            raise NotFound(f"There is no image {ami_id} in this account.", reason="IMAGE_NOT_FOUND")
        return found[0]


def _known(cursor: Cursor, account_id: int, images: Sequence[Image]) -> list[KnownImage]:
    ids = [image.image_id for image in images]
    classified = classifications(cursor, account_id, image_ids=ids)
    inspections = inspections_of(cursor, account_id, ids)
    found = []
    for image in images:
        classification, since = classified.get(image.image_id, (None, 0))
        inspection = inspections.get(image.image_id)
        found.append(KnownImage(image, classification, since, inspection))
    return found
