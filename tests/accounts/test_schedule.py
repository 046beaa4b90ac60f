"""Scan leases: who may scan what, and until when."""

import threading
from datetime import datetime, timedelta

import pytest

from cloudigrade.accounts.v1 import accounts_pb2
from cloudigrade.accounts.v1 import schedule_pb2 as pb
from tests.support.accounts import START, Accounts, Caller, Refusal, later, refusal

LOST = Refusal("FAILED_PRECONDITION", "LEASE_LOST", ())
MINUTE = timedelta(minutes=1)


@pytest.fixture
def scanner(accounts: Accounts) -> Caller:
    """Call as the scanner."""
    return accounts.service("scanner")


def due(scanner: Caller, holder: str = "one", limit: int = 100) -> list[pb.ScanLease]:
    """Take the leases of due accounts."""
    answer = scanner.schedule.AcquireDueLeases(
        pb.AcquireDueLeasesRequest(holder=holder, max_leases=limit)
    )
    return list(answer.leases)


def complete(
    scanner: Caller,
    lease: pb.ScanLease,
    start: datetime,
    end: datetime,
    *regions: pb.RegionOutcome,
) -> datetime:
    """End a scan and give the time at which the next one is due."""
    answer = scanner.schedule.CompleteScan(
        pb.CompleteScanRequest(
            account_id=lease.target.account_id,
            epoch=lease.epoch,
            summary=pb.ScanSummary(start_time=start, end_time=end, regions=regions),
        )
    )
    return answer.next_due_time.ToDatetime(START.tzinfo)


def renew(scanner: Caller, lease: pb.ScanLease) -> datetime:
    """Renew a lease and give the time until which it holds."""
    answer = scanner.schedule.RenewLease(
        pb.RenewLeaseRequest(account_id=lease.target.account_id, epoch=lease.epoch)
    )
    return answer.expire_time.ToDatetime(START.tzinfo)


def test_only_enabled_accounts_are_due_and_each_once(accounts: Accounts, scanner: Caller) -> None:
    """A verified account is due at once; pending, paused ones and those under a lease are not."""
    account = accounts.verified(accounts.admin, "111111111111")
    accounts.account(accounts.admin, "222222222222")
    paused = accounts.verified(accounts.admin, "333333333333")
    accounts.admin.accounts.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=paused.id))
    (lease,) = due(scanner)
    assert lease.target.account_id == account.id
    assert lease.target.role_arn == account.role_arn
    assert lease.target.external_id == account.external_id
    assert lease.expire_time.ToDatetime(START.tzinfo) == later(2 * MINUTE)
    assert due(scanner, "two") == []


def test_without_accounts_nothing_is_due(scanner: Caller) -> None:
    """The answer is empty and names no next time."""
    answer = scanner.schedule.AcquireDueLeases(
        pb.AcquireDueLeasesRequest(holder="one", max_leases=1)
    )
    assert not answer.leases
    assert not answer.HasField("next_due_time")


def test_the_longest_due_comes_first(accounts: Accounts, scanner: Caller) -> None:
    """With one lease asked for at a time, accounts come in the order in which they fell due."""
    first = accounts.verified(accounts.admin, "111111111111")
    accounts.clock.advance(MINUTE)
    second = accounts.verified(accounts.admin, "222222222222")
    got = [lease.target.account_id for _ in range(3) for lease in due(scanner, limit=1)]
    assert got == [first.id, second.id]


def test_scans_begin_an_interval_apart(accounts: Accounts, scanner: Caller) -> None:
    """15 min after a scan began the next is due; one that took longer is followed at once."""
    accounts.verified(accounts.admin)
    (lease,) = due(scanner)
    accounts.clock.advance(MINUTE)
    assert complete(scanner, lease, START, later(MINUTE)) == later(15 * MINUTE)
    accounts.clock.advance(14 * MINUTE - timedelta(microseconds=1))
    assert due(scanner) == []
    accounts.clock.advance(timedelta(microseconds=1))
    (lease,) = due(scanner)
    accounts.clock.advance(20 * MINUTE)
    assert complete(scanner, lease, later(15 * MINUTE), later(35 * MINUTE)) == later(35 * MINUTE)


def test_a_dead_scanners_lease_passes_on_with_a_higher_epoch(
    accounts: Accounts, scanner: Caller
) -> None:
    """After 2 min without renewal another scanner gets the account; the first one has lost it."""
    accounts.verified(accounts.admin)
    (first,) = due(scanner, "one")
    accounts.clock.advance(2 * MINUTE)
    (second,) = due(scanner, "two")
    assert second.epoch > first.epoch
    assert refusal(lambda: renew(scanner, first)) == LOST
    assert refusal(lambda: complete(scanner, first, START, START)) == LOST
    assert renew(scanner, second) == later(4 * MINUTE)


