"""Erasing an account: gone at once, its rows deleted bit by bit, whatever happens meanwhile."""

import contextlib
from contextlib import ExitStack

from psycopg2 import sql

from cloudigrade.accounts.v1 import accounts_pb2 as pb
from cloudigrade.accounts.v1 import events_pb2, identity_pb2, inventory_pb2
from libs.common.instants import to_micros
from services.accounts.database import Database
from services.accounts.eraser import Eraser
from services.accounts.erasing import ErasureStore, take_out
from services.accounts.facts import Event, EventKind, Source
from tests.support.accounts import START, Accounts, Caller, Refusal, refusal, running_accounts
from tests.support.accounts_process import accounts_process
from tests.support.feeding import Feeder, feeder, instance, message
from tests.support.waiting import wait_until

NO_ACCOUNT = Refusal("NOT_FOUND", "ACCOUNT_NOT_FOUND", ())
NOW = to_micros(START)
HOUR = 3_600_000_000
UUID = "9f4d3ca6-35bb-4b8e-8d32-7b5ac1fa31a5"
_TABLES_OF_ACCOUNTS = (
    "SELECT table_name FROM information_schema.columns"
    " WHERE column_name = 'account_id' AND table_schema = 'public'"
)


def erase(caller: Caller, account_id: int) -> None:
    """Ask for an account to be erased."""
    caller.accounts.DeleteCloudAccount(
        pb.DeleteCloudAccountRequest(id=account_id, history=pb.HISTORY_ERASE)
    )


def left(database: Database, account_id: int) -> dict[str, int]:
    """Count what each table holds of an account, those that hold something."""
    with database.transaction() as cursor:
        cursor.execute(_TABLES_OF_ACCOUNTS)
        found = {}
        for (table,) in cursor.fetchall():
            counting = sql.SQL("SELECT count(*) FROM {} WHERE account_id = %s")
            cursor.execute(counting.format(sql.Identifier(table)), (account_id,))
            (count,) = cursor.fetchone() or (0,)
            if count:
                found[table] = int(count)
    return found


def power(event_id: str, at: int, *, on: bool) -> Event:
    """Return an event that switches an instance."""
    kind = EventKind.POWER_ON if on else EventKind.POWER_OFF
    return Event(event_id, kind, at, Source.CLOUDTRAIL)


def use(fed: Feeder, instances: int = 1) -> None:
    """Switch instances on and off, and have something kept aside."""
    events = [
        message(
            power(f"{name}-{number}", NOW - ago * HOUR, on=ago == 2),
            instance(number),
            fed.account_id,
        )
        for number in range(instances)
        for name, ago in (("on", 2), ("off", 1))
    ]
    assert set(fed.outcomes(events)) == {"STORED"}
    fed.scanner.events.Quarantine(
        events_pb2.QuarantineRequest(
            account_id=fed.account_id,
            source=events_pb2.SOURCE_CLOUDTRAIL,
            origin="a-file",
            reason="not understood",
            content=b"{",
        )
    )


def test_an_erased_account_is_gone_at_once_and_its_rows_soon(accounts: Accounts) -> None:
    """NOT_FOUND for everybody when the call returns; then no table holds anything of it."""
    fed = feeder(accounts)
    use(fed, 3)
    assert {"event", "instance", "run", "audit", "quarantine"} <= left(
        accounts.database, fed.account_id
    ).keys()
    erase(accounts.admin, fed.account_id)
    get = pb.GetCloudAccountRequest(id=fed.account_id)
    runs = inventory_pb2.ListRunsRequest(account_id=fed.account_id, instance_id=instance(1))
    history = inventory_pb2.ListAuditEntriesRequest(account_id=fed.account_id)
    for call in (
        lambda: accounts.admin.accounts.GetCloudAccount(get),
        lambda: accounts.admin.inventory.ListRuns(runs),
        lambda: accounts.admin.inventory.ListAuditEntries(history),
        lambda: erase(accounts.admin, fed.account_id),
    ):
        assert refusal(call) == NO_ACCOUNT
    assert not accounts.admin.accounts.ListCloudAccounts(
        pb.ListCloudAccountsRequest(show_deleted=True)
    ).accounts
    late = [message(power("late", NOW - HOUR, on=False), instance(1), fed.account_id)]
    assert fed.outcomes(late) == ["UNKNOWN_ACCOUNT"]
    wait_until(lambda: not left(accounts.database, fed.account_id))


