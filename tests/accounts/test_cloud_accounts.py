"""The life of a cloud account."""

import threading
from datetime import timedelta

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cloudigrade.accounts.v1 import accounts_pb2 as pb
from cloudigrade.accounts.v1 import schedule_pb2
from tests.support.accounts import Accounts, Caller, Refusal, refusal
from tests.support.statuses import told

UUID = "9f4d3ca6-35bb-4b8e-8d32-7b5ac1fa31a5"
ROLE = "arn:aws:iam::123456789012:role/cloudigrade"
NO_ACCOUNT = Refusal("NOT_FOUND", "ACCOUNT_NOT_FOUND", ())
EXISTS = Refusal("ALREADY_EXISTS", "ACCOUNT_EXISTS", ())


def state(caller: Caller, account_id: int) -> str:
    """Name the state in which the caller sees an account."""
    account = caller.accounts.GetCloudAccount(pb.GetCloudAccountRequest(id=account_id)).account
    return pb.CloudAccount.State.Name(account.state).removeprefix("STATE_")


def listed(caller: Caller, *, deleted: bool = False) -> list[int]:
    """Give the ids of the accounts that the caller sees."""
    answer = caller.accounts.ListCloudAccounts(pb.ListCloudAccountsRequest(show_deleted=deleted))
    return [account.id for account in answer.accounts]


def test_a_new_account_is_pending_with_a_random_external_id(accounts: Accounts) -> None:
    """The server takes number and partition from the ARN, and makes an ExternalId for each."""
    member = accounts.member()
    first = accounts.account(member, "123456789012", "web")
    second = accounts.account(member, "210987654321", "shop")
    assert (first.aws_account_id, first.partition, first.name) == ("123456789012", "aws", "web")
    assert first.state == pb.CloudAccount.STATE_PENDING
    assert not first.HasField("verify_time")
    assert not first.HasField("verification")
    assert len(first.external_id) >= 32
    assert first.external_id != second.external_id


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_all_three_partitions_are_known(accounts: Accounts, partition: str) -> None:
    """A role of each partition can be registered."""
    made = accounts.admin.accounts.CreateCloudAccount(
        pb.CreateCloudAccountRequest(
            name="x", role_arn=f"arn:{partition}:iam::123456789012:role/path/cloudigrade"
        )
    ).account
    assert made.partition == partition


@pytest.mark.parametrize(
    ("name", "role_arn", "request_id", "fields"),
    [
        ("", ROLE, "", ("name",)),
        ("x" * 201, ROLE, "", ("name",)),
        ("a\nb", ROLE, "", ("name",)),
        ("x", "", "", ("role_arn",)),
        ("x", "arn:aws:iam::12345678901:role/short", "", ("role_arn",)),
        ("x", "arn:aws:iam::123456789012:user/somebody", "", ("role_arn",)),
        ("x", "arn:aws-iso:iam::123456789012:role/secret", "", ("role_arn",)),
        ("x", ROLE, "not-a-uuid", ("request_id",)),
        ("", "x", "y", ("name", "role_arn", "request_id")),
    ],
)
def test_a_bad_registration_is_refused_with_its_fields(
    accounts: Accounts, name: str, role_arn: str, request_id: str, fields: tuple[str, ...]
) -> None:
    """Every wrong field is named, and nothing is registered."""
    call = pb.CreateCloudAccountRequest(name=name, role_arn=role_arn, request_id=request_id)
    assert refusal(lambda: accounts.admin.accounts.CreateCloudAccount(call)) == Refusal(
        "INVALID_ARGUMENT", "INVALID_REQUEST", fields
    )
    assert listed(accounts.admin) == []


def test_repeating_a_registration_gives_the_first_account(accounts: Accounts) -> None:
    """The same request_id gives the same account; without it the second one is a duplicate."""
    call = pb.CreateCloudAccountRequest(name="web", role_arn=ROLE, request_id=UUID)
    first = accounts.admin.accounts.CreateCloudAccount(call).account
    assert accounts.admin.accounts.CreateCloudAccount(call).account == first
    call.request_id = ""
    assert refusal(lambda: accounts.admin.accounts.CreateCloudAccount(call)) == EXISTS
    call.request_id = UUID
    call.name = "other"
    assert refusal(lambda: accounts.admin.accounts.CreateCloudAccount(call)).reason == (
        "REQUEST_ID_REUSED"
    )


def test_whoever_proves_an_account_first_has_it(accounts: Accounts) -> None:
    """Two members register one AWS account; one proves it, and the other learns it by proving."""
    max_, mia = accounts.member("max"), accounts.member("mia")
    his, hers = accounts.account(max_), accounts.account(mia)
    accounts.verify(hers)
    assert state(mia, hers.id) == "ENABLED"
    assert refusal(lambda: accounts.verify(his)) == EXISTS
    told = max_.accounts.GetCloudAccount(pb.GetCloudAccountRequest(id=his.id)).account
    assert told.state == pb.CloudAccount.STATE_PENDING
    assert not told.verification.verified
    assert told.verification.detail.startswith("Another user of cloudigrade has proved this")
    assert not told.HasField("verify_time")


