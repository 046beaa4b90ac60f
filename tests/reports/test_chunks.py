"""Chunks of StreamRuns become columns, whatever way they are cut."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import inventory_pb2, runs_pb2
from services.reports.chunks import FleetBuilder, classification
from services.reports.columns import OPEN, Account, Classification, Shape

Response = runs_pb2.StreamRunsResponse


def column(*numbers: int) -> bytes:
    """Write times as a chunk does."""
    return np.array(numbers, "<i8").tobytes()


def codes(*numbers: int) -> bytes:
    """Write codes as a chunk does."""
    return np.array(numbers, "<i4").tobytes()


def chunk(
    *starts: int, instances: tuple[int, ...] = (), vcpus: tuple[int, ...] = ()
) -> Response.Chunk:
    """Return a chunk of runs of a second each."""
    many = len(starts)
    return Response.Chunk(
        runs=many,
        start=column(*starts),
        end=column(*(start + 1 for start in starts)),
        session_start=column(*starts),
        confirmed_start=column(*[0] * many),
        confirmed_end=column(*[0] * many),
        end_latest=column(*[0] * many),
        instance=codes(*(instances or [0] * many)),
        instance_type=codes(*[0] * many),
        classification=codes(*[0] * many),
        vcpus=codes(*(vcpus or [0] * many)),
    )


ENTRIES = Response.Chunk(
    instances=[
        Response.InstanceEntry(instance_id="i-00000001", region="eu-west-1", image=-1),
        Response.InstanceEntry(instance_id="i-00000002", region="eu-west-1", image=0),
    ],
    images=[Response.ImageEntry(image_id="ami-00000001")],
    instance_types=[Response.InstanceTypeEntry(instance_type="m5.large", vcpus=2, memory_mib=8192)],
    classifications=[inventory_pb2.Classification(distribution="rhel", version="9.4")],
)


def built(runs: int, *chunks: Response.Chunk) -> FleetBuilder:
    """Give chunks to a builder."""
    builder = FleetBuilder(Account(1), runs)
    for each in (ENTRIES, *chunks):
        builder.add(each)
    return builder


def test_an_end_of_0_is_open() -> None:
    """It becomes an instant after every window."""
    open_ = chunk(5)
    open_.end = column(0)
    assert built(1, open_).fleet().runs.end.tolist() == [OPEN]


def test_vcpus_by_cpu_options_replace_the_types() -> None:
    """One run as the type has it, one with hyper-threading off."""
    fleet = built(3, chunk(1, 2, 3, vcpus=(0, 1, 0))).fleet()
    assert [fleet.shapes[code] for code in fleet.runs.shape] == [
        Shape("m5.large", 2, 8192),
        Shape("m5.large", 1, 8192),
        Shape("m5.large", 2, 8192),
    ]


def test_runs_are_put_in_order_by_instance_and_start() -> None:
    """Whatever order they came in."""
    fleet = built(4, chunk(7, 3, instances=(1, 1)), chunk(9, 1, instances=(0, 0))).fleet()
    assert fleet.runs.instance.tolist() == [0, 0, 1, 1]
    assert fleet.runs.start.tolist() == [1, 9, 3, 7]
    assert fleet.runs.end.tolist() == [2, 10, 4, 8]


@given(st.lists(st.integers(1, 50), unique=True), st.integers(0, 50))
@settings(max_examples=30, deadline=timedelta(seconds=5))
def test_it_does_not_matter_where_chunks_are_cut(starts: list[int], cut: int) -> None:
    """Two chunks give the columns that one gives."""
    whole = built(len(starts), chunk(*starts)).fleet()
    cut_up = built(len(starts), chunk(*starts[:cut]), chunk(*starts[cut:])).fleet()
    assert cut_up.runs.start.tolist() == whole.runs.start.tolist() == sorted(starts)


@pytest.mark.parametrize(
    ("runs", "field", "content", "complaint"),
    [
        (2, "start", column(1), "fewer runs"),
        (0, "start", column(1), "more runs"),
        (1, "start", column(1, 2), "a column of 2 numbers"),
        (1, "instance", codes(2), "instance"),
        (1, "instance", codes(-1), "instance"),
        (1, "classification", codes(1), "classification"),
        (1, "instance_type", codes(1), "instance_type"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    runs: int, field: str, content: bytes, complaint: str
) -> None:
    """Rather than a report of what nobody sent."""
    wrong = chunk(1)
    setattr(wrong, field, content)
    with pytest.raises(ValueError, match=complaint):
        built(runs, wrong).fleet()


def test_a_classification_without_anything_is_unknown() -> None:
    """It is reported as unknown, not as an empty word."""
    assert classification(inventory_pb2.Classification()) == Classification()


def test_products_have_no_order_and_come_once() -> None:
    """Two classifications that say the same are one group."""
    message = inventory_pb2.Classification(
        distribution="rhel",
        license_model=inventory_pb2.LICENSE_MODEL_BYOS,
        products=["sap", "openshift", "sap"],
    )
    message.syspurpose.role = "server"
    assert classification(message) == Classification(
        "rhel", "", "byos", ("openshift", "sap"), role="server"
    )
