"""The server builder: kinds of method, health, port, rules, stopping."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.common.config import ConfigError, ListenAddress, StartError
from libs.common.identity import USER
from libs.common.server import Registration, Server, build_server
from libs.common.server_config import ServerConfig
from tests.support.logs import Lines
from tests.support.probe import (
    DESCRIPTOR,
    SERVICE,
    KnownUsers,
    Probe,
    ProbeServicer,
    ProbeStub,
    add_to_server,
    probe_config,
    probe_server,
)
from tests.support.waiting import wait_for, wait_until

pytestmark = pytest.mark.usefixtures("lines")

HealthListRequest: Any = vars(health_pb2)["HealthListRequest"]  # the stubs lack it
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
QUICK = probe_config(health_interval=timedelta(milliseconds=5))


class HealthOf:
    """Asks a server for the health of a name."""

    def __init__(self, server: Server) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        # grpcio's stubs do not know its methods.
        self.stub: Any = health_pb2_grpc.HealthStub(self.channel)

    def __call__(self, name: str = "") -> int:
        """Return the status; RpcError for an unknown name."""
        request = health_pb2.HealthCheckRequest(service=name)
        status: int = self.stub.Check(request, timeout=5).status
        return status


@pytest.fixture
def health_of() -> Iterator[Callable[[Server], HealthOf]]:
    """Make askers, and close their channels after the test."""
    made: list[HealthOf] = []

    def make(server: Server) -> HealthOf:
        made.append(HealthOf(server))
        return made[-1]

    yield make
    for each in made:
        each.channel.close()


def test_all_four_kinds_of_method_work(call: Callable[..., ProbeStub]) -> None:
    """Through every layer, in both directions."""
    stub = call()
    assert stub.GetProbe(Probe(text="a")).text == "a"
    assert [each.text for each in stub.WatchProbe(Probe(text="b"))] == ["b", "b", "b"]
    probes = [Probe(text="1"), Probe(text="2")]
    assert stub.UploadProbes(iter(probes)).text == "12"
    assert [each.text for each in stub.TalkProbes(iter(probes))] == ["1", "2"]


def test_without_checks_a_server_is_ready(health_of: Callable[[Server], HealthOf]) -> None:
    """Readiness, liveness and each service's name; other names are unknown."""
    with probe_server() as server:
        health = health_of(server)
        assert [health(name) for name in ("", "liveness", SERVICE)] == [SERVING] * 3
        with pytest.raises(grpc.RpcError) as caught:
            health("broker")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_readiness_follows_its_check(health_of: Callable[[Server], HealthOf], lines: Lines) -> None:
    """Down and up again, for the services' names too; liveness stays."""
    up = threading.Event()
    with probe_server(config=QUICK, checks={"": up.is_set}) as server:
        health = health_of(server)
        assert [health(name) for name in ("", SERVICE, "liveness")] == [
            NOT_SERVING,
            NOT_SERVING,
            SERVING,
        ]
        up.set()
        wait_until(lambda: health() == SERVING)
        assert health(SERVICE) == SERVING
        up.clear()
        wait_until(lambda: health() == NOT_SERVING)
    changes = [line["serving"] for line in lines.all("health.changed")]
    assert changes == [False, True, False]


def test_a_further_check_has_a_name_of_its_own(health_of: Callable[[Server], HealthOf]) -> None:
    """The broker may be away while the service is ready; a check that raises says no."""

    def broken() -> bool:
        raise ConnectionError("refused")

    with probe_server(checks={"": lambda: True, "broker": broken}) as server:
        health = health_of(server)
        assert (health("broker"), health(), health(SERVICE)) == (NOT_SERVING, SERVING, SERVING)


def test_health_needs_no_token_and_is_logged_at_debug_only(
    health_of: Callable[[Server], HealthOf], lines: Lines
) -> None:
    """Probes ask every few seconds."""
    with probe_server() as server:
        assert health_of(server)() == SERVING
        wait_until(lambda: lines.all("rpc.finished"))
    assert lines.one("rpc.finished")["level"] == "debug"


