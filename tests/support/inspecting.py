"""The two ends of inspections: accounts' relay and consumers, and an inspector that answers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from cloudigrade.inspector.v1 import inspection_pb2
from libs.common.broker import INSPECTION_RESULTS, Broker, Message
from services.accounts.database import Database
from services.accounts.relay import Relay
from services.accounts.results import Results
from tests.support.inspections import Outbox, found, job_of

NEVER = 3600.0

Respond = Callable[[inspection_pb2.InspectionJob], list[Message]]


@dataclass
class Inspector:
    """Handles jobs as an inspector does: publishes its results, then acknowledges the job."""

    broker: Broker
    respond: Respond = lambda job: [found(job)]
    jobs: list[inspection_pb2.InspectionJob] = field(default_factory=list)

    def __call__(self, message: Message) -> None:
        """Inspect."""
        job = job_of(message)
        self.jobs.append(job)
        for result in self.respond(job):
            self.broker.publish(INSPECTION_RESULTS, result)

    def attempts(self) -> list[tuple[str, int]]:
        """List the images and attempts that it was given."""
        return sorted((job.image_id, job.attempt) for job in self.jobs)


@contextmanager
def accounts(outbox: Outbox, broker: Broker, poll_seconds: float = 0.1) -> Iterator[Relay]:
    """Run the relay and the consumers of accounts."""
    with ExitStack() as stack:
        relay = stack.enter_context(
            Relay(outbox.store, broker, outbox.clock, poll_seconds=poll_seconds)
        )
        for worker in Results(outbox.store, broker, outbox.clock).workers():
            stack.enter_context(worker)
        yield relay


@dataclass(frozen=True)
class Kept:
    """A message in quarantine."""

    account_id: int
    origin: str
    reason: str
    content: bytes


def quarantined(database: Database) -> list[Kept]:
    """List what is in quarantine, in the order in which it came."""
    with database.transaction() as cursor:
        cursor.execute("SELECT account_id, origin, reason, content FROM quarantine ORDER BY id")
        return [
            Kept(account, origin, reason, bytes(content))
            for account, origin, reason, content in cursor.fetchall()
        ]