def test_one_word_remains(accounts: Accounts) -> None:
    """Who erased which account, and when; nothing else of it, and no word in its own log."""
    fed = feeder(accounts)
    accounts.admin.accounts.UpdateCloudAccount(
        pb.UpdateCloudAccountRequest(account=pb.CloudAccount(id=fed.account_id, name="shop"))
    )
    erase(accounts.admin, fed.account_id)
    wait_until(lambda: not left(accounts.database, fed.account_id))
    newest, *older = accounts.admin.identity.ListIdentityAuditEntries(
        identity_pb2.ListIdentityAuditEntriesRequest()
    ).entries
    assert (newest.actor, newest.action, newest.subject, newest.detail) == (
        "ada",
        "account.erased",
        f"account {fed.account_id}",
        "AWS account 123456789012 (aws), shop",
    )
    assert newest.time.ToMicroseconds() == NOW
    assert not any("shop" in str(entry) or "123456789012" in str(entry) for entry in older)


def test_others_keep_all_they_have(accounts: Accounts) -> None:
    """Another account's rows, and what belongs to no account, stay as they are."""
    kept, gone = feeder(accounts, "111111111111"), feeder(accounts, "222222222222")
    use(kept)
    use(gone)
    with accounts.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO quarantine (account_id, source, origin, reason, content, digest,"
            " recorded_at) VALUES (0, 1, '', '', '', '', 1)"
        )
    mine, nobodys = left(accounts.database, kept.account_id), left(accounts.database, 0)
    erase(accounts.admin, gone.account_id)
    wait_until(lambda: not left(accounts.database, gone.account_id))
    assert left(accounts.database, kept.account_id) == mine
    nobodys["audit"] += 1
    assert left(accounts.database, 0) == nobodys
    assert len(kept.runs(instance(0))) == 1


def test_the_aws_account_may_be_registered_and_proved_again_at_once(
    accounts: Accounts, database: Database
) -> None:
    """By somebody else, before the old rows are gone, and it begins with nothing."""
    # Whoever erases is not done before this transaction ends, since it began before.
    with database.transaction():
        fed = feeder(accounts)
        use(fed)
        erase(accounts.admin, fed.account_id)
        again = accounts.verified(accounts.member("mia"))
        assert again.state == pb.CloudAccount.STATE_ENABLED
        assert again.id != fed.account_id
        assert "event" not in left(accounts.database, again.id)
        assert "erasure" in left(accounts.database, fed.account_id)


def test_repeating_the_registration_of_an_erased_account_registers_it_anew(
    accounts: Accounts,
) -> None:
    """Nothing is left of the first one, not even that its request was answered."""
    call = pb.CreateCloudAccountRequest(
        name="web", role_arn="arn:aws:iam::123456789012:role/r", request_id=UUID
    )
    first = accounts.admin.accounts.CreateCloudAccount(call).account
    erase(accounts.admin, first.id)
    second = accounts.admin.accounts.CreateCloudAccount(call).account
    assert second.id != first.id
    assert second.external_id != first.external_id


