"""EC2 in trouble: what no local AWS can be made to do."""

import time
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config

from libs.common.aws import AccountSession
from libs.common.aws_errors import (
    AwsAccessDenied,
    AwsCredentialsExpired,
    AwsError,
    AwsRefused,
    AwsRegionDisabled,
    AwsThrottled,
    AwsUnreachable,
)
from libs.common.clock import ManualClock
from libs.common.identifiers import RoleArn
from services.scanner.ec2 import Ec2
from tests.support.scanner import StubbedRegions, described, page

NOW = datetime(2026, 3, 2, tzinfo=UTC)
IMAGES = {"IncludeDeprecated": True, "IncludeDisabled": True}


@pytest.fixture
def regions() -> StubbedRegions:
    """Regions that answer what the test prepares."""
    return StubbedRegions()


@pytest.fixture
def ec2(regions: StubbedRegions) -> Ec2:
    """EC2 of those Regions."""
    return Ec2(regions.session, ManualClock(NOW))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UnauthorizedOperation", AwsAccessDenied),
        ("OptInRequired", AwsRegionDisabled),
        ("AuthFailure", AwsRegionDisabled),
        ("RequestLimitExceeded", AwsThrottled),
        ("ExpiredToken", AwsCredentialsExpired),
        ("SomethingNew", AwsRefused),
    ],
)
def test_a_region_that_refuses_gives_no_listing_and_says_why(
    regions: StubbedRegions, ec2: Ec2, code: str, kind: type[AwsError]
) -> None:
    """Each refusal is an error of its own kind that names the Region."""
    regions["eu-west-1"].add_client_error("describe_instances", code, "In words.")
    with pytest.raises(kind) as caught:
        ec2.listing("eu-west-1")
    assert caught.value.region == "eu-west-1"


@pytest.mark.parametrize(
    ("code", "kind"),
    [("ExpiredToken", AwsCredentialsExpired), ("RequestLimitExceeded", AwsThrottled)],
)
def test_a_half_read_region_is_no_listing(
    regions: StubbedRegions, ec2: Ec2, code: str, kind: type[AwsError]
) -> None:
    """A first page that came does not count when the second does not."""
    stub = regions["eu-west-1"]
    stub.add_response("describe_instances", page(described("i-00000001"), token="more"))
    stub.add_client_error("describe_instances", code, "In words.")
    with pytest.raises(kind):
        ec2.listing("eu-west-1")


def test_a_page_that_leads_back_to_itself_is_no_listing(regions: StubbedRegions, ec2: Ec2) -> None:
    """The same token twice would be read for ever."""
    for _ in range(2):
        regions["eu-west-1"].add_response(
            "describe_instances", page(described("i-00000001"), token="again")
        )
    with pytest.raises(AwsRefused):
        ec2.listing("eu-west-1")


def test_a_region_without_an_answer_is_unreachable() -> None:
    """No connection is neither a refusal nor an empty Region."""
    session = AccountSession(
        RoleArn("aws", "123456789012", "cloudigrade"),
        "us-east-1",
        lambda _service, region, _connections: boto3.client(
            "ec2",
            region,
            endpoint_url="http://127.0.0.1:1",
            aws_access_key_id="made",
            aws_secret_access_key="up",
            config=Config(retries={"max_attempts": 0}),
        ),
    )
    with pytest.raises(AwsUnreachable):
        Ec2(session, ManualClock(NOW)).listing("eu-west-1")


def test_a_listing_began_before_its_first_page(regions: StubbedRegions) -> None:
    """What happens while pages come may be missing, so the time is taken first."""
    clock = ManualClock(NOW)
    regions["eu-west-1"].add_response("describe_instances", page())
    regions.client("eu-west-1").meta.events.register(
        "provide-client-params.ec2.DescribeInstances",
        lambda **_: clock.advance(timedelta(minutes=1)),
    )
    assert Ec2(regions.session, clock).listing("eu-west-1").started == NOW
    assert clock.now() == NOW + timedelta(minutes=1)


def test_an_instance_on_two_pages_counts_once(regions: StubbedRegions, ec2: Ec2) -> None:
    """EC2 does not keep pages apart while instances come and go; the later page is newer."""
    stub = regions["eu-west-1"]
    stub.add_response("describe_instances", page(described("i-00000001"), token="more"))
    stub.add_response("describe_instances", page(described("i-00000001", InstanceType="m5.xlarge")))
    (only,) = ec2.listing("eu-west-1").instances
    assert only.instance_type == "m5.xlarge"


def test_unknown_images_are_unavailable_and_the_others_described(
    regions: StubbedRegions, ec2: Ec2
) -> None:
    """One deregistered image does not hide those beside it."""
    stub = regions["eu-west-1"]
    stub.add_client_error(
        "describe_images",
        "InvalidAMIID.NotFound",
        "The image ids '[ami-00000002, ami-00000003]' do not exist",
        expected_params={"ImageIds": ["ami-00000001", "ami-00000002", "ami-00000003"], **IMAGES},
    )
    stub.add_response(
        "describe_images",
        {"Images": [{"ImageId": "ami-00000001", "State": "available"}]},
        {"ImageIds": ["ami-00000001"], **IMAGES},
    )
    found = ec2.images("eu-west-1", ["ami-00000003", "ami-00000001", "ami-00000002"])
    assert [(image.image_id, image.state) for image in found] == [
        ("ami-00000001", "available"),
        ("ami-00000002", "unavailable"),
        ("ami-00000003", "unavailable"),
    ]
    regions.assert_no_pending_responses()


