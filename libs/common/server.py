"""The one place that makes a gRPC server, so that all have the same manners."""

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, Self

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc

from libs.common import interceptors
from libs.common.attempts import Attempts
from libs.common.calls import Layers
from libs.common.clock import Clock, SystemClock
from libs.common.config import ConfigError, StartError
from libs.common.health import DESCRIPTOR, Check, Health
from libs.common.identity import PUBLIC, Access, Authenticator
from libs.common.reflection import V1, V1ALPHA, add_reflection
from libs.common.server_config import ServerConfig
from libs.common.tls import server_credentials

_OPTIONS = (
    # On by default, it lets a second server take half of the first one's calls unnoticed.
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s (channels.py); by default two such pings are "too many".
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


@dataclass(frozen=True, slots=True)
class Registration:
    """One gRPC service: its descriptor, generated `add_..._to_server`, servicer, access rules.

    `access` has a rule for each of its RPCs, by their names.
    """

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.Server], None]
    servicer: object
    access: Mapping[str, Access]


class Server:
    """A server made by `build_server`. As a context manager it starts, and stops gracefully."""

    def __init__(
        self,
        name: str,
        server: grpc.Server,
        pool: futures.ThreadPoolExecutor,
        health: Health,
        port: int,
        grace: timedelta,
    ) -> None:
        self.port = port
        self._name = name
        self._server = server
        self._pool = pool
        self._health = health
        self._grace = grace
        self._log = structlog.get_logger()

    def start(self) -> None:
        """Make the health checks once and begin to serve."""
        self._health.start()
        self._server.start()
        self._log.info("server.started", server=self._name, port=self.port)

    def stop(self, grace: timedelta | None = None) -> None:
        """Say NOT_SERVING, take no more calls, and wait for those in progress, at most so long."""
        self._health.shut_down()
        seconds = (self._grace if grace is None else grace).total_seconds()
        stopped = self._server.stop(seconds)
        stopped.wait()
        self._pool.shutdown(wait=False)
        self._log.info("server.stopped", server=self._name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def build_server(
    config: ServerConfig,
    registrations: Sequence[Registration],
    *,
    authenticator: Authenticator,
    checks: Mapping[str, Check] | None = None,
    clock: Clock | None = None,
    attempts: Attempts | None = None,
    name: str | None = None,
) -> Server:
    """Return a server bound to its port and not yet started.

    `checks` by health name: "" is readiness, others (the broker) stand for themselves; each answers
    within seconds. `attempts` counts what fails to authenticate, by default for this server alone.
    `name` is for log lines and messages; by default what the package is called.

    Raises StartError when a rule is missing, names no RPC, or the settings do not allow it.
    """
    called = name or registrations[0].descriptor.file.package.split(".")[-2]
    if config.streams > config.threads // 2:
        raise ConfigError(
            f"{called}: STREAMS is {config.streams}, more than half of THREADS ({config.threads})"
        )
    clock = clock or SystemClock()
    attempts = attempts or Attempts(config.attempt_limits, clock)
    health = Health(
        checks or {}, [each.descriptor.full_name for each in registrations], config.health_interval
    )
    registered = [*registrations, _health_registration(health)]
    pool = futures.ThreadPoolExecutor(config.threads, thread_name_prefix=f"{called}-rpc")
    server = grpc.server(
        pool,
        interceptors=[
            Layers(
                [
                    interceptors.RequestLog(called, clock),
                    interceptors.Errors(),
                    interceptors.deadline,
                    interceptors.Identity(authenticator, access_rules(registered), attempts),
                    interceptors.StreamCap(config.streams),
                ]
            )
        ],
        options=_OPTIONS,
        maximum_concurrent_rpcs=config.threads + config.waiting,
    )
    for each in registered:
        each.add(each.servicer, server)
    add_reflection([each.descriptor.full_name for each in registered], server)
    port = _bind(server, config, called)
    return Server(called, server, pool, health, port, config.stop_grace)


def _health_registration(health: Health) -> Registration:
    return Registration(
        DESCRIPTOR,
        health_pb2_grpc.add_HealthServicer_to_server,
        health,
        dict.fromkeys(("Check", "List", "Watch"), PUBLIC),
    )


def access_rules(registrations: Sequence[Registration]) -> dict[str, Access]:
    """Return each method's rule by its path; StartError unless rules and RPCs match one to one."""
    rules = {f"/{name}/ServerReflectionInfo": PUBLIC for name in (V1ALPHA, V1)}
    for each in registrations:
        service = each.descriptor.full_name
        rpcs = {method.name for method in each.descriptor.methods}
        if missing := sorted(rpcs - each.access.keys()):
            raise StartError(f"{service} has no access rule for {', '.join(missing)}")
        if extra := sorted(each.access.keys() - rpcs):
            raise StartError(f"{service} has access rules for what it lacks: {', '.join(extra)}")
        rules |= {f"/{service}/{rpc}": rule for rpc, rule in each.access.items()}
    return rules


def _bind(server: grpc.Server, config: ServerConfig, name: str) -> int:
    where = str(config.listen)
    variable = f"CLOUDIGRADE_{name.upper()}_LISTEN"
    credentials = server_credentials(config, name)
    if credentials is None and not (config.listen.loopback or config.insecure_listen):
        raise ConfigError(
            f"{variable} is {where}, which other machines reach, without TLS: set"
            f" CLOUDIGRADE_{name.upper()}_TLS_CERTIFICATE and _TLS_KEY, or"
            f" CLOUDIGRADE_{name.upper()}_INSECURE_LISTEN=yes"
        )
    try:
        if credentials is None:
            return server.add_insecure_port(where)
        return server.add_secure_port(where, credentials)
    except RuntimeError:
        raise StartError(
            f"{name} cannot listen on {where}: is something else listening there?"
            f" (set by {variable})"
        ) from None


def run_until_signal() -> None:
    """Return once SIGTERM or SIGINT came (for `main`, inside its ExitStack).

    A second signal ends the process at once.
    """
    told = threading.Event()
    log = structlog.get_logger()

    def tell(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        told.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, tell)
    log.info("process.serving")
    told.wait()
    log.info("process.stopping")
