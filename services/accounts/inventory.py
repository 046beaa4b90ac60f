"""What is shown of instances and their history; instants are 0 when there are none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from libs.common.instants import Micros
from services.accounts.classification import Classification

Span: TypeAlias = tuple[Micros, Micros]
"""A part of time, half-open: from the first instant up to the second."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A virtual machine as last known."""

    account_id: int
    ec2_id: str
    region: str
    ami_id: str
    tags: Mapping[str, str]
    instance_type: str
    architecture: str
    lifecycle: str
    state: str
    recorded_at: Micros
    platform_details: str
    usage_operation: str


@dataclass(frozen=True, slots=True)
class Image:
    """A machine image as AWS describes it; `image_id` is accounts' own number for it."""

    account_id: int
    image_id: int
    ami_id: str
    region: str
    name: str
    description: str
    owner_id: str
    owner_alias: str
    architecture: str
    platform: str
    platform_details: str
    usage_operation: str
    product_codes: Sequence[str]
    root_snapshot_id: str
    root_device_type: str
    root_device_name: str
    public: bool
    made_at: Micros
    state: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as stored; `image` is the AMI that it names, `superseded_at` 0 while it holds."""

    account_id: int
    region: str
    ec2_id: str
    event_id: str
    kind: int
    occurred_at: Micros
    source: int
    fresh: bool
    termination: bool
    state: str
    previous_state: str
    raw_id: str
    instance_type: str
    vcpu: int
    usage_operation: str
    usage_operation_at: Micros
    image: str
    recorded_at: Micros
    superseded_at: Micros


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as stored, with names in place of numbers; `vcpu` is 0 when nobody knows it."""

    ec2_id: str
    start_at: Micros
    end_at: Micros
    session_start: Micros
    confirmed_start: Micros
    confirmed_end: Micros
    end_latest: Micros
    instance_type: str
    vcpu: int
    usage_operation: str


@dataclass(frozen=True, slots=True)
class ClassifiedRun:
    """A run, what ran, and since when that is known."""

    run: StoredRun
    classification: Classification
    known_since: Micros


@dataclass(frozen=True, slots=True)
class StoredAnomaly:
    """Something among the facts that did not fit."""

    ec2_id: str
    occurred_at: Micros
    kind: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What a source said and nobody understood."""

    id: int
    source: int
    origin: str
    reason: str
    content: bytes
    recorded_at: Micros
