"""Answers taken while writers commit are the same when they are asked again afterwards."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import accounts_pb2, inventory_pb2
from libs.common.instants import to_micros
from services.accounts.facts import Attributes
from tests.support.accounts import START, Accounts, running_accounts
from tests.support.answers import stream
from tests.support.feeding import IMAGE, Feeder, feeder, instance, listed, message
from tests.support.timeline import off, on

EC2_IDS = [instance(number) for number in range(1, 5)]
TRANSACTIONS = 25
"""Of each of the writers."""

Answer: TypeAlias = tuple[Timestamp, list[str]]
Question: TypeAlias = Callable[[Timestamp | None], Answer]


@dataclass(frozen=True)
class Noted:
    """A question, and what was answered when it was asked as of now."""

    ask: Question
    as_of: Timestamp
    said: list[str]


def questions(accounts: Accounts, account_id: int) -> list[Question]:
    """Give the questions that readers ask, one call each."""
    api = accounts.admin.inventory
    of_account: dict[str, Any] = {"account_id": account_id, "page_size": 1000}

    def runs(as_of: Timestamp | None) -> Answer:
        header, chunks = stream(accounts, accounts.admin, account_id, as_of)
        (one,) = header.accounts
        one.ClearField("revision")
        return header.as_of, [str(one), *map(str, chunks)]

    def listing(call: Callable[[Any], Any], kind: Any, items: str, **more: str) -> Question:
        def ask(as_of: Timestamp | None) -> Answer:
            answer = call(kind(**of_account, **more, as_of=as_of))
            assert not answer.next_page_token
            return answer.as_of, [_text(each) for each in getattr(answer, items)]

        return ask

    one = {"instance_id": EC2_IDS[0]}
    return [
        runs,
        listing(api.ListInstances, inventory_pb2.ListInstancesRequest, "instances"),
        listing(api.ListImages, inventory_pb2.ListImagesRequest, "images"),
        listing(api.ListAnomalies, inventory_pb2.ListAnomaliesRequest, "anomalies"),
        listing(api.ListEvents, inventory_pb2.ListEventsRequest, "events", **one),
        listing(api.ListRuns, inventory_pb2.ListRunsRequest, "runs", **one),
    ]


def _text(each: Message) -> str:
    if isinstance(each, inventory_pb2.Image):
        each.ClearField("inspection")
    return str(each)


def dice(seed: int) -> random.Random:
    """Return dice that fall the same way every time."""
    return random.Random(seed)  # noqa: S311  # no secret


def tell(feed: Feeder, cast: random.Random) -> None:
    """Send events of any time, also under ids that had another content."""
    for _ in range(TRANSACTIONS):
        minute = f"{cast.randrange(10, 12)}:{cast.randrange(60):02}"
        event = cast.choice([on, off])(minute, event_id=f"e{cast.randrange(20)}")
        ec2_id = cast.choice(EC2_IDS)
        feed.send([message(event, ec2_id, feed.account_id, image_id=IMAGE)])


def show(feed: Feeder, cast: random.Random) -> None:
    """Send listings, some of them late."""
    for _ in range(TRANSACTIONS):
        started = to_micros(START) - cast.randrange(1, 7200) * 1_000_000
        shown = [
            listed(
                ec2_id,
                started - cast.randrange(1, 3600) * 1_000_000,
                Attributes(cast.choice(["m5.large", "t3.nano"])),
                sighted=cast.random() < 0.7,
                tags={"Name": str(cast.randrange(100))},
            )
            for ec2_id in cast.sample(EC2_IDS, 2)
        ]
        feed.show(started, shown)


def rename(accounts: Accounts, account_id: int) -> None:
    """Give the account other names."""
    for number in range(TRANSACTIONS):
        account = accounts_pb2.CloudAccount(id=account_id, name=f"web {number}")
        accounts.admin.accounts.UpdateCloudAccount(
            accounts_pb2.UpdateCloudAccountRequest(account=account)
        )


@dataclass(frozen=True)
class Processes:
    """accounts twice on one database."""

    both: tuple[Accounts, Accounts]
    writers: tuple[Accounts, Accounts]
    """By whom facts are told."""


@pytest.fixture(params=["stand still", "run", "are behind where facts are told"])
def processes(request: pytest.FixtureRequest, database_url: str) -> Iterator[Processes]:
    """Run accounts as two processes do, with clocks that do what the parameter says.

    While they stand still nothing but the fence orders what happens.
    """
    over = threading.Event()
    with ExitStack() as stack:
        first = stack.enter_context(running_accounts(database_url))
        second = stack.enter_context(running_accounts(database_url))
        if request.param == "are behind where facts are told":
            first.clock.advance(timedelta(hours=1))
            yield Processes((first, second), (second, second))
            return
        if request.param == "run":

            def tick() -> None:
                while not over.wait(0.001):
                    first.clock.advance(timedelta(microseconds=1))
                    second.clock.advance(timedelta(microseconds=1))

            clock = threading.Thread(target=tick)
            clock.start()
            stack.callback(clock.join)
            stack.callback(over.set)
        yield Processes((first, second), (first, second))


def test_answers_taken_while_writers_commit_can_be_given_again(processes: Processes) -> None:
    """A hundred transactions by four writers, two readers, two processes."""
    one, two = processes.writers
    feed = feeder(one)
    # The instances are known before the readers ask for one by its id.
    feed.send([message(on("09:00"), ec2_id, feed.account_id) for ec2_id in EC2_IDS])
    scanner = two.service("scanner")
    other = Feeder(scanner, feed.account_id, feed.aws_account_id, feed.epoch, two.database)
    over = threading.Event()
    noted: list[Noted] = []

    def read(accounts: Accounts) -> None:
        every = questions(accounts, feed.account_id)
        while not over.is_set():
            for ask in every:
                as_of, said = ask(None)
                noted.append(Noted(ask, as_of, said))

    with ThreadPoolExecutor(6) as threads:
        readers = [threads.submit(read, each) for each in processes.both]
        writers = [
            threads.submit(tell, feed, dice(1)),
            threads.submit(tell, other, dice(2)),
            threads.submit(show, other, dice(3)),
            threads.submit(rename, one, feed.account_id),
        ]
        try:
            for each in writers:
                each.result(60)
        finally:
            over.set()
        for each in readers:
            each.result(60)
    assert len({each.as_of.ToMicroseconds() for each in noted}) > 10
    for was in dice(4).sample(noted, min(len(noted), 150)):
        assert was.ask(was.as_of) == (was.as_of, was.said)
