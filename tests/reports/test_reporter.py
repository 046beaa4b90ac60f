"""What reports keeps, refuses and waits for."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from libs.common.clock import ManualClock
from libs.common.deadlines import deadline
from libs.common.errors import DeadlineExceeded
from libs.common.instants import Micros, to_micros
from services.reports.reporter import Question, Reporter
from services.reports.snapshots import Snapshot
from services.reports.windows import Window
from tests.reports.conftest import Reports, running_reports
from tests.support.reports import Machine, Ran, fleet_of
from tests.support.statuses import told
from tests.support.waiting import wait_for

START, END = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
NOON = to_micros(START + timedelta(hours=12))
HOUR = 3_600_000_000
RAN = [Ran(NOON, NOON + HOUR), Ran(NOON, NOON + 2 * HOUR, Machine("i-00000002"))]


def total(reports: Reports) -> int:
    """Ask for the runtime in seconds."""
    return int(reports.runtime(START, END).totals[0].measures.runtime.seconds)


def test_more_runs_than_fit_are_refused(clock: ManualClock) -> None:
    """Two runs where one is allowed, fresh or kept; fewer accounts can still be asked for."""
    with running_reports(clock, most_runs=1) as reports:
        reports.hold(1, RAN[:1])
        assert total(reports) == 3600
        reports.hold(2, RAN[1:])
        with pytest.raises(grpc.RpcError) as refused:
            total(reports)
    answer = told(refused.value)
    assert answer.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (answer.reason, answer.metadata["runs"]) == ("TOO_MANY_RUNS", "2")


def test_without_room_everything_is_read_again(clock: ManualClock) -> None:
    """A cache of nothing changes no answer."""
    with running_reports(clock, cache_mib=0) as reports:
        reports.hold(1, RAN)
        assert [total(reports), total(reports)] == [3 * 3600, 3 * 3600]
        assert reports.source.streams == 2
        assert reports.source.chunks % 2 == 0
        assert reports.source.chunks > 2


def test_a_revoked_token_gets_nothing_that_is_kept(reports: Reports) -> None:
    """Accounts is asked in every call, so what was answered a moment before is not given again."""
    reports.hold(1, RAN)
    assert total(reports) == 3 * 3600
    reports.source.revoked.add("ada-token")
    with pytest.raises(grpc.RpcError) as refused:
        total(reports)
    answer = told(refused.value)
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")


def test_an_account_given_to_somebody_else_is_gone_at_once(reports: Reports) -> None:
    """What is kept of it does not outlive the right to see it."""
    reports.hold(1, RAN, owner=2)
    max_ = reports.caller("max-token")
    request = reports.request(START, END)
    assert max_.GetRuntime(request).totals[0].measures.runtime.seconds == 3 * 3600
    reports.source.held[1].owner = 3
    assert max_.GetRuntime(request).totals[0].measures.runtime.seconds == 0


class _Gated:
    """A source that answers once its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = threading.Event()

    def snapshot(
        self,
        user_token: str,  # noqa: ARG002  # the protocol's
        account_ids: tuple[int, ...],  # noqa: ARG002  # the protocol's
        as_of: Micros | None,  # noqa: ARG002  # the protocol's
    ) -> Snapshot:
        """Wait, and answer with an hour."""
        self.asked.set()
        wait_for(self.gate)
        return Snapshot(to_micros(END), (), (fleet_of(RAN[:1]),), ((1, 1),))


def test_a_report_waits_for_its_turn_no_longer_than_its_caller() -> None:
    """One at a time: the second gives up at its deadline, the first is not disturbed."""
    source = _Gated()
    reporter = Reporter(source, prepared_bytes=2**20, answers_bytes=2**20, at_once=1)
    question = Question(Window(to_micros(START), to_micros(END)))
    found: list[int] = []

    def first() -> None:
        found.append(reporter.answer(question, "a-token").report.totals.runtime[0, 0])

    thread = threading.Thread(target=first)
    thread.start()
    wait_for(source.asked)
    with deadline(0.2), pytest.raises(DeadlineExceeded, match="busy with other reports"):
        reporter.answer(question, "a-token")
    source.gate.set()
    thread.join(10)
    assert found == [HOUR]


def test_a_past_answer_and_the_present_one_are_never_mixed(reports: Reports) -> None:
    """An hour was known then and three are now; neither is given in the other's place."""
    then = END + timedelta(minutes=30)
    reports.hold(1, RAN)
    reports.source.then[to_micros(then)] = {
        1: replace(reports.source.held[1], fleet=fleet_of(RAN[:1]), revision=7)
    }

    def seconds(**asked: Any) -> int:
        answer = reports.runtime(START, END, **asked)
        return int(answer.totals[0].measures.runtime.seconds)

    now = seconds()
    past = seconds(as_of=then)
    assert (now, past) == (3 * 3600, 3600)
    assert [seconds(), seconds(as_of=then), seconds()] == [now, past, now]


def test_a_past_answer_takes_what_is_kept_if_nothing_changed_since(reports: Reports) -> None:
    """The stream brings no runs, and the answer is the same."""
    reports.hold(1, RAN)
    first = reports.runtime(START, END)
    chunks = reports.source.chunks
    again = reports.runtime(START, END, as_of=END + timedelta(minutes=30))
    assert reports.source.chunks == chunks
    assert again.totals == first.totals


def test_a_window_beyond_a_past_instant_is_answered_up_to_it(reports: Reports) -> None:
    """What goes on since the start counts up to as_of, half an hour, and the answer says so."""
    reports.hold(1, [Ran(to_micros(START), None)])
    then = START + timedelta(minutes=30)
    answer = reports.runtime(START, END, as_of=then)
    assert answer.totals[0].measures.runtime.seconds == 1800
    assert answer.as_of.ToDatetime(UTC) == then
