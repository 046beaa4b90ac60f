"""Sessions in customers' accounts, against a local AWS over HTTP."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.session import Session

from demo.local_aws.server import LocalAws
from libs.common.aws import HOME_REGIONS, AwsConfig, AwsSessions
from libs.common.aws_errors import (
    AwsAccessDenied,
    AwsCredentialsExpired,
    AwsRefused,
    AwsRegionDisabled,
    AwsThrottled,
    AwsUnreachable,
    classified,
    classify,
)
from libs.common.config import load
from libs.common.statuses import code_of
from tests.support.local_aws import CUSTOMER, EXTERNAL_ID, ROLE_ARN, Role, make_role


@pytest.fixture
def sessions(local_aws: LocalAws) -> Iterator[AwsSessions]:
    """Give sessions that do not retry, so that a refusal comes at once."""
    with AwsSessions(AwsConfig(max_attempts=1)) as made:
        yield made


def test_a_session_acts_in_the_account_of_its_role(
    sessions: AwsSessions, customer_role: Role
) -> None:
    """GetCallerIdentity through the role names the customer's account, not the operator's."""
    account = sessions.for_role(customer_role.arn, customer_role.external_id)
    assert account.account_id() == CUSTOMER
    assert sessions.own_client("sts", "us-east-1").get_caller_identity()["Account"] == (
        "111111111111"
    )


def test_a_session_is_named_in_the_customers_logs(
    sessions: AwsSessions, customer_role: Role
) -> None:
    """The session name of the configuration is in the caller's ARN."""
    account = sessions.for_role(customer_role.arn, customer_role.external_id)
    arn = account.client("sts", "us-east-1").get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{CUSTOMER}:assumed-role/cloudigrade/cloudigrade"


def test_a_wrong_external_id_is_refused_and_says_what_to_change(
    sessions: AwsSessions, customer_role: Role
) -> None:
    """AssumeRole is denied, and the message speaks of the trust policy."""
    account = sessions.for_role(customer_role.arn, "another")
    with pytest.raises(AwsAccessDenied) as refused, classified("ec2", "us-east-1"):
        account.client("ec2", "us-east-1").describe_instances()
    assert refused.value.action == "sts:AssumeRole"
    assert "trust policy" in refused.value.message
    assert code_of(refused.value).name == "FAILED_PRECONDITION"


def test_a_role_that_does_not_exist_is_refused(sessions: AwsSessions) -> None:
    """A role that is not there looks as one that is not ours."""
    with pytest.raises(ClientError) as refused:
        sessions.for_role(ROLE_ARN, EXTERNAL_ID).account_id()
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert refused.value.operation_name == "AssumeRole"


def test_a_missing_permission_is_named(sessions: AwsSessions, local_aws: LocalAws) -> None:
    """The error names the IAM action to add to the role's policy."""
    role = make_role(local_aws, ["ec2:DescribeRegions"])
    ec2 = sessions.for_role(role.arn, role.external_id).client("ec2", "us-east-1")
    ec2.describe_regions()
    with pytest.raises(AwsAccessDenied) as refused, classified("ec2", "us-east-1"):
        ec2.describe_instances()
    assert refused.value.action == "ec2:DescribeInstances"
    assert refused.value.message == (
        "the role's policy must allow ec2:DescribeInstances (denied in us-east-1)"
    )
    assert refused.value.metadata["region"] == "us-east-1"


def test_the_role_is_assumed_once_for_many_clients_and_threads(
    sessions: AwsSessions, local_aws: LocalAws, customer_role: Role
) -> None:
    """Clients of one account share its credentials, whoever makes them."""

    def read(number: int) -> None:
        region = ("us-east-1", "us-east-2", "eu-west-1")[number % 3]
        account = sessions.for_role(customer_role.arn, customer_role.external_id)
        account.client("ec2", region).describe_instances()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(24)))
    assert local_aws.calls["sts:AssumeRole"] == 1
    assert local_aws.calls["ec2:DescribeInstances"] == 24


def test_a_kept_client_is_given_again(sessions: AwsSessions, customer_role: Role) -> None:
    """The same service, Region and number of connections give the same client."""
    account = sessions.for_role(customer_role.arn, customer_role.external_id)
    first = account.client("ec2", "us-east-1")
    assert account.client("ec2", "us-east-1") is first
    assert account.client("ec2", "us-east-1", connections=3) is not first


