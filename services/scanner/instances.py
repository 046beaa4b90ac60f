"""What EC2 shows of instances, their images and their types, as values of our own."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class State(Enum):
    """The states of an instance's life, in EC2's words; UNKNOWN is one that EC2 did not say."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    UNKNOWN = ""

    @classmethod
    def of(cls, word: str) -> "State":
        """Return the state that EC2 calls so, or UNKNOWN."""
        return _STATES.get(word, cls.UNKNOWN)

    @property
    def is_on(self) -> bool:
        """Whether the instance is on or coming on."""
        return self in {State.PENDING, State.RUNNING}

    @property
    def is_off(self) -> bool:
        """Whether the instance is off or going off; UNKNOWN is neither on nor off."""
        return not self.is_on and self is not State.UNKNOWN

    @property
    def is_final(self) -> bool:
        """Whether the instance will never be on again."""
        return self in {State.SHUTTING_DOWN, State.TERMINATED}


_STATES = {state.value: state for state in State}


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as one DescribeInstances answer shows it; empty where it says nothing."""

    instance_id: str
    state: State
    launch_time: datetime | None = None
    transition_reason: str = ""
    image_id: str = ""
    instance_type: str = ""
    vcpus: int = 0
    """By its CPU options: cores times threads for each; 0 where they are not shown."""
    architecture: str = ""
    platform_details: str = ""
    usage_operation: str = ""
    usage_operation_update_time: datetime | None = None
    product_codes: tuple[str, ...] = ()
    root_volume_id: str = ""
    lifecycle: str = ""
    reservation_id: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """One machine image as DescribeImages shows it; empty where it says nothing."""

    image_id: str
    name: str = ""
    description: str = ""
    owner_id: str = ""
    owner_alias: str = ""
    architecture: str = ""
    platform: str = ""
    platform_details: str = ""
    usage_operation: str = ""
    product_codes: tuple[str, ...] = ()
    state: str = ""
    public: bool = False
    created: datetime | None = None
    root_device_name: str = ""
    root_device_type: str = ""
    root_snapshot_id: str = ""
    """The snapshot behind the root device; empty for instance-store images."""


@dataclass(frozen=True, slots=True)
class InstanceType:
    """What an instance type gives: vCPUs when CPU options are left alone, and memory in MiB."""

    name: str
    vcpus: int
    memory_mib: int
    architectures: tuple[str, ...] = ()
