"""The time inside EC2's StateTransitionReason."""

import re
from datetime import UTC, datetime

_TIME = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?: (?:GMT|UTC))?\)\s*$")


def transition_time(reason: str) -> datetime | None:
    """When the instance was last told to stop, as EC2 wrote it, or None where it wrote no time.

    Forms met in recorded DescribeInstances answers of 2015 to 2026: an empty text,
    `User initiated (2016-11-14 16:23:56 GMT)`, `Service initiated (...)` (Spot),
    `Client.UserInitiatedShutdown: User initiated shutdown (... GMT)`, and without a time
    `User initiated`, `Server.InternalError`, `InternalError`. The zone is GMT or UTC.
    The time has whole seconds.

    EC2 leaves the reason of an earlier stop on an instance that runs again, so this is to be read
    in stopping, stopped, shutting-down and terminated only.
    """
    found = _TIME.search(reason)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:  # digits that are no date, such as month 13
        return None
