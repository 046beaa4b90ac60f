"""What accounts says of images and runs, from a scanner's listing to the answer."""

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2, schedule_pb2
from cloudigrade.accounts.v1 import inventory_pb2 as pb
from services.accounts.facts import Attributes
from tests.support.accounts import Accounts
from tests.support.feeding import IMAGE, Feeder, feeder, instance, listed
from tests.support.timeline import at

I1 = instance(1)
RHEL_NAME = "RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3"
RHEL_PAID, RHEL_BYOS = "RunInstances:0010", "RunInstances:00g0"
SOLD_BY_RED_HAT = "6cd5fxzrad0cu2j23p692xytz"
REGIONS = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}


def feeder_in(accounts: Accounts, partition: str) -> Feeder:
    """Register and prove an account in a partition, and take its lease."""
    account = accounts.verify(
        accounts.admin.accounts.CreateCloudAccount(
            accounts_pb2.CreateCloudAccountRequest(
                name="web", role_arn=f"arn:{partition}:iam::123456789012:role/cloudigrade"
            )
        ).account
    )
    scanner = accounts.service("scanner")
    (lease,) = scanner.schedule.AcquireDueLeases(
        schedule_pb2.AcquireDueLeasesRequest(holder="test", max_leases=1)
    ).leases
    return Feeder(scanner, account.id, account.aws_account_id, lease.epoch, accounts.database)


def image_of(accounts: Accounts, feed: Feeder) -> pb.Classification:
    """Give what the one image is known to be, with evidence."""
    request = pb.GetImageRequest(account_id=feed.account_id, image_id=IMAGE)
    return accounts.admin.inventory.GetImage(request).image.classification


@pytest.mark.parametrize(
    ("partition", "owner", "told"),
    [
        ("aws", "309956199498", "rhel"),
        ("aws-us-gov", "219670896067", "rhel"),
        ("aws-cn", "841258680906", "rhel"),
        ("aws-cn", "309956199498", ""),
        ("aws", "841258680906", ""),
        ("aws", "309956199834", ""),
    ],
)
def test_a_publisher_is_known_in_the_accounts_own_partition(
    accounts: Accounts, partition: str, owner: str, told: str
) -> None:
    """Red Hat's account ids in their partitions; the same digits in another are somebody else."""
    feed = feeder_in(accounts, partition)
    image = events_pb2.ImageDescription(
        image_id=IMAGE, name=RHEL_NAME, owner_id=owner, state="available"
    )
    feed.show(at("10:30"), [], region=REGIONS[partition], images=[image])
    found = image_of(accounts, feed)
    assert (found.published_distribution, found.distribution) == (told, told or "unknown")
    assert (found.version, found.billed_distribution) == ("9.4" if told else "", "")
    assert found.distribution_authority == (pb.AUTHORITY_PUBLISHER if told else pb.AUTHORITY_NONE)
    assert found.license_model == (pb.LICENSE_MODEL_INCLUDED if told else pb.LICENSE_MODEL_UNKNOWN)
    assert [each.signal for each in found.evidence] == [
        "publisher" if told else "publisher-mismatch"
    ]


def test_a_licence_converted_to_red_hats_own_sale_is_still_on_the_bill(accounts: Accounts) -> None:
    """From 0010 to 00g0 with a product code that the instance alone has: paid for in both runs.

    With 00g0 and no code it would be a subscription of one's own.
    """
    feed = feeder(accounts)
    image = events_pb2.ImageDescription(image_id=IMAGE, usage_operation=RHEL_PAID)
    before, after = Attributes("m5.large", 2, RHEL_PAID), Attributes("m5.large", 2, RHEL_BYOS)
    feed.show(at("10:30"), [listed(I1, at("10:00"), before, image_id=IMAGE)], images=[image])
    for ten, codes, model in (
        ("11", [], pb.LICENSE_MODEL_BYOS),
        ("12", [SOLD_BY_RED_HAT], pb.LICENSE_MODEL_INCLUDED),
    ):
        again = listed(I1, at("10:45"), after, image_id=IMAGE, product_codes=codes)
        feed.show(at(f"{ten}:00"), [again])
        runs = accounts.admin.inventory.ListRuns(
            pb.ListRunsRequest(account_id=feed.account_id, instance_id=I1)
        ).runs
        assert [
            (run.usage_operation, run.classification.distribution, run.classification.license_model)
            for run in runs
        ] == [
            (RHEL_PAID, "rhel", pb.LICENSE_MODEL_INCLUDED),
            (RHEL_BYOS, "rhel", model),
        ]