def test_an_unknown_image_that_is_not_named_is_found_by_halves(
    regions: StubbedRegions, ec2: Ec2
) -> None:
    """An error that names no image still leaves the others described."""
    stub = regions["eu-west-1"]
    for _ in range(2):  # the pair, then its second half
        stub.add_client_error("describe_images", "InvalidAMIID.Unavailable", "Some image is gone")
    stub.add_response("describe_images", {"Images": [{"ImageId": "ami-00000001"}]})
    found = ec2.images("eu-west-1", ["ami-00000001", "ami-00000002"])
    assert [(image.image_id, image.state) for image in found] == [
        ("ami-00000001", ""),
        ("ami-00000002", "unavailable"),
    ]
    regions.assert_no_pending_responses()


def test_images_are_asked_for_in_batches(regions: StubbedRegions, ec2: Ec2) -> None:
    """250 images are three calls of at most a hundred."""
    for _ in range(3):
        regions["eu-west-1"].add_response("describe_images", {"Images": []})
    assert len(ec2.images("eu-west-1", [f"ami-{number:08x}" for number in range(250)])) == 250
    regions.assert_no_pending_responses()


def test_an_unknown_instance_type_is_left_out(regions: StubbedRegions, ec2: Ec2) -> None:
    """A type that the Region does not know does not hide the others."""
    stub = regions["eu-west-1"]
    stub.add_client_error(
        "describe_instance_types",
        "InvalidInstanceType",
        "The following supplied instance types do not exist: [z9.huge]",
    )
    stub.add_response(
        "describe_instance_types",
        {
            "InstanceTypes": [
                {
                    "InstanceType": "m5.large",
                    "VCpuInfo": {"DefaultVCpus": 2},
                    "MemoryInfo": {"SizeInMiB": 8192},
                    "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
                }
            ]
        },
        {"InstanceTypes": ["m5.large"]},
    )
    (large,) = ec2.instance_types("eu-west-1", ["z9.huge", "m5.large"])
    assert (large.name, large.vcpus, large.memory_mib) == ("m5.large", 2, 8192)
    assert large.architectures == ("x86_64",)


def test_regions_not_opted_in_are_not_enabled(regions: StubbedRegions, ec2: Ec2) -> None:
    """A Region that the account has not switched on is known and not scanned."""
    regions["us-east-1"].add_response(
        "describe_regions",
        {
            "Regions": [
                {"RegionName": "us-east-1", "OptInStatus": "opt-in-not-required"},
                {"RegionName": "af-south-1", "OptInStatus": "opted-in"},
                {"RegionName": "me-south-1", "OptInStatus": "not-opted-in"},
            ]
        },
        {"AllRegions": True},
    )
    enabled = {region.name: region.enabled for region in ec2.regions()}
    assert enabled == {"us-east-1": True, "af-south-1": True, "me-south-1": False}


def test_a_listing_stands_when_its_images_may_not_be_described(
    regions: StubbedRegions, ec2: Ec2
) -> None:
    """Permission for DescribeImages alone is missing: a gap is told, the listing is complete."""
    stub = regions["eu-west-1"]
    stub.add_response("describe_instances", page(described("i-00000001")))
    stub.add_client_error("describe_images", "UnauthorizedOperation", "No.")
    stub.add_response("describe_instance_types", {"InstanceTypes": []})
    survey = ec2.survey("eu-west-1")
    assert len(survey.listing.instances) == 1
    assert survey.images == ()
    (gap,) = survey.gaps
    assert "ec2:DescribeImages" in gap


def test_known_images_are_not_described_again(regions: StubbedRegions, ec2: Ec2) -> None:
    """An image never changes, so one description is enough."""
    stub = regions["eu-west-1"]
    stub.add_response("describe_instances", page(described("i-00000001")))
    stub.add_response("describe_instance_types", {"InstanceTypes": []})
    assert ec2.survey("eu-west-1", {"ami-00000001"}).images == ()
    regions.assert_no_pending_responses()


def test_ten_thousand_instances_are_read_page_by_page(regions: StubbedRegions, ec2: Ec2) -> None:
    """Ten pages of a thousand are one listing, well within ten seconds."""
    for number in range(10):
        first = number * 1000
        regions["eu-west-1"].add_response(
            "describe_instances",
            page(
                *(described(f"i-{one:017x}") for one in range(first, first + 1000)),
                token=f"page {number + 1}" if number < 9 else "",
            ),
        )
    began = time.monotonic()
    listing = ec2.listing("eu-west-1")
    assert len(listing.instances) == 10_000
    assert time.monotonic() - began < 10
