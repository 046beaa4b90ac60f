"""The inspector's settings."""

from dataclasses import dataclass, field

from libs.common.aws import AwsConfig
from libs.common.broker_rabbitmq import BrokerConfig
from libs.common.config import integer, setting
from libs.common.logs import LogConfig
from libs.common.server_config import ServerConfig, default_target
from libs.common.tls import ClientTls
from services.inspector.inspection import InspectionLimits
from services.inspector.inspector import ReadingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectorConfig:
    """What the inspector is told by its environment, whichever broker it works with."""

    server: ServerConfig
    log: LogConfig = field(default_factory=LogConfig)
    aws: AwsConfig = field(default_factory=AwsConfig)
    tls: ClientTls = field(default_factory=ClientTls)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    limits: InspectionLimits = field(default_factory=InspectionLimits)
    accounts_target: str = setting(
        "CLOUDIGRADE_ACCOUNTS_TARGET",
        default=default_target("accounts"),
        doc="Address and port of accounts.",
        why="Where accounts listens unless told otherwise.",
    )
    token: str = setting(
        "CLOUDIGRADE_INSPECTOR_TOKEN",
        doc="The token by which the inspector proves itself to accounts; the same there.",
        why="A default would be known to everybody.",
        secret=True,
    )
    jobs_at_once: int = setting(
        "CLOUDIGRADE_INSPECTOR_JOBS",
        default="4",
        parse=integer(1, 64),
        doc="Jobs from the queue that are worked on at one time; as many are prefetched.",
        why="An inspection mostly waits for AWS; each has a process of up to 150 MB.",
    )
    calls_at_once: int = setting(
        "CLOUDIGRADE_INSPECTOR_CALLS",
        default="4",
        parse=integer(1, 64),
        doc="Inspections that people ask for and watch, at one time.",
        why="They come beside the jobs and must not starve them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Everything that a process of its own is told by its environment."""

    inspector: InspectorConfig
    broker: BrokerConfig
