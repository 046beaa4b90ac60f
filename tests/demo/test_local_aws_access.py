"""The local AWS knows its callers, roles and Regions, and fails when it is told to."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from demo.disks import BLOCK_BYTES, Disk
from demo.local_aws.server import LocalAws
from tests.support.local_aws import CUSTOMER, EXTERNAL_ID, OPERATOR, make_role

DEPLOY = Path(__file__).parents[2] / "deploy" / "aws"
ROLE = f"arn:aws:iam::{CUSTOMER}:role/cloudigrade"


def client(aws: LocalAws, service: str, key: str, secret: str, token: str | None = None) -> Any:
    """Make a client with given credentials."""
    return Session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )


def assumed(aws: LocalAws, service: str) -> Any:
    """Make a client that acts as the customer's role."""
    credentials = aws.client("sts", "us-east-1", OPERATOR).assume_role(
        RoleArn=ROLE, RoleSessionName="test", ExternalId=EXTERNAL_ID
    )["Credentials"]
    return client(
        aws,
        service,
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
    )


def code_of(refused: "pytest.ExceptionInfo[ClientError]") -> tuple[str, int]:
    """Give AWS's word and the HTTP status."""
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("service", "call", "expected"),
    [
        ("ec2", lambda ec2: ec2.describe_instances(), ("AuthFailure", 401)),
        ("sts", lambda sts: sts.get_caller_identity(), ("InvalidClientTokenId", 403)),
        (
            "ebs",
            lambda ebs: ebs.list_snapshot_blocks(SnapshotId="snap-01234567"),
            ("UnrecognizedClientException", 403),
        ),
    ],
)
def test_an_unknown_key_is_nobodys(
    local_aws: LocalAws, service: str, call: Any, expected: tuple[str, int]
) -> None:
    """Each service says in its own words that it does not know the caller."""
    stranger = client(local_aws, service, "AKIAIOSFODNN7EXAMPLE", "secret")
    with pytest.raises(ClientError) as refused:
        call(stranger)
    assert code_of(refused) == expected


def test_a_role_is_assumed_in_its_own_account(local_aws: LocalAws) -> None:
    """What the role does happens in the customer's account."""
    make_role(local_aws, ["ec2:*"])
    identity = assumed(local_aws, "sts").get_caller_identity()
    assert identity["Account"] == CUSTOMER
    assert identity["Arn"] == f"arn:aws:sts::{CUSTOMER}:assumed-role/cloudigrade/test"


@pytest.mark.parametrize(
    ("caller", "external_id"),
    [(OPERATOR, "wrong"), (OPERATOR, None), ("444444444444", EXTERNAL_ID)],
)
def test_trust_is_checked(local_aws: LocalAws, caller: str, external_id: str | None) -> None:
    """A wrong or missing ExternalId, or another principal, is AccessDenied."""
    make_role(local_aws, ["ec2:*"])
    given = {"ExternalId": external_id} if external_id else {}
    with pytest.raises(ClientError) as refused:
        local_aws.client("sts", "us-east-1", caller).assume_role(
            RoleArn=ROLE, RoleSessionName="test", **given
        )
    assert code_of(refused) == ("AccessDenied", 403)
    assert "sts:AssumeRole on resource: " + ROLE in str(refused.value)


def test_a_role_may_do_what_its_policy_allows_and_no_more(local_aws: LocalAws) -> None:
    """EC2 and EBS say which action the role lacks, each in its own words."""
    make_role(local_aws, ["ec2:Describe*"])
    ec2, ebs = assumed(local_aws, "ec2"), assumed(local_aws, "ebs")
    assert ec2.describe_instances()["Reservations"] == []
    with pytest.raises(ClientError) as no_launch:
        ec2.run_instances(ImageId="ami-01234567", MinCount=1, MaxCount=1)
    with pytest.raises(ClientError) as no_read:
        ebs.list_snapshot_blocks(SnapshotId="snap-01234567")
    assert code_of(no_launch) == ("UnauthorizedOperation", 403)
    assert code_of(no_read) == ("AccessDeniedException", 403)
    assert (
        f"User: arn:aws:sts::{CUSTOMER}:assumed-role/cloudigrade/test is not authorized to "
        "perform: ebs:ListSnapshotBlocks because no identity-based policy allows the "
        "ebs:ListSnapshotBlocks action"
    ) in str(no_read.value)


