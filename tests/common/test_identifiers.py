"""AWS identifiers."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common import identifiers
from libs.common.identifiers import RoleArn


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (identifiers.instance_id, "i-1a2b3c4d"),
        (identifiers.instance_id, "i-0123456789abcdef0"),
        (identifiers.image_id, "ami-0123456789abcdef0"),
        (identifiers.snapshot_id, "snap-1a2b3c4d"),
        (identifiers.aws_account_id, "012345678901"),
        (identifiers.region, "us-east-1"),
        (identifiers.region, "us-gov-west-1"),
        (identifiers.region, "cn-northwest-1"),
        (identifiers.region, "us-isob-east-1"),
        (identifiers.region, "eusc-de-east-1"),
        (identifiers.uuid, "3f2b1c4d-0000-4000-8000-00000000000a"),
    ],
)
def test_a_good_identifier_comes_back(check: Callable[[str], str], text: str) -> None:
    """As it was given."""
    assert check(text) == text


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (identifiers.instance_id, ""),
        (identifiers.instance_id, "i-1a2b3c4"),
        (identifiers.instance_id, "i-1a2b3c4d5"),
        (identifiers.instance_id, "i-1A2B3C4D"),
        (identifiers.instance_id, "i-1a2b3c4d\n"),
        (identifiers.instance_id, " i-1a2b3c4d"),
        (identifiers.instance_id, "ami-1a2b3c4d"),
        (identifiers.image_id, "i-1a2b3c4d"),
        (identifiers.snapshot_id, "snap-xyz"),
        (identifiers.aws_account_id, "12345678901"),
        (identifiers.aws_account_id, "1234567890123"),
        (identifiers.aws_account_id, "١٢٣٤٥٦٧٨٩٠١٢"),
        (identifiers.region, "us-east"),
        (identifiers.region, "us-east-1a"),
        (identifiers.region, "US-EAST-1"),
        (identifiers.region, "../us-east-1"),
        (identifiers.uuid, "not-a-uuid"),
        (identifiers.uuid, "é"),
    ],
)
def test_a_bad_identifier_is_refused(check: Callable[[str], str], text: str) -> None:
    """ValueError says what it is not."""
    with pytest.raises(ValueError, match="is not"):
        check(text)


def test_a_uuid_has_one_spelling() -> None:
    """Capitals and missing dashes become the canonical form, so that repeats are recognised."""
    assert identifiers.uuid("3F2B1C4D000040008000" + "00000000000A") == (
        "3f2b1c4d-0000-4000-8000-00000000000a"
    )


def test_a_message_repeats_little_of_a_long_value() -> None:
    """Sixty characters of a megabyte."""
    with pytest.raises(ValueError, match="is not") as caught:
        identifiers.instance_id("x" * 1_000_000)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("text", "partition", "account", "name"),
    [
        ("arn:aws:iam::123456789012:role/Cloudigrade", "aws", "123456789012", "Cloudigrade"),
        ("arn:aws-cn:iam::123456789012:role/x", "aws-cn", "123456789012", "x"),
        ("arn:aws-us-gov:iam::000000000000:role/a/b/c", "aws-us-gov", "000000000000", "a/b/c"),
        ("arn:aws:iam::123456789012:role/a+=,.@-_b", "aws", "123456789012", "a+=,.@-_b"),
    ],
)
def test_a_roles_arn_has_its_parts(text: str, partition: str, account: str, name: str) -> None:
    """Partition, account and name with path; and the text comes back."""
    arn = RoleArn.parse(text)
    assert (arn.partition, arn.account_id, arn.name) == (partition, account, name)
    assert str(arn) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not the ARN of a role, arn:aws:iam::<12 digits>:role/<name>"),
        ("123456789012", "arn:aws:iam::<12 digits>:role/<name>"),
        (" arn:aws:iam::123456789012:role/x", "' arn:aws:iam::123456789012:role/x' is not"),
        ("arn:aws:iam::123456789012:user/ada", "but of iam user: give arn:aws:iam::"),
        ("arn:aws:iam::123456789012:instance-profile/x", "but of iam instance-profile: give"),
        ("arn:aws:s3:::a-bucket", "but of s3 a-bucket: give"),
        ("arn:aws:sts::123456789012:assumed-role/x/y", "but of a session: give"),
        (
            "arn:azure:iam::123456789012:role/x",
            "partition 'azure'; known are aws, aws-us-gov, aws-cn",
        ),
        ("arn:aws-iso:iam::123456789012:role/x", "partition 'aws-iso'; known are aws"),
        ("arn:aws:iam::12345678901:role/x", "'12345678901', which is not 12 digits"),
        ("arn:aws:iam::aws:role/x", "'aws', which is not 12 digits"),
        ("arn:aws:iam::123456789012:role/", "a name has 1 to 64 letters"),
        ("arn:aws:iam::123456789012:role/x\n", "a name has 1 to 64 letters"),
        ("arn:aws:iam::123456789012:role/a b", "a name has 1 to 64 letters"),
        ("arn:aws:iam::123456789012:role/" + "x" * 65, "a name has 1 to 64 letters"),
        ("arn:aws:iam:us-east-1:123456789012:role/x", "has a Region, which a role has not"),
        (
            "arn:aws:iam::123456789012:role/aws-service-role/spot.amazonaws.com/x",
            "is a service-linked role",
        ),
    ],
)
def test_what_is_no_roles_arn_is_refused(text: str, said: str) -> None:
    """ValueError says what is wrong with it, in as much as a status tells of one field."""
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        RoleArn.parse(text)
    assert len(str(caught.value)) <= 100


@given(st.text(max_size=80))
def test_no_text_breaks_a_check(text: str) -> None:
    """Whatever is given, the answer is the value or ValueError."""
    for check in (identifiers.instance_id, identifiers.region, identifiers.uuid, RoleArn.parse):
        try:
            check(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("us-gov-east-1", "aws-us-gov"), ("cn-north-1", "aws-cn")],
)
def test_a_region_tells_its_partition(region: str, partition: str) -> None:
    """China and GovCloud have their own."""
    assert identifiers.partition_of(region) == partition
