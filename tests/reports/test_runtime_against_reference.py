"""The fast report equals the slowest one, whatever the runs, the buckets and the groups."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.reports import exact, sweep
from services.reports.columns import Classification, Shape, joined
from services.reports.groups import Dimension
from services.reports.runtime import Report, Table, report
from services.reports.timelines import Timelines
from tests.reports.reference import Cell, Reference, reference
from tests.support.reports import Machine, Ran, fleet_of

HORIZON = 24

shapes = st.sampled_from(
    [
        Shape(),
        Shape("m5.large", 2, 8192),
        Shape("m5.large", 1, 8192),
        Shape("x2.huge", 448, 6291456),
    ]
)
classifications = st.sampled_from(
    [
        Classification(),
        Classification("rhel", "9.4", "included"),
        Classification("rhel", "8.10", "byos", ("openshift",)),
        Classification("rhel", "9.4", "byos", ("openshift", "rhel-ha"), role="server"),
        Classification("debian", "12", "free"),
    ]
)


@st.composite
def machines(draw: st.DrawFn) -> list[Ran]:
    """Draw some instances with runs one after the other, which may touch or have no length."""
    ran = []
    for number in range(draw(st.integers(0, 4))):
        machine = Machine(
            instance_id=f"i-{number // 2:08x}",  # ids are unique in an account only
            account=number % 2 + 1,
            region=draw(st.sampled_from(["eu-west-1", "us-east-1"])),
            image=draw(st.sampled_from(["", "ami-00000001", "ami-00000002"])),
            architecture=draw(st.sampled_from(["x86_64", "arm64"])),
        )
        ran += draw(runs_of(machine))
    return ran


@st.composite
def runs_of(draw: st.DrawFn, machine: Machine) -> list[Ran]:
    """Draw runs of one instance."""
    ends = sorted(draw(st.lists(st.integers(0, HORIZON), max_size=8)))
    ran = []
    for start, end in zip(ends[::2], ends[1::2], strict=False):
        goes_on = end == ends[-1] and draw(st.booleans())
        last = HORIZON * 2 if goes_on else end
        confirmed = draw(
            st.none()
            | st.tuples(st.integers(start, last), st.integers(start, last)).map(
                lambda pair: (min(pair), max(pair))
            )
        )
        ran.append(
            Ran(
                start,
                None if goes_on else end,
                machine,
                shape=draw(shapes),
                what=draw(classifications),
                confirmed=confirmed,
                possible_end=0
                if goes_on
                else draw(st.sampled_from([0, end - 1, end, end + 1, end + 5])),
            )
        )
    return ran


edges_of_buckets = st.lists(st.integers(0, HORIZON + 4), min_size=2, max_size=7, unique=True).map(
    sorted
)
dimensions = st.lists(st.sampled_from(Dimension), unique=True, max_size=3)


def keys(ran: Ran, by: Sequence[Dimension]) -> list[tuple[str, ...]]:
    """Spell out the keys of a run."""
    values: list[tuple[str, ...]] = [()]
    for dimension in by:
        of_run = {
            Dimension.DISTRIBUTION: [ran.what.distribution],
            Dimension.VERSION: [ran.what.version],
            Dimension.LICENSE_MODEL: [ran.what.license_model],
            Dimension.PRODUCT: list(ran.what.products) or [""],
            Dimension.ARCHITECTURE: [ran.machine.architecture],
            Dimension.INSTANCE_TYPE: [ran.shape.instance_type],
            Dimension.REGION: [ran.machine.region],
            Dimension.ACCOUNT: [str(ran.machine.account)],
            Dimension.IMAGE: [ran.machine.image],
            Dimension.INSTANCE: [ran.machine.instance_id],
            Dimension.SYSPURPOSE_ROLE: [ran.what.role],
            Dimension.SYSPURPOSE_SLA: [ran.what.sla],
            Dimension.SYSPURPOSE_USAGE: [ran.what.usage],
        }[dimension]
        values = [(*value, more) for value in values for more in of_run]
    return values


def cells(answer: Report) -> Reference:
    """Bring the fast answer into the reference's form."""
    groups = range(len(answer.keys))
    buckets = range(len(answer.edges) - 1)
    rows = {
        answer.keys[group]: [cell(answer.rows, bucket, group) for bucket in buckets]
        for group in groups
    }
    return Reference(rows, [cell(answer.totals, each, 0) for each in buckets])


