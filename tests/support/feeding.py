"""Sends facts to accounts as the scanner does, and reads what became of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from cloudigrade.accounts.v1 import events_pb2, schedule_pb2
from cloudigrade.accounts.v1.events_pb2 import (
    RecordEventsRequest,
    RecordEventsResponse,
    RecordListingRequest,
)
from libs.common.instants import Micros
from libs.common.timestamps import timestamp
from services.accounts.database import Database
from services.accounts.facts import Attributes, Event
from services.accounts.power import Anomaly, AnomalyKind
from services.accounts.runs import Run
from tests.support.accounts import Accounts, Caller

REGION = "us-east-1"
IMAGE = "ami-00000000000000001"
Outcome = RecordEventsResponse.Outcome


def instance(number: int) -> str:
    """Return the id of an instance."""
    return f"i-{number:017x}"


def attributes_message(stated: Attributes) -> events_pb2.Attributes | None:
    """Return attributes as a message, with nothing in it that is not stated."""
    fields: dict[str, Any] = {
        "instance_type": stated.instance_type or None,
        "vcpus": stated.vcpu or None,
        "usage_operation": stated.usage_operation or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return events_pb2.Attributes(**given) if given else None


def message(event: Event, ec2_id: str, account_id: int, **more: Any) -> events_pb2.Event:
    """Return an event as a message."""
    fields: dict[str, Any] = {
        "account_id": account_id,
        "region": REGION,
        "instance_id": ec2_id,
        "event_id": event.event_id,
        "kind": int(event.kind),
        "occur_time": timestamp(event.occurred_at),
        "source": int(event.source),
        "fresh": event.fresh,
        "terminated": event.termination,
        "previous_state": event.previous_state,
        "attributes": attributes_message(event.attributes),
    }
    return events_pb2.Event(**{**fields, **more})


@dataclass(frozen=True)
class Feeder:
    """A scanner that has an account's lease."""

    scanner: Caller
    account_id: int
    aws_account_id: str
    epoch: int
    database: Database

    def send(self, *batches: Sequence[events_pb2.Event]) -> list[RecordEventsResponse]:
        """Send batches on one stream and return the answers."""
        requests = (
            RecordEventsRequest(sequence=number, events=batch)
            for number, batch in enumerate(batches, start=1)
        )
        return list(self.scanner.events.RecordEvents(requests))

    def outcomes(self, *batches: Sequence[events_pb2.Event]) -> list[str]:
        """Send batches and return all outcomes, without their prefix."""
        return [
            Outcome.Name(each).removeprefix("OUTCOME_")
            for answer in self.send(*batches)
            for each in answer.outcomes
        ]

    def show(
        self,
        started: Micros,
        instances: Iterable[events_pb2.ListedInstance],
        *,
        region: str = REGION,
        epoch: int = 0,
        **part: Any,
    ) -> events_pb2.RecordListingResponse:
        """Send a complete listing."""
        shown = list(instances)
        return self.scanner.events.RecordListing(
            self.stream(started, shown, region=region, epoch=epoch, **part)
        )

    def stream(
        self,
        started: Micros,
        shown: Sequence[events_pb2.ListedInstance],
        *,
        region: str = REGION,
        epoch: int = 0,
        **part: Any,
    ) -> Iterator[RecordListingRequest]:
        """Yield the messages of a listing."""
        header = RecordListingRequest.Header(
            account_id=self.account_id,
            epoch=epoch or self.epoch,
            region=region,
            start_time=timestamp(started),
        )
        yield RecordListingRequest(header=header)
        yield RecordListingRequest(part=RecordListingRequest.Part(instances=shown, **part))
        yield RecordListingRequest(end=RecordListingRequest.End(instances=len(shown)))

    def leased(self) -> "Feeder":
        """Take the account's lease again, after it was enabled again."""
        leases = self.scanner.schedule.AcquireDueLeases(
            schedule_pb2.AcquireDueLeasesRequest(holder="test", max_leases=100)
        ).leases
        (epoch,) = [each.epoch for each in leases if each.target.account_id == self.account_id]
        return replace(self, epoch=epoch)

    def runs(self, ec2_id: str) -> list[Run]:
        """Return an instance's runs as stored."""
        return [
            Run(*row)
            for row in self._rows(
                "SELECT start_at, end_at, session_start, confirmed_start, confirmed_end,"
                " end_latest, coalesce(t.text, ''), vcpu, coalesce(u.text, ''), basis FROM run r"
                " JOIN instance i USING (account_id, instance_id)"
                " LEFT JOIN label t ON t.label_id = r.instance_type"
                " LEFT JOIN label u ON u.label_id = r.usage_operation"
                " WHERE account_id = %s AND ec2_id = %s ORDER BY start_at",
                ec2_id,
            )
        ]

    def anomalies(self, ec2_id: str) -> list[Anomaly]:
        """Return an instance's anomalies as stored."""
        return [
            Anomaly(AnomalyKind(kind), at, event_id)
            for at, kind, event_id in self._rows(
                "SELECT a.occurred_at, a.kind, a.event_id FROM anomaly a"
                " JOIN instance i USING (account_id, instance_id)"
                " WHERE account_id = %s AND ec2_id = %s"
                ' ORDER BY a.occurred_at, a.kind, a.event_id COLLATE "C"',
                ec2_id,
            )
        ]

    def revision(self) -> int:
        """Return the account's revision."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT last_recorded_at FROM cloud_account WHERE id = %s", (self.account_id,)
            )
            (revision,) = cursor.fetchone() or (0,)
        return int(revision)

    def _rows(self, statement: str, ec2_id: str) -> list[tuple[Any, ...]]:
        with self.database.transaction() as cursor:
            cursor.execute(statement, (self.account_id, ec2_id))
            return cursor.fetchall()


def feeder(accounts: Accounts, number: str = "123456789012") -> Feeder:
    """Register and prove an account, and take its lease."""
    account = accounts.verified(accounts.admin, number)
    scanner = accounts.service("scanner")
    leases = scanner.schedule.AcquireDueLeases(
        schedule_pb2.AcquireDueLeasesRequest(holder="test", max_leases=10)
    ).leases
    (epoch,) = [each.epoch for each in leases if each.target.account_id == account.id]
    return Feeder(scanner, account.id, account.aws_account_id, epoch, accounts.database)


def listed(
    ec2_id: str,
    launch: Micros,
    stated: Attributes | None = None,
    *,
    sighted: bool = True,
    **more: Any,
) -> events_pb2.ListedInstance:
    """Return an instance as a listing shows it, with the on that describe tells of."""
    on = events_pb2.Event(
        event_id=f"describe:power_on:{launch}",
        kind=events_pb2.Event.KIND_POWER_ON,
        occur_time=timestamp(launch),
        source=events_pb2.SOURCE_DESCRIBE,
        fresh=True,
    )
    fields: dict[str, Any] = {
        "instance_id": ec2_id,
        "state": "running" if sighted else "stopped",
        "launch_time": timestamp(launch),
        "sighted": sighted,
        "events": [on],
        "attributes": attributes_message(stated or Attributes()),
    }
    return events_pb2.ListedInstance(**{**fields, **more})


def later(micros: Micros, span: timedelta) -> Micros:
    """Return an instant so long after another."""
    return micros + span // timedelta(microseconds=1)