def test_a_renewed_lease_is_kept(accounts: Accounts, scanner: Caller) -> None:
    """Renewed every minute, a lease outlives its 2 min; late but untaken it can be renewed too."""
    accounts.verified(accounts.admin)
    (lease,) = due(scanner)
    for minute in range(1, 5):
        accounts.clock.advance(MINUTE)
        assert renew(scanner, lease) == later((minute + 2) * MINUTE)
        assert due(scanner, "two") == []
    accounts.clock.advance(10 * MINUTE)
    assert renew(scanner, lease) == later(16 * MINUTE)


@pytest.mark.parametrize("change", ["Pause", "Disable", "Delete", "Update"])
def test_a_change_of_the_account_ends_its_scan(
    accounts: Accounts, scanner: Caller, change: str
) -> None:
    """Pausing, disabling, removing and another role take the lease from a scan under way."""
    account = accounts.verified(accounts.admin)
    (lease,) = due(scanner)
    api = accounts.admin.accounts
    match change:
        case "Pause":
            api.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=account.id))
        case "Disable":
            api.DisableCloudAccount(accounts_pb2.DisableCloudAccountRequest(id=account.id))
        case "Delete":
            api.DeleteCloudAccount(
                accounts_pb2.DeleteCloudAccountRequest(
                    id=account.id, history=accounts_pb2.HISTORY_KEEP
                )
            )
        case _:
            account.role_arn += "2"
            api.UpdateCloudAccount(accounts_pb2.UpdateCloudAccountRequest(account=account))
    assert refusal(lambda: renew(scanner, lease)) == LOST
    assert due(scanner) == []