def test_health_lists_every_name(health_of: Callable[[Server], HealthOf]) -> None:
    """With its status."""
    with probe_server(checks={"broker": lambda: False}) as server:
        answer = health_of(server).stub.List(HealthListRequest())
    assert {name: each.status for name, each in answer.statuses.items()} == {
        "": SERVING,
        SERVICE: SERVING,
        "liveness": SERVING,
        "broker": NOT_SERVING,
    }


def test_watches_leave_threads_for_calls(health_of: Callable[[Server], HealthOf]) -> None:
    """What is beyond the cap on streams is refused, and the health can still be asked."""
    with probe_server(config=probe_config(threads=4, streams=2)) as server:
        health = health_of(server)
        request = health_pb2.HealthCheckRequest()
        watches = [health.stub.Watch(request) for _ in range(2)]
        assert [next(watch).status for watch in watches] == [SERVING] * 2
        with pytest.raises(grpc.RpcError) as caught:
            next(health.stub.Watch(request))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health() == SERVING
        for watch in watches:
            watch.cancel()


def test_a_watch_that_was_left_gives_its_place_back(
    health_of: Callable[[Server], HealthOf],
) -> None:
    """A hundred watchers may come one after another, whether or not anything changes."""
    with probe_server(config=probe_config(threads=4, streams=2)) as server:
        health = health_of(server)

        def watched() -> bool:
            watch = health.stub.Watch(health_pb2.HealthCheckRequest())
            try:
                return bool(next(watch).status == SERVING)
            except grpc.RpcError:
                return False
            finally:
                watch.cancel()

        for _ in range(100):
            wait_until(watched)


