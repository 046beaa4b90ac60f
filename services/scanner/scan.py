"""One scan of one account: every enabled Region listed, stored and reported."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Protocol, TypeVar

import structlog

from libs.common.aws_errors import (
    AwsAccessDenied,
    AwsCredentialsExpired,
    AwsError,
    AwsRegionDisabled,
)
from libs.common.clock import Clock
from libs.common.errors import CloudigradeError, Unavailable
from services.scanner.lease_keeper import LeaseKeeper, Renewer
from services.scanner.leases import Lease, LeaseLost, ScannerStops
from services.scanner.listing import Region, Stored, Survey
from services.scanner.progress import RegionProgress, RegionState, Summary

_PAUSES = (0.2, 1.0, 3.0, 8.0)
"""Seconds between tries to reach accounts, which may be restarting."""

Answer = TypeVar("Answer")


class Reader(Protocol):
    """What reads an account's Regions (`ec2.Ec2`). Its methods raise AwsError."""

    def regions(self) -> tuple[Region, ...]:
        """Return every Region of the account's partition."""
        ...

    def survey(self, region: str, known_images: frozenset[str]) -> Survey:
        """Read all instances of the Region and describe what they refer to."""
        ...


class Ledger(Renewer, Protocol):
    """What a scan's results are told to (`accounts_client.Accounts`)."""

    def record_listing(self, lease: Lease, survey: Survey) -> Stored:
        """Store one complete listing."""
        ...

    def complete(self, lease: Lease, summary: Summary) -> None:
        """Give the lease back with what became of each Region."""
        ...


class Scan:
    """One scan under one lease. Its Regions are read by threads of a pool that scans share."""

    def __init__(
        self,
        lease: Lease,
        reader: Reader,
        accounts: Ledger,
        *,
        pool: Executor,
        clock: Clock,
        tell: Callable[[RegionProgress], None],
        stop: threading.Event,
    ) -> None:
        self._lease = lease
        self._reader = reader
        self._accounts = accounts
        self._pool = pool
        self._clock = clock
        self._tell = tell
        self._stop = stop
        self._keeper = LeaseKeeper(lease, accounts, clock)
        self._log = structlog.get_logger().bind(
            account_id=lease.target.account_id, epoch=lease.epoch
        )

    def run(self) -> Summary:
        """Scan, and give the lease back. A Region in trouble does not keep the others.

        Raises LeaseLost or ScannerStops: then somebody else scans the account, at the latest once
        the lease has expired. Raises Unavailable when accounts stays away.
        """
        started = self._clock.now()
        with self._keeper:
            regions = self._regions()
            ended = max(started, self._clock.now())  # a clock that is set back ends no scan early
            summary = Summary(started, ended, regions)
            self._patiently(lambda: self._accounts.complete(self._lease, summary))
        return summary

    def _regions(self) -> tuple[RegionProgress, ...]:
        try:
            found = self._reader.regions()
        except AwsError as error:
            return (self._failed(error.region, error),)
        over = [
            self._told(RegionProgress(region.name, RegionState.DISABLED))
            for region in found
            if not region.enabled
        ]
        enabled = [region.name for region in found if region.enabled]
        for name in enabled:
            self._told(RegionProgress(name, RegionState.WAITING))
        # Each with the trace id that this thread has.
        futures = [self._pool.submit(copy_context().run, self._safely, name) for name in enabled]
        try:
            over += [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
        return tuple(sorted(over, key=lambda progress: progress.region))

    def _safely(self, region: str) -> RegionProgress:
        try:
            return self._region(region)
        except (LeaseLost, ScannerStops):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the others are scanned
            self._log.exception("scan.region_failed", region=region)
            detail = f"the scanner failed: {type(error).__name__}"
            return self._told(RegionProgress(region, RegionState.FAILED, detail=detail))

    def _region(self, region: str) -> RegionProgress:
        self._check()
        self._told(RegionProgress(region, RegionState.LISTING))
        try:
            survey = self._survey(region)
        except AwsError as error:
            return self._failed(region, error)
        instances = len(survey.listing.instances)
        try:
            stored = self._patiently(lambda: self._accounts.record_listing(self._lease, survey))
        except (LeaseLost, ScannerStops):
            raise
        except CloudigradeError as error:
            return self._failed(region, error, instances)
        return self._told(
            RegionProgress(
                region,
                RegionState.LISTED,
                instances,
                detail=_detail(survey, stored),
                events_stored=stored.events,
                images_new=stored.images_new,
            )
        )

    def _survey(self, region: str) -> Survey:
        known = self._lease.target.known_image_ids
        try:
            return self._reader.survey(region, known)
        except AwsCredentialsExpired:
            # Half of a listing is none, so it starts again; the next call takes new credentials.
            return self._reader.survey(region, known)

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """Call accounts, and again while it is away; every call may be repeated."""
        for pause in _PAUSES:
            self._check()
            try:
                return call()
            except Unavailable as error:
                self._log.warning("scan.accounts_away", again_in_seconds=pause, reason=error.reason)
                self._stop.wait(pause)
        self._check()
        return call()

    def _check(self) -> None:
        self._keeper.check()
        if self._stop.is_set():
            raise ScannerStops

    def _failed(self, region: str, error: CloudigradeError, instances: int = 0) -> RegionProgress:
        state = RegionState.FAILED
        if isinstance(error, AwsRegionDisabled):
            state = RegionState.DISABLED
        elif isinstance(error, AwsAccessDenied):
            state = RegionState.DENIED
        self._log.warning("scan.region_failed", region=region, detail=error.message)
        return self._told(RegionProgress(region, state, instances, error.message))

    def _told(self, progress: RegionProgress) -> RegionProgress:
        self._tell(progress)
        return progress


def _detail(survey: Survey, stored: Stored) -> str:
    """Say what a complete listing still lacks."""
    lacks = list(survey.gaps)
    if stored.rejected:
        count = len(stored.rejected)
        lacks.append(f"{count} instances left out and kept in quarantine: {stored.rejected[0]}")
    return "; ".join(lacks)
