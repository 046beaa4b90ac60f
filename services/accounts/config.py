"""accounts' settings."""

from dataclasses import dataclass, field
from datetime import timedelta

from libs.common.broker_rabbitmq import BrokerConfig
from libs.common.config import integer, seconds, setting
from libs.common.logs import LogConfig
from libs.common.server_config import ServerConfig
from services.accounts.jobs import Patience

_MICROSECOND = timedelta(microseconds=1)
_SHORTEST_TOKEN = 16


def postgres_url(text: str) -> str:
    """Return the URL of a PostgreSQL database; ValueError for another scheme."""
    if text.startswith("postgres://"):
        return f"postgresql://{text.removeprefix('postgres://')}"
    if not text.startswith("postgresql://"):
        raise ValueError("wants postgresql://user:password@host:5432/database")
    return text


def service_token(text: str) -> str:
    """Return a service's token; ValueError for one that is too short to be random."""
    if len(text) < _SHORTEST_TOKEN:
        raise ValueError(f"wants at least {_SHORTEST_TOKEN} random characters")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig:
    """Where the database is."""

    url: str = setting(
        "CLOUDIGRADE_DATABASE_URL",
        parse=postgres_url,
        doc="PostgreSQL database that accounts keeps everything in, as a URL.",
        why="Only its operator knows it; `cloudigrade up` brings a database of its own.",
        secret=True,
    )
    connections: int = setting(
        "CLOUDIGRADE_ACCOUNTS_CONNECTIONS",
        default="40",
        parse=integer(2, 1000),
        doc="Connections to the database at most.",
        why="One for each of 32 calls at one time and for each background worker.",
    )


def spans(text: str) -> tuple[timedelta, ...]:
    """Return spans from text such as 1m,5m,1h; there may be none at all, which is "none"."""
    return () if text == "none" else tuple(seconds(each.strip()) for each in text.split(","))


def a_second_or_more(text: str) -> timedelta:
    """Return a span of at least a second."""
    length = seconds(text)
    if length < timedelta(seconds=1):
        raise ValueError("wants a span of at least 1s")
    return length


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionConfig:
    """How long accounts waits for inspections, and how often it has them tried."""

    lease: timedelta = setting(
        "CLOUDIGRADE_ACCOUNTS_INSPECTION_LEASE",
        default="60m",
        parse=a_second_or_more,
        doc="How long a try of an inspection may go without an answer before the next one.",
        why="An inspection ends within 10 minutes; the rest is for waiting in the queue before it.",
    )
    delays: tuple[timedelta, ...] = setting(
        "CLOUDIGRADE_ACCOUNTS_INSPECTION_DELAYS",
        default="1m,5m,15m,60m",
        parse=spans,
        doc="How long after each passing failure of an inspection the next try is due; the try"
        ' after the last is the last. "none": one try.',
        why="Throttling passes in minutes and most outages of AWS within an hour; what lasts longer"
        " needs a person, who can redrive.",
    )
    out: int = setting(
        "CLOUDIGRADE_ACCOUNTS_INSPECTIONS_OUT",
        default="100",
        parse=integer(1, 100_000),
        doc="Inspections that are with inspectors at one time; the others wait in the database.",
        why="One inspector, four at once of two minutes each at most, ends as many in its lease:"
        " none is given up because it waited for its turn. With more inspectors allow more.",
    )

    def patience(self) -> Patience:
        """Return it as the rules of jobs take it."""
        delays = tuple(delay // _MICROSECOND for delay in self.delays)
        return Patience(self.lease // _MICROSECOND, delays, self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsConfig:
    """What accounts is told by its environment, whichever broker it works with."""

    server: ServerConfig
    log: LogConfig = field(default_factory=LogConfig)
    database: DatabaseConfig
    inspections: InspectionConfig = field(default_factory=InspectionConfig)
    scanner_token: str = setting(
        "CLOUDIGRADE_SCANNER_TOKEN",
        doc="The token by which the scanner proves itself; the same there.",
        parse=service_token,
        why="A default would be known to everybody, and a short one could be guessed.",
        secret=True,
    )
    inspector_token: str = setting(
        "CLOUDIGRADE_INSPECTOR_TOKEN",
        doc="The token by which the inspector proves itself; the same there.",
        parse=service_token,
        why="A default would be known to everybody, and a short one could be guessed.",
        secret=True,
    )
    reports_token: str = setting(
        "CLOUDIGRADE_REPORTS_TOKEN",
        doc="The token by which reports proves itself; the same there.",
        parse=service_token,
        why="A default would be known to everybody, and a short one could be guessed.",
        secret=True,
    )
    scan_interval: timedelta = setting(
        "CLOUDIGRADE_ACCOUNTS_SCAN_INTERVAL",
        default="15m",
        parse=seconds,
        doc="How long after the beginning of an account's scan the next one is due.",
        why="Terminated instances vanish from DescribeInstances within about an hour.",
    )
    lease: timedelta = setting(
        "CLOUDIGRADE_ACCOUNTS_SCAN_LEASE",
        default="2m",
        parse=seconds,
        doc="How long a scanner keeps the right to scan an account without renewing it.",
        why="Another scanner takes over that soon after one died; scanners renew far more often.",
    )
    erase_batch: int = setting(
        "CLOUDIGRADE_ACCOUNTS_ERASE_BATCH",
        default="5000",
        parse=integer(1, 100_000),
        doc="How many rows of an erased account are deleted in one transaction.",
        why="It takes some 30 ms, which nobody notices who waits for the same disk.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Everything that a process of its own is told by its environment."""

    accounts: AccountsConfig
    broker: BrokerConfig
