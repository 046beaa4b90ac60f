"""Which image an instance has, when records disagree."""

import threading
from contextlib import closing
from datetime import timedelta
from itertools import permutations

import pytest

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2
from libs.common.clock import ManualClock
from libs.common.instants import to_micros
from libs.common.timestamps import timestamp
from services.accounts.database import Database
from services.accounts.event_convert import event_from_proto
from services.accounts.event_store import EventStore
from services.accounts.fact_writing import FactWriter
from services.accounts.job_store import JobStore
from services.accounts.jobs import Order, Patience
from services.accounts.label_store import LabelStore
from tests.support.accounts import START, Accounts
from tests.support.feeding import Feeder, feeder, instance, listed, message
from tests.support.timeline import at, on

FIRST, SECOND, THIRD = (f"ami-{number:017x}" for number in (1, 2, 3))


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account, at midnight after 2026-03-01."""
    accounts.clock.advance(timedelta(hours=12))
    return feeder(accounts)


def _images(accounts: Accounts, feed: Feeder) -> list[str]:
    request = inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    return [each.image_id for each in accounts.admin.inventory.ListInstances(request).instances]


@pytest.mark.parametrize("together", [False, True], ids=["apart", "in one batch"])
def test_of_images_named_at_one_instant_the_order_of_arrival_decides_nothing(
    feed: Feeder, accounts: Accounts, *, together: bool
) -> None:
    """Three records of 10:00 in each of the six orders: always the lowest id."""
    for number, order in enumerate(permutations((FIRST, SECOND, THIRD)), start=1):
        told = [
            message(on("10:00"), instance(number), feed.account_id, image_id=image)
            for image in order
        ]
        feed.send(*([told] if together else ([each] for each in told)))
    assert _images(accounts, feed) == [FIRST] * 6


def test_describe_outranks_a_lower_id_of_an_event(feed: Feeder, accounts: Accounts) -> None:
    """Its rank comes before the instant, and that before the id."""
    feed.send([message(on("09:00"), instance(1), feed.account_id, image_id=FIRST)])
    feed.show(at("10:30"), [listed(instance(1), at("10:00"), image_id=SECOND)])
    feed.send([message(on("08:00"), instance(1), feed.account_id, image_id=FIRST)])
    assert _images(accounts, feed) == [SECOND]


def _superseding(feed: Feeder, *told: tuple[str, str, str]) -> None:
    """Tell of ons by their ids, times and images, each in a batch of its own."""
    for event_id, time, image in told:
        event = on(time)._replace(event_id=event_id)
        feed.send([message(event, instance(1), feed.account_id, image_id=image)])


def test_an_image_named_by_what_is_superseded_was_never_named(
    feed: Feeder, accounts: Accounts
) -> None:
    """The earliest record is corrected: first to another image, then to naming none."""
    _superseding(feed, ("a", "08:00", FIRST), ("b", "09:00", THIRD))
    assert _images(accounts, feed) == [FIRST]
    _superseding(feed, ("a", "08:00", SECOND))
    assert _images(accounts, feed) == [SECOND]
    _superseding(feed, ("a", "08:00", ""))
    assert _images(accounts, feed) == [THIRD]
    _superseding(feed, ("b", "09:00", ""))
    assert _images(accounts, feed) == [""]
    _superseding(feed, ("c", "10:00", SECOND))
    assert _images(accounts, feed) == [SECOND]


def test_a_record_corrected_to_a_later_time_names_its_image_from_then(
    feed: Feeder, accounts: Accounts
) -> None:
    """Told of 08:00 and corrected to 10:00, it comes after the one of 09:00."""
    _superseding(feed, ("a", "08:00", FIRST), ("b", "09:00", THIRD), ("a", "10:00", FIRST))
    assert _images(accounts, feed) == [THIRD]


def test_what_describe_named_stays_when_an_event_is_superseded(
    feed: Feeder, accounts: Accounts
) -> None:
    """The event never decided it."""
    _superseding(feed, ("a", "08:00", FIRST))
    feed.show(at("10:30"), [listed(instance(1), at("10:00"), image_id=SECOND)])
    _superseding(feed, ("a", "08:00", THIRD))
    assert _images(accounts, feed) == [SECOND]


# Their inspection


def _jobs(accounts: Accounts, feed: Feeder) -> list[str]:
    request = inventory_pb2.ListInspectionsRequest(account_id=feed.account_id)
    return [each.image_id for each in accounts.admin.inventory.ListInspections(request).inspections]


def test_an_image_that_only_an_event_names_is_inspected(feed: Feeder, accounts: Accounts) -> None:
    """Once, also when a listing describes it later."""
    feed.send([message(on("10:00"), instance(1), feed.account_id, image_id=FIRST)])
    assert _jobs(accounts, feed) == [FIRST]
    described = events_pb2.ImageDescription(
        image_id=FIRST, root_snapshot_id="snap-00000000000000001", state="available"
    )
    shown = listed(instance(1), at("10:00"), image_id=FIRST)
    feed.show(at("10:30"), [shown], images=[described])
    assert _jobs(accounts, feed) == [FIRST]


def test_the_job_of_an_image_that_an_event_names_is_due_at_once_and_says_where_it_is(
    database_url: str,
) -> None:
    """The relay is woken; the inspector finds the disk itself, by Region and id."""
    with closing(Database(database_url, pool_size=2)) as database:
        with database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO app_user (name, role, created_at) VALUES ('ada', 1, 1) RETURNING id"
            )
            (owner,) = cursor.fetchone() or (0,)
            cursor.execute(
                "INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn,"
                " external_id, state, created_at, verified_at)"
                " VALUES (%s, 'web', 'aws', '123456789012', 'role', 'external', 2, 1, 1)"
                " RETURNING id",
                (owner,),
            )
            (account_id,) = cursor.fetchone() or (0,)
        woken = threading.Event()
        clock = ManualClock(START + timedelta(hours=12))
        store = EventStore(FactWriter(database, LabelStore(database), clock, woken.set))
        store.record(
            [
                event_from_proto(
                    message(
                        on("10:00"), instance(1), account_id, image_id=FIRST, region="eu-west-1"
                    ),
                    account_id,
                    to_micros(clock.now()),
                )
            ]
        )
        assert woken.is_set()
        orders: list[Order] = []
        JobStore(database, Patience()).publish_due(orders.append, to_micros(clock.now()), 10)
        (order,) = orders
        assert (order.region, order.ami_id, order.root_snapshot_id) == ("eu-west-1", FIRST, "")
        assert (order.role_arn, order.external_id) == ("role", "external")


def test_an_image_that_cannot_be_described_is_where_its_instance_is_listed(
    feed: Feeder, accounts: Accounts
) -> None:
    """An event named eu-west-1; where it is matters to whoever reads its disk."""
    told = message(on("10:00"), instance(1), feed.account_id, image_id=FIRST, region="eu-west-1")
    feed.send([told])
    image = events_pb2.ImageDescription(image_id=FIRST, state="unavailable")
    feed.show(at("10:30"), [listed(instance(1), at("10:00"), image_id=FIRST)], images=[image])
    request = inventory_pb2.GetImageRequest(account_id=feed.account_id, image_id=FIRST)
    found = accounts.admin.inventory.GetImage(request).image
    assert (found.region, found.description.state) == ("us-east-1", "unavailable")


# The record of what that changes


def _entries(accounts: Accounts, feed: Feeder, action: str) -> list[inventory_pb2.AuditEntry]:
    request = inventory_pb2.ListAuditEntriesRequest(account_id=feed.account_id)
    entries = accounts.admin.inventory.ListAuditEntries(request).entries
    return [each for each in entries if each.action == action]


def test_another_image_of_what_ran_in_the_past_is_audited_once_with_its_span(
    feed: Feeder, accounts: Accounts
) -> None:
    """Two instances on since 08:00 and 09:00; one that began today concerns no past."""
    today = at("08:00") + 24 * 3_600_000_000
    accounts.clock.advance(timedelta(hours=9))  # to 09:00 of that day
    ran = [on("08:00"), on("09:00"), on("08:00")._replace(occurred_at=today)]
    feed.send(
        [
            message(event, instance(number), feed.account_id, image_id=FIRST)
            for number, event in enumerate(ran, start=1)
        ]
    )
    assert _entries(accounts, feed, "instance.image_changed") == []
    feed.show(
        today + 60_000_000,
        [
            listed(instance(number), event.occurred_at, image_id=SECOND)
            for number, event in enumerate(ran, start=1)
        ],
    )
    (entry,) = _entries(accounts, feed, "instance.image_changed")
    assert entry.subject == "2 instances"
    assert entry.detail == (
        f"{instance(1)}: {FIRST} to {SECOND}; {instance(2)}: {FIRST} to {SECOND}"
    )
    assert entry.affected_start_time == timestamp(at("08:00"))
    assert entry.affected_end_time == entry.time


def test_a_description_that_makes_an_image_another_thing_is_audited_with_its_span(
    feed: Feeder, accounts: Accounts
) -> None:
    """Named by an event it was unknown; another name of it later changes no classification."""
    feed.send([message(on("08:00"), instance(1), feed.account_id, image_id=FIRST)])

    def describe(time: str, description: str) -> None:
        image = events_pb2.ImageDescription(
            image_id=FIRST,
            description=description,
            usage_operation="RunInstances:0010",
            state="available",
        )
        shown = listed(instance(1), at("08:00"), image_id=FIRST)
        feed.show(at(time), [shown], images=[image])

    describe("10:30", "x")
    describe("10:45", "y")
    (entry,) = _entries(accounts, feed, "image.described")
    assert (entry.subject, entry.actor) == (FIRST, "service:scanner")
    assert entry.detail == "unknown (unknown) to rhel (included)"
    assert entry.affected_start_time == timestamp(at("08:00"))
    assert entry.affected_end_time == entry.time
