"""Inspections as users and the scanner meet them, through a running accounts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudigrade.accounts.v1 import events_pb2
from cloudigrade.accounts.v1 import inventory_pb2 as pb
from services.accounts.job_store import JobStore
from services.accounts.jobs import Attempt, State
from services.accounts.new_events import Aside
from services.accounts.relay import Relay
from tests.support.accounts import Accounts, refusal
from tests.support.brokers import wait_until
from tests.support.commands import Done, command
from tests.support.feeding import Feeder, feeder, instance, listed, message
from tests.support.inspecting import NEVER
from tests.support.timeline import at, on

AMI, OTHER = "ami-00000000000000001", "ami-00000000000000002"


@pytest.fixture
def feed(accounts_only_when_woken: Accounts) -> Feeder:
    """Be a scanner with the lease of an account."""
    accounts_only_when_woken.clock.advance(timedelta(hours=12))
    return feeder(accounts_only_when_woken)


@pytest.fixture
def accounts_only_when_woken(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Accounts:
    """Run accounts whose relay looks when it is woken, and else only once an hour."""
    defaults: dict[str, Any] = Relay.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "poll_seconds", NEVER)
    running: Accounts = request.getfixturevalue("accounts")
    return running


def inspections(accounts: Accounts, feed: Feeder) -> dict[str, pb.Inspection]:
    """List the account's inspections by image."""
    request = pb.ListInspectionsRequest(account_id=feed.account_id)
    found = accounts.admin.inventory.ListInspections(request).inspections
    return {each.image_id: each for each in found}


def published(accounts: Accounts, feed: Feeder, *amis: str) -> bool:
    """Say whether these images' jobs, and no others, have been handed out."""
    states = {name: each.state for name, each in inspections(accounts, feed).items()}
    return states == dict.fromkeys(amis, pb.Inspection.STATE_PUBLISHED)


def test_an_image_that_an_event_or_a_listing_names_first_is_inspected_at_once(
    feed: Feeder, accounts: Accounts
) -> None:
    """The relay does not wait for its next look: each has its job handed out when it is named."""
    assert feed.outcomes([message(on("10:00"), instance(1), feed.account_id, image_id=AMI)])
    wait_until(lambda: published(accounts, feed, AMI))
    image = events_pb2.ImageDescription(image_id=OTHER, root_snapshot_id="snap-1")
    feed.show(at("11:00"), [listed(instance(2), at("10:30"), image_id=OTHER)], images=[image])
    wait_until(lambda: published(accounts, feed, AMI, OTHER))


def settle(feed: Feeder, ami_id: str, state: State, reason: str) -> None:
    """Have an image's inspection end like that."""
    with feed.database.transaction() as cursor:
        cursor.execute(
            "UPDATE inspection_job SET state = %s, reason = %s, due_at = 0, attempts = 5"
            " WHERE image_id = (SELECT image_id FROM image WHERE ami_id = %s)",
            (state.value, reason, ami_id),
        )


def test_a_redrive_says_what_it_did_and_is_published_at_once(
    feed: Feeder, accounts: Accounts
) -> None:
    """The command names image and reason; a second time there is nothing left to redrive."""
    feed.send([message(on("10:00"), instance(1), feed.account_id, image_id=AMI)])
    wait_until(lambda: published(accounts, feed, AMI))
    settle(feed, AMI, State.DEAD, "Given up after 5 attempts: throttled")
    listed_ = run(accounts, "inspections", "list", str(feed.account_id))
    assert ("dead" in listed_.out, "Given up after 5 attempts: throttled" in listed_.out) == (
        True,
        True,
    )
    done = run(accounts, "inspections", "redrive", str(feed.account_id))
    assert (done.status, AMI in done.out, "throttled" in done.out) == (0, True, True)
    wait_until(lambda: published(accounts, feed, AMI))
    assert inspections(accounts, feed)[AMI].attempts == 6
    again = run(accounts, "inspections", "redrive", str(feed.account_id))
    assert again.status == 0
    assert "Nothing was redriven: no inspection of this account has been given up." in again.out


