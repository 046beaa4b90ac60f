"""Whether an account's role lets the scanner and the inspector in, and what it still refuses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from libs.common.aws import AccountSession
from libs.common.aws_errors import AwsAccessDenied, AwsRefused, classified

# Nobody's: only whether the question is allowed is of interest.
_NO_SNAPSHOT = "snap-00000000000000000"
_NO_TOKEN = "AAAA"  # noqa: S105  # a block's token, which is no secret


@dataclass(frozen=True, slots=True)
class Finding:
    """What a try of a role found."""

    aws_account_id: str
    """What GetCallerIdentity gave through the role; empty when the role cannot be assumed."""
    detail: str = ""
    """What to do, for the account's owner; empty when nothing is missing."""
    missing: tuple[str, ...] = ()
    """The AWS actions that the role refused."""


def try_role(session: AccountSession, expected_account_id: str) -> Finding:
    """Assume the role, ask whose it is, and try every call that scanning and inspecting need.

    Raises an Unavailable of the AwsError family when AWS gives no answer.
    """
    home = session.home_region
    try:
        with classified("sts", home, home_region=home):
            observed = session.account_id()
    except (AwsAccessDenied, AwsRefused) as error:
        return Finding("", error.message, (error.action,) if error.action else ())
    if observed != expected_account_id:
        return Finding(observed)  # accounts says what that means
    missing = tuple(_missing(session))
    if not missing:
        return Finding(observed)
    return Finding(observed, f"The role's policy must allow {', '.join(missing)}.", missing)


def _missing(session: AccountSession) -> Iterator[str]:
    for action, attempt in _attempts(session):
        try:
            with classified(action.partition(":")[0], session.home_region):
                attempt()
        except AwsAccessDenied:
            yield action
        except AwsRefused:
            pass  # it may be asked, which is all; DryRunOperation and "no such snapshot" are such


def _attempts(session: AccountSession) -> Iterator[tuple[str, Callable[[], object]]]:
    home = session.home_region
    ec2 = session.client("ec2", home)
    ebs = session.client("ebs", home)
    yield "ec2:DescribeRegions", lambda: ec2.describe_regions(DryRun=True)
    yield "ec2:DescribeInstances", lambda: ec2.describe_instances(DryRun=True)
    yield "ec2:DescribeImages", lambda: ec2.describe_images(Owners=["self"], DryRun=True)
    yield "ec2:DescribeSnapshots", lambda: ec2.describe_snapshots(OwnerIds=["self"], DryRun=True)
    yield (
        "ec2:DescribeInstanceTypes",
        lambda: ec2.describe_instance_types(InstanceTypes=["t3.micro"], DryRun=True),
    )
    yield "ebs:ListSnapshotBlocks", lambda: ebs.list_snapshot_blocks(SnapshotId=_NO_SNAPSHOT)
    yield (
        "ebs:GetSnapshotBlock",
        lambda: ebs.get_snapshot_block(SnapshotId=_NO_SNAPSHOT, BlockIndex=0, BlockToken=_NO_TOKEN),
    )
