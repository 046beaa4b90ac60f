"""Which listing described an image last, and events by when they were recorded."""

from typing import Any

UP = """
-- Start of the latest listing that described it: what an older one says, told late, is no news.
ALTER TABLE image ADD described_at bigint NOT NULL DEFAULT 0;

-- Events are added in the order in which they are recorded, so that this takes next to no room.
CREATE INDEX event_recorded ON event USING brin (account_id, recorded_at)
    WITH (autosummarize = on);
"""

DOWN = """
DROP INDEX event_recorded;
ALTER TABLE image DROP described_at;
"""


def up(_migrator: object, db: Any) -> None:
    """Note it."""
    db.execute_sql(UP)


def down(_migrator: object, db: Any) -> None:
    """Forget it."""
    db.execute_sql(DOWN)
