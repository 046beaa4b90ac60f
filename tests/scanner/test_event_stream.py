"""The client of RecordEvents, step by step: the test plays accounts."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc_testing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import events_pb2
from libs.common.errors import InvalidRequest, Unavailable
from services.scanner.event_stream import EventStream, Outcome, Recorded
from services.scanner.events import Event, Kind, Source
from tests.support.waiting import wait_until

SERVICE = events_pb2.DESCRIPTOR.services_by_name["EventService"]
RECORD_EVENTS = SERVICE.methods_by_name["RecordEvents"]
Response = events_pb2.RecordEventsResponse
STORED = Response.OUTCOME_STORED
DEADLINE = 10


def event(name: str) -> Event:
    """Return an event with the id."""
    return Event(
        event_id=name,
        instance_id="i-00000001",
        region="eu-west-1",
        kind=Kind.POWER_ON,
        occurred=datetime(2026, 1, 1, tzinfo=UTC),
        source=Source.CLOUDTRAIL,
        aws_account_id="123456789012",
    )


class Server:
    """Accounts, as played by a test."""

    def __init__(self) -> None:
        self.channel: Any = grpc_testing.channel([SERVICE], grpc_testing.strict_fake_time(0))
        self.rpc: Any = None

    def accept(self) -> None:
        """Wait for the client to open a stream."""
        _metadata, self.rpc = self.channel.take_stream_stream(RECORD_EVENTS)
        self.rpc.send_initial_metadata(())

    def take(self) -> tuple[int, list[str]]:
        """Wait for a batch, and return its sequence and its events' ids."""
        request = self.rpc.take_request()
        return request.sequence, [found.event_id for found in request.events]

    def answer(self, sequence: int, *outcomes: Any, rejections: Any = ()) -> None:
        """Acknowledge a batch."""
        self.rpc.send_response(
            Response(sequence=sequence, outcomes=outcomes, rejections=rejections)
        )

    def end(self, code: grpc.StatusCode) -> None:
        """End the stream."""
        self.rpc.terminate((), code, "ended by the test")


@pytest.fixture
def server() -> Server:
    """Accounts, as played by the test."""
    return Server()


@pytest.fixture
def stream(server: Server) -> Iterator[EventStream]:
    """Give a client of that server which keeps at most three batches unanswered."""
    made = EventStream(
        server.channel, window=3, first_pause=timedelta(), patience=timedelta(milliseconds=100)
    )
    with made:
        yield made


def result(future: "Future[list[Recorded]]") -> list[Outcome]:
    """Wait for a batch's outcomes."""
    return [found.outcome for found in future.result(DEADLINE)]


def test_batches_are_numbered_from_one_and_answered_in_order(
    server: Server, stream: EventStream
) -> None:
    """Each batch has the next sequence, and its own outcomes for its own events."""
    first = stream.send([event("a"), event("b")])
    second = stream.send([event("c")])
    server.accept()
    assert server.take() == (1, ["a", "b"])
    assert server.take() == (2, ["c"])
    server.answer(1, STORED, Response.OUTCOME_DUPLICATE)
    assert result(first) == [Outcome.STORED, Outcome.DUPLICATE]
    assert not second.done()
    server.answer(2, Response.OUTCOME_UNKNOWN_ACCOUNT)
    assert result(second) == [Outcome.UNKNOWN_ACCOUNT]


def test_a_rejected_event_has_its_reason(server: Server, stream: EventStream) -> None:
    """The reason goes to the event that it is about."""
    sent = stream.send([event("a"), event("b")])
    server.accept()
    server.take()
    rejection = Response.Rejection(index=1, field="events[1].region", description="no such")
    server.answer(1, STORED, Response.OUTCOME_REJECTED, rejections=[rejection])
    assert sent.result(DEADLINE) == [
        Recorded(Outcome.STORED),
        Recorded(Outcome.REJECTED, "no such"),
    ]


def test_after_a_break_what_was_unanswered_is_sent_again_from_one(
    server: Server, stream: EventStream
) -> None:
    """The answered batch is not sent again; the others are, on a new stream, from sequence 1."""
    first, second, third = (stream.send([event(name)]) for name in "abc")
    server.accept()
    assert [server.take() for _ in range(3)] == [(1, ["a"]), (2, ["b"]), (3, ["c"])]
    server.answer(1, STORED)
    assert result(first) == [Outcome.STORED]
    server.end(grpc.StatusCode.UNAVAILABLE)
    server.accept()
    assert [server.take() for _ in range(2)] == [(1, ["b"]), (2, ["c"])]
    server.answer(1, Response.OUTCOME_DUPLICATE)
    server.answer(2, STORED)
    assert result(second) == [Outcome.DUPLICATE]
    assert result(third) == [Outcome.STORED]


def test_a_stream_that_accounts_ends_in_peace_is_opened_again(
    server: Server, stream: EventStream
) -> None:
    """OK without answers is no acknowledgement."""
    sent = stream.send([event("a")])
    server.accept()
    server.take()
    server.end(grpc.StatusCode.OK)
    server.accept()
    assert server.take() == (1, ["a"])
    server.answer(1, STORED)
    assert result(sent) == [Outcome.STORED]


def test_who_sends_more_than_the_window_holds_waits(server: Server, stream: EventStream) -> None:
    """The fourth batch is taken only when one of three is answered."""
    futures = [stream.send([event(name)]) for name in "abc"]
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(stream.send, [event("d")])
        server.accept()
        for _ in "abc":
            server.take()
        assert not waiting.done()
        server.answer(1, STORED)
        assert result(futures[0]) == [Outcome.STORED]
        fourth = waiting.result(DEADLINE)
    assert server.take() == (4, ["d"])
    for sequence in (2, 3, 4):
        server.answer(sequence, STORED)
    assert result(fourth) == [Outcome.STORED]


