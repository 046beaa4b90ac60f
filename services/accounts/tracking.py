"""When an account is tracked: its state in the database, with the gaps that leaving it makes."""

from libs.common.instants import Micros
from services.accounts.cloud_accounts import CloudAccount, State
from services.accounts.database import Cursor


def set_state(cursor: Cursor, account: CloudAccount, state: State, at: Micros) -> None:
    """Change an account's state, whose lock is held, and note where tracking ends and begins."""
    # The lease first, then the account, as whoever scans locks them.
    if state is State.ENABLED:
        cursor.execute(
            "INSERT INTO scan_lease (account_id, due_at) VALUES (%s, %s)"
            " ON CONFLICT (account_id) DO UPDATE SET due_at = excluded.due_at",
            (account.id, at),
        )
        cursor.execute(
            "UPDATE tracking_gap SET resumed_at = %s, resume_recorded_at = %s"
            " WHERE account_id = %s AND resumed_at = 0",
            (at, at, account.id),
        )
    else:
        end_scan(cursor, account.id)
        cursor.execute(
            "INSERT INTO tracking_gap (account_id, ended_at, recorded_at) SELECT %s, %s, %s"
            " WHERE NOT EXISTS (SELECT FROM tracking_gap WHERE account_id = %s AND resumed_at = 0)"
            " ON CONFLICT DO NOTHING",
            (account.id, at, at, account.id),
        )
    cursor.execute("UPDATE cloud_account SET state = %s WHERE id = %s", (state, account.id))


def end_scan(cursor: Cursor, account_id: int) -> None:
    """Make the lease of a scan under way worthless."""
    cursor.execute(
        "UPDATE scan_lease SET epoch = epoch + 1, holder = '', expires_at = 0"
        " WHERE account_id = %s",
        (account_id,),
    )
