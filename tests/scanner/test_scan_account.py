"""ScanAccount: what a fleet in several Regions becomes, and what goes wrong on the way."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cloudigrade.accounts.v1 import events_pb2, schedule_pb2
from cloudigrade.scanner.v1 import scanner_pb2
from libs.common.errors import Unavailable
from services.scanner.convert import to_moment
from tests.scanner.conftest import Client, Scanners
from tests.support.accounts_double import Account, AccountsDouble
from tests.support.fleet import Fleet
from tests.support.local_aws import Role
from tests.support.logs import Lines, recorded_logs
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

State = scanner_pb2.RegionProgress
Event = events_pb2.Event
LAUNCHED = datetime(2026, 1, 5, 8, 0, 0, tzinfo=UTC)


@pytest.fixture
def account(double: AccountsDouble, customer_role: Role) -> Account:
    """Register max's account, not due, so that it is scanned when asked only."""
    account = double.add(customer_role.arn, customer_role.external_id)
    account.due = None
    return account


@pytest.fixture
def client(scanners: Scanners) -> Client:
    """Give max's calls to a scanner."""
    return scanners.client(scanners.start())


def after(minutes: int) -> datetime:
    """Return the time so many minutes after the first launch."""
    return LAUNCHED + timedelta(minutes=minutes)


def events(instance: events_pb2.ListedInstance) -> list[tuple[int, datetime, bool]]:
    """Return kind, time and finality of each event of an instance."""
    return [
        (event.kind, to_moment(event.occur_time), event.terminated) for event in instance.events
    ]


def states(summary: scanner_pb2.ScanSummary) -> dict[str, int]:
    """Return where each Region ended."""
    return {region.region: region.state for region in summary.regions}


@pytest.fixture
def _fleet(local_aws: "LocalAws") -> None:
    """Launch a running instance in us-east-1 and a stopped one in eu-west-1."""
    america, europe = Fleet(local_aws, "us-east-1"), Fleet(local_aws, "eu-west-1")
    america.launch(america.register("rhel"), LAUNCHED)
    stopped = europe.launch(europe.register("debian"), LAUNCHED)
    europe.stop(stopped, after(30))


@pytest.mark.usefixtures("_fleet")
def test_a_scan_tells_each_region_and_ends_with_a_summary(client: Client, account: Account) -> None:
    """Enabled Regions are listed, the one not opted in is told apart, the counts are right."""
    *progress, summary = client.scan(account.id)
    assert isinstance(summary, scanner_pb2.ScanSummary)
    assert states(summary) == {
        "af-south-1": State.STATE_DISABLED,
        "eu-west-1": State.STATE_LISTED,
        "us-east-1": State.STATE_LISTED,
        "us-east-2": State.STATE_LISTED,
    }
    assert (summary.instances, summary.events_stored, summary.images_new) == (2, 3, 2)
    assert not summary.joined
    europe = [
        told.state
        for told in progress
        if isinstance(told, scanner_pb2.RegionProgress) and told.region == "eu-west-1"
    ]
    assert europe == [State.STATE_WAITING, State.STATE_LISTING, State.STATE_LISTED]
    assert sorted(listing.region for listing in account.listings) == [
        "eu-west-1",
        "us-east-1",
        "us-east-2",
    ]
    assert account.last_scan is not None
    assert account.expires is None


