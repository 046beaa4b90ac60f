"""AWS identifiers: each function returns its argument when it is well-formed, else ValueError.

Messages never repeat more of a value than its own text cut short, and are fit for callers.
"""

import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

# 8 hex digits until 2016, 17 since: docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html
_RESOURCE = r"{}-(?:[0-9a-f]{{8}}|[0-9a-f]{{17}})"
_INSTANCE = re.compile(_RESOURCE.format("i"))
_IMAGE = re.compile(_RESOURCE.format("ami"))
_SNAPSHOT = re.compile(_RESOURCE.format("snap"))
_ACCOUNT = re.compile(r"[0-9]{12}")
# us-east-1, us-gov-west-1, ap-southeast-2, us-isob-east-1, eusc-de-east-1
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}")
# docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: path 512, role name 64
_ROLE = re.compile(
    r"arn:(?P<partition>aws|aws-us-gov|aws-cn):iam::(?P<account>[0-9]{12})"
    r":role/(?P<name>(?:[\x21-\x2e\x30-\x7e]{1,510}/)*[\w+=,.@-]{1,64})",
    re.ASCII,
)
_LONGEST_SHOWN = 60
_PARTITIONS = ("aws", "aws-us-gov", "aws-cn")
_ARN_PARTS = 6
_ROLES_ARN = "arn:aws:iam::<12 digits>:role/<name>"


def instance_id(text: str) -> str:
    """Return an instance id (i- and 8 or 17 hex digits)."""
    return _checked(_INSTANCE, text, "an instance id (i- and 8 or 17 hex digits)")


def image_id(text: str) -> str:
    """Return an image id (ami- and 8 or 17 hex digits)."""
    return _checked(_IMAGE, text, "an image id (ami- and 8 or 17 hex digits)")


def snapshot_id(text: str) -> str:
    """Return a snapshot id (snap- and 8 or 17 hex digits)."""
    return _checked(_SNAPSHOT, text, "a snapshot id (snap- and 8 or 17 hex digits)")


def aws_account_id(text: str) -> str:
    """Return an AWS account id (12 digits)."""
    return _checked(_ACCOUNT, text, "an AWS account id (12 digits)")


def region(text: str) -> str:
    """Return the name of a Region, whether or not AWS has it."""
    return _checked(_REGION, text, "the name of a Region, such as us-east-1")


def uuid(text: str) -> str:
    """Return a UUID in its canonical lower-case form."""
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError(f"{_shown(text)} is not a UUID") from None


def partition_of(region_name: str) -> str:
    """Return the partition a Region lies in: aws, aws-us-gov or aws-cn."""
    if region_name.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region_name.startswith("us-gov-") else "aws"


@dataclass(frozen=True, slots=True)
class RoleArn:
    """The ARN of an IAM role; `name` includes its path. `str()` gives the ARN back."""

    partition: str
    account_id: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a role's ARN; ValueError when it is none."""
        match = _ROLE.fullmatch(text)
        if match is None:
            raise ValueError(_why_no_role(text))
        if match["name"].startswith("aws-service-role/"):
            raise ValueError("is a service-linked role, which only its AWS service can assume")
        return cls(match["partition"], match["account"], match["name"])

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account_id}:role/{self.name}"


def _why_no_role(text: str) -> str:
    """Say what is wrong with an ARN that is not a role's, the first thing that is."""
    parts = text.split(":", 5)
    if len(parts) < _ARN_PARTS or parts[0] != "arn":
        return f"{_shown(text)} is not the ARN of a role, {_ROLES_ARN}"
    _, partition, service, region, account, resource = parts
    if partition not in _PARTITIONS:
        return f"has the partition {_shown(partition)}; known are {', '.join(_PARTITIONS)}"
    if service != "iam" or not resource.startswith("role/"):
        what = "a session" if service == "sts" else f"{service} {resource.partition('/')[0]}"[:20]
        return f"is not the ARN of a role but of {what}: give {_ROLES_ARN}"
    if _ACCOUNT.fullmatch(account) is None:
        return f"has the account id {_shown(account)}, which is not 12 digits"
    if region:
        return f"has a Region, which a role has not: {_ROLES_ARN}"
    return "is not the ARN of a role: a name has 1 to 64 letters, digits or any of +=,.@-_"


def _checked(pattern: re.Pattern[str], text: str, wanted: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"{_shown(text)} is not {wanted}")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")
