"""What the event benchmark stores and sends: ons and offs of a fleet, an hour each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import events_pb2
from cloudigrade.accounts.v1.events_pb2 import Event, RecordEventsRequest
from services.accounts.database import Database

REGION = "us-east-1"
BATCH = 1_000
HOUR = 3_600
START = 1_700_000_000
"""Seconds since the epoch at which the first instance was first powered on."""

_ACCOUNTS = """
INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn, external_id, state,
                           created_at, verified_at)
SELECT 1, 'account ' || n, 'aws', lpad(n::text, 12, '0'), '', '', 2, 1, 1
FROM generate_series(1, %s) n
"""
_INSTANCES = """
INSERT INTO instance (account_id, ec2_id, region, recorded_at)
SELECT n %% %s + 1, 'i-' || lpad(to_hex(n), 17, '0'), 'us-east-1', 1
FROM generate_series(0, %s - 1) n
"""
# The history that was stored before: even numbers are ons, odd ones offs.
_EVENTS = """
INSERT INTO event
SELECT i.account_id, i.instance_id, lpad(to_hex(k), 8, '0') || '-0000-4000-8000-' ||
       right(i.ec2_id, 12), 1 + k %% 2, (%(start)s + k * 3600 + i.instance_id %% 1800) * 1000000, 2,
       k %% 2 = 0, false, CASE k %% 2 WHEN 0 THEN 'running' ELSE 'stopping' END, '',
       CASE k WHEN 0 THEN 'm5.large' ELSE '' END, 0, '', 0, '', '', 1, 0
FROM instance i, generate_series(0, %(each)s - 1) k
WHERE i.instance_id > %(from)s AND i.instance_id <= %(to)s
"""
_RUNS = """
INSERT INTO run
SELECT account_id, instance_id, at, at + 3600000000, at, at, at + 3600000000, 0, 1, 0, 0,
       CASE k WHEN 0 THEN 1 ELSE 2 END, 1
FROM (
    SELECT i.*, k, (%(start)s + k * 3600 + i.instance_id %% 1800) * 1000000 AS at
    FROM instance i, generate_series(0, %(each)s - 1, 2) k
    WHERE i.instance_id > %(from)s AND i.instance_id <= %(to)s
) s
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instances, spread over accounts, each with so many events stored before."""

    instances: int
    accounts: int
    history: int

    def store(self, database: Database) -> None:
        """Write accounts, instances and history straight into the tables."""
        with database.transaction() as cursor:
            cursor.execute(_ACCOUNTS, (self.accounts,))
            cursor.execute(_INSTANCES, (self.accounts, self.instances))
            cursor.execute("INSERT INTO label (text) VALUES ('m5.large')")
            cursor.execute("SELECT setval('instance_instance_id_seq', %s)", (self.instances,))
        for at in range(0, self.instances if self.history else 0, 10_000):
            part = {"start": START, "each": self.history, "from": at, "to": at + 10_000}
            with database.transaction() as cursor:
                cursor.execute(_EVENTS, part)
                cursor.execute(_RUNS, part)

    def in_order(self, count: int) -> Iterator[Event]:
        """Yield events later than all before, one of each instance in turn, in random order."""
        order = list(range(self.instances))
        random = Random(1)
        made, number = 0, self.history
        while made < count:
            random.shuffle(order)
            for instance in order[: count - made]:
                yield self._event(instance, number, HOUR * number)
            made += len(order)
            number += 1

    def replay(self, count: int, each: int) -> Iterator[Event]:
        """Yield so many events of one instance after the other, none of them stored before."""
        for number in range(count):
            instance, place = divmod(number, each)
            yield self._event(1_000_000 + instance, place, HOUR * place)

    def late(self, count: int) -> Iterator[Event]:
        """Yield events each of which falls somewhere into its instance's history."""
        random = Random(2)
        for number in range(count):
            instance = random.randrange(self.instances)
            place = random.randrange(self.history)
            event = self._event(instance, place, HOUR * place + 10 + number % 1700)
            event.event_id = f"late-{number:012}"
            yield event

    def _event(self, instance: int, number: int, seconds: int) -> Event:
        on = number % 2 == 0
        return Event(
            account_id=instance % self.accounts + 1,
            region=REGION,
            instance_id=f"i-{instance:017x}",
            event_id=f"{number:08x}-0000-4000-8000-{instance:012x}",
            kind=events_pb2.Event.KIND_POWER_ON if on else events_pb2.Event.KIND_POWER_OFF,
            occur_time=Timestamp(seconds=START + seconds + (instance + 1) % 1800),
            source=events_pb2.SOURCE_CLOUDTRAIL,
            fresh=on,
            state="running" if on else "stopping",
            attributes=events_pb2.Attributes(instance_type="m5.large") if number == 0 else None,
        )


def batches(events: Iterable[Event], streams: int, size: int = BATCH) -> list[list[bytes]]:
    """Return requests for each stream, serialized; a batch is of one account, as a log file is.

    Batches of one event are all the first of their stream.
    """
    of_account: dict[int, list[Event]] = {}
    requests: list[list[Event]] = []
    for event in events:
        waiting = of_account.setdefault(event.account_id, [])
        waiting.append(event)
        if len(waiting) == size:
            requests.append(of_account.pop(event.account_id))
    requests += of_account.values()
    return [
        [
            RecordEventsRequest(
                sequence=1 if size == 1 else sequence, events=each
            ).SerializeToString()
            for sequence, each in enumerate(requests[number::streams], start=1)
        ]
        for number in range(streams)
    ]
