"""Classifications in the database: what they rest on is stored, dated; what follows is derived."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from psycopg2.extras import Json

from libs.common.instants import Micros
from services.accounts.audit import Author
from services.accounts.classification import (
    Classification,
    Evidence,
    ImageCodes,
    Installed,
    Strength,
    Syspurpose,
    classify,
)
from services.accounts.database import Cursor

_CODES = "platform_details, usage_operation, product_codes, owner_id, owner_alias, name, platform"

_RECLASSIFY = f"""
INSERT INTO classification (account_id, image_id, recorded_at, {_CODES}, installed, author)
SELECT image.account_id, image.image_id, %(recorded_at)s, codes.*,
       coalesce(%(installed)s::jsonb, last.installed, '{{}}'), %(author)s
FROM image
CROSS JOIN LATERAL (
    SELECT {", ".join(f"image.{name}" for name in _CODES.split(", "))}
) AS codes
LEFT JOIN LATERAL (
    SELECT * FROM classification AS row
    WHERE row.account_id = image.account_id AND row.image_id = image.image_id
    ORDER BY recorded_at DESC LIMIT 1
) AS last ON true
WHERE image.account_id = %(account)s AND image.image_id = ANY(%(images)s)
  AND (
    %(installed)s::jsonb IS DISTINCT FROM NULL
    OR last.image_id IS NULL
    OR codes IS DISTINCT FROM ({", ".join(f"last.{name}" for name in _CODES.split(", "))})
  )
-- Only the transaction that took recorded_at can meet it again: the row is not committed yet.
ON CONFLICT (account_id, image_id, recorded_at) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _CODES.split(", "))},
    installed = excluded.installed, author = excluded.author
"""  # noqa: S608 # of constants

_NEWEST = f"""
SELECT DISTINCT ON (image_id) image_id, {_CODES},
       coalesce((SELECT partition FROM cloud_account WHERE id = %(account)s), '') AS partition,
       installed, recorded_at, author
FROM classification
WHERE account_id = %(account)s AND (%(as_of)s = 0 OR recorded_at <= %(as_of)s)
  AND (%(images)s::bigint[] IS NULL OR image_id = ANY(%(images)s))
ORDER BY image_id, recorded_at DESC
"""  # noqa: S608 # of constants


@dataclass(frozen=True, slots=True)
class Grounds:
    """What an image's classification rests on, since when that is known, and from whom."""

    codes: ImageCodes
    installed: Installed | None
    recorded_at: Micros
    author: str = ""


class Known(NamedTuple):
    """What an image is, since when that is known, and from whom."""

    classification: Classification
    recorded_at: Micros
    author: str


NO_GROUNDS = Grounds(ImageCodes(), None, 0)
"""Of an image that nothing is known of."""


def reclassify(
    cursor: Cursor,
    account_id: int,
    image_ids: Iterable[int],
    author: Author,
    installed: Installed | None = None,
) -> None:
    """Note what is known of images from the author's time on, where it differs from before.

    With `installed`, their disks have now been read, and said that. The caller holds the account's
    lock, and took that time under it.
    """
    cursor.execute(
        _RECLASSIFY,
        {
            "account": account_id,
            "images": list(image_ids),
            "recorded_at": author.at,
            "author": author.actor,
            "installed": None if installed is None else Json(asdict(installed)),
        },
    )


def classifications(
    cursor: Cursor,
    account_id: int,
    *,
    as_of: Micros = 0,
    image_ids: Iterable[int] | None = None,
) -> dict[int, Known]:
    """Return each image's classification as known at `as_of` (0: now), since when, and from whom.

    By image id; of all images, or of some. An image that is not among them was not known.
    """
    return {
        image_id: Known(classify(each.codes, each.installed), each.recorded_at, each.author)
        for image_id, each in grounds(cursor, account_id, as_of=as_of, image_ids=image_ids).items()
    }


def grounds(
    cursor: Cursor,
    account_id: int,
    *,
    as_of: Micros = 0,
    image_ids: Iterable[int] | None = None,
) -> dict[int, Grounds]:
    """Return what each image's classification rests on, as `classifications` takes it."""
    cursor.execute(
        _NEWEST,
        {
            "account": account_id,
            "as_of": as_of,
            "images": None if image_ids is None else list(image_ids),
        },
    )
    return {
        image_id: Grounds(ImageCodes(*_codes(codes)), _installed(installed), recorded_at, author)
        for image_id, *codes, installed, recorded_at, author in cursor.fetchall()
    }


def _codes(row: list[Any]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in row]


def _installed(stored: Mapping[str, Any]) -> Installed | None:
    if not stored:
        return None
    evidence = [
        Evidence(**{**each, "strength": Strength(each["strength"])}) for each in stored["evidence"]
    ]
    return Installed(
        **{
            **stored,
            "products": tuple(stored["products"]),
            "syspurpose": Syspurpose(**stored["syspurpose"]),
            "evidence": tuple(evidence),
        }
    )