def run(accounts: Accounts, *words: str) -> Done:
    """Run the command as the admin, for a person to read."""
    environ = {
        "CLOUDIGRADE_TOKEN": accounts.admin.token,
        "CLOUDIGRADE_ACCOUNTS_TARGET": accounts.target,
    }
    return command(environ, *words, "--output", "table")


def test_a_redrive_of_an_inspection_that_is_done_is_refused(
    feed: Feeder, accounts: Accounts
) -> None:
    """One that has read its disk: FAILED_PRECONDITION, and the other that was named stays dead."""
    for number, ami_id in ((1, AMI), (2, OTHER)):
        feed.send([message(on("10:00"), instance(number), feed.account_id, image_id=ami_id)])
    wait_until(lambda: published(accounts, feed, AMI, OTHER))
    settle(feed, AMI, State.DONE, "")
    settle(feed, OTHER, State.DEAD, "why")
    ids = [each.id for each in inspections(accounts, feed).values()]
    request = pb.RedriveInspectionsRequest(account_id=feed.account_id, ids=ids)
    refused = refusal(lambda: accounts.admin.inventory.RedriveInspections(request))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INSPECTION_NOT_DEAD")
    assert inspections(accounts, feed)[OTHER].state == pb.Inspection.STATE_DEAD


def test_an_image_whose_disk_could_not_be_read_says_why_and_can_be_redriven_by_its_id(
    feed: Feeder, accounts: Accounts
) -> None:
    """It is what its billing codes say, with the missing permission beside it, until it is read."""
    denied = "The role's policy must allow ebs:GetSnapshotBlock (denied in us-east-1)."
    described = events_pb2.ImageDescription(image_id=AMI, usage_operation="RunInstances:0010")
    feed.show(at("11:00"), [listed(instance(1), at("10:30"), image_id=AMI)], images=[described])
    wait_until(lambda: published(accounts, feed, AMI))
    settle(feed, AMI, State.DONE, denied)
    image = accounts.admin.inventory.GetImage(
        pb.GetImageRequest(account_id=feed.account_id, image_id=AMI)
    ).image
    assert (image.inspection.state, image.inspection.reason) == (pb.Inspection.STATE_DONE, denied)
    assert image.classification.distribution == "rhel"
    assert image.classification.distribution_authority == pb.AUTHORITY_BILLING
    assert image.classification.installed_distribution == ""
    all_dead = pb.RedriveInspectionsRequest(account_id=feed.account_id)
    assert accounts.admin.inventory.RedriveInspections(all_dead).redriven == 0
    one = pb.RedriveInspectionsRequest(account_id=feed.account_id, ids=[image.inspection.id])
    answer = accounts.admin.inventory.RedriveInspections(one)
    assert (answer.redriven, answer.inspections[0].image_id) == (1, AMI)
    assert answer.inspections[0].reason == denied
    wait_until(lambda: published(accounts, feed, AMI))


def test_answers_that_were_kept_aside_are_shown_with_their_reason(
    feed: Feeder, accounts: Accounts
) -> None:
    """An account's own to whoever may see it, those of no known account to an admin."""
    feed.send([message(on("10:00"), instance(1), feed.account_id, image_id=AMI)])
    wait_until(lambda: published(accounts, feed, AMI))
    store = JobStore(feed.database)
    inspection = inspections(accounts, feed)[AMI]
    item = Aside(0, 0, "inspection.results: message '1/1' of the type 'x'", "no outcome", b"\x01")
    attempt = Attempt(feed.account_id, inspection.id, 1, AMI)
    store.set_aside(item, attempt, at("23:00"))
    store.set_aside(replace(item, reason="not to be parsed", content=b"\xff"), None, at("23:00"))
    own = run(accounts, "inspections", "aside", str(feed.account_id)).out
    assert ("no outcome" in own, "not to be parsed" in own) == (True, False)
    unknown = run(accounts, "inspections", "aside").out
    assert ("no outcome" in unknown, "not to be parsed" in unknown) == (False, True)
