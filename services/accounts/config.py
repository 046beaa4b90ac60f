"""accounts' settings."""

from dataclasses import dataclass, field
from datetime import timedelta

from libs.common.broker_rabbitmq import BrokerConfig
from libs.common.config import integer, seconds, setting
from libs.common.logs import LogConfig
from libs.common.server_config import ServerConfig


def postgres_url(text: str) -> str:
    """Return the URL of a PostgreSQL database; ValueError for another scheme."""
    if text.startswith("postgres://"):
        return f"postgresql://{text.removeprefix('postgres://')}"
    if not text.startswith("postgresql://"):
        raise ValueError("wants postgresql://user:password@host:5432/database")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsConfig:
    """What accounts is told by its environment, whichever broker it works with."""

    server: ServerConfig
    log: LogConfig = field(default_factory=LogConfig)
    database: DatabaseConfig
    scanner_token: str = setting(
        "CLOUDIGRADE_SCANNER_TOKEN",
        doc="The token by which the scanner proves itself; the same there.",
        why="A default would be known to everybody.",
        secret=True,
    )
    inspector_token: str = setting(
        "CLOUDIGRADE_INSPECTOR_TOKEN",
        doc="The token by which the inspector proves itself; the same there.",
        why="A default would be known to everybody.",
        secret=True,
    )
    reports_token: str = setting(
        "CLOUDIGRADE_REPORTS_TOKEN",
        doc="The token by which reports proves itself; the same there.",
        why="A default would be known to everybody.",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Everything that a process of its own is told by its environment."""

    accounts: AccountsConfig
    broker: BrokerConfig
