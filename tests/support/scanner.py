"""What the scanner's tests share: described instances, recorded answers, stubbed Regions."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from libs.common.aws import AccountSession
from libs.common.identifiers import RoleArn
from services.scanner.instances import Instance, State

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "ec2-api"

LAUNCHED = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)


def instance(state: State = State.RUNNING, **shown: Any) -> Instance:
    """Return an instance launched at LAUNCHED, in the state, with whatever else is shown."""
    fields: dict[str, Any] = {
        "instance_id": "i-0123456789abcdef0",
        "launch_time": LAUNCHED,
        "instance_type": "m5.large",
        "usage_operation": "RunInstances:0010",
        "platform_details": "Red Hat Enterprise Linux",
        "usage_operation_update_time": LAUNCHED,
    }
    return Instance(state=state, **(fields | shown))


def described(instance_id: str, **shown: Any) -> dict[str, Any]:
    """Return an instance in the shape of a DescribeInstances answer."""
    return {
        "InstanceId": instance_id,
        "ImageId": "ami-00000001",
        "InstanceType": "m5.large",
        "LaunchTime": LAUNCHED,
        "State": {"Code": 16, "Name": "running"},
        "StateTransitionReason": "",
    } | shown


def page(*instances: dict[str, Any], token: str = "") -> dict[str, Any]:
    """Return one page of a DescribeInstances answer; a token says that more follow."""
    answer: dict[str, Any] = {
        "Reservations": [
            {"ReservationId": "r-1", "OwnerId": "123456789012", "Instances": list(instances)}
        ]
    }
    return answer | ({"NextToken": token} if token else {})


def recorded_answers(operation: str) -> Iterator[Mapping[str, Any]]:
    """Yield the recorded answers to the operation, such as `ec2.DescribeInstances`.

    Skips the test that asks when the recordings are not on this machine.
    """
    if not RECORDED.is_dir():
        pytest.skip(f"NOT TESTED: the recorded EC2 answers are not at {RECORDED}")
    files = sorted((RECORDED / "cloud-custodian-placebo" / operation).glob("*.json"))
    assert files
    for file in files:
        answer = json.loads(file.read_text(), object_hook=_datetimes)
        if answer["status_code"] == 200:
            yield answer["data"]


def _datetimes(found: dict[str, Any]) -> Any:
    if found.get("__class__") != "datetime":
        return found
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return datetime(*(found[part] for part in parts)).replace(tzinfo=UTC)  # noqa: DTZ001  # then


class StubbedRegions:
    """Regions whose EC2 gives the answers that a test prepared, and no others."""

    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}
        self._stubbers: dict[str, Stubber] = {}
        role = RoleArn("aws", "123456789012", "cloudigrade")
        self.session = AccountSession(role, "us-east-1", self._client)

    def __getitem__(self, region: str) -> Stubber:
        """Return the stubber of the Region's EC2 client, on which answers are prepared."""
        if region not in self._stubbers:
            client = boto3.client(
                "ec2", region, aws_access_key_id="made", aws_secret_access_key="up"
            )
            self._clients[region] = client
            self._stubbers[region] = Stubber(client)
            self._stubbers[region].activate()
        return self._stubbers[region]

    def client(self, region: str) -> Any:
        """Return the Region's client, for its hooks."""
        return self._client("ec2", region, None)

    def assert_no_pending_responses(self) -> None:
        """Fail when a prepared answer was not asked for."""
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()

    def _client(self, service: str, region: str, _connections: int | None) -> Any:
        assert service == "ec2"
        self[region]
        return self._clients[region]
