"""Everything that accounts says of an account, to be held against what it says later."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import inventory_pb2 as pb
from cloudigrade.accounts.v1 import runs_pb2, runs_pb2_grpc
from libs.common.channels import on_behalf_of
from libs.common.timestamps import from_timestamp
from tests.support.accounts import Accounts, Caller


@dataclass
class Everything:
    """What was said, message by message, and the instant that it was said to speak for."""

    as_of: Timestamp
    runs: list[bytes] = field(default_factory=list)
    """The stream of runs: the header without revisions and instant, and every chunk."""
    inventory: dict[str, list[str]] = field(default_factory=dict)
    """By method and what was asked, each thing that was listed."""


def everything(
    accounts: Accounts, user: Caller, account_id: int, as_of: Any = None, page_size: int = 0
) -> Everything:
    """Ask for all that is known of an account, with an as_of or as known now."""
    header, chunks = stream(accounts, user, account_id, as_of)
    said = Everything(header.as_of)
    for each in header.accounts:
        each.ClearField("revision")
    header.ClearField("as_of")
    said.runs = [_bytes(header), *map(_bytes, chunks)]
    for name, answers in _lists(user, account_id, as_of, page_size):
        listed: list[str] = []
        for answer, items in answers:
            if as_of is None:
                # One instant for all that is asked while nothing happens.
                assert answer.as_of == said.as_of, name
            else:
                assert answer.as_of == header_time(as_of), name
            listed += (_text(each) for each in items)
        said.inventory[name] = listed
    return said


def header_time(as_of: Any) -> Timestamp:
    """Return an instant as messages carry it."""
    return runs_pb2.StreamRunsRequest(as_of=as_of).as_of


def stream(
    accounts: Accounts, user: Caller, account_id: int, as_of: Any = None
) -> tuple[runs_pb2.StreamRunsResponse.Header, list[runs_pb2.StreamRunsResponse.Chunk]]:
    """Ask for an account's runs as reports does for a user."""
    stub = runs_pb2_grpc.RunServiceStub(accounts.service("reports").channel)
    first, *rest = stub.StreamRuns(
        runs_pb2.StreamRunsRequest(account_ids=[account_id], as_of=as_of),
        metadata=on_behalf_of(user.token),
    )
    return first.header, [each.chunk for each in rest]


def micros(stamp: Timestamp | datetime) -> int:
    """Return an instant in microseconds."""
    return from_timestamp(header_time(stamp))


def _lists(
    user: Caller, account_id: int, as_of: Any, page_size: int
) -> Iterator[tuple[str, list[tuple[Any, list[Message]]]]]:
    api = user.inventory
    asked = {"account_id": account_id, "as_of": as_of, "page_size": page_size}
    instances = _pages(api.ListInstances, pb.ListInstancesRequest(**asked), "instances")
    images = _pages(api.ListImages, pb.ListImagesRequest(**asked), "images")
    yield "instances", instances
    yield "images", images
    anomalies = pb.ListAnomaliesRequest(**asked)
    yield "anomalies", _pages(api.ListAnomalies, anomalies, "anomalies")
    overrides = pb.ListOverridesRequest(**asked)
    yield "overrides", _pages(api.ListOverrides, overrides, "overrides")
    for each in (each for _, items in instances for each in items):
        ec2_id = each.instance_id  # type: ignore[attr-defined] # an Instance
        one = {**asked, "instance_id": ec2_id}
        events = pb.ListEventsRequest(**one)
        yield f"events of {ec2_id}", _pages(api.ListEvents, events, "events")
        yield f"runs of {ec2_id}", _pages(api.ListRuns, pb.ListRunsRequest(**one), "runs")
        odd = pb.ListAnomaliesRequest(**one)
        yield f"anomalies of {ec2_id}", _pages(api.ListAnomalies, odd, "anomalies")
        got = api.GetInstance(
            pb.GetInstanceRequest(account_id=account_id, instance_id=ec2_id, as_of=as_of)
        )
        yield f"instance {ec2_id}", [(got, [got.instance, got.image])]
    for each in (each for _, items in images for each in items):
        ami_id = each.description.image_id  # type: ignore[attr-defined] # an Image
        shown = api.GetImage(
            pb.GetImageRequest(account_id=account_id, image_id=ami_id, as_of=as_of)
        )
        yield f"image {ami_id}", [(shown, [shown.image])]


def _pages(call: Callable[[Any], Any], request: Any, items: str) -> list[tuple[Any, list[Message]]]:
    pages = []
    while True:
        answer = call(request)
        pages.append((answer, list(getattr(answer, items))))
        request.page_token = answer.next_page_token
        if not request.page_token:
            return pages


def _text(message: Message) -> str:
    if isinstance(message, pb.Image):
        # It stands as it stands now, whatever the instant.
        message.ClearField("inspection")
    return str(message)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
