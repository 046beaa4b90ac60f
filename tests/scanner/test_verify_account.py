"""VerifyAccount: whether the role is the account's, and what it still refuses."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from cloudigrade.scanner.v1 import scanner_pb2
from tests.scanner.conftest import Client, Scanners
from tests.support.accounts_double import AccountsDouble
from tests.support.local_aws import Role, make_role

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws


@pytest.fixture
def client(scanners: Scanners) -> Client:
    """Give max's calls to a scanner."""
    return scanners.client(scanners.start())


def test_a_role_that_allows_everything_is_verified(
    client: Client, double: AccountsDouble, customer_role: Role
) -> None:
    """The role acts in the account that it names, and nothing is missing."""
    account = double.add(customer_role.arn, customer_role.external_id)
    answer = client.verify(account.id)
    assert (answer.verified, answer.detail, list(answer.missing_permissions)) == (True, "", [])
    assert account.verification is not None
    assert account.verification.observed_aws_account_id == "222222222222"
    assert account.verification.role_arn == customer_role.arn


def test_missing_permissions_are_named(
    client: Client, double: AccountsDouble, local_aws: "LocalAws"
) -> None:
    """The account is verified all the same, and its owner learns what to allow."""
    role = make_role(local_aws, ["ec2:DescribeInstances", "ec2:DescribeRegions", "ebs:List*"])
    answer = client.verify(double.add(role.arn, role.external_id).id)
    assert answer.verified
    assert list(answer.missing_permissions) == [
        "ec2:DescribeImages",
        "ec2:DescribeSnapshots",
        "ec2:DescribeInstanceTypes",
        "ebs:GetSnapshotBlock",
    ]
    assert "must allow ec2:DescribeImages, ec2:DescribeSnapshots" in answer.detail


def test_the_policy_that_we_ask_for_is_enough_and_no_more(
    client: Client, double: AccountsDouble, local_aws: "LocalAws"
) -> None:
    """Every action of deploy/aws/policy.json is tried, and with them all nothing is missing."""
    policy = json.loads((Path(__file__).parents[2] / "deploy/aws/policy.json").read_text())
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    enough = make_role(local_aws, actions)
    assert client.verify(double.add(enough.arn, enough.external_id).id).missing_permissions == []
    nothing = make_role(local_aws, ["sts:GetCallerIdentity"], account_id="333333333333")
    answer = client.verify(double.add(nothing.arn, nothing.external_id).id)
    assert sorted(answer.missing_permissions) == sorted(actions)


def test_a_role_that_demands_another_external_id_is_not_verified(
    client: Client, double: AccountsDouble, customer_role: Role
) -> None:
    """A refusal is an answer that says what to do; accounts learns of no account id."""
    account = double.add(customer_role.arn, "not the one that the role demands")
    answer = client.verify(account.id)
    assert not answer.verified
    assert list(answer.missing_permissions) == ["sts:AssumeRole"]
    assert "trust policy" in answer.detail
    assert account.verification is not None
    assert account.verification.observed_aws_account_id == ""


def test_an_aws_account_that_somebody_else_has_proved_is_refused(
    client: Client, double: AccountsDouble, customer_role: Role
) -> None:
    """ALREADY_EXISTS comes through from accounts."""
    double.add(customer_role.arn, customer_role.external_id, owner_id=3)
    account = double.add(customer_role.arn, customer_role.external_id)
    with pytest.raises(grpc.RpcError) as caught:
        client.verify(account.id)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_aws_that_cannot_answer_is_unavailable(
    client: Client, double: AccountsDouble, customer_role: Role, local_aws: "LocalAws"
) -> None:
    """Nothing is concluded about the role, and nothing is recorded."""
    local_aws.fail("sts:AssumeRole", "InternalFailure", status=500)
    account = double.add(customer_role.arn, customer_role.external_id)
    with pytest.raises(grpc.RpcError) as caught:
        client.verify(account.id)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert account.verification is None


def test_only_the_accounts_owner_may_verify_it(
    scanners: Scanners, double: AccountsDouble, customer_role: Role
) -> None:
    """For others it does not exist."""
    account = double.add(customer_role.arn, customer_role.external_id)
    with pytest.raises(grpc.RpcError) as caught:
        scanners.client(scanners.start(), "eve-token").verify(account.id)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_what_is_not_built_yet_says_so(client: Client) -> None:
    """BackfillAccount and ReplayLogs answer UNIMPLEMENTED."""
    with pytest.raises(grpc.RpcError) as backfill:
        list(client.stub.BackfillAccount(scanner_pb2.BackfillAccountRequest(account_id=1)))
    with pytest.raises(grpc.RpcError) as replay:
        list(client.stub.ReplayLogs(scanner_pb2.ReplayLogsRequest(account_id=1)))
    assert backfill.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert replay.value.code() is grpc.StatusCode.UNIMPLEMENTED
