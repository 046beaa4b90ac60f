"""The scanner and the real accounts: from a role's ARN to runs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, inventory_pb2
from cloudigrade.scanner.v1 import scanner_pb2
from libs.common.aws import AccountSession
from services.scanner.convert import to_moment
from tests.scanner.conftest import Client, Scanners
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller, refusal
from tests.support.fleet import Fleet
from tests.support.local_aws import CUSTOMER, make_role

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

LAUNCHED = datetime(2026, 1, 5, 8, 0, 0, tzinfo=UTC)
State = scanner_pb2.RegionProgress


@pytest.fixture
def member(accounts: Accounts) -> Caller:
    """Give max, a member."""
    return accounts.member()


@pytest.fixture
def client(accounts: Accounts, member: Caller) -> Iterator[Client]:
    """Give max's calls to a scanner of that accounts, by its clock."""
    with ExitStack() as stack:
        scanners = Scanners(stack, accounts.target, SERVICE_TOKENS["scanner"])
        yield scanners.client(scanners.start(accounts.clock), member.token)


@pytest.fixture
def account(accounts: Accounts, member: Caller, local_aws: "LocalAws") -> accounts_pb2.CloudAccount:
    """Register max's account and give it the role that its ExternalId belongs in."""
    account = accounts.account(member, number=CUSTOMER)
    make_role(local_aws, ["ec2:*", "ebs:*"], external_id=account.external_id)
    return account


def test_an_account_goes_from_its_role_to_its_runs(
    client: Client, member: Caller, account: accounts_pb2.CloudAccount, local_aws: "LocalAws"
) -> None:
    """Verified, scanned and derived: a stopped and a running instance have their true runs."""
    fleet = Fleet(local_aws, "eu-west-1")
    image = fleet.register("rhel")
    stopped, running = (fleet.launch(image, LAUNCHED) for _ in range(2))
    fleet.stop(stopped, LAUNCHED + timedelta(minutes=90))

    assert client.verify(account.id).verified
    summary = client.summary(account.id)
    assert {region.region: region.state for region in summary.regions} == {
        "af-south-1": State.STATE_DISABLED,
        "eu-west-1": State.STATE_LISTED,
        "us-east-1": State.STATE_LISTED,
        "us-east-2": State.STATE_LISTED,
    }

    def runs(instance_id: str) -> list[inventory_pb2.Run]:
        request = inventory_pb2.ListRunsRequest(account_id=account.id, instance_id=instance_id)
        return list(member.inventory.ListRuns(request).runs)

    (ended,), (going,) = runs(stopped), runs(running)
    assert to_moment(ended.start_time) == LAUNCHED
    assert to_moment(ended.end_time) == LAUNCHED + timedelta(minutes=90)
    assert to_moment(going.start_time) == LAUNCHED
    assert not going.HasField("end_time")
    assert (going.instance_type, going.vcpus) == ("m5.large", 2)


def test_scanning_again_changes_nothing_that_has_not_changed(
    client: Client, account: accounts_pb2.CloudAccount, local_aws: "LocalAws"
) -> None:
    """The second scan of the same fleet brings no new event and no new image."""
    fleet = Fleet(local_aws, "eu-west-1")
    fleet.launch(fleet.register("rhel"), LAUNCHED)
    assert client.verify(account.id).verified
    first, second = client.summary(account.id), client.summary(account.id)
    assert (first.events_stored, first.images_new) == (1, 1)
    assert (second.events_stored, second.images_new) == (0, 0)


def test_an_account_that_was_never_verified_is_not_scanned(
    client: Client, account: accounts_pb2.CloudAccount, member: Caller
) -> None:
    """It stays PENDING; nothing of it is read."""
    refused = refusal(lambda: client.summary(account.id))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "ACCOUNT_NOT_ENABLED")
    request = accounts_pb2.GetCloudAccountRequest(id=account.id)
    state = member.accounts.GetCloudAccount(request).account.state
    assert state == accounts_pb2.CloudAccount.STATE_PENDING


