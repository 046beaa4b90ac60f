"""The scanner and the real accounts: from a role's ARN to runs."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, inventory_pb2
from cloudigrade.scanner.v1 import scanner_pb2
from services.scanner.convert import to_moment
from tests.scanner.conftest import Client, Scanners
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller, refusal
from tests.support.fleet import Fleet
from tests.support.local_aws import CUSTOMER, make_role

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

LAUNCHED = datetime(2026, 1, 5, 8, 0, 0, tzinfo=UTC)
State = scanner_pb2.RegionProgress


@pytest.fixture
def member(accounts: Accounts) -> Caller:
    """Give max, a member."""
    return accounts.member()


@pytest.fixture
def client(accounts: Accounts, member: Caller) -> Iterator[Client]:
    """Give max's calls to a scanner of that accounts, by its clock."""
    with ExitStack() as stack:
        scanners = Scanners(stack, accounts.target, SERVICE_TOKENS["scanner"])
        yield scanners.client(scanners.start(accounts.clock), member.token)


@pytest.fixture
def account(accounts: Accounts, member: Caller, local_aws: "LocalAws") -> accounts_pb2.CloudAccount:
    """Register max's account and give it the role that its ExternalId belongs in."""
    account = accounts.account(member, number=CUSTOMER)
    make_role(local_aws, ["ec2:*", "ebs:*"], external_id=account.external_id)
    return account


def test_an_account_goes_from_its_role_to_its_runs(
    client: Client, member: Caller, account: accounts_pb2.CloudAccount, local_aws: "LocalAws"
) -> None:
    """Verified, scanned and derived: a stopped and a running instance have their true runs."""
    fleet = Fleet(local_aws, "eu-west-1")
    image = fleet.register("rhel")
    stopped, running = (fleet.launch(image, LAUNCHED) for _ in range(2))
    fleet.stop(stopped, LAUNCHED + timedelta(minutes=90))

    assert client.verify(account.id).verified
    summary = client.summary(account.id)
    assert {region.region: region.state for region in summary.regions} == {
        "af-south-1": State.STATE_DISABLED,
        "eu-west-1": State.STATE_LISTED,
        "us-east-1": State.STATE_LISTED,
        "us-east-2": State.STATE_LISTED,
    }

    def runs(instance_id: str) -> list[inventory_pb2.Run]:
        request = inventory_pb2.ListRunsRequest(account_id=account.id, instance_id=instance_id)
        return list(member.inventory.ListRuns(request).runs)

    (ended,), (going,) = runs(stopped), runs(running)
    assert to_moment(ended.start_time) == LAUNCHED
    assert to_moment(ended.end_time) == LAUNCHED + timedelta(minutes=90)
    assert to_moment(going.start_time) == LAUNCHED
    assert not going.HasField("end_time")
    assert (going.instance_type, going.vcpus) == ("m5.large", 2)


def test_scanning_again_changes_nothing_that_has_not_changed(
    client: Client, account: accounts_pb2.CloudAccount, local_aws: "LocalAws"
) -> None:
    """The second scan of the same fleet brings no new event and no new image."""
    fleet = Fleet(local_aws, "eu-west-1")
    fleet.launch(fleet.register("rhel"), LAUNCHED)
    assert client.verify(account.id).verified
    first, second = client.summary(account.id), client.summary(account.id)
    assert (first.events_stored, first.images_new) == (1, 1)
    assert (second.events_stored, second.images_new) == (0, 0)


def test_an_account_that_was_never_verified_is_not_scanned(
    client: Client, account: accounts_pb2.CloudAccount, member: Caller
) -> None:
    """It stays PENDING; nothing of it is read."""
    refused = refusal(lambda: client.summary(account.id))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "ACCOUNT_NOT_ENABLED")
    request = accounts_pb2.GetCloudAccountRequest(id=account.id)
    state = member.accounts.GetCloudAccount(request).account.state
    assert state == accounts_pb2.CloudAccount.STATE_PENDING
