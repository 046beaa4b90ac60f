"""What goes with an account when its history is erased."""

from psycopg2 import sql

from services.accounts.database import Cursor

_TABLES = (
    "run",
    "anomaly",
    "event",
    "sighting",
    "listing",
    "classification",
    "override",
    "inspection_job",
    "quarantine",
    "instance",
    "image",
    "tracking_gap",
    "region",
    "scan_lease",
    "audit",
)


def erase(cursor: Cursor, account_id: int) -> None:
    """Delete an account, whose lock is held, and everything that belongs to it."""
    for table in _TABLES:
        statement = sql.SQL("DELETE FROM {} WHERE account_id = %s").format(sql.Identifier(table))
        cursor.execute(statement, (account_id,))
    cursor.execute("DELETE FROM cloud_account WHERE id = %s", (account_id,))
