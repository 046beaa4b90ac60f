"""Which image an instance has, when records disagree."""

from datetime import timedelta
from itertools import permutations

import pytest

from cloudigrade.accounts.v1 import inventory_pb2
from tests.support.accounts import Accounts
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
