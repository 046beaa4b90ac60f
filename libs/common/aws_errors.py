"""What AWS's refusals mean, for the account's owner and for the code that must act on them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from libs.common.errors import CloudigradeError, FailedPrecondition, Unavailable

# Codes: EC2 API reference "Error codes" and "Common errors", EBS direct APIs reference and
# STS API reference, read 2026-11.
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_THROTTLED = {
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
}
_DISABLED = {"OptInRequired", "RegionDisabledException"}
# What a Region that the account has not enabled answers to valid credentials
# (github.com/turbot/steampipe-plugin-aws/issues/75); elsewhere the credentials are wrong.
_UNKNOWN_CALLER = {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException"}
_SERVER_ERROR = 500
# "... is not authorized to perform: ec2:DescribeInstances on resource: ... with an explicit deny
# in a service control policy" or "... because no identity-based policy allows the ..."
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)")
_DENIED_BY = re.compile(r"with an explicit deny in (an? [a-z -]+ policy)")
_ENCODED = "Encoded authorization failure message"
_LONGEST = 300


class AwsError(CloudigradeError):
    """AWS did not do what was asked. `code` is AWS's own word, `action` the IAM action if known."""

    default_reason: ClassVar[str] = "AWS_ERROR"

    def __init__(self, message: str, *, code: str, action: str, region: str) -> None:
        given = {"aws_code": code, "aws_action": action, "region": region}
        super().__init__(message, metadata={key: value for key, value in given.items() if value})
        self.code = code
        self.action = action
        self.region = region


class AwsRefused(AwsError, FailedPrecondition):
    """AWS understood and refused, for a reason without a class of its own here."""


class AwsAccessDenied(AwsError, FailedPrecondition):
    """The role lacks a permission, or is not ours to assume."""

    default_reason: ClassVar[str] = "AWS_ACCESS_DENIED"


class AwsRegionDisabled(AwsError, FailedPrecondition):
    """The account has not enabled the Region."""

    default_reason: ClassVar[str] = "AWS_REGION_DISABLED"


class AwsCredentialsExpired(AwsError, Unavailable):
    """The credentials in use are past their end; the next call takes new ones."""

    default_reason: ClassVar[str] = "AWS_CREDENTIALS_EXPIRED"


class AwsThrottled(AwsError, Unavailable):
    """Too many calls, ours or the account's own; boto3's retries are already spent."""

    default_reason: ClassVar[str] = "AWS_THROTTLED"


class AwsUnreachable(AwsError, Unavailable):
    """AWS did not answer, or answered that it could not."""

    default_reason: ClassVar[str] = "AWS_UNREACHABLE"


@contextmanager
def classified(service: str, region: str, *, home_region: str = "") -> Iterator[None]:
    """Turn botocore's errors in the block into AwsError (the arguments are `classify`'s)."""
    try:
        yield
    except (ClientError, boto.BotoCoreError, ResponseParserError) as error:
        raise classify(error, service, region, home_region=home_region) from error


def classify(error: Exception, service: str, region: str, *, home_region: str = "") -> AwsError:
    """Return what an error of botocore's means.

    `service` and `region` are those that were called. `home_region` is one that cannot be disabled:
    an unknown caller is taken for a disabled Region everywhere else.
    """
    if not isinstance(error, ClientError):
        return _without_answer(error, region)
    code, operation = _code(error), error.operation_name
    words = str(error.response.get("Error", {}).get("Message", "")).partition(_ENCODED)[0].strip()
    # A role is assumed inside the first call of a client of any other service.
    service = "sts" if operation == "AssumeRole" else service
    named = _ACTION.search(words)
    action = named[1] if named else f"{service}:{operation}"
    at_home = home_region in {"", region} or service == "sts"
    kind = _kind(error, code, at_home=at_home)
    message = _message(kind, action, region, code, words)
    return kind(message, code=code, action=action, region=region)


def _without_answer(error: Exception, region: str) -> AwsError:
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError):
        words = f"AWS cannot be reached in {region}: {_short(str(error))}"
        return AwsUnreachable(words, code="", action="", region=region)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        words = "cloudigrade itself has no AWS credentials: give it some, as boto3 takes them"
        return AwsAccessDenied(words, code="", action="", region=region)
    words = f"AWS could not be called in {region}: {_short(str(error))}"
    return AwsRefused(words, code="", action="", region=region)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _kind(error: ClientError, code: str, *, at_home: bool) -> type[AwsError]:
    if code in _UNKNOWN_CALLER:
        return AwsAccessDenied if at_home else AwsRegionDisabled
    for kind, codes in (
        (AwsAccessDenied, _DENIED),
        (AwsCredentialsExpired, _EXPIRED),
        (AwsThrottled, _THROTTLED),
        (AwsRegionDisabled, _DISABLED),
    ):
        if code in codes:
            return kind
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return AwsUnreachable if status >= _SERVER_ERROR else AwsRefused


def _message(kind: type[AwsError], action: str, region: str, code: str, words: str) -> str:
    if kind is AwsAccessDenied and action == "sts:AssumeRole":
        # AWS says the same of a role that is not there, so that nobody learns which there are.
        return (
            "the role cannot be assumed: it must exist, its trust policy must allow sts:AssumeRole "
            "to cloudigrade's own identity with the account's ExternalId, and that identity must "
            f"be allowed sts:AssumeRole on it ({code})"
        )
    if kind is AwsAccessDenied and code in _DENIED:
        denied = _DENIED_BY.search(words)
        if denied:
            return f"{action} is denied in {region} by {denied[1]}"
        return f"the role's policy must allow {action} (denied in {region})"
    if kind is AwsRegionDisabled:
        return f"{region} is not enabled in this account ({code})"
    return f"{action} in {region}: {code}: {_short(words)}"


def _short(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 3] + "..."
