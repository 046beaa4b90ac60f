"""Background workers."""

import threading
from datetime import timedelta

import structlog

from libs.common.deadlines import deadline, time_left
from libs.common.identity import ANONYMOUS, Principal, acting_as, current_principal
from libs.common.workers import Worker, every
from tests.support.logs import recorded_logs
from tests.support.waiting import wait_for, wait_until

AT_ONCE = timedelta(milliseconds=1)


def test_a_worker_runs_in_a_thread_of_its_name_until_stopped() -> None:
    """The function sees the event set, and the thread ends with the block."""
    names: list[str] = []
    began = threading.Event()

    def function(stop: threading.Event) -> None:
        names.append(threading.current_thread().name)
        began.set()
        stop.wait()

    with Worker("relay", function) as worker:
        wait_for(began)
        alive_inside = worker.alive
    assert (alive_inside, worker.alive) == (True, False)
    assert names == ["relay"]


def test_a_worker_that_returns_is_not_called_again() -> None:
    """Returning means that the work is done."""
    calls: list[int] = []
    worker = Worker("once", lambda _stop: calls.append(1), first_delay=AT_ONCE)
    worker.start()
    assert worker.join(timedelta(seconds=10))
    assert calls == [1]


def test_a_worker_that_raises_is_logged_and_called_again() -> None:
    """Two failures, each with its trace and the worker's name, then it goes on."""
    calls: list[int] = []
    done = threading.Event()

    def function(stop: threading.Event) -> None:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("lost the database")
        done.set()
        stop.wait()

    with recorded_logs() as lines, Worker("relay", function, first_delay=AT_ONCE):
        wait_for(done)
    failures = lines.all("worker.failed")
    assert [line["worker"] for line in failures] == ["relay", "relay"]
    assert [line["again_in_seconds"] for line in failures] == [0.001, 0.002]
    assert "lost the database" in failures[0]["exception"]


def test_a_worker_stops_while_it_waits_to_try_again() -> None:
    """The delay is no sleep."""
    failed = threading.Event()

    def function(_stop: threading.Event) -> None:
        failed.set()
        raise RuntimeError("broken")

    with recorded_logs(), Worker("w", function, first_delay=timedelta(hours=1)) as worker:
        wait_for(failed)
    assert not worker.alive


def test_a_worker_that_will_not_stop_is_reported() -> None:
    """Leaving the block takes no longer than its patience."""
    release = threading.Event()

    def stubborn(_stop: threading.Event) -> None:
        release.wait()

    with recorded_logs() as lines:
        with Worker("w", stubborn, patience=AT_ONCE) as worker:
            pass
        assert lines.one("worker.stuck")["worker"] == "w"
    release.set()
    assert worker.join(timedelta(seconds=10))


def test_a_worker_never_started_can_be_stopped_and_joined() -> None:
    """So that an ExitStack may unwind from anywhere."""
    worker = Worker("w", lambda _stop: None)
    worker.stop()
    assert worker.join(AT_ONCE)


def test_every_does_its_task_at_once_and_again() -> None:
    """The first time does not wait for the interval."""
    calls: list[int] = []
    with Worker("w", every(AT_ONCE, lambda: calls.append(1))):
        wait_until(lambda: len(calls) >= 3)


def test_every_waits_in_a_way_that_stopping_ends() -> None:
    """An interval of an hour holds nobody up."""
    called = threading.Event()
    with Worker("w", every(timedelta(hours=1), called.set)) as worker:
        wait_for(called)
    assert not worker.alive


def test_a_worker_takes_the_trace_id_along_and_nothing_else_of_its_makers_call() -> None:
    """Its lines can be traced; the caller's deadline and identity do not hold for it."""
    seen: list[object] = []

    def function(_stop: threading.Event) -> None:
        seen.extend([time_left(), current_principal()])
        structlog.get_logger().info("worker.worked")

    with recorded_logs() as lines:
        with (
            structlog.contextvars.bound_contextvars(request_id="r7", method="/x"),
            acting_as(Principal(service="scanner")),
            deadline(30),
        ):
            worker = Worker("w", function)
        with worker:
            wait_until(lambda: lines.all("worker.worked"))
    line = lines.one("worker.worked")
    assert (line["request_id"], line["worker"]) == ("r7", "w")
    assert "method" not in line
    assert seen == [None, ANONYMOUS]
