"""Inspections of images in customers' accounts: from the image to the outcome."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Lock
from typing import Any, Self

import structlog

from libs.common.aws import AwsSessions
from libs.common.aws_errors import AwsError
from libs.common.config import integer, setting
from libs.common.errors import Unavailable
from services.inspector.disk.errors import LimitError
from services.inspector.ebs import SnapshotBlocks
from services.inspector.finding import Finding
from services.inspector.images import explain, failure_of, root_snapshot
from services.inspector.inspection import InspectionLimits, Progress, inspect
from services.inspector.outcome import BlocksUnavailable, Cost, Failure, FailureReason, Outcome
from services.inspector.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class ReadingConfig:
    """How snapshots are read."""

    blocks_per_second: int = setting(
        "CLOUDIGRADE_INSPECTOR_BLOCKS_PER_SECOND",
        default="50",
        parse=integer(1, 1000),
        doc="the blocks that each inspector reads a second from one AWS account and Region",
        why="AWS allows an account 1,000, and its own backups need them",
    )
    reads_at_once: int = setting(
        "CLOUDIGRADE_INSPECTOR_READS_AT_ONCE",
        default="8",
        parse=integer(1, 64),
        doc="the blocks that are fetched at the same time, over all inspections",
        why="most structures lie in one block; directories and databases in several",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """What to read and as whom. `image_id` may be a snapshot's id, and `snapshot_id` empty."""

    aws_account_id: str
    role_arn: str
    external_id: str
    region: str
    image_id: str
    snapshot_id: str = ""


@dataclass(frozen=True, slots=True)
class Inspected:
    """An outcome, and the snapshot that was read; empty when none was."""

    outcome: Outcome
    snapshot_id: str


class ImageInspector:
    """Reads images' root disks as the roles of their accounts. Safe to share between threads."""

    def __init__(
        self, sessions: AwsSessions, reading: ReadingConfig, limits: InspectionLimits
    ) -> None:
        self._sessions = sessions
        self._reading = reading
        self._limits = limits
        self._executor = ThreadPoolExecutor(reading.reads_at_once, thread_name_prefix="ebs-read")
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def inspect(self, target: Target, progress: Progress) -> Inspected:
        """Inspect an image or snapshot. Never raises for what AWS or the disk does.

        What `progress` raises ends the inspection, and is raised.
        """
        started = time.monotonic()
        reading = _Reading(target, self._sessions, self._bucket(target), self._executor)
        try:
            progress("finding the snapshot of the root device", 0)
            reading.open(self._reading.reads_at_once)
            outcome = inspect(reading, self._limits, progress)
        except BlocksUnavailable as error:
            outcome = Outcome(error.failure, Cost())
        elapsed = timedelta(seconds=time.monotonic() - started)
        cost = replace(outcome.cost, elapsed=elapsed, listings=reading.listings)
        self._log(target, outcome.answer, cost)
        return Inspected(replace(outcome, cost=cost), reading.snapshot_id)

    def _bucket(self, target: Target) -> TokenBucket:
        key = (target.aws_account_id, target.region)
        with self._lock:
            if key not in self._buckets:
                self._buckets[key] = TokenBucket(self._reading.blocks_per_second)
            return self._buckets[key]

    def _log(self, target: Target, answer: Finding | Failure, cost: Cost) -> None:
        log = structlog.get_logger().bind(
            image=target.image_id,
            region=target.region,
            aws_account=target.aws_account_id,
            blocks=cost.blocks,
            seconds=round(cost.elapsed.total_seconds(), 3),
        )
        if isinstance(answer, Failure):
            log.warning("inspection.failed", reason=answer.reason.name, message=answer.message)
        else:
            distribution, version = answer.distribution, answer.version
            log.info("inspection.done", distribution=distribution, version=version)


class _Reading:
    """The blocks of one target's snapshot; what AWS refuses becomes BlocksUnavailable."""

    def __init__(
        self, target: Target, sessions: AwsSessions, bucket: TokenBucket, executor: Executor
    ) -> None:
        self.snapshot_id = ""
        self.size = 0
        self._target = target
        self._sessions = sessions
        self._bucket = bucket
        self._executor = executor
        self._blocks: SnapshotBlocks | None = None

    @property
    def listings(self) -> int:
        """Count the calls of ListSnapshotBlocks."""
        return self._blocks.listings if self._blocks else 0

    def open(self, connections: int) -> None:
        """Find the snapshot and list its first blocks."""
        region = self._target.region
        with self._answered():
            self.snapshot_id = self._snapshot()
            self._blocks = SnapshotBlocks(
                self._client("ebs", connections),
                self.snapshot_id,
                region,
                bucket=self._bucket,
                executor=self._executor,
            )
            self._blocks.list_first()
            self.size = self._blocks.size

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Get these blocks; b"" for holes."""
        if self._blocks is None:
            raise RuntimeError("fetch before open")
        with self._answered():
            return self._blocks.fetch(indexes)

    def _client(self, service: str, connections: int | None = None) -> Any:
        target = self._target
        try:
            session = self._sessions.for_role(target.role_arn, target.external_id)
            return session.client(service, target.region, connections=connections)
        except ValueError as error:
            failure = Failure(FailureReason.ACCESS_DENIED, f"The role cannot be used: {error}.")
            raise BlocksUnavailable(failure) from error

    def _snapshot(self) -> str:
        target = self._target
        if target.snapshot_id or not target.image_id.startswith("ami-"):
            return target.snapshot_id or target.image_id
        return root_snapshot(self._client("ec2"), target.region, target.image_id)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except AwsError as error:
            failure = failure_of(error, aws_account_id=self._target.aws_account_id)
            if self.snapshot_id and not isinstance(error, Unavailable):
                failure = explain(
                    self._client("ec2"), self._target.region, self.snapshot_id, failure
                )
            raise BlocksUnavailable(failure) from error
        except LimitError as error:
            failure = Failure(FailureReason.LIMIT, f"The inspection {error}.")
            raise BlocksUnavailable(failure) from error
