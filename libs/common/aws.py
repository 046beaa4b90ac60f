"""Sessions in customers' AWS accounts, by AssumeRole with the account's ExternalId.

The operator's own credentials come from boto3's default chain, and AWS_ENDPOINT_URL points
everything at another endpoint. Nothing here has a repr, a log line or an error with a secret.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.session import Session

from libs.common.config import integer, seconds, setting
from libs.common.identifiers import RoleArn, partition_of

if TYPE_CHECKING:
    # Stubs only, a development dependency.
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sts import STSClient

# The Region of each partition that exists for every account and cannot be disabled. A token of a
# regional STS endpoint holds in all Regions, one of the global endpoint not in those that need
# opting in (docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html).
HOME_REGIONS: Mapping[str, str] = MappingProxyType(
    {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}
)
# A role assumed by a role's session lasts an hour at most ("role chaining", IAM user guide).
_DURATION = timedelta(hours=1)
# Made once, a client of EC2 is 1.4 MB and 15 ms (measured 2026-11-22).
_CLIENTS_KEPT = 64
_ACCOUNTS_KEPT = 256

# Takes the service, the Region, and how many connections to keep.
ClientMaker = Callable[[str, str, int | None], Any]


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """How AWS is called."""

    session_name: str = setting(
        "CLOUDIGRADE_AWS_SESSION_NAME",
        default="cloudigrade",
        doc="the name of our sessions in a customer's CloudTrail",
        why="it tells the account's owner who read",
    )
    max_attempts: int = setting(
        "CLOUDIGRADE_AWS_MAX_ATTEMPTS",
        default="8",
        parse=integer(1, 50),
        doc="how often a call to AWS is tried in all",
        why="throttling passes; eight tries with growing pauses span about a minute",
    )
    connect_timeout: timedelta = setting(
        "CLOUDIGRADE_AWS_CONNECT_TIMEOUT",
        default="5s",
        parse=seconds,
        doc="how long to wait for a connection to AWS",
        why="a Region that does not answer must not hold up the others",
    )
    read_timeout: timedelta = setting(
        "CLOUDIGRADE_AWS_READ_TIMEOUT",
        default="30s",
        parse=seconds,
        doc="how long to wait for AWS to answer",
        why="a full page of DescribeInstances takes seconds, a block less than one",
    )
    pool_connections: int = setting(
        "CLOUDIGRADE_AWS_POOL_CONNECTIONS",
        default="16",
        parse=integer(1, 200),
        doc="the connections that one client keeps open",
        why="as many as the threads that share it read at once",
    )


class AwsSessions:
    """Makes and keeps sessions in customers' accounts. Safe to share between threads."""

    def __init__(self, config: AwsConfig, *, own_session: Callable[[], Session] = Session) -> None:
        self._config = config
        self._make_own_session = own_session
        self._own_session: Session | None = None
        self._accounts: OrderedDict[tuple[str, str], AccountSession] = OrderedDict()
        self._clients: OrderedDict[tuple[Session, str, str, int], Any] = OrderedDict()
        # Neither a botocore session nor making clients from it is thread-safe; its clients are.
        self._making = threading.RLock()
        # Its DEBUG lines hold whole requests and answers, AssumeRole's secret key among them.
        logging.getLogger("botocore").setLevel(logging.INFO)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every kept client's connections."""
        with self._making:
            while self._clients:
                self._clients.popitem()[1].close()
            self._accounts.clear()

    def for_role(
        self, role_arn: RoleArn | str, external_id: str, *, anew: bool = False
    ) -> "AccountSession":
        """Return the session of a role. The role is assumed when the first client needs it.

        `anew` assumes it even if it was before: AWS lets a session go on for its hour whatever
        becomes of the role's trust meanwhile. Raises ValueError when `role_arn` is not one.
        """
        role = role_arn if isinstance(role_arn, RoleArn) else RoleArn.parse(role_arn)
        key = (str(role), external_id)
        with self._making:
            kept = self._accounts.pop(key, None)
            account = self._account(role, external_id) if anew or kept is None else kept
            self._accounts[key] = account
            while len(self._accounts) > _ACCOUNTS_KEPT:
                self._accounts.popitem(last=False)
        return account

    def own_client(self, service: str, region: str) -> Any:
        """Return a client that acts with the operator's own credentials."""
        return self._client(self._own(), service, region, None)

    def _account(self, role: RoleArn, external_id: str) -> "AccountSession":
        home = HOME_REGIONS[role.partition]

        def assume() -> dict[str, str]:
            credentials = self.own_client("sts", home).assume_role(
                RoleArn=str(role),
                RoleSessionName=self._config.session_name,
                ExternalId=external_id,
                DurationSeconds=int(_DURATION.total_seconds()),
            )["Credentials"]
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": credentials["Expiration"].isoformat(),
            }

        session = Session()
        # Shared: each session would read the services' descriptions (up to 30 MB) anew.
        session.register_component("data_loader", self._own().get_component("data_loader"))
        provider = _AssumedRole(assume)
        session.register_component("credential_provider", CredentialResolver([provider]))
        return AccountSession(role, home, partial(self._client, session))

    def _own(self) -> Session:
        with self._making:
            if self._own_session is None:
                self._own_session = self._make_own_session()
            return self._own_session

    def _client(self, session: Session, service: str, region: str, connections: int | None) -> Any:
        """Return a kept client or a new one; the least recently used goes when there are many."""
        key = (session, service, region, connections or self._config.pool_connections)
        with self._making:
            client = self._clients.pop(key, None) or session.create_client(
                service, region_name=region, config=self._client_config(key[-1])
            )
            self._clients[key] = client
            while len(self._clients) > _CLIENTS_KEPT:
                # Not closed: somebody may be reading with it. Its connections end with it.
                self._clients.popitem(last=False)
        return client

    def _client_config(self, connections: int) -> Config:
        return Config(
            connect_timeout=self._config.connect_timeout.total_seconds(),
            read_timeout=self._config.read_timeout.total_seconds(),
            max_pool_connections=connections,
            # Adaptive: after a throttle it also slows down the calls that follow.
            retries={"mode": "adaptive", "total_max_attempts": self._config.max_attempts},
            tcp_keepalive=True,
            user_agent_extra="cloudigrade",
        )


