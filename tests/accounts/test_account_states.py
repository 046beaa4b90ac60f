"""What becomes of an account in each state, and what is kept of what it was."""

from datetime import timedelta
from typing import Any

import grpc
import pytest

from cloudigrade.accounts.v1 import accounts_pb2 as pb
from cloudigrade.accounts.v1 import identity_pb2, inventory_pb2
from libs.common.instants import to_micros
from tests.support import timeline
from tests.support.accounts import START, Accounts, Caller, Refusal, refusal
from tests.support.feeding import feeder, instance, listed, message
from tests.support.statuses import told

NOW = to_micros(START)
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PENDING, NOT_ENABLED = "ACCOUNT_PENDING", "ACCOUNT_NOT_ENABLED"
GONE, UNKNOWN = "gone", "ACCOUNT_NOT_FOUND"
OPERATIONS = ("verify", "enable", "pause", "disable", "role", "keep", "erase")
# How an account gets there, and then what each operation makes of it: a state, or a refusal.
TABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "PENDING": ((), ("ENABLED", PENDING, NOT_ENABLED, PENDING, "PENDING", GONE, GONE)),
    "PENDING again": (
        ("verify", "role"),
        ("ENABLED", PENDING, NOT_ENABLED, PENDING, "PENDING", "DELETED", GONE),
    ),
    "ENABLED": (
        ("verify",),
        ("ENABLED", "ENABLED", "PAUSED", "DISABLED", "PENDING", "DELETED", GONE),
    ),
    "PAUSED": (
        ("verify", "pause"),
        ("PAUSED", "ENABLED", "PAUSED", "DISABLED", "PENDING", "DELETED", GONE),
    ),
    "DISABLED": (
        ("verify", "disable"),
        ("DISABLED", "ENABLED", NOT_ENABLED, "DISABLED", "PENDING", "DELETED", GONE),
    ),
    "DELETED": (
        ("verify", "keep"),
        (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    ),
    "gone": (("verify", "erase"), (UNKNOWN,) * 7),
}


class Life:
    """One account, and what can be done with it."""

    def __init__(self, accounts: Accounts, owner: Caller, number: str) -> None:
        self._accounts = accounts
        self._owner = owner
        self._roles = 0
        self.account = accounts.account(owner, number)
        self.id = self.account.id

    def do(self, operation: str) -> str:
        """Do one of the operations; name the state after it, or the reason of the refusal."""
        try:
            getattr(self, f"_{operation}")()
        except grpc.RpcError as error:
            return told(error).reason
        return self.state()

    def state(self) -> str:
        """Name the state that its owner sees."""
        get = pb.GetCloudAccountRequest(id=self.id)
        try:
            state = self._owner.accounts.GetCloudAccount(get).account.state
        except grpc.RpcError:
            return GONE
        return pb.CloudAccount.State.Name(state).removeprefix("STATE_")

    def _verify(self) -> None:
        self._accounts.verify(self.account)

    def _enable(self) -> None:
        self._owner.accounts.EnableCloudAccount(pb.EnableCloudAccountRequest(id=self.id))

    def _pause(self) -> None:
        self._owner.accounts.PauseCloudAccount(pb.PauseCloudAccountRequest(id=self.id))

    def _disable(self) -> None:
        self._owner.accounts.DisableCloudAccount(pb.DisableCloudAccountRequest(id=self.id))

    def _role(self) -> None:
        self._roles += 1
        wanted = pb.CloudAccount(id=self.id, role_arn=f"{self.account.role_arn}-{self._roles}")
        request = pb.UpdateCloudAccountRequest(account=wanted)
        self.account = self._owner.accounts.UpdateCloudAccount(request).account

    def _keep(self) -> None:
        self._delete(pb.HISTORY_KEEP)

    def _erase(self) -> None:
        self._delete(pb.HISTORY_ERASE)

    def _delete(self, history: Any) -> None:
        request = pb.DeleteCloudAccountRequest(id=self.id, history=history)
        self._owner.accounts.DeleteCloudAccount(request)


