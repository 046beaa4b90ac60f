"""Accounts whose rows are being deleted, and to whom an answered request belongs."""

from typing import Any

UP = """
-- An account that is gone from cloud_account, and whose rows are deleted bit by bit. The row goes
-- when none is left.
CREATE TABLE erasure (
    account_id bigint PRIMARY KEY,
    asked_at bigint NOT NULL
);

-- What a create call made belongs to an account, or to none (0), and goes with it.
ALTER TABLE answered_request ADD account_id bigint NOT NULL DEFAULT 0;
CREATE INDEX answered_request_account ON answered_request (account_id) WHERE account_id <> 0;
"""

DOWN = """
DROP INDEX answered_request_account;
ALTER TABLE answered_request DROP account_id;
DROP TABLE erasure;
"""


def up(_migrator: object, db: Any) -> None:
    """Note what is being erased."""
    db.execute_sql(UP)


def down(_migrator: object, db: Any) -> None:
    """Forget what is being erased; the rest of its rows stays without an account."""
    db.execute_sql(DOWN)
