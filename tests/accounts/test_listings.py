"""RecordListing against a real server and database."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2, schedule_pb2
from tests.support.accounts import START, Accounts, Caller, refusal

I1, I2 = "i-00000000000000001", "i-00000000000000002"
MINUTE = timedelta(minutes=1)


def _listed(ec2_id: str = I1, launched: datetime = START - 60 * MINUTE, *, sighted: bool = True, **more: object) -> events_pb2.ListedInstance:
    on = events_pb2.Event(
        event_id=f"describe:power_on:{launched.isoformat()}",
        kind=events_pb2.Event.KIND_POWER_ON,
        occur_time=launched,
        source=events_pb2.SOURCE_DESCRIBE,
        fresh=True,
    )
    return events_pb2.ListedInstance(**{
        "instance_id": ec2_id,
        "state": "running" if sighted else "stopped",
        "launch_time": launched,
        "sighted": sighted,
        "events": [on],
        "attributes": events_pb2.Attributes(instance_type="m5.large", vcpus=2),
        "image_id": "ami-00000000000000001",
        **more,
    })
