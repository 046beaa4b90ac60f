"""The time at which a client's requests happen, as the local AWS takes it (see `clock`)."""

from datetime import datetime
from typing import Any

HEADER = "x-local-aws-time"


class Moment:
    """The time at which the requests of the clients made with it happen; it may be moved."""

    def __init__(self, when: datetime) -> None:
        self.when = when

    def add_header(self, params: dict[str, Any], **_: object) -> None:
        """Name the time in a request (an event handler of boto3's)."""
        params["headers"][HEADER] = self.when.isoformat()