def test_a_watched_name_that_nobody_knows_is_unknown(
    health_of: Callable[[Server], HealthOf],
) -> None:
    """As the protocol has it: SERVICE_UNKNOWN and an open watch, not an error."""
    with probe_server() as server:
        watch = health_of(server).stub.Watch(health_pb2.HealthCheckRequest(service="x"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


def test_stopping_tells_watchers_first(health_of: Callable[[Server], HealthOf]) -> None:
    """They see NOT_SERVING, then the end; and an open watch does not hold up the stop."""
    seen: list[int] = []
    server = probe_server(config=probe_config(stop_grace=timedelta(minutes=5)))
    server.start()
    watch = health_of(server).stub.Watch(health_pb2.HealthCheckRequest())
    seen.append(next(watch).status)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    seen += [each.status for each in watch]
    stopping.join(10)
    assert not stopping.is_alive()
    assert seen == [SERVING, NOT_SERVING]


def test_stopping_lets_calls_in_progress_finish(call: Callable[..., ProbeStub]) -> None:
    """A unary call that has begun gets its answer, a new one UNAVAILABLE."""
    begun, finish = threading.Event(), threading.Event()

    def get(request: Any, _context: grpc.ServicerContext) -> Any:
        begun.set()
        wait_for(finish)
        return request

    server = probe_server(ProbeServicer(GetProbe=get))
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = ProbeStub(channel)
        metadata = (("authorization", "Bearer max-token"),)
        answer = stub.GetProbe.future(Probe(text="late"), metadata=metadata)
        wait_for(begun)
        stopping = threading.Thread(target=server.stop)
        stopping.start()

        def code_now() -> grpc.StatusCode:
            refused = stub.UploadProbes.future(iter([]), metadata=metadata)
            refused.exception(10)
            code: grpc.StatusCode = refused.code()
            return code

        wait_until(lambda: code_now() is grpc.StatusCode.UNAVAILABLE)
        finish.set()
        assert answer.result(10).text == "late"
        stopping.join(10)
        assert not stopping.is_alive()


def test_stopping_cancels_what_outlasts_the_grace(lines: Lines) -> None:
    """A stream that goes on for ever is cut off, its generator closed, and logged as cancelled."""
    closed = threading.Event()

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        gone = threading.Event()
        context.add_callback(gone.set)
        try:
            yield request
            gone.wait()
            yield request
        finally:
            closed.set()

    server = probe_server(ProbeServicer(WatchProbe=watch))
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answers = ProbeStub(channel).WatchProbe(
            Probe(), metadata=(("authorization", "Bearer max-token"),)
        )
        next(answers)
        server.stop(timedelta(milliseconds=50))
        wait_for(closed)
        wait_until(lambda: lines.all("rpc.finished"))
        assert lines.one("rpc.finished")["code"] == "CANCELLED"
        answers.cancel()


def test_a_second_server_on_the_port_is_refused_in_one_line() -> None:
    """It names the address and the variable."""
    with probe_server() as server:
        taken = ServerConfig(listen=ListenAddress("127.0.0.1", server.port))
        with pytest.raises(StartError) as caught:
            probe_server(config=taken)
    assert str(caught.value) == (
        f"probe cannot listen on 127.0.0.1:{server.port}: is something else listening there?"
        " (set by CLOUDIGRADE_PROBE_LISTEN)"
    )


def test_a_port_is_free_again_after_its_server() -> None:
    """A restart needs no waiting."""
    with probe_server() as server:
        port = server.port
    with probe_server(config=ServerConfig(listen=ListenAddress("127.0.0.1", port))) as server:
        assert server.port == port


def test_plain_text_beyond_this_machine_needs_plain_words() -> None:
    """Refused with what to set; allowed when told."""
    everywhere = ListenAddress("0.0.0.0", 0)
    with pytest.raises(ConfigError) as caught:
        probe_server(config=ServerConfig(listen=everywhere))
    assert "CLOUDIGRADE_PROBE_INSECURE_LISTEN=yes" in str(caught.value)
    assert "\n" not in str(caught.value)
    with probe_server(config=ServerConfig(listen=everywhere, insecure_listen=True)) as server:
        assert server.port > 0


def test_more_streams_than_half_the_threads_are_refused() -> None:
    """They would starve the other calls."""
    with pytest.raises(ConfigError, match="STREAMS is 3, more than half of THREADS"):
        probe_server(config=probe_config(threads=5, streams=3))


def test_a_method_without_an_access_rule_stops_the_start() -> None:
    """And so does a rule for no method."""

    def build(access: dict[str, Any]) -> None:
        build_server(
            probe_config(),
            [Registration(DESCRIPTOR, add_to_server, ProbeServicer(), access)],
            authenticator=KnownUsers(),
        )

    rules = dict.fromkeys((method.name for method in DESCRIPTOR.methods), USER)
    with pytest.raises(StartError) as caught:
        build({name: rule for name, rule in rules.items() if name != "GetProbe"})
    assert str(caught.value) == f"{SERVICE} has no access rule for GetProbe"
    with pytest.raises(StartError, match="rules for what it lacks: GotProbe"):
        build({**rules, "GotProbe": USER})


PROGRAM = """
import sys
from libs.common import logs
from libs.common.config import one_line_failures
from libs.common.config import listen_address
from libs.common.server import run_until_signal
from libs.common.server_config import ServerConfig
from tests.support.probe import probe_server

with one_line_failures():
    if sys.argv[2:] == ["logs"]:
        logs.configure("probe")
    with probe_server(config=ServerConfig(listen=listen_address(sys.argv[1]))) as server:
        print(server.port, flush=True)
        run_until_signal()
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_process_gracefully(number: signal.Signals) -> None:
    """It leaves its blocks and ends with status 0."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "127.0.0.1:0", "logs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        while "process.serving" not in process.stderr.readline():
            assert process.poll() is None
        os.kill(process.pid, number)
        rest, _ = process.communicate(timeout=20)
    assert rest == "stopped\n"
    assert process.returncode == 0


def test_a_process_that_cannot_listen_says_one_line() -> None:
    """On stderr nothing else, not even gRPC's own words, and status 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"127.0.0.1:{port}", "logs"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"cloudigrade: probe cannot listen on 127.0.0.1:{port}:"
        " is something else listening there? (set by CLOUDIGRADE_PROBE_LISTEN)\n"
    )