def test_the_role_of_deploy_is_enough_to_find_and_read(local_aws: LocalAws) -> None:
    """policy.json and trust.json let the role describe and read disks, and do nothing else."""
    trust = (DEPLOY / "trust.json").read_text()
    trust = trust.replace("CLOUDIGRADE_PRINCIPAL", f"arn:aws:iam::{OPERATOR}:root")
    trust = trust.replace("EXTERNAL_ID", EXTERNAL_ID)
    iam = local_aws.client("iam", "us-east-1", CUSTOMER)
    iam.create_role(RoleName="cloudigrade", AssumeRolePolicyDocument=trust)
    iam.put_role_policy(
        RoleName="cloudigrade",
        PolicyName="read",
        PolicyDocument=(DEPLOY / "policy.json").read_text(),
    )
    owner = local_aws.client("ebs", "us-east-1", CUSTOMER)
    snapshot_id = Disk(1, {0: b"x" * BLOCK_BYTES}).upload(owner, "")
    ec2, ebs = assumed(local_aws, "ec2"), assumed(local_aws, "ebs")
    ec2.describe_regions()
    ec2.describe_instances()
    ec2.describe_instance_types(InstanceTypes=["m5.large"])
    ec2.describe_images(Owners=["self"])
    [block] = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=block["BlockToken"])[
        "BlockData"
    ].read()
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.create_volume(AvailabilityZone="us-east-1a", SnapshotId=snapshot_id)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        ebs.start_snapshot(VolumeSize=1)


def test_the_policy_of_deploy_only_reads() -> None:
    """No action of the policy changes anything, and disks are read from snapshots alone."""
    policy = json.loads((DEPLOY / "policy.json").read_text())
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    verbs = {action.partition(":")[2].rstrip("s")[:3] for action in actions}
    assert verbs == {"Des", "Get", "Lis"}
    assert policy["Statement"][1]["Resource"] == "arn:aws:ec2:*::snapshot/*"


def test_an_expired_session_is_refused_in_each_services_words(local_aws: LocalAws) -> None:
    """EC2 says RequestExpired, EBS ExpiredTokenException."""
    make_role(local_aws, ["ec2:*", "ebs:*"])
    ec2, ebs = assumed(local_aws, "ec2"), assumed(local_aws, "ebs")
    ec2.describe_instances()
    local_aws.expire_sessions()
    with pytest.raises(ClientError) as by_ec2:
        ec2.describe_instances()
    with pytest.raises(ClientError) as by_ebs:
        ebs.list_snapshot_blocks(SnapshotId="snap-01234567")
    assert [code_of(by_ec2)[0], code_of(by_ebs)[0]] == ["RequestExpired", "ExpiredTokenException"]


def test_a_planned_fault_comes_so_often_and_where_it_is_planned(local_aws: LocalAws) -> None:
    """The fault strikes twice in its Region, and nowhere else."""
    east, west = (
        local_aws.client("ec2", region, CUSTOMER) for region in ("us-east-1", "eu-west-1")
    )
    local_aws.fail("ec2:DescribeInstances", "Blocked", region="us-east-1", times=2)
    west.describe_instances()
    for _ in range(2):
        with pytest.raises(ClientError, match="Blocked"):
            east.describe_instances()
    east.describe_instances()
    assert local_aws.calls["ec2:DescribeInstances"] == 4


def test_a_delayed_action_takes_its_time(local_aws: LocalAws) -> None:
    """A delay is added to each call of the action."""
    ec2 = local_aws.client("ec2", "us-east-1", CUSTOMER)
    local_aws.delay("ec2:DescribeRegions", 0.2)
    began = time.monotonic()
    ec2.describe_regions()
    assert time.monotonic() - began >= 0.2


def test_a_reset_forgets_everything(local_aws: LocalAws) -> None:
    """Keys, snapshots, faults and counts are gone."""
    before = local_aws.client("ebs", "us-east-1", CUSTOMER)
    snapshot_id = before.start_snapshot(VolumeSize=1)["SnapshotId"]
    local_aws.fail("ebs:ListSnapshotBlocks", "Blocked")
    local_aws.reset()
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        before.list_snapshot_blocks(SnapshotId=snapshot_id)
    after = local_aws.client("ebs", "us-east-1", CUSTOMER)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        after.list_snapshot_blocks(SnapshotId=snapshot_id)


def test_it_listens_on_this_machine_only(local_aws: LocalAws) -> None:
    """The address is 127.0.0.1, on a port that was free."""
    assert local_aws.url.startswith("http://127.0.0.1:")
    assert local_aws.environment()["AWS_ENDPOINT_URL"] == local_aws.url


def test_what_does_not_run_has_no_address() -> None:
    """A local AWS that was not started says so."""
    with pytest.raises(RuntimeError, match="does not run"):
        _ = LocalAws().url