def test_every_fate_of_an_instance_is_told_to_the_second(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """Running, stopped, started again and terminated: the true times, whenever it is scanned."""
    fleet = Fleet(local_aws, "us-east-1")
    image = fleet.register("rhel")
    running, stopped, restarted, gone = (fleet.launch(image, LAUNCHED) for _ in range(4))
    fleet.stop(stopped, after(10))
    fleet.stop(restarted, after(20))
    fleet.start(restarted, after(50))
    now = datetime.now(UTC).replace(microsecond=0)
    fleet.terminate(gone, now)
    client.summary(account.id)
    (listing,) = [listing for listing in account.listings if listing.region == "us-east-1"]
    told = {instance.instance_id: instance for instance in listing.instances}
    on, off = Event.KIND_POWER_ON, Event.KIND_POWER_OFF
    assert events(told[running]) == [(on, LAUNCHED, False)]
    assert events(told[stopped]) == [(on, LAUNCHED, False), (off, after(10), False)]
    assert events(told[restarted]) == [(on, after(50), False)]
    assert events(told[gone]) == [(on, LAUNCHED, False), (off, now, True)]
    assert {name: told[name].sighted for name in told} == {
        running: True,
        stopped: False,
        restarted: True,
        gone: False,
    }


def test_a_listing_brings_types_images_and_attributes(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """What runs and reports need of an instance, its type and its image comes with the listing."""
    fleet = Fleet(local_aws, "us-east-1")
    image, lost = fleet.register("rhel 9"), fleet.register("soon gone")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}]
    fleet.launch(image, LAUNCHED, TagSpecifications=tags)
    fleet.launch(lost, LAUNCHED, InstanceType="t3.micro")
    fleet.deregister(lost)
    client.summary(account.id)
    (listing,) = [listing for listing in account.listings if listing.region == "us-east-1"]
    web = next(found for found in listing.instances if found.image_id == image)
    assert dict(web.tags) == {"Name": "web"}
    assert web.attributes.instance_type == "m5.large"
    assert web.attributes.vcpus == 2
    assert web.attributes.usage_operation == "RunInstances"
    assert to_moment(web.launch_time) == LAUNCHED
    assert {found.image_id: found.state for found in listing.images} == {
        image: "available",
        lost: "unavailable",
    }
    types = {
        found.instance_type: (found.vcpus, found.memory_mib) for found in listing.instance_types
    }
    assert types == {"m5.large": (2, 8192), "t3.micro": (2, 1024)}