def cell(table: Table, bucket: int, group: int) -> Cell:
    """Pick a cell of a table; the instant of a peak of 0 has no meaning."""
    values = {each.name: getattr(table, each.name)[bucket, group] for each in fields(Table)}
    for name in ("peak_instances", "peak_vcpus"):
        if values[name] == 0:
            values[f"{name}_at"] = None
    return Cell(**values)


questions = {
    "ran": machines(),
    "by": dimensions,
    "edges": edges_of_buckets,
    "as_of": st.integers(0, HORIZON + 4),
}


def check(ran: list[Ran], by: list[Dimension], edges: list[int], as_of: int) -> None:
    """Hold the fast answer against the slow one."""
    fleet = fleet_of(ran)
    answer = report(fleet, Timelines.of(fleet), by, edges, as_of, most_groups=1000)
    assert cells(answer) == reference(ran, lambda run: keys(run, by), edges, as_of)
    assert list(answer.keys) == sorted(answer.keys)


@given(**questions)
@settings(max_examples=300, deadline=None)
def test_a_report_equals_looking_at_every_instant(
    ran: list[Ran], by: list[Dimension], edges: list[int], as_of: int
) -> None:
    """Sums, distinct counts, peaks and their instants are those of the reference in every cell."""
    check(ran, by, edges, as_of)


@given(**questions)
@settings(max_examples=100, deadline=None)
def test_a_report_does_not_depend_on_how_the_sweep_is_cut(
    ran: list[Ran], by: list[Dimension], edges: list[int], as_of: int
) -> None:
    """Blocks of a single bucket give the same as one block of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_MOST_CELLS", 1)
        check(ran, by, edges, as_of)
        patch.setattr(sweep, "_MOST_CELLS", 2**22)
        patch.setattr(sweep, "_MOST_ROWS", 3)
        check(ran, by, edges, as_of)


@given(**questions)
@settings(max_examples=100, deadline=None)
def test_sums_in_limbs_are_the_same(
    ran: list[Ran], by: list[Dimension], edges: list[int], as_of: int
) -> None:
    """What is added up in limbs, as if numbers had 30 bits or 1, is what is added up at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BITS", 30)
        patch.setattr(sweep, "_BITS", 1)
        patch.setattr(sweep, "_LIMB", 2)
        check(ran, by, edges, as_of)


@given(**questions, cut=st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_accounts_joined_give_the_same_as_one_fleet(
    ran: list[Ran], by: list[Dimension], edges: list[int], as_of: int, cut: int
) -> None:
    """Runs that come account by account are reported as if they had come together."""
    accounts = sorted({run.machine.account for run in ran})[cut % 2 :]
    asked = [run for run in ran if run.machine.account in accounts]
    fleet = joined([fleet_of(run for run in asked if run.machine.account == it) for it in accounts])
    answer = report(fleet, Timelines.of(fleet), by, edges, as_of, most_groups=1000)
    assert cells(answer) == reference(asked, lambda run: keys(run, by), edges, as_of)


@given(**questions, region=st.sampled_from(["eu-west-1", "us-east-1"]))
@settings(max_examples=100, deadline=None)
def test_runs_filtered_out_leave_no_trace(
    ran: list[Ran], by: list[Dimension], edges: list[int], as_of: int, region: str
) -> None:
    """A report of what a filter lets through is that of a fleet which has nothing else."""
    fleet = fleet_of(ran)
    codes = [code for code, name in enumerate(fleet.regions) if name == region]
    counted = np.isin(fleet.instances.region[fleet.runs.instance], codes)
    answer = report(fleet, Timelines.of(fleet), by, edges, as_of, counted=counted, most_groups=1000)
    asked = [run for run in ran if run.machine.region == region]
    assert cells(answer) == reference(asked, lambda run: keys(run, by), edges, as_of)
