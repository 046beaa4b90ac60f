"""What is on a machine image, as read from its disk."""

from dataclasses import dataclass
from enum import Enum

from services.inspector.disk.filesystem import LogState
from services.inspector.evidence import Evidence


class JournalState(Enum):
    """Whether the root file system's journal held changes that were not yet in place."""

    NONE = "none"
    CLEAN = "clean"
    REPLAYED = "replayed"
    DIRTY = "dirty"


JOURNAL_STATES = {
    LogState.CLEAN: JournalState.CLEAN,
    LogState.DIRTY: JournalState.DIRTY,
    LogState.NONE: JournalState.NONE,
    LogState.UNKNOWN: JournalState.NONE,
}


@dataclass(frozen=True, slots=True)
class Syspurpose:
    """What RHEL's syspurpose says an installation is for; empty where it does not say."""

    role: str = ""
    sla: str = ""
    usage: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one inspection; `unknown_reason` says why `distribution` is "unknown".

    `layout` is for people: "GPT, 3 partitions; root: XFS on partition 3". `products` are those
    beside the distribution, such as "openshift".
    """

    distribution: str
    version: str
    pretty_name: str
    evidence: tuple[Evidence, ...]
    layout: str
    journal: JournalState
    unknown_reason: str = ""
    products: tuple[str, ...] = ()
    syspurpose: Syspurpose = Syspurpose()
