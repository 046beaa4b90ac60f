"""A listing: one complete DescribeInstances of one Region."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from services.scanner.events import Event, describe_events
from services.scanner.instances import Image, Instance, InstanceType


@dataclass(frozen=True, slots=True)
class Region:
    """A Region of the account's partition, and whether the account has it switched on."""

    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """Every instance of one Region, as a reading begun at `started` showed it."""

    region: str
    started: datetime
    """Taken before the first page was asked for: what happened later may be missing."""
    instances: tuple[Instance, ...]

    def events(self, instance: Instance) -> Iterator[Event]:
        """Yield what one of its instances tells of its power."""
        return describe_events(instance, self.region)

    def image_ids(self) -> set[str]:
        """Return the images that its instances were launched from."""
        return {found.image_id for found in self.instances if found.image_id}

    def instance_types(self) -> set[str]:
        """Return the types of its instances."""
        return {found.instance_type for found in self.instances if found.instance_type}


@dataclass(frozen=True, slots=True)
class Survey:
    """A listing with what its instances refer to, as far as that could be described."""

    listing: Listing
    images: tuple[Image, ...] = ()
    instance_types: tuple[InstanceType, ...] = ()
    gaps: tuple[str, ...] = ()
    """Why images or types could not be described, for a person."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What accounts made of a listing."""

    events: int
    images_new: int
    rejected: tuple[str, ...] = ()
    """Why instances were left out."""
