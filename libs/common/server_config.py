"""The settings that every server has."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from libs.common.attempts import AttemptLimits
from libs.common.config import (
    ListenAddress,
    flag,
    integer,
    listen_address,
    optional,
    path,
    seconds,
    setting,
)

PORTS = {"accounts": 50051, "scanner": 50052, "inspector": 50053, "reports": 50054}


def default_target(service: str) -> str:
    """Return where a service listens unless told otherwise."""
    return f"127.0.0.1:{PORTS[service]}"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A gRPC server's settings; load it with `service=`."""

    listen: ListenAddress = setting(
        "CLOUDIGRADE_{service}_LISTEN",
        default=default_target,
        parse=listen_address,
        doc="Address and port that the server listens on.",
        why="Only this machine reaches 127.0.0.1; what listens further needs TLS.",
    )
    insecure_listen: bool = setting(
        "CLOUDIGRADE_{service}_INSECURE_LISTEN",
        default="no",
        parse=flag,
        doc="Whether the server may listen beyond this machine without TLS.",
        why="Tokens would cross the network in clear text; say yes where the network encrypts.",
    )
    tls_certificate: Path | None = setting(
        "CLOUDIGRADE_{service}_TLS_CERTIFICATE",
        default="",
        parse=optional(path),
        doc="PEM file with the server's certificate, followed by those of its issuers.",
        why="Without one the server speaks plain text, which it does on this machine only.",
    )
    tls_key: Path | None = setting(
        "CLOUDIGRADE_{service}_TLS_KEY",
        default="",
        parse=optional(path),
        doc="PEM file with the certificate's private key.",
        why="It goes with the certificate.",
    )
    tls_client_ca: Path | None = setting(
        "CLOUDIGRADE_{service}_TLS_CLIENT_CA",
        default="",
        parse=optional(path),
        doc="PEM file with the authorities whose certificates clients must show (mutual TLS).",
        why="Clients prove themselves by their tokens; a certificate is asked for only when told.",
    )
    threads: int = setting(
        "CLOUDIGRADE_{service}_THREADS",
        default="32",
        parse=integer(4, 1000),
        doc="Calls handled at one time.",
        why="Handlers mostly wait for databases and networks; 32 keep two cores busy.",
    )
    streams: int = setting(
        "CLOUDIGRADE_{service}_STREAMS",
        default="16",
        parse=integer(1, 500),
        doc="Streams open at one time; at most half of the threads.",
        why="Each open stream holds a thread, and other calls must still find one.",
    )
    waiting: int = setting(
        "CLOUDIGRADE_{service}_WAITING",
        default="256",
        parse=integer(0, 10000),
        doc="Calls that may wait for a thread; more are refused.",
        why="At 10 ms a call, 256 wait less than 0.1 s for 32 threads; callers may try again.",
    )
    failures_per_token: int = setting(
        "CLOUDIGRADE_{service}_FAILURES_PER_TOKEN",
        default="10",
        parse=integer(1, 10_000),
        doc="How often a minute one token may be refused before it is no longer looked up.",
        why="A wrong token stays wrong: more only costs. A person who corrects one tries less.",
    )
    failures_per_address: int = setting(
        "CLOUDIGRADE_{service}_FAILURES_PER_ADDRESS",
        default="100",
        parse=integer(1, 100_000),
        doc="How many wrong tokens a minute one address may send before it is slowed down.",
        why="A whole office behind one address errs less; good tokens go on working from there.",
    )
    stop_grace: timedelta = setting(
        "CLOUDIGRADE_{service}_STOP_GRACE",
        default="10s",
        parse=seconds,
        doc="How long calls in progress may go on once the server is told to stop.",
        why="Kubernetes kills after 30 s; the rest is for closing databases and brokers.",
    )
    health_interval: timedelta = setting(
        "CLOUDIGRADE_{service}_HEALTH_INTERVAL",
        default="5s",
        parse=seconds,
        doc="How often the health checks are made.",
        why="A lost database shows within one Kubernetes probe (10 s).",
    )

    @property
    def attempt_limits(self) -> AttemptLimits:
        """How often authentication may fail."""
        return AttemptLimits(self.failures_per_token, self.failures_per_address)