def rows(accounts: Accounts, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Read rows from the database."""
    with accounts.database.transaction() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


@pytest.mark.parametrize("before", TABLE)
def test_every_operation_in_every_state(accounts: Accounts, before: str) -> None:
    """As the table says; and an account that was ever enabled has an open gap unless it is now."""
    steps, expected = TABLE[before]
    member = accounts.member()
    found = []
    for number, operation in enumerate(OPERATIONS):
        life = Life(accounts, member, f"{number:012}")
        for step in steps:
            life.do(step)
        assert life.state() == before.removesuffix(" again")
        found.append(life.do(operation))
        gaps = rows(
            accounts,
            "SELECT FROM tracking_gap WHERE account_id = %s AND resumed_at = 0",
            life.id,
        )
        if life.state() not in {GONE, "ENABLED"}:
            assert bool(gaps) == bool(steps), operation
    assert dict(zip(OPERATIONS, found, strict=True)) == dict(zip(OPERATIONS, expected, strict=True))


def test_what_an_account_was_is_kept_with_when(accounts: Accounts) -> None:
    """Proved at once, renamed after 1 h, paused after 2 h, renamed and given a role after 3 h."""
    member = accounts.member()
    account = accounts.verified(member, name="web")
    accounts.clock.advance(timedelta(hours=1))
    rename = pb.UpdateCloudAccountRequest(account=pb.CloudAccount(id=account.id, name="shop"))
    member.accounts.UpdateCloudAccount(rename)
    member.accounts.UpdateCloudAccount(rename)  # nothing changes, so nothing is kept
    accounts.clock.advance(timedelta(hours=1))
    member.accounts.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))
    accounts.clock.advance(timedelta(hours=1))
    member.accounts.UpdateCloudAccount(
        pb.UpdateCloudAccountRequest(
            account=pb.CloudAccount(
                id=account.id, name="old shop", role_arn="arn:aws:iam::123456789012:role/new"
            )
        )
    )
    kept = rows(
        accounts,
        "SELECT name, state, verified_at, changed_at, replaced_at FROM cloud_account_was"
        " WHERE account_id = %s ORDER BY changed_at",
        account.id,
    )
    proved = NOW + 1  # registered and proved at one reading of the clock
    assert kept == [
        ("web", 1, 0, NOW, proved),
        ("web", 2, NOW, proved, NOW + HOUR),
        ("shop", 2, NOW, NOW + HOUR, NOW + 2 * HOUR),
        ("shop", 3, NOW, NOW + 2 * HOUR, NOW + 3 * HOUR),
    ]
    (now,) = rows(accounts, "SELECT name, state, verified_at, changed_at FROM cloud_account")
    assert now == ("old shop", 1, NOW, NOW + 3 * HOUR)


def test_what_is_recorded_comes_after_every_answer(accounts: Accounts) -> None:
    """An answer spoke for a time ahead of this server's clock: the pause is dated after it."""
    account = accounts.verified(accounts.admin)
    rows(accounts, "SELECT setval('answered_at', %s)", NOW + 5 * HOUR)
    accounts.admin.accounts.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))
    assert rows(accounts, "SELECT ended_at, recorded_at FROM tracking_gap") == [
        (NOW, NOW + 5 * HOUR + 1)
    ]
    accounts.admin.accounts.EnableCloudAccount(pb.EnableCloudAccountRequest(id=account.id))
    assert rows(accounts, "SELECT resumed_at, resume_recorded_at FROM tracking_gap") == [
        (NOW, NOW + 5 * HOUR + 2)
    ]


def test_no_gap_is_lost_to_a_clock_that_stands_still(accounts: Accounts) -> None:
    """Paused, enabled and paused again at one reading of the clock: two gaps, the second open."""
    account = accounts.verified(accounts.admin)
    call = accounts.admin.accounts
    for _ in range(2):
        call.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))
        call.EnableCloudAccount(pb.EnableCloudAccountRequest(id=account.id))
    call.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))
    assert rows(accounts, "SELECT ended_at, resumed_at FROM tracking_gap ORDER BY ended_at") == [
        (NOW, NOW),
        (NOW + 1, NOW + 1),
        (NOW + 2, 0),
    ]


def audit(accounts: Accounts, account_id: int) -> list[inventory_pb2.AuditEntry]:
    """List an account's audit log, the oldest first."""
    request = inventory_pb2.ListAuditEntriesRequest(account_id=account_id)
    return list(accounts.admin.inventory.ListAuditEntries(request).entries)[::-1]


def test_the_audit_log_says_each_change_and_who_made_it(accounts: Accounts) -> None:
    """From registering to removing, one entry each; what changes nothing leaves none."""
    member = accounts.member("max")
    life = Life(accounts, member, "123456789012")
    for step in ("verify", "verify", "enable", "pause", "pause", "disable", "enable", "role"):
        life.do(step)
    member.accounts.UpdateCloudAccount(
        pb.UpdateCloudAccountRequest(account=pb.CloudAccount(id=life.id, name="shop"))
    )
    for step in ("verify", "keep"):
        life.do(step)
    role = "arn:aws:iam::123456789012:role/cloudigrade"
    assert [(e.actor, e.action, e.subject, e.detail) for e in audit(accounts, life.id)] == [
        ("max", "account.created", "web", role),
        ("service:scanner", "account.verified", "web", role),
        ("max", "account.paused", "web", ""),
        ("max", "account.disabled", "web", ""),
        ("max", "account.enabled", "web", ""),
        ("max", "account.role_changed", "web", f"{role} to {role}-1"),
        ("max", "account.renamed", "shop", "was web"),
        ("service:scanner", "account.verified", "shop", f"{role}-1"),
        ("max", "account.removed", "shop", "history kept"),
    ]


