"""The errors that callers may see: one family, free of gRPC.

Each has a message that tells a person what to do, and a reason in UPPER_SNAKE for programs
(AIP-193). Nothing internal belongs in either. `statuses.py` says which status each becomes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request: the field's path, as in `events[3].occur_time`, and why."""

    field: str
    description: str


class CloudigradeError(Exception):
    """The base of what a caller may be told. `metadata` holds values that `reason` speaks of."""

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})


class InvalidRequest(CloudigradeError):
    """The request itself is wrong, whatever the state of things.

    With `field` the message says what is wrong with that field, whose path is put before it.
    """

    default_reason = "INVALID_REQUEST"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        violations: Iterable[Violation] = (),
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        told = f"{field}: {message}" if field else message
        super().__init__(told, reason=reason, metadata=metadata)
        self.violations = tuple(violations) or ((Violation(field, message),) if field else ())

    @classmethod
    def many(cls, violations: Iterable[Violation]) -> Self:
        """Return one error that names every field that is wrong."""
        found = tuple(violations)
        message = "; ".join(f"{each.field}: {each.description}" for each in found)
        return cls(message, violations=found)


class NotFound(CloudigradeError):
    """There is none, or none that this caller may see."""

    default_reason = "NOT_FOUND"


class AlreadyExists(CloudigradeError):
    """What should be created is there already."""

    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(CloudigradeError):
    """Not in the present state; somebody must do something else first."""

    default_reason = "FAILED_PRECONDITION"


class PermissionDenied(CloudigradeError):
    """The caller is known, and may not do this."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(CloudigradeError):
    """The caller is not known."""

    default_reason = "UNAUTHENTICATED"


class Aborted(CloudigradeError):
    """Another caller came between; the whole read and write may be tried again."""

    default_reason = "ABORTED"


class DeadlineExceeded(CloudigradeError):
    """The caller's deadline leaves no time for this."""

    default_reason = "DEADLINE_EXCEEDED"


class Unimplemented(CloudigradeError):
    """Not built, or not built yet."""

    default_reason = "UNIMPLEMENTED"


class _TryLater(CloudigradeError):
    default_retry: ClassVar[timedelta] = timedelta(seconds=1)

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = self.default_retry if retry_after is None else retry_after


class Unavailable(_TryLater):
    """Something this needs is away; the same call may be tried again after `retry_after`."""

    default_reason = "UNAVAILABLE"


class ResourceExhausted(_TryLater):
    """Too much is asked at once; the same call may be tried again after `retry_after`."""

    default_reason = "RESOURCE_EXHAUSTED"