class AccountSession:
    """Acts in one customer's account, as its role; the role's credentials renew themselves.

    A client raises botocore's errors, those of AssumeRole included (operation `AssumeRole`);
    `aws_errors.classified` says what they mean.
    """

    def __init__(self, role: RoleArn, home_region: str, make_client: ClientMaker) -> None:
        self.role = role
        self.home_region = home_region
        self._make_client = make_client

    def __repr__(self) -> str:
        return f"AccountSession({self.role})"

    @overload
    def client(
        self, service: Literal["ec2"], region: str, *, connections: int | None = None
    ) -> "EC2Client": ...
    @overload
    def client(
        self, service: Literal["ebs"], region: str, *, connections: int | None = None
    ) -> "EBSClient": ...
    @overload
    def client(
        self, service: Literal["sts"], region: str, *, connections: int | None = None
    ) -> "STSClient": ...
    @overload
    def client(self, service: str, region: str, *, connections: int | None = None) -> Any: ...

    def client(self, service: str, region: str, *, connections: int | None = None) -> Any:
        """Return a client, which any number of threads may use.

        `connections` is how many it keeps open (default: the configured number). Raises ValueError
        when the Region lies in another partition than the role.
        """
        if partition_of(region) != self.role.partition:
            raise ValueError(f"{region} is not in the partition {self.role.partition}")
        return self._make_client(service, region, connections)

    def account_id(self) -> str:
        """Return the id of the account that the role really acts in (GetCallerIdentity)."""
        return self.client("sts", self.home_region).get_caller_identity()["Account"]


class _AssumedRole(CredentialProvider):
    """Gives botocore credentials that it renews 10 to 15 minutes before they end."""

    METHOD = "assume-role"

    def __init__(self, assume: Callable[[], dict[str, str]]) -> None:
        self._assume = assume

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(refresh_using=self._assume, method=self.METHOD)
