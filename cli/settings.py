"""The settings of the command line itself."""

from dataclasses import dataclass, field
from pathlib import Path

from libs.common.config import optional, path, setting
from libs.common.tls import ClientTls


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Where the services are, and who is calling."""

    accounts: str = setting(
        "CLOUDIGRADE_ACCOUNTS_TARGET",
        default="127.0.0.1:50051",
        doc="host:port of the accounts service",
        why="where `cloudigrade up` puts it; what runs from the state folder is found by itself",
    )
    scanner: str = setting(
        "CLOUDIGRADE_SCANNER_TARGET",
        default="127.0.0.1:50052",
        doc="host:port of the scanner service",
        why="where `cloudigrade up` puts it; what runs from the state folder is found by itself",
    )
    inspector: str = setting(
        "CLOUDIGRADE_INSPECTOR_TARGET",
        default="127.0.0.1:50053",
        doc="host:port of the inspector service",
        why="where `cloudigrade up` puts it; what runs from the state folder is found by itself",
    )
    reports: str = setting(
        "CLOUDIGRADE_REPORTS_TARGET",
        default="127.0.0.1:50054",
        doc="host:port of the reports service",
        why="where `cloudigrade up` puts it; what runs from the state folder is found by itself",
    )
    token: str | None = setting(
        "CLOUDIGRADE_TOKEN",
        default="",
        parse=optional(str),
        doc="the token of the user who calls",
        why="none: then the admin's token that `cloudigrade up` left in its state folder is used",
        secret=True,
    )
    tls: ClientTls = field(default_factory=ClientTls)
    state: Path = setting(
        "CLOUDIGRADE_STATE",
        default=".cloudigrade",
        parse=path,
        doc="the folder that `cloudigrade up` keeps its database, logs and the admin's token in",
        why="inside the folder it is started in, so that removing that folder removes everything",
    )

    @property
    def admin_token_file(self) -> Path:
        """Where `cloudigrade up` leaves the admin's token."""
        return self.state / "admin.token"