def test_registering_tells_nobody_that_an_account_is_proved(accounts: Accounts) -> None:
    """A stranger's registration of it looks in every way like that of one that nobody has."""
    accounts.verified(accounts.member("max"), "123456789012")
    eve = accounts.member("eve")
    proved, free = (accounts.account(eve, number) for number in ("123456789012", "999999999999"))
    for each in (proved, free):
        each.ClearField("id")
        each.ClearField("external_id")
    proved.role_arn = proved.role_arn.replace("123456789012", "999999999999")
    proved.aws_account_id = free.aws_account_id
    assert proved == free
    assert refusal(lambda: accounts.account(eve, "123456789012")) == EXISTS


def test_of_many_who_prove_an_account_at_one_moment_one_has_it(accounts: Accounts) -> None:
    """Six members' proofs arrive together: one is ENABLED, five are refused and stay PENDING."""
    made = [(caller, accounts.account(caller)) for caller in map(accounts.member, "abcdef")]
    together = threading.Barrier(len(made))
    outcomes: list[str] = []

    def prove(account: pb.CloudAccount) -> None:
        together.wait()
        try:
            outcomes.append(pb.CloudAccount.State.Name(accounts.verify(account).state))
        except grpc.RpcError as error:
            outcomes.append(told(error).reason)

    threads = [threading.Thread(target=prove, args=(account,)) for _, account in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["ACCOUNT_EXISTS"] * 5 + ["STATE_ENABLED"]
    states = [state(caller, account.id) for caller, account in made]
    assert sorted(states) == ["ENABLED"] + ["PENDING"] * 5


def test_a_registration_repeated_at_one_moment_makes_one_account(accounts: Accounts) -> None:
    """Eight calls with one request_id at once all get the same account."""
    call = pb.CreateCloudAccountRequest(name="web", role_arn=ROLE, request_id=UUID)
    ids: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: ids.append(accounts.admin.accounts.CreateCloudAccount(call).account.id)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_strangers_see_nothing_and_change_nothing(accounts: Accounts) -> None:
    """For another member every RPC on the account is NOT_FOUND; the admin sees it."""
    owner, stranger = accounts.member("max"), accounts.member("mia")
    account = accounts.verified(owner)
    update = pb.CloudAccount(id=account.id, name="stolen")
    for call in (
        lambda: stranger.accounts.GetCloudAccount(pb.GetCloudAccountRequest(id=account.id)),
        lambda: stranger.accounts.UpdateCloudAccount(pb.UpdateCloudAccountRequest(account=update)),
        lambda: stranger.accounts.EnableCloudAccount(pb.EnableCloudAccountRequest(id=account.id)),
        lambda: stranger.accounts.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id)),
        lambda: stranger.accounts.DisableCloudAccount(pb.DisableCloudAccountRequest(id=account.id)),
        lambda: stranger.accounts.DeleteCloudAccount(
            pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_ERASE)
        ),
        lambda: stranger.accounts.DeleteCloudAccount(
            pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_KEEP)
        ),
        lambda: stranger.accounts.GetCloudAccount(pb.GetCloudAccountRequest(id=account.id + 1)),
    ):
        assert refusal(call) == NO_ACCOUNT
    assert listed(stranger) == []
    assert listed(owner) == listed(accounts.admin) == [account.id]
    assert (
        owner.accounts.GetCloudAccount(pb.GetCloudAccountRequest(id=account.id)).account == account
    )


def test_accounts_are_listed_in_pages(accounts: Accounts) -> None:
    """Pages of one give the caller's accounts in the order of registering, and end."""
    member = accounts.member()
    made = [accounts.account(member, f"{number:012}").id for number in range(3)]
    seen: list[int] = []
    token = ""
    for _ in range(3):
        answer = member.accounts.ListCloudAccounts(
            pb.ListCloudAccountsRequest(page_size=1, page_token=token)
        )
        seen += [account.id for account in answer.accounts]
        token = answer.next_page_token
    assert seen == made
    assert token == ""


def test_a_token_of_another_list_is_refused(accounts: Accounts) -> None:
    """A page token goes with the arguments that it was given for."""
    member = accounts.member()
    for number in range(2):
        accounts.account(member, f"{number:012}")
    token = member.accounts.ListCloudAccounts(
        pb.ListCloudAccountsRequest(page_size=1)
    ).next_page_token
    other = pb.ListCloudAccountsRequest(page_size=1, page_token=token, show_deleted=True)
    assert refusal(lambda: member.accounts.ListCloudAccounts(other)) == Refusal(
        "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", ("page_token",)
    )


