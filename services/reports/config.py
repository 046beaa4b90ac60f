"""reports' settings."""

from dataclasses import dataclass, field

from libs.common.config import integer, setting
from libs.common.logs import LogConfig
from libs.common.server_config import ServerConfig, default_target
from libs.common.tls import ClientTls


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsConfig:
    """Everything that reports is told by its environment."""

    server: ServerConfig
    log: LogConfig = field(default_factory=LogConfig)
    tls: ClientTls = field(default_factory=ClientTls)
    accounts_target: str = setting(
        "CLOUDIGRADE_ACCOUNTS_TARGET",
        default=default_target("accounts"),
        doc="Where accounts listens.",
        why="On one machine it is the port that accounts has unless told otherwise.",
    )
    token: str = setting(
        "CLOUDIGRADE_REPORTS_TOKEN",
        doc="The token by which reports proves itself; the same at accounts.",
        why="A default would be known to everybody.",
        secret=True,
    )
    cache_mib: int = setting(
        "CLOUDIGRADE_REPORTS_CACHE_MIB",
        default="256",
        parse=integer(0, 1_000_000),
        doc="MiB of memory for runs read before, ready for the next report.",
        why="A million runs take about 120 MiB; what does not fit is read again.",
    )
    most_runs: int = setting(
        "CLOUDIGRADE_REPORTS_MOST_RUNS",
        default="10000000",
        parse=integer(1, 1_000_000_000),
        doc="Runs that one report may be made of; larger ones are refused.",
        why="Ten million take about 2 GiB while they are added up.",
    )
    at_once: int = setting(
        "CLOUDIGRADE_REPORTS_AT_ONCE",
        default="2",
        parse=integer(1, 1_000),
        doc="Reports made at one time; others wait for their turn.",
        why="Each keeps a core busy, and needs memory of its own.",
    )
