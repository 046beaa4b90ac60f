"""Several scanners, one account: scans are joined, leases pass on, old epochs do no harm."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest

from cloudigrade.scanner.v1 import scanner_pb2
from libs.common.clock import ManualClock
from libs.common.errors import Unavailable
from services.scanner.convert import to_moment
from tests.scanner.conftest import Scanners
from tests.support.accounts_double import SCANNER_TOKEN, Account, AccountsDouble
from tests.support.local_aws import Role
from tests.support.waiting import wait_for, wait_until

DEADLINE = 30


class Gate:
    """Holds up the first listing of a Region until the test opens it."""

    def __init__(self, region: str = "us-east-1") -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self._region = region
        self._lock = threading.Lock()
        self._used = False

    def __call__(self, listing: object) -> None:
        """Wait here, the first time."""
        with self._lock:
            mine = getattr(listing, "region", "") == self._region and not self._used
            self._used = self._used or mine
        if mine:
            self.reached.set()
            assert self.open.wait(DEADLINE)


@pytest.fixture
def gate(double: AccountsDouble) -> Iterator[Gate]:
    """Hold up the first listing of us-east-1."""
    made = Gate()
    double.before["RecordListing"] = made
    yield made
    made.open.set()


@pytest.fixture
def account(double: AccountsDouble, customer_role: Role) -> Account:
    """Register max's account, not due."""
    account = double.add(customer_role.arn, customer_role.external_id)
    account.due = None
    return account


def test_two_who_ask_at_once_get_one_scan(scanners: Scanners, account: Account, gate: Gate) -> None:
    """The second joins the first one's scan in the same scanner, and misses nothing of it."""
    port = scanners.start()
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(scanners.client(port).summary, account.id)
        wait_for(gate.reached, DEADLINE)
        stream = scanners.client(port).scan(account.id)
        begun = next(stream)
        second = callers.submit(lambda: [begun, *stream])
        gate.open.set()
        *progress, joined = second.result(DEADLINE)
        told = first.result(DEADLINE)
    assert isinstance(joined, scanner_pb2.ScanSummary)
    assert (told.joined, joined.joined) == (False, True)
    assert told.regions == joined.regions
    assert len(progress) == 10  # three Regions in three states each, one not opted in
    assert account.epoch == 1


def test_another_scanners_scan_is_joined(
    scanners: Scanners, double: AccountsDouble, account: Account, gate: Gate
) -> None:
    """Who asks a second scanner waits for the first one's scan and gets its summary."""
    asked = threading.Semaphore(0)
    double.before["AcquireLease"] = lambda _request: asked.release()
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(scanners.client(scanners.start()).summary, account.id)
        wait_for(gate.reached, DEADLINE)
        second = callers.submit(scanners.client(scanners.start()).summary, account.id)
        for _ in range(3):  # the first one's, and the second one's twice: it waits
            assert asked.acquire(timeout=DEADLINE)
        gate.open.set()
        told, joined = first.result(DEADLINE), second.result(DEADLINE)
    assert joined.joined
    assert {(found.region, found.state) for found in joined.regions} == {
        (found.region, found.state) for found in told.regions
    }
    assert account.epoch == 1


def test_a_scan_after_a_scan_is_a_new_one(scanners: Scanners, account: Account) -> None:
    """Only what is under way is joined: who asks later gets what is true later."""
    client = scanners.client(scanners.start())
    assert not client.summary(account.id).joined
    assert not client.summary(account.id).joined
    assert account.epoch == 2


def test_a_scanner_that_wakes_after_its_lease_passed_on_does_no_harm(
    scanners: Scanners, double: AccountsDouble, account: Account, clock: ManualClock, gate: Gate
) -> None:
    """Its listings are refused; who waited for its scan gets the other one's."""

    def cut_off(_request: object) -> None:
        raise Unavailable("The network is away.")

    double.before["RenewLease"] = cut_off
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(scanners.client(scanners.start(clock)).summary, account.id)
        wait_for(gate.reached, DEADLINE)
        clock.advance(timedelta(minutes=3))
        second = scanners.client(scanners.start(clock)).summary(account.id)
        assert not second.joined
        gate.open.set()
        assert first.result(DEADLINE).joined
    assert account.epoch == 2
    listed = [listing.region for listing in account.listings if listing.header.epoch == 2]
    assert sorted(listed) == ["eu-west-1", "us-east-1", "us-east-2"]
    assert "us-east-1" not in [
        listing.region for listing in account.listings if listing.header.epoch == 1
    ]


