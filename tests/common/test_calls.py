"""What surrounds a handler: errors, log, deadlines, cap on streams, malformed input."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common import errors
from libs.common.clock import ManualClock
from libs.common.deadlines import SHAVED, check_deadline, deadline, time_left
from libs.common.identity import ANONYMOUS, current_principal
from tests.common.test_clock_and_instants import NOON
from tests.support.logs import Lines
from tests.support.probe import SERVICE, Probe, ProbeServicer, ProbeStub, probe_config
from tests.support.statuses import Told, told
from tests.support.waiting import wait_for, wait_until

Call = Callable[..., ProbeStub]
CODE = grpc.StatusCode


def failing(error: BaseException) -> ProbeServicer:
    """Return a servicer each of whose methods raises, streams after an answer."""

    def unary(_request: Any, _context: grpc.ServicerContext) -> Any:
        raise error

    def stream(request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        yield Probe(text="first")
        raise error

    return ProbeServicer(GetProbe=unary, WatchProbe=stream, UploadProbes=unary, TalkProbes=stream)


def drain(answer: Any) -> None:
    """Read a stream to its end; one answer is read already."""
    if isinstance(answer, Iterator):
        for _ in answer:
            pass


def outcome(call: Callable[[], Any]) -> Told:
    """Return what a call that fails, at once or while it streams, tells."""
    with pytest.raises(grpc.RpcError) as caught:
        drain(call())
    return told(caught.value)


KINDS: dict[str, Callable[[ProbeStub], Any]] = {
    "GetProbe": lambda stub: stub.GetProbe(Probe()),
    "WatchProbe": lambda stub: stub.WatchProbe(Probe()),
    "UploadProbes": lambda stub: stub.UploadProbes(iter([Probe()])),
    "TalkProbes": lambda stub: stub.TalkProbes(iter([Probe()])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_family_reaches_the_caller(call: Call, kind: str) -> None:
    """With code, reason, domain and the request's id, from every kind of method."""
    stub = call(failing(errors.NotFound("There is no probe 7.", reason="NO_PROBE")))
    answer = outcome(lambda: KINDS[kind](stub))
    assert (answer.code, answer.message) == (CODE.NOT_FOUND, "There is no probe 7.")
    assert (answer.reason, answer.domain) == ("NO_PROBE", "cloudigrade")
    assert list(answer.metadata) == ["request_id"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_error_tells_nothing_and_is_logged(call: Call, lines: Lines, kind: str) -> None:
    """The caller gets "internal error" and an id under which the log has the trace."""
    stub = call(failing(RuntimeError("password=hunter2")))
    answer = outcome(lambda: KINDS[kind](stub))
    assert (answer.code, answer.message, answer.reason) == (
        CODE.INTERNAL,
        "internal error",
        "INTERNAL",
    )
    failure = lines.one("rpc.failed")
    assert "RuntimeError: password=hunter2" in failure["exception"]
    assert failure["request_id"] == answer.metadata["request_id"]
    assert failure["method"] == f"/{SERVICE}/{kind}"


def test_a_domain_error_outside_the_table_tells_nothing(call: Call, lines: Lines) -> None:
    """The bare base class has no status, and its message was not meant for callers."""
    answer = outcome(lambda: call(failing(errors.CloudigradeError("at db-3"))).GetProbe(Probe()))
    assert (answer.code, answer.message) == (CODE.INTERNAL, "internal error")
    assert "at db-3" in lines.one("rpc.failed")["exception"]


def test_a_handler_may_abort_by_itself(call: Call, lines: Lines) -> None:
    """Its code stands, and it is no failure."""

    def get(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(CODE.DATA_LOSS, "gone")

    answer = outcome(lambda: call(ProbeServicer(GetProbe=get)).GetProbe(Probe()))
    assert (answer.code, answer.message) == (CODE.DATA_LOSS, "gone")
    assert lines.all("rpc.failed") == []


def test_fields_and_retries_reach_the_caller(call: Call) -> None:
    """BadRequest's paths, RetryInfo's delay."""
    violations = [errors.Violation("a", "is bad"), errors.Violation("b[2].c", "is bad")]
    stub = call(failing(errors.InvalidRequest.many(violations)))
    assert outcome(lambda: stub.GetProbe(Probe())).fields == ("a", "b[2].c")
    stub = call(failing(errors.Unavailable("away", retry_after=timedelta(seconds=3))))
    assert outcome(lambda: stub.GetProbe(Probe())).retry_seconds == 3


def test_a_method_nobody_wrote_is_unimplemented(call: Call, lines: Lines) -> None:
    """In the family's form, without a trace in the log."""
    answer = outcome(lambda: call().UnbuiltProbe(Probe()))
    assert (answer.code, answer.reason) == (CODE.UNIMPLEMENTED, "NOT_BUILT")
    assert lines.all("rpc.failed") == []


def test_an_abstract_method_deep_inside_is_a_defect(call: Call) -> None:
    """NotImplementedError alone does not mean an RPC that is not built."""
    answer = outcome(lambda: call(failing(NotImplementedError("x"))).GetProbe(Probe()))
    assert answer.code is CODE.INTERNAL


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_an_unknown_method_is_unimplemented(call: Call, lines: Lines, kind: str) -> None:
    """Of whatever kind the client takes it to be, and without a token; it is logged."""
    stub = call(token=None)
    request: Any = b"x" if kind.startswith("unary") else iter([b"x"])
    method = getattr(stub.channel, kind)("/no.such/Method")
    answer = outcome(lambda: method(request))
    assert (answer.code, answer.reason) == (CODE.UNIMPLEMENTED, "METHOD_UNKNOWN")
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["method"] == "/no.such/Method"


def test_bytes_that_are_no_message_are_the_callers_fault(call: Call, lines: Lines) -> None:
    """INVALID_ARGUMENT, and no trace."""
    raw: Any = call().channel.unary_unary(f"/{SERVICE}/GetProbe")
    answer = outcome(lambda: raw(b"\xff\xff\xff"))
    assert (answer.code, answer.reason) == (CODE.INVALID_ARGUMENT, "MESSAGE_UNREADABLE")
    assert lines.all("rpc.failed") == []


def test_a_message_above_four_mebibytes_is_refused(call: Call) -> None:
    """The default limit of gRPC stands: batches are bounded instead."""
    answer = outcome(lambda: call().GetProbe(Probe(text="x" * (4 * 1024 * 1024))))
    assert answer.code is CODE.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_is_logged_once(call: Call, lines: Lines, kind: str) -> None:
    """Method, peer, code, duration, request id, user; never the token."""
    drain(KINDS[kind](call(clock=ManualClock(NOON))))
    wait_until(lambda: lines.all("rpc.finished"))
    line = lines.one("rpc.finished")
    assert line["method"] == f"/{SERVICE}/{kind}"
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    assert (line["code"], line["level"], line["user_id"]) == ("OK", "info", 1)
    assert line["duration_ms"] == 0.0
    assert line["service"] == "probe"
    assert len(line["request_id"]) == 32
    assert "ada-token" not in lines.text


def test_the_duration_is_the_handlers(call: Call, lines: Lines) -> None:
    """A quarter of a second by the clock that was passed in."""
    clock = ManualClock(NOON)

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        clock.advance(timedelta(milliseconds=250))
        return request

    call(ProbeServicer(GetProbe=get), clock=clock).GetProbe(Probe())
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["duration_ms"] == 250.0


def test_the_callers_request_id_is_on_every_line(call: Call, lines: Lines) -> None:
    """Those that the handler logs, too."""

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        structlog.get_logger().info("probe.looked")
        return request

    stub = call(ProbeServicer(GetProbe=get))
    stub.GetProbe(Probe(), metadata=(("x-request-id", "my-trace-7"),))
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("probe.looked")["request_id"] == "my-trace-7"
    assert lines.one("rpc.finished")["request_id"] == "my-trace-7"


@pytest.mark.parametrize("given", ["", "x" * 129, "two words"])
def test_a_request_id_unfit_for_logs_is_replaced(call: Call, lines: Lines, given: str) -> None:
    """By a new one of 32 hex digits."""
    call().GetProbe(Probe(), metadata=(("x-request-id", given),))
    wait_until(lambda: lines.all("rpc.finished"))
    assert len(lines.one("rpc.finished")["request_id"]) == 32


def test_a_stream_that_its_caller_left_is_cancelled(call: Call, lines: Lines) -> None:
    """Its generator is closed, the log says CANCELLED, nothing failed."""
    closed = threading.Event()

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        gone = threading.Event()
        context.add_callback(gone.set)
        try:
            while True:
                yield request
                gone.wait()
        finally:
            closed.set()

    answers = call(ProbeServicer(WatchProbe=watch)).WatchProbe(Probe())
    next(answers)
    answers.cancel()
    wait_for(closed)
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["code"] == "CANCELLED"
    assert lines.all("rpc.failed") == []


def test_a_request_stream_that_its_caller_left_is_cancelled(call: Call, lines: Lines) -> None:
    """What the request iterator raises then is no failure either."""
    leave = threading.Event()

    def talk(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        gone = threading.Event()
        context.add_callback(gone.set)
        try:
            yield from requests
        finally:
            # gRPC may tell that nothing more comes before it tells that the call was cancelled.
            wait_for(gone)

    def requests() -> Iterator[Any]:
        yield Probe(text="1")
        leave.wait()

    answers = call(ProbeServicer(TalkProbes=talk)).TalkProbes(requests())
    next(answers)
    answers.cancel()
    leave.set()
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["code"] == "CANCELLED"
    assert lines.all("rpc.failed") == []


def test_an_answer_after_the_deadline_is_logged_as_such(call: Call, lines: Lines) -> None:
    """Though the handler went on and finished."""
    late = threading.Event()

    def get(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(late.set)
        wait_for(late)
        return request

    answer = outcome(lambda: call(ProbeServicer(GetProbe=get)).GetProbe(Probe(), timeout=0.3))
    assert answer.code is CODE.DEADLINE_EXCEEDED
    wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["code"] == "DEADLINE_EXCEEDED"


def test_nothing_of_a_call_is_left_for_the_next_one(call: Call) -> None:
    """Threads are reused; principal, deadline and log context are not."""
    seen: list[tuple[Any, ...]] = []

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        bound = structlog.contextvars.get_contextvars()
        seen.append((current_principal().user, time_left() is None, sorted(bound)))
        structlog.contextvars.bind_contextvars(leak="yes")
        return request

    config = probe_config(threads=4, streams=1)
    stub = call(ProbeServicer(GetProbe=get, CreateProbe=get), config=config)
    for _ in range(8):
        stub.GetProbe(Probe(), timeout=5)
    keys = ["method", "request_id", "service"]
    assert [(user.name, no_end, bound) for user, no_end, bound in seen] == [
        ("ada", False, keys)
    ] * 8
    assert current_principal() is ANONYMOUS


# Deadlines


def test_a_handler_learns_the_time_left(call: Call) -> None:
    """A little less than the caller waits; so much that the answer still arrives."""
    left: list[float | None] = []

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        left.append(time_left())
        return request

    stub = call(ProbeServicer(GetProbe=get))
    stub.GetProbe(Probe(), timeout=5)
    (seconds,) = left
    assert seconds is not None
    # gRPC sends what is left of 1 to 10 s rounded up to 10 ms, and keeps time in milliseconds.
    assert 0 < seconds <= 5 + 0.012 - SHAVED


def test_a_call_without_a_deadline_has_none(call: Call) -> None:
    """Streams may last for days."""
    left: list[float | None] = []

    def watch(_request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        left.append(time_left())
        yield Probe()

    list(call(ProbeServicer(WatchProbe=watch)).WatchProbe(Probe()))
    assert left == [None]


def test_a_call_with_too_little_time_is_refused() -> None:
    """Below 100 ms nothing is begun; from there on 20 ms are kept for the answer."""
    with pytest.raises(errors.DeadlineExceeded) as caught, deadline(0.099):
        raise AssertionError("not reached")
    assert caught.value.reason == "DEADLINE_TOO_SHORT"
    with deadline(0.5):
        left = time_left()
        assert left is not None
        assert 0.3 < left <= 0.48
    assert time_left() is None


def test_a_call_with_too_little_time_never_reaches_its_handler(call: Call) -> None:
    """The server says so, or the caller has given up already; the handler is not entered."""
    entered = threading.Event()

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        entered.set()
        return request

    answer = outcome(lambda: call(ProbeServicer(GetProbe=get)).GetProbe(Probe(), timeout=0.09))
    assert answer.code is CODE.DEADLINE_EXCEEDED
    assert not entered.is_set()


def test_work_beyond_the_deadline_stops_itself() -> None:
    """check_deadline raises once no time is left, and never without a deadline."""
    check_deadline()
    with deadline(0.12):
        check_deadline()
        wait_until(lambda: time_left() == 0.0)
        with pytest.raises(errors.DeadlineExceeded):
            check_deadline()


# Streams


def test_streams_beyond_the_cap_are_refused_and_unary_calls_are_not(call: Call) -> None:
    """With a time to try again; and a stream that ends gives its place back."""
    release = threading.Event()

    def watch(request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        yield request
        wait_for(release)

    stub = call(ProbeServicer(WatchProbe=watch), config=probe_config(threads=4, streams=2))
    first, second = stub.WatchProbe(Probe()), stub.WatchProbe(Probe())
    next(first)
    next(second)
    answer = outcome(lambda: stub.WatchProbe(Probe()))
    assert (answer.code, answer.reason) == (CODE.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
    assert answer.retry_seconds == 1
    assert outcome(lambda: stub.UploadProbes(iter([]))).code is CODE.RESOURCE_EXHAUSTED
    assert stub.GetProbe(Probe(text="still here")).text == "still here"
    release.set()
    assert list(first) == list(second) == []
    wait_until(lambda: _succeeds(lambda: stub.UploadProbes(iter([]))))


def test_a_stream_that_fails_gives_its_place_back(call: Call) -> None:
    """Ten failures through a cap of one."""
    stub = call(failing(errors.NotFound("no")), config=probe_config(threads=4, streams=1))
    codes = [_code_once_free(stub) for _ in range(10)]
    assert codes == [CODE.NOT_FOUND] * 10


def test_calls_beyond_what_may_wait_are_refused_at_once(call: Call) -> None:
    """Four threads are busy and nobody may wait: the fifth is told, not kept."""
    release = threading.Event()
    busy = threading.Semaphore(0)

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        busy.release()
        wait_for(release)
        return request

    config = probe_config(threads=4, streams=1, waiting=0)
    stub = call(ProbeServicer(GetProbe=get), config=config)
    waiting = [stub.GetProbe.future(Probe()) for _ in range(4)]
    for _ in range(4):
        assert busy.acquire(timeout=10)
    assert outcome(lambda: stub.GetProbe(Probe())).code is CODE.RESOURCE_EXHAUSTED
    release.set()
    for each in waiting:
        each.result(10)


def _code_once_free(stub: ProbeStub) -> grpc.StatusCode:
    codes: list[grpc.StatusCode] = []

    def tried() -> bool:
        codes.append(outcome(lambda: stub.WatchProbe(Probe())).code)
        return codes[-1] is not CODE.RESOURCE_EXHAUSTED

    wait_until(tried)
    return codes[-1]


def _succeeds(call: Callable[[], Any]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return False
    return True


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.sampled_from(["authorization", "x-on-behalf-of", "x-request-id"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    )
)
def test_no_metadata_breaks_the_layers(call: Call, metadata: dict[str, str]) -> None:
    """Whatever callers send in the headers we read, the answer is one of the family."""
    stub = call(token=None)
    answer = outcome(lambda: stub.GetProbe(Probe(), metadata=tuple(metadata.items())))
    assert answer.code is CODE.UNAUTHENTICATED
    assert answer.reason in {"TOKEN_MISSING", "TOKEN_MALFORMED", "TOKEN_UNKNOWN"} | {
        "SERVICE_TOKEN_UNKNOWN"
    }