def allow(aws: "LocalAws", actions: Sequence[str]) -> None:
    """Let the account's role do these things and no others."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam = aws.client("iam", "us-east-1", CUSTOMER)
    iam.put_role_policy(
        RoleName="cloudigrade",
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    iam.close()


def verification(member: Caller, account_id: int) -> accounts_pb2.Verification:
    """Return what the account says of the last try."""
    request = accounts_pb2.GetCloudAccountRequest(id=account_id)
    return member.accounts.GetCloudAccount(request).account.verification


def test_each_permission_that_is_missing_is_named(
    client: Client, member: Caller, account: accounts_pb2.CloudAccount, local_aws: "LocalAws"
) -> None:
    """Each action of deploy/aws/policy.json, left out alone: by the answer and by the account."""
    policy = json.loads((Path(__file__).parents[2] / "deploy/aws/policy.json").read_text())
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert len(actions) == 7
    for left_out in actions:
        allow(local_aws, [action for action in actions if action != left_out])
        answer = client.verify(account.id)
        assert (answer.verified, list(answer.missing_permissions)) == (True, [left_out])
        assert answer.detail == f"The role's policy must allow {left_out}."
        kept = verification(member, account.id)
        assert (list(kept.missing_permissions), kept.detail) == ([left_out], answer.detail)
    allow(local_aws, actions)
    assert client.verify(account.id).detail == ""
    assert list(verification(member, account.id).missing_permissions) == []


def test_a_role_that_is_gone_or_no_longer_trusts_us_is_told(
    client: Client, member: Caller, account: accounts_pb2.CloudAccount, local_aws: "LocalAws"
) -> None:
    """At once, though AWS would let a session from before go on; what to look at is said."""
    assert client.verify(account.id).verified
    iam = local_aws.client("iam", "us-east-1", CUSTOMER)
    trust = iam.get_role(RoleName="cloudigrade")["Role"]["AssumeRolePolicyDocument"]
    other = json.dumps(trust).replace(account.external_id, "another-external-id")
    iam.update_assume_role_policy(RoleName="cloudigrade", PolicyDocument=other)
    answer = client.verify(account.id)
    assert (answer.verified, list(answer.missing_permissions)) == (False, ["sts:AssumeRole"])
    assert "it must exist" in answer.detail
    assert "with the account's ExternalId" in answer.detail
    assert verification(member, account.id).detail == answer.detail
    iam.delete_role_policy(RoleName="cloudigrade", PolicyName="read")
    iam.delete_role(RoleName="cloudigrade")
    gone = client.verify(account.id)
    assert (gone.verified, gone.detail) == (False, answer.detail)
    iam.close()


def test_a_role_that_acts_in_another_account_proves_nothing(
    client: Client,
    member: Caller,
    account: accounts_pb2.CloudAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both numbers are named; the account stays PENDING."""
    monkeypatch.setattr(AccountSession, "account_id", lambda _self: "999999999999")
    answer = client.verify(account.id)
    assert not answer.verified
    assert "belongs to AWS account 999999999999, not to 222222222222" in answer.detail
    request = accounts_pb2.GetCloudAccountRequest(id=account.id)
    state = member.accounts.GetCloudAccount(request).account.state
    assert state == accounts_pb2.CloudAccount.STATE_PENDING


def test_an_account_that_another_has_proved_says_so(
    client: Client,
    accounts: Accounts,
    member: Caller,
    account: accounts_pb2.CloudAccount,
) -> None:
    """ALREADY_EXISTS to who proves it too, and the account keeps why."""
    accounts.verified(accounts.member("mia"), number=CUSTOMER)
    refused = refusal(lambda: client.verify(account.id))
    assert (refused.code, refused.reason) == ("ALREADY_EXISTS", "ACCOUNT_EXISTS")
    kept = verification(member, account.id)
    assert (kept.verified, kept.detail.split(" has ")[0]) == (False, "Another user of cloudigrade")
