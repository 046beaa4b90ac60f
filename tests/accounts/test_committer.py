"""The committer: batches merged into transactions, each with its own fate."""

import threading
from collections.abc import Sequence

import pytest

from libs.common.errors import (
    Aborted,
    CloudigradeError,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from services.accounts.committer import MOST_EVENTS, Committer
from services.accounts.facts import EventKind, Source
from services.accounts.new_events import Aside, NewEvent, Outcome

PATIENCE = 10.0


def _event(account_id: int, event_id: str = "x") -> NewEvent:
    return NewEvent(
        account_id=account_id,
        region="us-east-1",
        ec2_id="i-00000001",
        event_id=event_id,
        kind=EventKind.POWER_ON,
        occurred_at=1,
        source=Source.CLOUDTRAIL,
        fresh=True,
        termination=False,
        state="",
        previous_state="",
        instance_type="m5.large",
        vcpu=0,
        usage_operation="",
        usage_operation_at=0,
        image="",
        raw_id="",
    )


class _Recorder:
    """Stands in for the store; holds the first transaction until it is let go."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.asides = 0
        self.entered = threading.Event()
        self.go = threading.Event()
        self.fail: dict[str, list[Exception]] = {}

    def __call__(self, events: Sequence[NewEvent], asides: Sequence[Aside]) -> list[Outcome]:
        self.entered.set()
        assert self.go.wait(PATIENCE)
        ids = [event.event_id for event in events]
        self.transactions.append(ids)
        self.asides += len(asides)
        for event_id in ids:
            if self.fail.get(event_id):
                raise self.fail[event_id].pop(0)
        return [Outcome.DUPLICATE if each.startswith("old") else Outcome.STORED for each in ids]


@pytest.fixture
def recorder() -> _Recorder:
    """Record what is committed."""
    return _Recorder()


def test_batches_that_wait_share_a_transaction(recorder: _Recorder) -> None:
    """While one is committed, others gather; each gets its own outcomes."""
    with Committer(recorder, lanes=1) as committer:
        first = committer.submit([_event(1, "a")])
        assert recorder.entered.wait(PATIENCE)
        second = committer.submit([_event(1, "old b"), _event(1, "c")])
        third = committer.submit([_event(1, "d")])
        recorder.go.set()
        assert first.result(PATIENCE) == [Outcome.STORED]
        assert second.result(PATIENCE) == [Outcome.DUPLICATE, Outcome.STORED]
        assert third.result(PATIENCE) == [Outcome.STORED]
    assert recorder.transactions == [["a"], ["old b", "c", "d"]]


def test_a_transaction_holds_no_more_than_its_bound(recorder: _Recorder) -> None:
    """Six batches of a thousand are two transactions: five and one."""
    with Committer(recorder, lanes=1) as committer:
        futures = [committer.submit([_event(1)])]
        assert recorder.entered.wait(PATIENCE)
        futures += [committer.submit([_event(1)] * 1000) for _ in range(6)]
        recorder.go.set()
        for future in futures:
            future.result(PATIENCE)
    assert [len(each) for each in recorder.transactions] == [1, MOST_EVENTS, 1000]


def test_a_batch_of_several_accounts_is_whole_when_all_are_committed(recorder: _Recorder) -> None:
    """Its outcomes come in its order, whatever lane each went by."""
    recorder.go.set()
    with Committer(recorder, lanes=2) as committer:
        batch = [_event(1, "a"), _event(2, "old b"), _event(1, "old c"), _event(2, "d")]
        assert committer.submit(batch).result(PATIENCE) == [
            Outcome.STORED,
            Outcome.DUPLICATE,
            Outcome.DUPLICATE,
            Outcome.STORED,
        ]
    assert sorted(map(sorted, recorder.transactions)) == [["a", "old c"], ["d", "old b"]]


def test_a_transaction_that_lost_to_another_is_tried_again(recorder: _Recorder) -> None:
    """Twice; a third time, and the caller is told to resend."""
    recorder.go.set()
    recorder.fail = {"a": [Aborted("again")] * 2, "b": [Aborted("again")] * 3}
    with Committer(recorder, lanes=1) as committer:
        assert committer.submit([_event(1, "a")]).result(PATIENCE) == [Outcome.STORED]
        with pytest.raises(Unavailable):
            committer.submit([_event(1, "b")]).result(PATIENCE)


def test_a_batch_that_fails_for_no_known_reason_fails_alone(recorder: _Recorder) -> None:
    """Those that shared its transaction are committed without it."""
    recorder.fail = {"bad": [RuntimeError("?")] * 2}
    with Committer(recorder, lanes=1) as committer:
        committer.submit([_event(1, "a")])
        assert recorder.entered.wait(PATIENCE)
        good, bad = committer.submit([_event(1, "b")]), committer.submit([_event(1, "bad")])
        recorder.go.set()
        assert good.result(PATIENCE) == [Outcome.STORED]
        with pytest.raises(RuntimeError):
            bad.result(PATIENCE)


@pytest.mark.parametrize(
    "error", [InvalidRequest("a number is too large"), NotFound("gone"), FailedPrecondition("no")]
)
def test_a_batch_that_cannot_be_stored_fails_alone(
    recorder: _Recorder, error: CloudigradeError
) -> None:
    """What is wrong with one is told to its caller only; the others are stored, in their order."""
    recorder.fail = {"bad": [error] * 2}
    with Committer(recorder, lanes=1) as committer:
        committer.submit([_event(1, "a")])
        assert recorder.entered.wait(PATIENCE)
        futures = [committer.submit([_event(1, each)]) for each in ("b", "bad", "old c")]
        recorder.go.set()
        assert futures[0].result(PATIENCE) == [Outcome.STORED]
        assert futures[1].exception(PATIENCE) is error
        assert futures[2].result(PATIENCE) == [Outcome.DUPLICATE]
    assert recorder.transactions == [["a"], ["b", "bad", "old c"], ["b"], ["bad"], ["old c"]]


def test_while_the_database_is_away_nobody_is_tried_alone(recorder: _Recorder) -> None:
    """Each would wait for it anew."""
    away = Unavailable("away")
    recorder.fail = {"c": [away]}
    with Committer(recorder, lanes=1) as committer:
        committer.submit([_event(1, "a")])
        assert recorder.entered.wait(PATIENCE)
        futures = [committer.submit([_event(1, each)]) for each in ("b", "c")]
        recorder.go.set()
        assert [future.exception(PATIENCE) for future in futures] == [away, away]
    assert recorder.transactions == [["a"], ["b", "c"]]


def test_a_database_that_is_away_fails_all_that_wait_for_it(recorder: _Recorder) -> None:
    """And the next is tried anew."""
    recorder.go.set()
    recorder.fail = {"a": [Unavailable("away")]}
    with Committer(recorder, lanes=1) as committer:
        with pytest.raises(Unavailable):
            committer.submit([_event(1, "a")]).result(PATIENCE)
        assert committer.submit([_event(1, "a")]).result(PATIENCE) == [Outcome.STORED]


def test_what_is_kept_aside_is_committed_without_events(recorder: _Recorder) -> None:
    """A batch of nothing but rejected events."""
    recorder.go.set()
    with Committer(recorder, lanes=2) as committer:
        assert committer.submit([], [Aside(0, 1, "", "", b"")]).result(PATIENCE) == []
    assert recorder.asides == 1


def test_an_empty_batch_is_done_at_once(recorder: _Recorder) -> None:
    """Every event of it was of an unknown account."""
    with Committer(recorder) as committer:
        assert committer.submit([]).result(PATIENCE) == []


def test_after_closing_nothing_is_taken(recorder: _Recorder) -> None:
    """Callers are told to resend to whoever comes next."""
    recorder.go.set()
    with Committer(recorder) as committer:
        pass
    with pytest.raises(Unavailable):
        committer.submit([_event(1)]).result(PATIENCE)
