"""How an inspection ends: with a finding or a failure, and what it cost."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from services.inspector.disk.errors import SourceError
from services.inspector.finding import Finding


class FailureReason(Enum):
    """What stood in the way of reading a disk."""

    ACCESS_DENIED = "access denied"
    KEY_DENIED = "key denied"
    SNAPSHOT_UNREADABLE = "snapshot unreadable"
    NO_SNAPSHOT = "no snapshot"
    NOT_FOUND = "not found"
    AWS_TROUBLE = "AWS trouble"
    LIMIT = "limit"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a disk was not read.

    `message` says what a person can do about it; `passing`, whether trying again later may help.
    """

    reason: FailureReason
    message: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What an inspection took: blocks fetched with their bytes, listings of blocks, wall time."""

    blocks: int = 0
    bytes: int = 0
    listings: int = 0
    elapsed: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one inspection."""

    answer: Finding | Failure
    cost: Cost


class BlocksUnavailable(SourceError):
    """The blocks cannot be had, for a reason that is the inspection's answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