def test_a_lease_is_kept_while_its_scan_goes_on(
    scanners: Scanners, double: AccountsDouble, account: Account, clock: ManualClock, gate: Gate
) -> None:
    """A scan longer than its lease goes on under it."""
    renewed = threading.Event()
    double.before["RenewLease"] = lambda _request: renewed.set()
    with ThreadPoolExecutor(1) as callers:
        scan = callers.submit(scanners.client(scanners.start(clock)).summary, account.id)
        wait_for(gate.reached, DEADLINE)
        assert account.expires is not None
        clock.advance(account.expires - clock.now() - timedelta(seconds=1))
        wait_for(renewed, DEADLINE)
        wait_until(lambda: (account.expires or clock.now()) > clock.now() + timedelta(minutes=1))
        gate.open.set()
        assert not scan.result(DEADLINE).joined
    assert account.epoch == 1


def test_what_is_due_is_scanned_by_itself_again_and_again(
    scanners: Scanners, double: AccountsDouble, customer_role: Role, clock: ManualClock
) -> None:
    """An account that is due is scanned without anybody asking, and once more when due again."""
    account = double.add(customer_role.arn, customer_role.external_id)
    scanners.start(clock)
    wait_until(lambda: account.last_scan is not None, DEADLINE)
    assert account.epoch == 1
    assert account.last_scan is not None
    assert account.due == to_moment(account.last_scan.start_time) + timedelta(minutes=15)
    clock.advance(timedelta(minutes=15))
    wait_until(lambda: account.epoch == 2, DEADLINE)


def test_two_scanners_share_the_accounts_that_are_due(
    scanners: Scanners, double: AccountsDouble, customer_role: Role, clock: ManualClock
) -> None:
    """Each of ten accounts is scanned once, and neither scanner does all the work."""
    holders: set[str] = set()
    both = threading.Barrier(2)

    def note(request: object) -> None:
        holder = getattr(request, "holder", "")
        if holder not in holders:
            holders.add(holder)
            both.wait(DEADLINE)

    double.before["AcquireDueLeases"] = note
    made = [double.add(customer_role.arn, customer_role.external_id) for _ in range(10)]
    for _ in range(2):
        scanners.start(clock)
    wait_until(lambda: all(account.last_scan for account in made), DEADLINE)
    assert [account.epoch for account in made] == [1] * 10
    assert {account.holder for account in made} == holders


def test_a_scanner_that_stops_leaves_its_scan_to_another(
    scanners: Scanners, double: AccountsDouble, account: Account, clock: ManualClock, gate: Gate
) -> None:
    """Its unfinished scan is not completed; when the lease has expired another one scans."""
    account.due = clock.now()
    with ExitStack() as first:
        scanners.start_in(first, clock)
        wait_for(gate.reached, DEADLINE)
        threading.Timer(0.2, gate.open.set).start()
    assert account.last_scan is None
    clock.advance(timedelta(minutes=3))
    scanners.start(clock)
    wait_until(lambda: account.last_scan is not None, DEADLINE)
    assert account.epoch == 2


def test_a_killed_scanners_scan_is_done_by_another(
    scanners: Scanners, double: AccountsDouble, account: Account, clock: ManualClock, gate: Gate
) -> None:
    """After kill -9 in mid-scan the lease expires, and the next scanner lists all Regions."""
    account.due = clock.now()
    killed = subprocess.Popen(
        [sys.executable, "-m", "services.scanner"],
        env={
            **os.environ,
            "CLOUDIGRADE_SCANNER_LISTEN": "127.0.0.1:0",
            "CLOUDIGRADE_SCANNER_TOKEN": SCANNER_TOKEN,
            "CLOUDIGRADE_ACCOUNTS_TARGET": scanners.config().accounts_target,
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(gate.reached, DEADLINE)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait(DEADLINE)
    gate.open.set()
    assert account.last_scan is None
    clock.advance(timedelta(minutes=3))
    scanners.start(clock)
    wait_until(lambda: account.last_scan is not None, DEADLINE)
    listed = [listing.region for listing in account.listings if listing.header.epoch == 2]
    assert sorted(listed) == ["eu-west-1", "us-east-1", "us-east-2"]