@pytest.mark.parametrize("operation", ["pause", "disable", "role", "keep"])
def test_ending_tracking_ends_what_is_on_where_it_was_last_confirmed(
    accounts: Accounts, operation: str
) -> None:
    """On since 20 h ago and last listed 18 h ago, yesterday: it counts to 5 min before that.

    With another role nothing of it counts, until that is proved.
    """
    fed = feeder(accounts)
    fed.show(NOW - 18 * HOUR, [listed(instance(1), NOW - 20 * HOUR)])
    (run,) = fed.runs(instance(1))
    assert (run.start, run.end) == (NOW - 20 * HOUR, 0)
    life = Life(accounts, accounts.admin, "999999999999")
    get = pb.GetCloudAccountRequest(id=fed.account_id)
    life.id, life.account = (
        fed.account_id,
        accounts.admin.accounts.GetCloudAccount(get).account,
    )
    life.do(operation)
    (run,) = fed.runs(instance(1))
    confirmed = NOW - 18 * HOUR - 5 * MINUTE
    assert (run.start, run.end) == (NOW - 20 * HOUR, confirmed)
    entry = audit(accounts, fed.account_id)[-1]
    assert "1 run of 1 instance by the change of tracking" in entry.detail
    (span,) = rows(
        accounts, "SELECT affected_from, affected_until FROM audit WHERE id = %s", entry.id
    )
    assert span[0] == (run.start if operation == "role" else confirmed)
    assert NOW <= span[1] <= NOW + MINUTE


@pytest.mark.parametrize("operation", ["verify", "keep"])
def test_what_shows_an_accounts_history_again_is_audited_with_all_of_it(
    accounts: Accounts, operation: str
) -> None:
    """On from 20 h ago to 10 h ago: to be proved again it shows nothing, and then all of it."""
    fed = feeder(accounts)
    on, off = timeline.on("12:00"), timeline.off("12:00")
    ran = on._replace(occurred_at=NOW - 20 * HOUR), off._replace(occurred_at=NOW - 10 * HOUR)
    fed.send([message(event, instance(1), fed.account_id) for event in ran])
    life = Life(accounts, accounts.admin, "999999999999")
    life.id = fed.account_id
    for step in ("role", operation):
        get = pb.GetCloudAccountRequest(id=fed.account_id)
        life.account = accounts.admin.accounts.GetCloudAccount(get).account
        life.do(step)
    spans = rows(
        accounts,
        "SELECT affected_from, affected_until - at < 60000000 FROM audit WHERE account_id = %s"
        " AND action IN ('account.role_changed', 'account.verified', 'account.removed')"
        " ORDER BY id",
        fed.account_id,
    )
    # The first proof showed nothing yet.
    assert spans == [(0, True), (NOW - 20 * HOUR, True), (NOW - 20 * HOUR, True)]


def test_an_admin_gives_an_account_to_another_user(accounts: Accounts) -> None:
    """With its history, a removed one too; its owner may not, and no user may have it twice."""
    max_, mia = accounts.member("max"), accounts.member("mia")
    account = accounts.verified(max_)
    hers = mia.identity.GetCaller(identity_pb2.GetCallerRequest()).user.id

    def give(caller: Caller, owner_id: int) -> pb.CloudAccount:
        wanted = pb.CloudAccount(id=account.id, owner_id=owner_id)
        return caller.accounts.UpdateCloudAccount(
            pb.UpdateCloudAccountRequest(account=wanted)
        ).account

    assert refusal(lambda: give(max_, hers)) == Refusal("PERMISSION_DENIED", "ADMIN_ONLY", ())
    assert refusal(lambda: give(mia, hers)).reason == UNKNOWN
    assert refusal(lambda: give(accounts.admin, 999)).reason == "USER_NOT_FOUND"
    assert refusal(lambda: give(accounts.admin, -1)).fields == ("account.owner_id",)
    pending = accounts.account(mia)
    assert refusal(lambda: give(accounts.admin, hers)).reason == "ACCOUNT_EXISTS"
    mia.accounts.DeleteCloudAccount(
        pb.DeleteCloudAccountRequest(id=pending.id, history=pb.HISTORY_ERASE)
    )
    given = give(accounts.admin, hers)
    assert (given.owner_id, given.state) == (hers, pb.CloudAccount.STATE_ENABLED)
    get = pb.GetCloudAccountRequest(id=account.id)
    assert refusal(lambda: max_.accounts.GetCloudAccount(get)).code == "NOT_FOUND"
    mia.accounts.DeleteCloudAccount(
        pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_KEEP)
    )
    his = max_.identity.GetCaller(identity_pb2.GetCallerRequest()).user.id
    assert give(accounts.admin, his).state == pb.CloudAccount.STATE_DELETED
    assert max_.accounts.GetCloudAccount(get).account.name == "web"
