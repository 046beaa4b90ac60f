"""What listings change in place stays known as it was: instances, images and Regions' troubles."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2, schedule_pb2
from libs.common.timestamps import timestamp
from tests.support.accounts import Accounts
from tests.support.feeding import IMAGE, REGION, Feeder, feeder, instance, listed, message
from tests.support.timeline import at, on

I1 = instance(1)
OTHER = "ami-00000000000000002"


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account at midnight after 2026-03-01."""
    accounts.clock.advance(timedelta(hours=12))
    return feeder(accounts)


def _rows(feed: Feeder, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with feed.database.transaction() as cursor:
        cursor.execute(statement, (feed.account_id, *parameters))
        return cursor.fetchall()


def _instance(
    accounts: Accounts, feed: Feeder, as_of: Timestamp | None = None
) -> tuple[dict[str, str], str, Timestamp]:
    """Give the instance's tags and image as known at an instant, and that instant."""
    answer = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id, as_of=as_of)
    )
    (found,) = answer.instances
    return dict(found.tags), found.image_id, answer.as_of


def _describe(feed: Feeder, time: str, name: str) -> None:
    image = events_pb2.ImageDescription(image_id=IMAGE, name=name, state="available")
    feed.show(at(time), [listed(I1, at("10:00"), image_id=IMAGE)], images=[image])


def test_tags_as_they_were_are_answered_for_the_time_before(
    feed: Feeder, accounts: Accounts
) -> None:
    """Two versions, each from its own listing on."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), tags={"Name": "a"})])
    first = _instance(accounts, feed)
    feed.show(at("10:45"), [listed(I1, at("10:00"), tags={"Name": "b"})])
    assert first[0] == {"Name": "a"}
    assert _instance(accounts, feed)[0] == {"Name": "b"}
    assert _instance(accounts, feed, first[2]) == first
    ((changed_at, replaced_at),) = _rows(
        feed, "SELECT changed_at, replaced_at FROM instance_was WHERE account_id = %s"
    )
    listings = _rows(
        feed, "SELECT recorded_at FROM listing WHERE account_id = %s ORDER BY started_at"
    )
    assert [(changed_at,), (replaced_at,)] == listings


def test_what_a_listing_makes_and_names_has_no_version_before(feed: Feeder) -> None:
    """Instance and image are new; nor is one kept when a listing shows them unchanged."""
    for time in ("10:30", "10:45"):
        _describe(feed, time, "RHEL-9")
    for table in ("instance_was", "image_was", "region_was"):
        statement = f"SELECT FROM {table} WHERE account_id = %s"
        assert _rows(feed, statement) == [], table


def test_an_image_as_described_before_is_answered_for_the_time_before(
    feed: Feeder, accounts: Accounts
) -> None:
    """Its name changed between two listings."""

    def image(as_of: Timestamp | None = None) -> tuple[str, Timestamp]:
        answer = accounts.admin.inventory.GetImage(
            inventory_pb2.GetImageRequest(account_id=feed.account_id, image_id=IMAGE, as_of=as_of)
        )
        return answer.image.description.name, answer.as_of

    _describe(feed, "10:30", "old")
    first = image()
    _describe(feed, "10:45", "new")
    assert first[0] == "old"
    assert image()[0] == "new"
    assert image(first[1]) == first


def test_the_image_of_an_instance_as_named_before_is_answered_for_the_time_before(
    feed: Feeder, accounts: Accounts
) -> None:
    """An event named another image than describe does later."""
    feed.send([message(on("10:00"), I1, feed.account_id, image_id=OTHER)])
    first = _instance(accounts, feed)
    feed.show(at("10:30"), [listed(I1, at("10:00"), image_id=IMAGE)])
    assert first[1] == OTHER
    assert _instance(accounts, feed)[1] == IMAGE
    assert _instance(accounts, feed, first[2]) == first


def _scan(feed: Feeder, time: str, trouble: str) -> None:
    """End a scan in which the Region was denied."""
    outcome = schedule_pb2.RegionOutcome(
        region=REGION, outcome=schedule_pb2.RegionOutcome.OUTCOME_DENIED, detail=trouble
    )
    feed.scanner.schedule.CompleteScan(
        schedule_pb2.CompleteScanRequest(
            account_id=feed.account_id,
            epoch=feed.epoch,
            summary=schedule_pb2.ScanSummary(
                start_time=timestamp(at(time)), end_time=timestamp(at(time)), regions=[outcome]
            ),
        )
    )


def test_every_change_of_a_regions_trouble_is_dated(feed: Feeder) -> None:
    """Well, denied twice for other reasons, well again: three versions and what holds now."""
    revisions = []
    feed.show(at("10:00"), [])
    revisions.append(feed.revision())
    for time, trouble in (("10:15", "x"), ("10:30", "y")):
        _scan(feed, time, trouble)
        revisions.append(feed.revision())
    feed.show(at("10:45"), [])
    revisions.append(feed.revision())
    assert revisions == sorted(set(revisions))
    columns = "trouble, trouble_since, changed_at"
    assert _rows(
        feed,
        f"SELECT {columns}, replaced_at FROM region_was WHERE account_id = %s ORDER BY changed_at",  # noqa: S608 # constant
    ) == [
        ("", 0, revisions[0], revisions[1]),
        ("Region denied: x", at("10:15"), revisions[1], revisions[2]),
        ("Region denied: y", at("10:15"), revisions[2], revisions[3]),
    ]
    assert _rows(feed, f"SELECT {columns} FROM region WHERE account_id = %s") == [  # noqa: S608 # constant
        ("", 0, revisions[3])
    ]


def test_a_scan_that_tells_no_news_moves_no_revision(feed: Feeder) -> None:
    """The same trouble again is none, and so is a Region that is not enabled and was never met."""
    _scan(feed, "10:15", "x")
    before = feed.revision()
    _scan(feed, "10:30", "x")
    assert feed.revision() == before
    assert _rows(feed, "SELECT FROM region_was WHERE account_id = %s") == []


def test_a_listing_from_before_a_trouble_does_not_end_it(feed: Feeder) -> None:
    """It was begun when all was well, and arrives after the Region was denied."""
    _scan(feed, "10:15", "x")
    feed.show(at("10:10"), [])
    assert _rows(feed, "SELECT trouble FROM region WHERE account_id = %s") == [
        ("Region denied: x",)
    ]
    feed.show(at("10:20"), [])
    assert _rows(feed, "SELECT trouble FROM region WHERE account_id = %s") == [("",)]


def test_a_listing_told_again_leaves_the_trouble_that_came_since(feed: Feeder) -> None:
    """Its answer was lost, and the Region denied before it was sent again."""
    feed.show(at("10:20"), [])
    _scan(feed, "10:20", "x")
    feed.show(at("10:20"), [])
    assert _rows(feed, "SELECT trouble FROM region WHERE account_id = %s") == [
        ("Region denied: x",)
    ]
