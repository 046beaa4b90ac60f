"""Who made known what an image's classification rests on."""

from typing import Any

UP = """
ALTER TABLE classification ADD author text NOT NULL DEFAULT '';
UPDATE classification SET author =
    CASE WHEN installed = '{}' THEN 'service:scanner' ELSE 'service:inspector' END;
"""

DOWN = "ALTER TABLE classification DROP author"


def up(_migrator: object, db: Any) -> None:
    """Note it; of what was stored before, who surely had a part in it."""
    db.execute_sql(UP)


def down(_migrator: object, db: Any) -> None:
    """Forget it."""
    db.execute_sql(DOWN)