def test_an_update_changes_what_the_mask_names(accounts: Accounts) -> None:
    """With a mask only its fields change, without one those that are set."""
    member = accounts.member()
    account = accounts.verified(member)

    def update(mask: FieldMask | None, name: str = "", role_arn: str = "") -> pb.CloudAccount:
        wanted = pb.CloudAccount(id=account.id, name=name, role_arn=role_arn)
        return member.accounts.UpdateCloudAccount(
            pb.UpdateCloudAccountRequest(account=wanted, update_mask=mask)
        ).account

    assert update(FieldMask(paths=["name"]), name="new", role_arn="ignored").name == "new"
    assert update(None, name="newer").name == "newer"
    unchanged = update(FieldMask(paths=["role_arn"]), role_arn=account.role_arn)
    assert unchanged.state == pb.CloudAccount.STATE_ENABLED
    moved = update(None, role_arn="arn:aws:iam::123456789012:role/other")
    assert (moved.role_arn, moved.name) == ("arn:aws:iam::123456789012:role/other", "newer")
    assert moved.state == pb.CloudAccount.STATE_PENDING
    assert accounts.verify(moved).state == pb.CloudAccount.STATE_ENABLED


@pytest.mark.parametrize(
    ("paths", "account", "fields"),
    [
        (["external_id"], pb.CloudAccount(external_id="mine"), ("update_mask",)),
        (["state"], pb.CloudAccount(), ("update_mask",)),
        (["name"], pb.CloudAccount(), ("account.name",)),
        (["role_arn"], pb.CloudAccount(role_arn="x"), ("account.role_arn",)),
        (
            ["role_arn"],
            pb.CloudAccount(role_arn="arn:aws:iam::999999999999:role/x"),
            ("account.role_arn",),
        ),
        (
            ["role_arn"],
            pb.CloudAccount(role_arn="arn:aws-cn:iam::123456789012:role/x"),
            ("account.role_arn",),
        ),
        (["*", "name"], pb.CloudAccount(name=""), ("update_mask", "account.name")),
    ],
)
def test_a_bad_update_is_refused_and_changes_nothing(
    accounts: Accounts, paths: list[str], account: pb.CloudAccount, fields: tuple[str, ...]
) -> None:
    """Other fields, bad values and another AWS account's role are named, and all stays."""
    before = accounts.account(accounts.admin)
    account.id = before.id
    call = pb.UpdateCloudAccountRequest(account=account, update_mask=FieldMask(paths=paths))
    assert refusal(lambda: accounts.admin.accounts.UpdateCloudAccount(call)).fields == fields
    get = pb.GetCloudAccountRequest(id=before.id)
    assert accounts.admin.accounts.GetCloudAccount(get).account == before


def test_states_follow_one_another_as_stated(accounts: Accounts) -> None:
    """PENDING goes nowhere by itself; ENABLED, PAUSED and DISABLED follow one another."""
    member = accounts.member()
    account = accounts.account(member)
    enable = lambda: member.accounts.EnableCloudAccount(pb.EnableCloudAccountRequest(id=account.id))  # noqa: E731  # three short names
    pause = lambda: member.accounts.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))  # noqa: E731  # the same
    disable = lambda: member.accounts.DisableCloudAccount(  # noqa: E731  # the same
        pb.DisableCloudAccountRequest(id=account.id)
    )
    pending = Refusal("FAILED_PRECONDITION", "ACCOUNT_PENDING", ())
    not_enabled = Refusal("FAILED_PRECONDITION", "ACCOUNT_NOT_ENABLED", ())
    assert refusal(enable) == refusal(disable) == pending
    assert refusal(pause) == not_enabled
    accounts.verify(account)
    seen = []
    for call in (enable, pause, pause, enable, disable, disable, enable, pause, disable):
        call()
        seen.append(state(member, account.id))
    assert seen == [
        "ENABLED",
        "PAUSED",
        "PAUSED",
        "ENABLED",
        "DISABLED",
        "DISABLED",
        "ENABLED",
        "PAUSED",
        "DISABLED",
    ]
    assert refusal(pause) == not_enabled


def test_removing_needs_a_word_on_the_history(accounts: Accounts) -> None:
    """Without HISTORY_KEEP or HISTORY_ERASE nothing is removed."""
    account = accounts.verified(accounts.admin)
    call = pb.DeleteCloudAccountRequest(id=account.id)
    assert refusal(lambda: accounts.admin.accounts.DeleteCloudAccount(call)) == Refusal(
        "INVALID_ARGUMENT", "INVALID_REQUEST", ("history",)
    )
    assert state(accounts.admin, account.id) == "ENABLED"


