"""Small fleets written by hand, for the tests of reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from services.reports.columns import (
    OPEN,
    UNKNOWN,
    Account,
    Classification,
    Codes,
    Dictionary,
    Fleet,
    Instances,
    Runs,
    Shape,
    Tags,
)


@dataclass(frozen=True)
class Machine:
    """An instance, with what never changes about it."""

    instance_id: str = "i-00000001"
    account: int = 1
    region: str = "eu-west-1"
    image: str = "ami-00000001"
    architecture: str = "x86_64"
    tags: Tags = ()


MACHINE = Machine()
SHAPE = Shape("m5.large", 2, 8192)
RHEL = Classification("rhel", "9.4")


@dataclass(frozen=True)
class Ran:
    """One run. `end` None: it goes on. `confirmed` None: all of it."""

    start: int
    end: int | None
    machine: Machine = MACHINE
    shape: Shape = SHAPE
    what: Classification = RHEL
    confirmed: tuple[int, int] | None = None
    possible_end: int = 0

    @property
    def last(self) -> int:
        """Where it ends, OPEN while it goes on."""
        return OPEN if self.end is None else self.end


def fleet_of(ran: Iterable[Ran]) -> Fleet:
    """Return these runs as a fleet."""
    ordered = sorted(ran, key=lambda run: (run.machine.instance_id, run.machine.account, run.start))
    machines = Dictionary[Machine]()
    shapes, classifications = Dictionary[Shape](), Dictionary[Classification]()
    runs = Runs.empty(len(ordered))
    for row, run in enumerate(ordered):
        confirmed = (run.start, run.last) if run.confirmed is None else run.confirmed
        runs.start[row], runs.end[row], runs.session_start[row] = run.start, run.last, run.start
        runs.confirmed_start[row], runs.confirmed_end[row] = confirmed
        runs.possible_end[row] = run.possible_end
        runs.instance[row] = machines.code(run.machine)
        runs.shape[row] = shapes.code(run.shape)
        runs.classification[row] = classifications.code(run.what)
    accounts, regions, images = Dictionary[Account](), Dictionary[str](), Dictionary[str]()
    architectures, tags = Dictionary[str](), Dictionary[Tags]()
    instances = Instances(
        ids=np.array([machine.instance_id for machine in machines] or [""], "S")[: len(machines)],
        account=accounts.codes(Account(machine.account) for machine in machines),
        region=regions.codes(machine.region for machine in machines),
        image=_codes(images, [machine.image for machine in machines]),
        architecture=architectures.codes(machine.architecture for machine in machines),
        tags=tags.codes(machine.tags for machine in machines),
    )
    return Fleet(
        runs=runs,
        instances=instances,
        shapes=tuple(shapes),
        classifications=tuple(classifications),
        accounts=tuple(accounts),
        regions=tuple(regions),
        images=tuple(images),
        architectures=tuple(architectures),
        tags=tuple(tags),
    )


def _codes(images: Dictionary[str], names: Sequence[str]) -> Codes:
    return np.array([images.code(name) if name else UNKNOWN for name in names], np.int32)