@pytest.mark.parametrize(
    "answer",
    [
        Response(sequence=2, outcomes=[STORED]),
        Response(sequence=1, outcomes=[]),
        Response(sequence=1, outcomes=[STORED, STORED]),
        Response(sequence=1, outcomes=[Response.OUTCOME_UNSPECIFIED]),
    ],
)
def test_an_answer_that_breaks_the_protocol_acknowledges_nothing(
    server: Server, stream: EventStream, answer: events_pb2.RecordEventsResponse
) -> None:
    """A wrong sequence or number of outcomes ends the stream; the batch is sent again."""
    sent = stream.send([event("a")])
    server.accept()
    server.take()
    server.rpc.send_response(answer)
    server.accept()
    assert server.take() == (1, ["a"])
    server.answer(1, STORED)
    assert result(sent) == [Outcome.STORED]


def test_a_refused_batch_is_found_and_holds_up_no_other(
    server: Server, stream: EventStream
) -> None:
    """After INVALID_ARGUMENT batches go one at a time until the bad one is alone, and given up."""
    first, bad, last = (stream.send([event(name)]) for name in "abc")
    server.accept()
    for _ in "abc":
        server.take()
    server.end(grpc.StatusCode.INVALID_ARGUMENT)
    server.accept()
    assert server.take() == (1, ["a"])
    server.answer(1, STORED)
    assert server.take() == (2, ["b"])
    server.end(grpc.StatusCode.INVALID_ARGUMENT)
    server.accept()
    assert server.take() == (1, ["c"])
    server.answer(1, STORED)
    assert result(first) == [Outcome.STORED]
    assert result(last) == [Outcome.STORED]
    with pytest.raises(InvalidRequest):
        bad.result(DEADLINE)


def test_closing_waits_for_answers_to_what_was_sent(server: Server, stream: EventStream) -> None:
    """The client half-closes; an answer that comes then still counts."""
    sent = stream.send([event("a")])
    server.accept()
    server.take()
    with ThreadPoolExecutor(1) as other:
        closing = other.submit(stream.close)
        server.rpc.requests_closed()
        server.answer(1, STORED)
        server.end(grpc.StatusCode.OK)
        closing.result(DEADLINE)
    assert result(sent) == [Outcome.STORED]


def test_closing_gives_up_on_answers_that_do_not_come(server: Server, stream: EventStream) -> None:
    """Who waits learns that the events may have to be sent again; nothing more is taken."""
    sent = stream.send([event("a")])
    server.accept()
    server.take()
    stream.close()
    with pytest.raises(Unavailable):
        sent.result(DEADLINE)
    with pytest.raises(Unavailable):
        stream.send([event("b")])


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_of_a_wrong_size_is_not_taken(stream: EventStream, count: int) -> None:
    """Accounts would end the stream for it."""
    with pytest.raises(ValueError, match="1 to 1000"):
        stream.send([event("a")] * count)


class UnreliableServer(Server):
    """Accounts as it may be: it stores what it commits, and its streams break where told."""

    def __init__(self, batches: list[list[str]]) -> None:
        super().__init__()
        self.stored: set[str] = set()
        self.futures: list[Future[list[Recorded]]] = []
        self._batches = batches

    def send_all(self, stream: EventStream) -> None:
        """Send every batch, as a source would."""
        for names in self._batches:
            self.futures.append(stream.send([event(name) for name in names]))

    @property
    def left(self) -> int:
        """How many batches the client has no answer for."""
        return len(self._batches) - sum(future.done() for future in self.futures)

    def serve(self, answers: int, commits: int, arrivals: int) -> None:
        """Take, commit and answer so many batches of the open stream."""
        taken = [self.take() for _ in range(min(arrivals, self.left))]
        committed = [(sequence, self._commit(found)) for sequence, found in taken[:commits]]
        for sequence, outcomes in committed[:answers]:
            left = self.left
            self.answer(sequence, *outcomes)
            # The channel of grpc_testing forgets answers that are unread when a stream breaks.
            wait_until(lambda: self.left == left - 1)  # noqa: B023  # called before it changes

    def _commit(self, names: list[str]) -> list[Any]:
        duplicate = Response.OUTCOME_DUPLICATE
        outcomes = [duplicate if name in self.stored else STORED for name in names]
        self.stored.update(names)
        return outcomes


@settings(max_examples=20, deadline=None)
@given(
    batches=st.integers(min_value=1, max_value=8),
    breaks=st.lists(
        st.tuples(*[st.integers(min_value=0, max_value=3)] * 3).map(sorted), max_size=4
    ),
)
def test_whatever_breaks_every_event_is_stored_once_and_answered(
    batches: int, breaks: list[list[int]]
) -> None:
    """Streams that break after so many answers, commits and arrivals lose and double nothing."""
    names = [[f"{batch}", f"{batch} too"] for batch in range(batches)]
    server = UnreliableServer(names)
    stream = EventStream(
        server.channel, window=3, first_pause=timedelta(), patience=timedelta(milliseconds=100)
    )
    with stream, ThreadPoolExecutor(1) as source:
        sending = source.submit(server.send_all, stream)
        for script in breaks:
            if server.left:
                server.accept()
                server.serve(*script)
                server.end(grpc.StatusCode.UNAVAILABLE)
        if server.left:
            server.accept()
        while server.left:
            server.serve(1, 1, 1)
        sending.result(DEADLINE)
    assert server.stored == {name for pair in names for name in pair}
    assert {found for future in server.futures for found in future.result()} <= {
        Recorded(Outcome.STORED),
        Recorded(Outcome.DUPLICATE),
    }