def test_scanners_that_ask_at_once_share_the_accounts(accounts: Accounts, scanner: Caller) -> None:
    """Four scanners that ask for ten at the same moment get twenty accounts once each."""
    made = {accounts.verified(accounts.admin, f"{number:012}").id for number in range(20)}
    got: list[int] = []
    threads = [
        threading.Thread(
            target=lambda name=name: got.extend(
                lease.target.account_id for lease in due(scanner, name, 10)
            )
        )
        for name in ("one", "two", "three", "four")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    got.extend(lease.target.account_id for lease in due(scanner))
    assert sorted(got) == sorted(made)


def test_a_scan_on_demand_takes_joins_or_is_done(accounts: Accounts) -> None:
    """One gets the lease, a second hears who scans, and after its end the scan counts for both."""
    owner = accounts.member()
    account = accounts.verified(owner)
    scanner = accounts.service("scanner", owner)

    def acquire(holder: str, after: datetime | None = None) -> pb.AcquireLeaseResponse:
        return scanner.schedule.AcquireLease(
            pb.AcquireLeaseRequest(account_id=account.id, holder=holder, after=after)
        )

    first = acquire("one")
    assert first.WhichOneof("result") == "lease"
    accounts.clock.advance(MINUTE)
    second = acquire("two", START)
    assert second.running.holder == "one"
    assert second.running.start_time.ToDatetime(START.tzinfo) == START
    assert second.running.expire_time.ToDatetime(START.tzinfo) == later(2 * MINUTE)
    outcome = pb.RegionOutcome(
        region="eu-west-1", outcome=pb.RegionOutcome.OUTCOME_LISTED, instances=3
    )
    complete(scanner, first.lease, START, later(MINUTE), outcome)
    done = acquire("two", later(-MINUTE))
    assert done.completed == pb.ScanSummary(
        start_time=START, end_time=later(MINUTE), regions=[outcome]
    )
    assert acquire("two", START).WhichOneof("result") == "lease"


def test_a_scan_on_demand_needs_an_enabled_account_of_the_users(accounts: Accounts) -> None:
    """A stranger's account is NOT_FOUND, a pending one FAILED_PRECONDITION."""
    owner, stranger = accounts.member("max"), accounts.member("mia")
    account = accounts.account(owner)
    call = pb.AcquireLeaseRequest(account_id=account.id, holder="one")
    target = pb.GetScanTargetRequest(account_id=account.id)
    theirs = accounts.service("scanner", owner)
    assert refusal(lambda: theirs.schedule.AcquireLease(call)) == Refusal(
        "FAILED_PRECONDITION", "ACCOUNT_NOT_ENABLED", ()
    )
    foreign = accounts.service("scanner", stranger)
    for ask in (
        lambda: foreign.schedule.AcquireLease(call),
        lambda: foreign.schedule.GetScanTarget(target),
    ):
        assert refusal(ask) == Refusal("NOT_FOUND", "ACCOUNT_NOT_FOUND", ())
    got = theirs.schedule.GetScanTarget(target).target
    assert got.external_id == account.external_id
    assert got.state == accounts_pb2.CloudAccount.STATE_PENDING


def test_only_the_scanner_keeps_the_schedule(accounts: Accounts) -> None:
    """Users and other services are refused; the inspector gets into an account for its user."""
    owner = accounts.member()
    account = accounts.verified(owner)
    ask = pb.AcquireDueLeasesRequest(holder="x", max_leases=1)
    for caller in (
        owner,
        accounts.admin,
        accounts.service("reports"),
        accounts.service("inspector"),
    ):
        assert refusal(lambda: caller.schedule.AcquireDueLeases(ask)).code == "PERMISSION_DENIED"  # noqa: B023  # called at once
    inspector = accounts.service("inspector", owner)
    target = pb.GetScanTargetRequest(account_id=account.id)
    assert inspector.schedule.GetScanTarget(target).target.role_arn == account.role_arn
    assert refusal(lambda: accounts.service("inspector").schedule.GetScanTarget(target)).code == (
        "UNAUTHENTICATED"
    )
    assert refusal(lambda: owner.schedule.GetScanTarget(target)).code == "PERMISSION_DENIED"


def test_what_stood_in_the_way_of_a_region_is_shown(accounts: Accounts, scanner: Caller) -> None:
    """Trouble is kept with its beginning; a Region that was never met and is not enabled is not."""
    account = accounts.verified(accounts.admin)

    def scan(start: datetime, *outcomes: tuple[str, int, str]) -> list[accounts_pb2.RegionStatus]:
        (lease,) = due(scanner)
        regions = [
            pb.RegionOutcome(region=region, outcome=outcome, detail=detail)  # type: ignore[arg-type]  # its number
            for region, outcome, detail in outcomes
        ]
        complete(scanner, lease, start, start, *regions)
        get = accounts_pb2.GetCloudAccountRequest(id=account.id)
        return list(accounts.admin.accounts.GetCloudAccount(get).account.regions)

    denied = ("eu-west-1", pb.RegionOutcome.OUTCOME_DENIED, "no ec2:DescribeInstances")
    (status,) = scan(
        START, denied, ("af-south-1", pb.RegionOutcome.OUTCOME_DISABLED, "not opted in")
    )
    assert status.region == "eu-west-1"
    assert status.trouble == "Region denied: no ec2:DescribeInstances"
    assert status.trouble_since.ToDatetime(START.tzinfo) == START
    assert not status.HasField("confirmed_through")
    accounts.clock.advance(15 * MINUTE)
    failed = ("eu-west-1", pb.RegionOutcome.OUTCOME_FAILED, "throttled")
    (status,) = scan(later(15 * MINUTE), failed)
    assert status.trouble == "Region failed: throttled"
    assert status.trouble_since.ToDatetime(START.tzinfo) == START


def test_bad_requests_are_refused_with_their_fields(accounts: Accounts, scanner: Caller) -> None:
    """Every wrong field is named, and the lease stays as it was."""
    accounts.verified(accounts.admin)

    def fields(holder: str, limit: int) -> tuple[str, ...]:
        return refusal(lambda: due(scanner, holder, limit)).fields

    assert fields("", 1) == ("holder",)
    assert fields("x" * 201, 0) == ("holder", "max_leases")
    assert fields("x", 101) == ("max_leases",)
    (lease,) = due(scanner)
    bad = pb.CompleteScanRequest(
        account_id=lease.target.account_id,
        epoch=lease.epoch,
        summary=pb.ScanSummary(
            start_time=START,
            regions=[pb.RegionOutcome(region="moon", outcome=9)],  # type: ignore[arg-type]  # no such number
        ),
    )
    assert refusal(lambda: scanner.schedule.CompleteScan(bad)).fields == (
        "summary.end_time",
        "summary.regions[0].region",
        "summary.regions[0].outcome",
    )
    assert refusal(lambda: complete(scanner, lease, later(MINUTE), START)).fields == (
        "summary.end_time",
    )
    assert renew(scanner, lease) == later(2 * MINUTE)
    unknown = pb.RenewLeaseRequest(account_id=999, epoch=1)
    assert refusal(lambda: scanner.schedule.RenewLease(unknown)).code == "NOT_FOUND"
