"""Whoever changes by what runs of the past are billed leaves an entry in the audit log."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2
from libs.common.instants import to_micros
from libs.common.timestamps import timestamp
from services.accounts.classification import Installed
from services.accounts.job_store import JobStore
from services.accounts.jobs import Answer
from tests.support.accounts import Accounts
from tests.support.answers import stream
from tests.support.feeding import Feeder, feeder, instance, listed, message
from tests.support.timeline import at, off, on

I1, I2 = instance(1), instance(2)
AMI = "ami-00000000000000001"
PLAIN = "RunInstances"
RHEL_BY_RED_HAT = "6cd5fxzrad0cu2j23p692xytz"
"""A product code that is on AWS's bill."""


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account at 09:00 of 2026-03-02; one ran yesterday, one runs today."""
    accounts.clock.advance(timedelta(hours=21))
    feed = feeder(accounts)
    today = at("08:00") + 24 * 3_600_000_000
    ran = {
        I1: [on("08:00", usage_operation=PLAIN), off("10:00")],
        I2: [on("08:00", usage_operation=PLAIN)._replace(occurred_at=today)],
    }
    for ec2_id, events in ran.items():
        feed.send([message(each, ec2_id, feed.account_id, image_id=AMI) for each in events])
    return feed


def _show(feed: Feeder, minute: int, codes: Sequence[str]) -> None:
    """List both instances as plain Linux/UNIX, stopped, with product codes; describe the image."""
    shown = [
        listed(
            each,
            at("08:00"),
            sighted=False,
            events=[],
            attributes=events_pb2.Attributes(usage_operation=PLAIN),
            image_id=AMI,
            product_codes=codes,
        )
        for each in (I1, I2)
    ]
    image = events_pb2.ImageDescription(
        image_id=AMI, usage_operation="RunInstances:0010", state="available"
    )
    feed.show(at("10:30") + minute * 60_000_000, shown, images=[image])


def _licenses(accounts: Accounts, feed: Feeder) -> set[str]:
    _, chunks = stream(accounts, accounts.admin, feed.account_id)
    return {
        f"{each.distribution} {inventory_pb2.LicenseModel.Name(each.license_model)}"
        for chunk in chunks
        for each in chunk.classifications
    }


def _entries(accounts: Accounts, feed: Feeder, action: str) -> list[inventory_pb2.AuditEntry]:
    request = inventory_pb2.ListAuditEntriesRequest(account_id=feed.account_id)
    entries = accounts.admin.inventory.ListAuditEntries(request).entries
    return [each for each in entries if each.action == action]


def test_other_product_codes_of_an_instance_are_audited_with_its_past_runs(
    feed: Feeder, accounts: Accounts
) -> None:
    """Nobody knew what the runs owe until a listing told; the instance of today has no past."""
    _show(feed, 0, [])
    assert _licenses(accounts, feed) == {"rhel LICENSE_MODEL_UNKNOWN"}
    assert _entries(accounts, feed, "instance.billing_changed") == []
    _show(feed, 1, [RHEL_BY_RED_HAT])
    assert _licenses(accounts, feed) == {"rhel LICENSE_MODEL_INCLUDED"}
    _show(feed, 2, [RHEL_BY_RED_HAT])
    (entry,) = _entries(accounts, feed, "instance.billing_changed")
    assert (entry.subject, entry.actor) == (I1, "service:scanner")
    assert entry.detail == "rhel (unknown) to rhel (included) where RunInstances holds"
    assert entry.affected_start_time == timestamp(at("08:00"))
    assert entry.affected_end_time == entry.time


def test_a_description_that_changes_only_runs_of_an_image_is_audited(
    feed: Feeder, accounts: Accounts
) -> None:
    """The image stays RHEL on AWS's bill; its runs were plain Linux, and take its product code."""
    for minute, codes in enumerate(([], [RHEL_BY_RED_HAT])):
        described = events_pb2.ImageDescription(
            image_id=AMI,
            usage_operation="RunInstances:0010",
            product_codes=codes,
            state="available",
        )
        shown = listed(instance(3), at("10:00"), image_id=AMI)
        feed.show(at("10:30") + minute * 60_000_000, [shown], images=[described])
    was, now = _entries(accounts, feed, "image.described")[::-1]
    assert was.detail == "unknown (unknown) to rhel (included)"
    assert now.detail == "rhel (unknown) to rhel (included)"
    assert (now.subject, now.affected_start_time) == (AMI, timestamp(at("08:00")))


def test_a_finding_that_changes_only_runs_of_an_image_is_audited(
    feed: Feeder, accounts: Accounts
) -> None:
    """RHEL by its codes and on its disk; a run of it, billed as Windows, was said to be that."""
    ran = [on("08:00", usage_operation="RunInstances:0002"), off("09:00")]
    feed.send([message(each, instance(3), feed.account_id, image_id=AMI) for each in ran])
    _show(feed, 0, [])
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT id, attempts FROM inspection_job")
        ((job, attempt),) = cursor.fetchall()
    answer = Answer(job, attempt, feed.account_id, AMI, Installed("rhel"))
    assert JobStore(feed.database).record(answer, to_micros(accounts.clock.now()))
    (entry,) = _entries(accounts, feed, "image.classified")
    assert entry.subject == AMI
    assert entry.affected_start_time == timestamp(at("08:00"))
