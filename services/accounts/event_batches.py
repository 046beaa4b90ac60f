"""A batch of RecordEvents: read, submitted, and answered once it is committed."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from cloudigrade.accounts.v1 import events_pb2
from cloudigrade.accounts.v1.events_pb2 import RecordEventsRequest, RecordEventsResponse
from libs.common.clock import Clock
from libs.common.errors import InvalidRequest
from libs.common.identifiers import aws_account_id, partition_of
from libs.common.instants import to_micros
from services.accounts.account_directory import AccountDirectory, KnownAccounts
from services.accounts.committer import Committer
from services.accounts.event_convert import (
    Malformed,
    answer_to_proto,
    aside_of,
    checked,
    event_from_proto,
)
from services.accounts.new_events import AHEAD, Aside, NewEvent, Outcome

MOST_EVENTS = 1_000
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Pending:
    """A batch under way."""

    sequence: int
    size: int
    places: Sequence[int]
    """Of the events that were submitted."""
    rejections: Sequence[tuple[int, Malformed]]
    committed: Future[list[Outcome]]

    def answer(self) -> RecordEventsResponse:
        """Wait for the commit and return the answer; Unavailable when there was none."""
        outcomes = [Outcome.UNKNOWN_ACCOUNT] * self.size
        for place, outcome in zip(self.places, self.committed.result(), strict=True):
            outcomes[place] = outcome
        for place, _ in self.rejections:
            outcomes[place] = Outcome.REJECTED
        return answer_to_proto(self.sequence, outcomes, self.rejections)


class Batches:
    """Reads batches and has them committed."""

    def __init__(self, directory: AccountDirectory, committer: Committer, clock: Clock) -> None:
        self._directory = directory
        self._committer = committer
        self._clock = clock
        self._log = structlog.get_logger()

    def submit(self, batch: RecordEventsRequest, sequence: int) -> Pending:
        """Read a batch and submit it; InvalidRequest when it is not the stream's next one."""
        if batch.sequence != sequence:
            raise InvalidRequest(
                f"is {batch.sequence}, but the stream's next batch has {sequence}",
                field="sequence",
                reason="OUT_OF_SEQUENCE",
            )
        size = len(batch.events)
        if not 1 <= size <= MOST_EVENTS:
            raise InvalidRequest(f"are {size}; a batch has 1 to {MOST_EVENTS}", field="events")
        latest = to_micros(self._clock.now()) + AHEAD
        known = self._known(batch)
        events: list[NewEvent] = []
        places: list[int] = []
        asides: list[Aside] = []
        rejections: list[tuple[int, Malformed]] = []
        unknown: list[tuple[int, str]] = []
        for place, message in enumerate(batch.events):
            account_id = 0
            try:
                account_id = _account_of(message, known)
                if account_id != UNKNOWN:
                    events.append(event_from_proto(message, account_id, latest))
                    places.append(place)
                else:
                    unknown.append((message.account_id, message.aws_account_id))
            except Malformed as why:
                rejections.append((place, why))
                asides.append(aside_of(message, account_id, why))
        if unknown:
            self._log.info(
                "events.unknown_account", events=len(unknown), accounts=len(set(unknown))
            )
        committed = self._committer.submit(events, asides)
        return Pending(sequence, size, places, rejections, committed)

    def _known(self, batch: RecordEventsRequest) -> KnownAccounts:
        ids = {message.account_id for message in batch.events}
        aws_ids = {
            (partition_of(message.region), message.aws_account_id)
            for message in batch.events
            if message.aws_account_id
        }
        # As PostgreSQL cannot hold a NUL, an id with one is nobody's.
        orphans = {
            message.instance_id
            for message in batch.events
            if not (message.account_id or message.aws_account_id or "\0" in message.instance_id)
        }
        return self._directory.find(ids, aws_ids, orphans)


def _account_of(message: events_pb2.Event, known: KnownAccounts) -> int:
    """Return an event's account, or UNKNOWN; Malformed for two, or for none that knows it alone.

    A record that names no account (BidEvictedEvent without recipientAccountId) is of the one
    account that knows its instance.
    """
    account_id, aws_id = message.account_id, message.aws_account_id
    if account_id and aws_id:
        raise Malformed("account_id", "is not given together with aws_account_id")
    if not (account_id or aws_id):
        if message.instance_id in known.by_instance:
            return known.by_instance[message.instance_id]
        raise Malformed(
            "account_id",
            "or aws_account_id is required: there is not one account that knows the instance",
        )
    if account_id:
        return account_id if account_id in known.ids else UNKNOWN
    checked("aws_account_id", aws_account_id, aws_id)
    return known.by_aws_id.get((partition_of(message.region), aws_id), UNKNOWN)
