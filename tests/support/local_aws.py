"""A local AWS over HTTP, and an account in it with a role for cloudigrade."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

OPERATOR = "111111111111"
CUSTOMER = "222222222222"
EXTERNAL_ID = "3b1a5c1e-9b0c-4c64-8f0e-5d2d7a1f9c11"
ROLE_ARN = f"arn:aws:iam::{CUSTOMER}:role/cloudigrade"


@pytest.fixture(scope="session")
def local_aws_server() -> "Iterator[LocalAws]":
    """Start one server for the whole run: moto keeps its state in the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)  # moto makes boto3 sessions when imported
        # Here and not above: importing moto takes seconds, and few tests need it.
        from demo.local_aws.server import LocalAws  # noqa: PLC0415
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def local_aws(
    local_aws_server: "LocalAws", monkeypatch: pytest.MonkeyPatch
) -> "Iterator[LocalAws]":
    """Give an empty local AWS, to which boto3's default chain leads as well."""
    local_aws_server.reset()
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in local_aws_server.environment().items():
        monkeypatch.setenv(name, value)
    yield local_aws_server
    local_aws_server.reset()


@dataclass(frozen=True, slots=True)
class Role:
    """A role that the operator's account may assume."""

    arn: str
    external_id: str


@pytest.fixture
def customer_role(local_aws: "LocalAws") -> Role:
    """Give a role in the customer's account that may do everything in EC2 and EBS."""
    return make_role(local_aws, ["ec2:*", "ebs:*"])


def make_role(
    aws: "LocalAws",
    actions: list[str],
    *,
    account_id: str = CUSTOMER,
    partition: str = "aws",
    external_id: str = EXTERNAL_ID,
) -> Role:
    """Make the role `cloudigrade` in an account, with what it may do."""
    region = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}[partition]
    iam = aws.client("iam", region, account_id)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"AWS": f"arn:{partition}:iam::{OPERATOR}:root"},
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    }
    arn = iam.create_role(RoleName="cloudigrade", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(
        RoleName="cloudigrade", PolicyName="read", PolicyDocument=json.dumps(policy)
    )
    iam.close()
    return Role(arn["Role"]["Arn"], external_id)
