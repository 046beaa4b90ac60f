"""Notes what stands in the way of knowing a Region, with what was noted before."""

from libs.common.instants import Micros
from services.accounts.database import Cursor

_SET = """
WITH news AS (
    SELECT account_id, region, trouble, trouble_since, changed_at FROM region
    WHERE account_id = %(account)s AND region = %(region)s AND trouble <> %(trouble)s
      AND (%(trouble)s <> '' OR trouble_since <= %(since)s)
), was AS (
    INSERT INTO region_was
        (account_id, region, trouble, trouble_since, changed_at, replaced_at)
    SELECT *, %(recorded_at)s FROM news WHERE changed_at < %(recorded_at)s
)
UPDATE region r SET
    trouble = %(trouble)s, changed_at = %(recorded_at)s,
    trouble_since = CASE WHEN %(trouble)s = '' THEN 0 WHEN n.trouble = '' THEN %(since)s
                         ELSE n.trouble_since END
FROM news n WHERE r.account_id = n.account_id AND r.region = n.region
"""
_MEET = """
INSERT INTO region (account_id, region, changed_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""


def meet_region(cursor: Cursor, account_id: int, region: str, recorded_at: Micros) -> None:
    """Note that an account has something in a Region, or tried to look."""
    cursor.execute(_MEET, (account_id, region, recorded_at))


def set_trouble(
    cursor: Cursor, account_id: int, region: str, trouble: str, since: Micros, recorded_at: Micros
) -> bool:
    """Note what was wrong at `since`, or with an empty text that nothing was; say if that is news.

    Trouble that goes on keeps its beginning, and what was well before it began does not end it. A
    Region that was never met stays so. The caller holds the account's lock, and took `recorded_at`
    under it.
    """
    cursor.execute(
        _SET,
        {
            "account": account_id,
            "region": region,
            "trouble": trouble,
            "since": since,
            "recorded_at": recorded_at,
        },
    )
    return cursor.rowcount > 0