def test_old_clients_make_room_and_go_on_working(
    sessions: AwsSessions, customer_role: Role
) -> None:
    """Sixty-four clients are kept; one that was pushed out still answers whoever holds it."""
    account = sessions.for_role(customer_role.arn, customer_role.external_id)
    first = account.client("sts", "us-east-1", connections=100)
    for number in range(64):
        account.client("sts", "us-east-1", connections=1 + number)
    assert account.client("sts", "us-east-1", connections=64) is not first
    assert account.client("sts", "us-east-1", connections=100) is not first
    assert first.get_caller_identity()["Account"] == CUSTOMER


def test_accounts_never_share_clients(sessions: AwsSessions, local_aws: LocalAws) -> None:
    """Two accounts' sessions see each their own account."""
    accounts = ("222222222222", "333333333333")
    roles = [make_role(local_aws, ["ec2:*"], account_id=each) for each in accounts]
    assert [sessions.for_role(role.arn, role.external_id).account_id() for role in roles] == [
        "222222222222",
        "333333333333",
    ]


def test_credentials_are_renewed_before_they_end(
    sessions: AwsSessions, local_aws: LocalAws, customer_role: Role
) -> None:
    """Ten minutes before the end of the hour the next call assumes the role again."""
    account = sessions.for_role(customer_role.arn, customer_role.external_id)
    ec2 = account.client("ec2", "us-east-1")
    ec2.describe_instances()
    credentials = _credentials(ec2)
    credentials._expiry_time -= timedelta(minutes=51)
    ec2.describe_instances()
    assert local_aws.calls["sts:AssumeRole"] == 2


def test_an_expired_session_is_told_apart(
    sessions: AwsSessions, local_aws: LocalAws, customer_role: Role
) -> None:
    """What AWS calls RequestExpired may be tried again."""
    ec2 = sessions.for_role(customer_role.arn, EXTERNAL_ID).client("ec2", "us-east-1")
    ec2.describe_instances()
    local_aws.expire_sessions()
    with pytest.raises(AwsCredentialsExpired) as expired, classified("ec2", "us-east-1"):
        ec2.describe_instances()
    assert code_of(expired.value).name == "UNAVAILABLE"


def test_a_disabled_region_is_told_from_wrong_credentials(
    sessions: AwsSessions, customer_role: Role
) -> None:
    """AuthFailure away from home is a Region that the account has not enabled."""
    account = sessions.for_role(customer_role.arn, EXTERNAL_ID)
    with pytest.raises(ClientError) as refused:
        account.client("ec2", "af-south-1").describe_instances()
    away = classify(refused.value, "ec2", "af-south-1", home_region=account.home_region)
    home = classify(refused.value, "ec2", "us-east-1", home_region=account.home_region)
    assert (type(away), type(home)) == (AwsRegionDisabled, AwsAccessDenied)
    assert away.message == "af-south-1 is not enabled in this account (AuthFailure)"


def test_throttling_is_retried_and_then_told(
    local_aws: LocalAws, customer_role: Role, sessions: AwsSessions
) -> None:
    """Two tries outlast a throttled answer; one try does not."""
    local_aws.fail("ec2:DescribeInstances", "RequestLimitExceeded", status=503, times=1)
    with AwsSessions(AwsConfig(max_attempts=2)) as patient:
        patient.for_role(customer_role.arn, EXTERNAL_ID).client(
            "ec2", "us-east-1"
        ).describe_instances()
    assert local_aws.calls["ec2:DescribeInstances"] == 2
    local_aws.fail("ec2:DescribeInstances", "RequestLimitExceeded", status=503, times=1)
    with pytest.raises(AwsThrottled), classified("ec2", "us-east-1"):
        sessions.for_role(customer_role.arn, EXTERNAL_ID).client(
            "ec2", "us-east-1"
        ).describe_instances()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("InternalError", 500, AwsUnreachable),
        ("InvalidAMIID.NotFound", 400, AwsRefused),
        ("OptInRequired", 401, AwsRegionDisabled),
        ("RequestThrottledException", 400, AwsThrottled),
        ("ExpiredToken", 403, AwsCredentialsExpired),
    ],
)
def test_codes_have_their_meaning(code: str, status: int, expected: type[Exception]) -> None:
    """Each of AWS's codes is sorted into the family."""
    error = ClientError(
        {
            "Error": {"Code": code, "Message": "words"},
            "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "", "HostId": "",
                                 "HTTPHeaders": {}, "RetryAttempts": 0},
        },
        "DescribeInstances",
    )  # fmt: skip
    found = classify(error, "ec2", "us-east-1")
    assert type(found) is expected
    assert (found.code, found.action) == (code, "ec2:DescribeInstances")


