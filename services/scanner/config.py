"""The scanner's settings."""

from dataclasses import dataclass, field

from libs.common.aws import AwsConfig
from libs.common.config import integer, setting
from libs.common.logs import LogConfig
from libs.common.server_config import ServerConfig, default_target
from libs.common.tls import ClientTls


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerConfig:
    """Everything that the scanner is told by its environment."""

    server: ServerConfig
    log: LogConfig = field(default_factory=LogConfig)
    aws: AwsConfig = field(default_factory=AwsConfig)
    tls: ClientTls = field(default_factory=ClientTls)
    accounts_target: str = setting(
        "CLOUDIGRADE_ACCOUNTS_TARGET",
        default=default_target("accounts"),
        doc="Address and port of accounts.",
        why="Where accounts listens unless told otherwise.",
    )
    token: str = setting(
        "CLOUDIGRADE_SCANNER_TOKEN",
        doc="The token by which the scanner proves itself to accounts; the same there.",
        why="A default would be known to everybody.",
        secret=True,
    )
    concurrent_scans: int = setting(
        "CLOUDIGRADE_SCANNER_SCANS",
        default="4",
        parse=integer(1, 100),
        doc="Accounts that the schedule scans at one time.",
        why="A scan takes seconds and mostly waits for AWS; four keep a scanner busy.",
    )
    concurrent_regions: int = setting(
        "CLOUDIGRADE_SCANNER_REGIONS",
        default="16",
        parse=integer(1, 200),
        doc="Regions that are read at one time, over all scans.",
        why="About as many as an account has enabled; one of 10,000 instances takes 30 MB.",
    )