def test_what_was_under_way_leaves_nothing_behind(accounts: Accounts, database: Database) -> None:
    """A transaction from before the account was erased writes a row of it and commits last."""
    fed = feeder(accounts)
    use(fed)
    with database.transaction() as cursor:
        erase(accounts.admin, fed.account_id)
        wait_until(lambda: set(left(accounts.database, fed.account_id)) == {"erasure"})
        cursor.execute(
            "INSERT INTO audit (account_id, at, actor, action, subject, detail)"
            " VALUES (%s, 1, 'max', 'inspection.redriven', 'ami-1', '')",
            (fed.account_id,),
        )
    with Eraser(ErasureStore(accounts.database), batch=10, poll_seconds=0.01):
        wait_until(lambda: not left(accounts.database, fed.account_id))


def fill(database: Database, account_id: int, events: int) -> None:
    """Store events of an account without deriving anything from them, a thousand an instance."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO event SELECT %s, n / 1000, 'e' || n, 1, n, 1, false, false, '', '', '', 0,"
            " '', 0, '', '', n, 0 FROM generate_series(1, %s) AS n",
            (account_id, events),
        )


def test_a_killed_eraser_is_followed_by_one_that_goes_on(database_url: str) -> None:
    """The process is killed in the middle of 20,000 rows; the next process deletes the rest."""
    with running_accounts(database_url) as accounts:
        fed, other = feeder(accounts), feeder(accounts, "222222222222")
        use(other)
        fill(accounts.database, fed.account_id, 20_000)
        kept = left(accounts.database, other.account_id)
        with accounts.database.transaction() as cursor:
            # As the RPC does, but with nobody awake in this process to follow it up.
            take_out(cursor, fed.account_id, NOW)
        numbers = fed.account_id, other.account_id
    with contextlib.closing(Database(database_url, pool_size=2)) as database:
        with accounts_process(database_url, CLOUDIGRADE_ACCOUNTS_ERASE_BATCH="50") as (process, _):
            wait_until(lambda: left(database, numbers[0]).get("event", 0) < 18_000)
            process.kill()
            process.wait(30)
        rest = left(database, numbers[0])
        assert 0 < rest["event"] < 18_000
        assert rest["erasure"] == 1
        with running_accounts(database_url):
            wait_until(lambda: not left(database, numbers[0]))
        assert left(database, numbers[1]) == kept


def test_two_erasers_share_the_work(accounts: Accounts) -> None:
    """Three at once on two accounts leave nothing of either, and end."""
    store = ErasureStore(accounts.database)
    gone = [feeder(accounts, number).account_id for number in ("111111111111", "222222222222")]
    for account_id in gone:
        fill(accounts.database, account_id, 3_000)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Eraser(store, batch=100, poll_seconds=0.05))
        for account_id in gone:
            erase(accounts.admin, account_id)
        wait_until(lambda: not any(left(accounts.database, each) for each in gone))


def test_erasing_waits_for_no_reader_and_no_reader_for_it(
    accounts: Accounts, database: Database
) -> None:
    """A long read of the account under way delays neither the answer nor the rows' deletion."""
    fed = feeder(accounts)
    use(fed)
    with database.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT count(*) FROM event")
        before = cursor.fetchone()
        erase(accounts.admin, fed.account_id)
        wait_until(lambda: left(accounts.database, fed.account_id).keys() <= {"erasure"})
        cursor.execute("SELECT count(*) FROM event")
        assert cursor.fetchone() == before == (2,)


def test_a_user_may_go_as_soon_as_their_account_is_erased(accounts: Accounts) -> None:
    """Their erased account holds them back no longer, whatever rows of it are left."""
    max_ = accounts.member("max")
    fed = accounts.verified(max_)
    fill(accounts.database, fed.id, 2_000)
    user = max_.identity.GetCaller(identity_pb2.GetCallerRequest()).user
    delete = identity_pb2.DeleteUserRequest(id=user.id)
    assert (
        refusal(lambda: accounts.admin.identity.DeleteUser(delete)).reason == "USER_OWNS_ACCOUNTS"
    )
    erase(max_, fed.id)
    accounts.admin.identity.DeleteUser(delete)
