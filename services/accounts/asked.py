"""The instant whose knowledge a request asks for."""

from typing import Any

from libs.common.checks import Checks
from libs.common.instants import Micros
from libs.common.timestamps import from_timestamp


def asked_as_of(request: Any) -> Micros | None:  # any message with the field as_of
    """Return a request's as_of, None for now; InvalidRequest when it is no instant that could be.

    Whether it lies ahead of the clock is seen when the answer is read.
    """
    if not request.HasField("as_of"):
        return None
    checks = Checks()
    as_of = checks.parsed("as_of", from_timestamp, request.as_of)
    checks.finish()
    checks.that(as_of > 0, "as_of", "is not after 1970 began; nothing was known then")
    checks.finish()
    return as_of