def test_an_explicit_deny_is_not_blamed_on_the_roles_policy() -> None:
    """A denial by an organisation's policy names that policy."""
    words = (
        "You are not authorized to perform this operation. User: arn:aws:sts::222222222222:assumed-"
        "role/cloudigrade/cloudigrade is not authorized to perform: ec2:DescribeInstances with an "
        "explicit deny in a service control policy. Encoded authorization failure message: q2VjcmV0"
    )
    error = ClientError(
        {"Error": {"Code": "UnauthorizedOperation", "Message": words}}, "DescribeInstances"
    )
    found = classify(error, "ec2", "eu-west-1")
    assert found.message == (
        "ec2:DescribeInstances is denied in eu-west-1 by a service control policy"
    )


def test_an_endpoint_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is UNAVAILABLE, and may be tried again."""
    found = classify(EndpointConnectionError(endpoint_url="http://x"), "ec2", "us-east-1")
    assert type(found) is AwsUnreachable
    assert code_of(found).name == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("partition", "host"),
    [
        ("aws", "sts.us-east-1.amazonaws.com"),
        ("aws-us-gov", "sts.us-gov-west-1.amazonaws.com"),
        ("aws-cn", "sts.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_each_partition_has_its_own_regional_sts(
    partition: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an endpoint of our own, STS is asked in the partition's home Region."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with AwsSessions(AwsConfig()) as sessions:
        home = HOME_REGIONS[partition]
        assert sessions.own_client("sts", home).meta.endpoint_url == f"https://{host}"
        role = f"arn:{partition}:iam::222222222222:role/reader"
        account = sessions.for_role(role, EXTERNAL_ID)
        assert account.home_region == home
        assert account.client("sts", home).meta.endpoint_url == f"https://{host}"


def test_a_region_of_another_partition_is_refused(sessions: AwsSessions) -> None:
    """A role of aws has no business in aws-cn."""
    account = sessions.for_role(ROLE_ARN, EXTERNAL_ID)
    with pytest.raises(ValueError, match="cn-north-1 is not in the partition aws"):
        account.client("ec2", "cn-north-1")


def test_what_is_no_role_arn_is_refused(sessions: AwsSessions) -> None:
    """A user's ARN is not a role's."""
    with pytest.raises(ValueError, match="is not the ARN of a role"):
        sessions.for_role("arn:aws:iam::222222222222:user/somebody", EXTERNAL_ID)


def test_the_configuration_reaches_the_clients(
    local_aws: LocalAws, customer_role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timeouts, tries and connections of the environment are the clients'."""
    given = {
        "CLOUDIGRADE_AWS_CONNECT_TIMEOUT": "2s",
        "CLOUDIGRADE_AWS_READ_TIMEOUT": "500ms",
        "CLOUDIGRADE_AWS_MAX_ATTEMPTS": "4",
        "CLOUDIGRADE_AWS_POOL_CONNECTIONS": "7",
    }
    with AwsSessions(load(AwsConfig, given)) as sessions:
        account = sessions.for_role(customer_role.arn, EXTERNAL_ID)
        config: Any = account.client("ebs", "us-east-1").meta.config
    assert (config.connect_timeout, config.read_timeout) == (2.0, 0.5)
    assert config.retries == {"mode": "adaptive", "total_max_attempts": 4}
    assert config.max_pool_connections == 7


def test_own_credentials_come_from_the_session_that_is_given(local_aws: LocalAws) -> None:
    """Who composes the program may pass another session than the default chain's."""
    key = local_aws.access_key("444444444444")

    def own() -> Session:
        session = Session()
        session.set_credentials(key.key_id, key.secret)
        return session

    with AwsSessions(AwsConfig(), own_session=own) as sessions:
        identity = sessions.own_client("sts", "us-east-1").get_caller_identity()
    assert identity["Account"] == "444444444444"


def test_no_secret_is_in_logs_or_reprs(
    sessions: AwsSessions, customer_role: Role, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a session's text nor the log, even at DEBUG, shows keys, tokens or the ExternalId."""
    caplog.set_level(logging.DEBUG)
    account = sessions.for_role(customer_role.arn, EXTERNAL_ID)
    ec2 = account.client("ec2", "us-east-1")
    ec2.describe_instances()
    frozen = _credentials(ec2).get_frozen_credentials()
    shown = f"{account!r} {sessions!r} {ec2!r} {caplog.text}"
    for secret in (frozen.secret_key, frozen.token, EXTERNAL_ID):
        assert secret not in shown


def _credentials(client: Any) -> Any:
    """Give a client's credentials, which boto3 keeps to itself."""
    return client._request_signer._credentials
