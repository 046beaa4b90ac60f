"""What tests of inspections share: an account with images, and messages as inspectors send them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from cloudigrade.inspector.v1 import evidence_pb2, inspection_pb2
from libs.common.broker import Message
from libs.common.clock import ManualClock
from libs.common.instants import Micros, to_micros
from services.accounts.audit import Author
from services.accounts.classification import Classification
from services.accounts.classification_store import classifications, reclassify
from services.accounts.database import Database, lock_accounts, next_recorded_at
from services.accounts.job_store import JobStore, inspections_of, want_inspections
from services.accounts.jobs import Inspection

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EVERYBODY = 0
MINUTES = 60_000_000


@dataclass
class Outbox:
    """One enabled account, its images, and the clock that everything goes by."""

    database: Database
    store: JobStore
    clock: ManualClock
    account_id: int

    @property
    def now(self) -> Micros:
        """The clock's time."""
        return to_micros(self.clock.now())

    def advance(self, minutes: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(minutes=minutes))

    def image(self, ami_id: str, usage_operation: str = "RunInstances") -> int:
        """Make an image as a listing does: described, classified, and wanted to be inspected."""
        with self.database.transaction() as cursor:
            lock_accounts(cursor, [self.account_id])
            recorded_at = next_recorded_at(cursor, self.account_id, self.now)
            cursor.execute(
                "INSERT INTO image (account_id, ami_id, region, usage_operation, platform_details,"
                " root_snapshot_id, recorded_at)"
                " VALUES (%s, %s, 'eu-west-1', %s, 'Linux/UNIX', 'snap-0123456789abcdef0', %s)"
                " RETURNING image_id",
                (self.account_id, ami_id, usage_operation, recorded_at),
            )
            (image_id,) = cursor.fetchone() or (0,)
            reclassify(cursor, self.account_id, [image_id], Author("service:scanner", recorded_at))
            want_inspections(cursor, self.account_id, [image_id], self.now)
        return int(image_id)

    def inspection(self, image_id: int) -> Inspection:
        """Return an image's inspection as it is shown."""
        with self.database.transaction() as cursor:
            return inspections_of(cursor, self.account_id, [image_id])[image_id]

    def classified(self, image_id: int, as_of: Micros = 0) -> Classification:
        """Return what an image is known to be."""
        with self.database.transaction() as cursor:
            return classifications(cursor, self.account_id, as_of=as_of)[image_id].classification

    def rows(self, image_id: int) -> int:
        """Return how many classifications of an image are stored."""
        with self.database.transaction() as cursor:
            cursor.execute("SELECT count(*) FROM classification WHERE image_id = %s", (image_id,))
            (count,) = cursor.fetchone() or (0,)
        return int(count)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """Make an enabled account in a database of the test's own."""
    return outbox_in(database)


def outbox_in(database: Database) -> Outbox:
    """Make an enabled account in a migrated database."""
    clock = ManualClock(START)
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO app_user (name, role, created_at) VALUES ('ada', 1, 1) RETURNING id"
        )
        (owner,) = cursor.fetchone() or (0,)
        cursor.execute(
            "INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn,"
            " external_id, state, created_at, verified_at) VALUES (%s, 'web', 'aws',"
            " '123456789012', 'arn:aws:iam::123456789012:role/cloudigrade', 'external', 2, 1, 1)"
            " RETURNING id",
            (owner,),
        )
        (account_id,) = cursor.fetchone() or (0,)
    return Outbox(database, JobStore(database), clock, int(account_id))


def job_of(message: Message) -> inspection_pb2.InspectionJob:
    """Read a job as an inspector does."""
    return inspection_pb2.InspectionJob.FromString(message.body)


def result_message(result: inspection_pb2.InspectionResult) -> Message:
    """Send a result as an inspector does."""
    name = f"result-{result.job_id}-{result.attempt}"
    return Message(result.DESCRIPTOR.full_name, name, result.SerializeToString(), {})


def found(
    job: inspection_pb2.InspectionJob, distribution: str = "rhel", version: str = "9.4"
) -> Message:
    """Answer a job with a finding."""
    finding = evidence_pb2.Finding(
        distribution=distribution,
        version=version,
        evidence=[
            evidence_pb2.Evidence(
                signal="os-release.ID",
                path="/etc/os-release",
                value=distribution,
                strength=evidence_pb2.Evidence.STRENGTH_DECISIVE,
            )
        ],
        syspurpose=evidence_pb2.Syspurpose(role="Red Hat Enterprise Linux Server"),
    )
    return result_message(_result(job, finding=finding))


def failed(
    job: inspection_pb2.InspectionJob, message: str = "throttled", *, passing: bool = True
) -> Message:
    """Answer a job with a failure."""
    failure = inspection_pb2.InspectionFailure(
        reason=inspection_pb2.InspectionFailure.REASON_AWS_TROUBLE,
        message=message,
        passing=passing,
    )
    return result_message(_result(job, failure=failure))


def _result(
    job: inspection_pb2.InspectionJob,
    finding: evidence_pb2.Finding | None = None,
    failure: inspection_pb2.InspectionFailure | None = None,
) -> inspection_pb2.InspectionResult:
    return inspection_pb2.InspectionResult(
        job_id=job.job_id,
        attempt=job.attempt,
        account_id=job.account_id,
        image_id=job.image_id,
        finding=finding,
        failure=failure,
    )