def test_known_images_are_not_described_again(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """The second scan of the same fleet brings no image."""
    fleet = Fleet(local_aws, "us-east-1")
    fleet.launch(fleet.register("rhel"), LAUNCHED)
    assert client.summary(account.id).images_new == 1
    assert client.summary(account.id).images_new == 0
    last = [listing for listing in account.listings if listing.region == "us-east-1"][-1]
    assert list(last.images) == []


@pytest.mark.usefixtures("_fleet")
def test_a_denied_region_does_not_keep_the_others(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """The denied Region is no listing and says why; the others are listed."""
    local_aws.fail("ec2:DescribeInstances", "UnauthorizedOperation", status=403, region="us-east-2")
    summary = client.summary(account.id)
    assert states(summary)["us-east-2"] == State.STATE_DENIED
    assert states(summary)["eu-west-1"] == State.STATE_LISTED
    (denied,) = [region for region in summary.regions if region.region == "us-east-2"]
    assert "ec2:DescribeInstances" in denied.detail
    assert "us-east-2" not in {listing.region for listing in account.listings}
    assert account.last_scan is not None
    told = {region.region: region.outcome for region in account.last_scan.regions}
    assert told["us-east-2"] == schedule_pb2.RegionOutcome.OUTCOME_DENIED


@pytest.mark.usefixtures("_fleet")
def test_a_throttled_region_has_failed(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """When the retries are used up there is no listing of the Region."""
    local_aws.fail("ec2:DescribeInstances", "RequestLimitExceeded", status=503, region="us-east-1")
    summary = client.summary(account.id)
    assert states(summary)["us-east-1"] == State.STATE_FAILED
    assert states(summary)["eu-west-1"] == State.STATE_LISTED


@pytest.mark.usefixtures("_fleet")
def test_credentials_that_end_under_way_are_taken_anew(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """A Region whose reading met RequestExpired is read again from its first page."""
    local_aws.fail("ec2:DescribeInstances", "RequestExpired", region="us-east-1", times=1)
    assert states(client.summary(account.id))["us-east-1"] == State.STATE_LISTED


def test_a_role_that_refuses_is_a_scan_that_says_so(
    client: Client, account: Account, local_aws: "LocalAws"
) -> None:
    """When not even the Regions can be asked for, the scan ends with the reason."""
    local_aws.fail("sts:AssumeRole", "AccessDenied", status=403)
    (region,) = client.summary(account.id).regions
    assert (region.region, region.state) == ("us-east-1", State.STATE_DENIED)
    assert "trust policy" in region.detail


@pytest.mark.usefixtures("_fleet")
def test_accounts_may_be_away_for_a_moment(
    client: Client, account: Account, double: AccountsDouble
) -> None:
    """A listing that could not be told is told again, and counts once."""
    away = ["once", "twice"]

    def before(_listing: object) -> None:
        if away:
            away.pop()
            raise Unavailable("The database is away.")

    double.before["RecordListing"] = before
    assert set(states(client.summary(account.id)).values()) == {
        State.STATE_LISTED,
        State.STATE_DISABLED,
    }
    assert len(account.listings) == 3


def test_a_listing_that_accounts_refuses_fails_its_region_alone(
    client: Client, account: Account, double: AccountsDouble
) -> None:
    """A defect there costs one Region, not the scan."""

    def before(listing: object) -> None:
        if getattr(listing, "region", "") == "us-east-2":
            raise ZeroDivisionError

    double.before["RecordListing"] = before
    summary = client.summary(account.id)
    assert states(summary)["us-east-2"] == State.STATE_FAILED
    assert states(summary)["us-east-1"] == State.STATE_LISTED


@pytest.mark.parametrize(
    ("token", "account_id", "code"),
    [
        (None, 1, grpc.StatusCode.UNAUTHENTICATED),
        ("no-such-token", 1, grpc.StatusCode.UNAUTHENTICATED),
        ("eve-token", 1, grpc.StatusCode.NOT_FOUND),
        ("max-token", 99, grpc.StatusCode.NOT_FOUND),
        ("max-token", 0, grpc.StatusCode.INVALID_ARGUMENT),
        ("max-token", -1, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_only_whom_the_account_belongs_to_may_scan_it(
    scanners: Scanners, account: Account, token: str | None, account_id: int, code: grpc.StatusCode
) -> None:
    """What is not theirs does not exist for them; nothing is scanned."""
    client = scanners.client(scanners.start(), token)
    with pytest.raises(grpc.RpcError) as caught:
        list(client.scan(account_id))
    assert caught.value.code() is code
    assert account.epoch == 0


def test_an_admin_may_scan_any_account(scanners: Scanners, account: Account) -> None:
    """Ada is an admin; the account is max's."""
    assert scanners.client(scanners.start(), "ada-token").summary(account.id).regions


def test_an_account_that_is_not_enabled_is_not_scanned(client: Client, account: Account) -> None:
    """FAILED_PRECONDITION says what to do first."""
    account.enabled = False
    with pytest.raises(grpc.RpcError) as caught:
        list(client.scan(account.id))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_all_that_a_scan_calls_has_the_trace_id_of_who_asked(
    client: Client, account: Account
) -> None:
    """One id leads from the user's call to every listing that accounts stored for it."""
    with recorded_logs() as lines:
        client.summary(account.id)
        wait_until(lambda: any("ScanAccount" in line["method"] for line in finished(lines)))
    methods = [line["method"].rpartition("/")[2] for line in finished(lines)]
    assert methods.count("RecordListing") == 3
    assert len({line["request_id"] for line in finished(lines)}) == 1


def finished(lines: Lines) -> list[dict[str, Any]]:
    """Return the lines of calls that ended, but for those that the schedule makes by itself."""
    return [line for line in lines.all("rpc.finished") if not line["method"].endswith("DueLeases")]
