"""When an account is tracked: its state in the database, with the gaps that leaving it makes.

What a past answer needs of an account (its name, its state, whether it was proved) is kept in
`cloud_account_was` before it changes.
"""

from libs.common.instants import Micros
from services.accounts.cloud_accounts import CloudAccount, State
from services.accounts.database import Cursor, next_recorded_at


def begin_change(cursor: Cursor, account_id: int, now: Micros) -> Micros:
    """Return when a change of an account, whose lock is held, is recorded; keep what it replaces.

    Once in a transaction, before the change. A new account (changed_at 0) replaces nothing.
    """
    recorded_at = next_recorded_at(cursor, account_id, now)
    cursor.execute(
        "INSERT INTO cloud_account_was"
        " (account_id, name, state, verified_at, changed_at, replaced_at)"
        " SELECT id, name, state, verified_at, changed_at, %s FROM cloud_account"
        " WHERE id = %s AND changed_at <> 0 AND changed_at < %s",
        (recorded_at, account_id, recorded_at),
    )
    cursor.execute(
        "UPDATE cloud_account SET changed_at = %s WHERE id = %s", (recorded_at, account_id)
    )
    return recorded_at


def set_state(
    cursor: Cursor, account: CloudAccount, state: State, at: Micros, recorded_at: Micros
) -> Micros:
    """Change an account's state, whose lock is held; return when tracking begins or ends by it.

    That is `at`, or later where tracking last began or ended later, by a clock that was ahead.
    """
    # The lease first, then the account, as whoever scans locks them.
    if state is State.ENABLED:
        at = _begin_tracking(cursor, account.id, at, recorded_at)
    elif account.state is State.ENABLED:
        at = _end_tracking(cursor, account.id, at, recorded_at)
    cursor.execute("UPDATE cloud_account SET state = %s WHERE id = %s", (state, account.id))
    return at


def _begin_tracking(cursor: Cursor, account_id: int, at: Micros, recorded_at: Micros) -> Micros:
    cursor.execute(
        "INSERT INTO scan_lease (account_id, due_at) VALUES (%s, %s)"
        " ON CONFLICT (account_id) DO UPDATE SET due_at = excluded.due_at",
        (account_id, at),
    )
    cursor.execute(
        "UPDATE tracking_gap SET resumed_at = greatest(%s, ended_at), resume_recorded_at = %s"
        " WHERE account_id = %s AND resumed_at = 0 RETURNING resumed_at",
        (at, recorded_at, account_id),
    )
    (resumed_at,) = cursor.fetchone() or (at,)
    return int(resumed_at)


def _end_tracking(cursor: Cursor, account_id: int, at: Micros, recorded_at: Micros) -> Micros:
    cursor.execute(
        "UPDATE scan_lease SET epoch = epoch + 1, holder = '', expires_at = 0"
        " WHERE account_id = %s",
        (account_id,),
    )
    cursor.execute(
        "INSERT INTO tracking_gap (account_id, ended_at, recorded_at)"
        " SELECT %s, greatest(%s, max(greatest(resumed_at, ended_at + 1))), %s FROM tracking_gap"
        " WHERE account_id = %s RETURNING ended_at",
        (account_id, at, recorded_at, account_id),
    )
    (ended_at,) = cursor.fetchone() or (at,)
    return int(ended_at)