def test_a_removed_account_keeps_its_history_and_frees_its_number(accounts: Accounts) -> None:
    """With HISTORY_KEEP it stays visible as DELETED, takes no change, and may be had by another."""
    owner = accounts.member("max")
    account = accounts.verified(owner)
    owner.accounts.DeleteCloudAccount(
        pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_KEEP)
    )
    assert listed(owner) == []
    assert listed(owner, deleted=True) == [account.id]
    assert state(owner, account.id) == "DELETED"
    enable = pb.EnableCloudAccountRequest(id=account.id)
    with pytest.raises(grpc.RpcError, match="was removed: its history can be read") as caught:
        owner.accounts.EnableCloudAccount(enable)
    assert told(caught.value).reason == NO_ACCOUNT.reason
    assert refusal(lambda: accounts.verify(account)) == NO_ACCOUNT
    again = accounts.verified(accounts.member("mia"))
    assert again.state == pb.CloudAccount.STATE_ENABLED
    owner.accounts.DeleteCloudAccount(
        pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_ERASE)
    )
    assert listed(owner, deleted=True) == []


def test_removing_what_was_never_proved_keeps_nothing(accounts: Accounts) -> None:
    """An account without any history is gone, whatever is said about its history."""
    account = accounts.account(accounts.admin)
    accounts.admin.accounts.DeleteCloudAccount(
        pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_KEEP)
    )
    assert listed(accounts.admin, deleted=True) == []
    accounts.account(accounts.admin)


def test_tracking_ends_and_begins_with_the_state(accounts: Accounts) -> None:
    """Pausing, disabling meanwhile and enabling again make one gap; removing makes another."""
    account = accounts.verified(accounts.admin)
    call = accounts.admin.accounts
    accounts.clock.advance(timedelta(hours=1))
    call.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))
    accounts.clock.advance(timedelta(hours=1))
    call.DisableCloudAccount(pb.DisableCloudAccountRequest(id=account.id))
    accounts.clock.advance(timedelta(hours=1))
    call.EnableCloudAccount(pb.EnableCloudAccountRequest(id=account.id))
    accounts.clock.advance(timedelta(hours=1))
    call.DeleteCloudAccount(pb.DeleteCloudAccountRequest(id=account.id, history=pb.HISTORY_KEEP))
    begin = account.create_time.ToMicroseconds()
    hour = 3_600_000_000
    with accounts.database.transaction() as cursor:
        cursor.execute("SELECT ended_at, resumed_at FROM tracking_gap ORDER BY ended_at")
        assert cursor.fetchall() == [(begin + hour, begin + 3 * hour), (begin + 4 * hour, 0)]


def test_verifying_reports_what_it_found(accounts: Accounts) -> None:
    """A role that gives another number, or none, leaves the account PENDING and says why."""
    owner = accounts.member()
    account = accounts.account(owner)
    scanner = accounts.service("scanner")

    def verify(**fields: object) -> pb.CloudAccount:
        return scanner.schedule.RecordVerification(
            schedule_pb2.RecordVerificationRequest(
                account_id=account.id,
                role_arn=str(fields.pop("role_arn", account.role_arn)),
                **fields,  # type: ignore[arg-type]  # the fields of the message
            )
        ).account

    denied = verify(detail="sts:AssumeRole was denied", missing_permissions=["sts:AssumeRole"])
    assert denied.state == pb.CloudAccount.STATE_PENDING
    assert not denied.verification.verified
    assert denied.verification.detail == "sts:AssumeRole was denied"
    assert list(denied.verification.missing_permissions) == ["sts:AssumeRole"]
    other = verify(observed_aws_account_id="999999999999")
    assert other.state == pb.CloudAccount.STATE_PENDING
    assert "belongs to AWS account 999999999999, not to 123456789012" in other.verification.detail
    good = verify(
        observed_aws_account_id="123456789012", missing_permissions=["ebs:GetSnapshotBlock"]
    )
    assert good.state == pb.CloudAccount.STATE_ENABLED
    assert good.verification.verified
    assert list(good.verification.missing_permissions) == ["ebs:GetSnapshotBlock"]
    assert good.HasField("verify_time")
    assert refusal(
        lambda: verify(
            role_arn="arn:aws:iam::123456789012:role/old", observed_aws_account_id="123456789012"
        )
    ) == Refusal("FAILED_PRECONDITION", "ROLE_CHANGED", ())
    assert refusal(lambda: verify(role_arn="")).fields == ("role_arn",)


def test_verifying_again_does_not_undo_a_pause(accounts: Accounts) -> None:
    """A paused account that is verified again stays paused."""
    account = accounts.verified(accounts.admin)
    accounts.admin.accounts.PauseCloudAccount(pb.PauseCloudAccountRequest(id=account.id))
    assert accounts.verify(account).state == pb.CloudAccount.STATE_PAUSED
