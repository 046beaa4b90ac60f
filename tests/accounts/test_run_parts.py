"""Runs as columns, cut where overrides begin to hold, against the same one by one."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import inventory_pb2
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from services.accounts import run_convert
from services.accounts.classification import ImageCodes
from services.accounts.classification_store import Grounds
from services.accounts.inventory import StoredRun
from services.accounts.overrides import Claim, Override, Overrides, parts
from services.accounts.run_columns import RunRows
from services.accounts.run_convert import chunks, counted
from services.accounts.run_reader import AccountRuns, ReadImage, ReadInstance
from tests.accounts.override_reference import IMAGE, INSTANCE, known
from tests.support.effort import examples

TIMES = ("start_at", "end_at", "session_start", "confirmed_start", "confirmed_end", "end_latest")
COLUMNS = [*((name, "i8") for name in (*TIMES, "instance_id"))]
COLUMNS += [*((name, "i4") for name in ("instance_type", "usage_operation", "vcpu"))]
IMAGES = {INSTANCE - 1: IMAGE + 1, INSTANCE: IMAGE, INSTANCE + 1: 0, INSTANCE + 2: IMAGE}
"""The image of each instance."""
LABELS = {1: "m5.large", 2: "RunInstances", 3: "RunInstances:0010"}
Row = tuple[int, int, int, int, int, int, int, int, int, int]
"""start, end, session start, confirmed, end_latest, instance, type, usage operation, vCPUs."""


def account(rows: Sequence[Row], overrides: Sequence[Override], images: int = 2) -> AccountRuns:
    """Return an account's runs as they are read; those of one instance in order."""
    array: RunRows = np.array(sorted(rows, key=lambda row: (row[6], row[0])), COLUMNS)
    return AccountRuns(
        rows=array,
        instances=tuple(
            ReadInstance(number, f"i-{number}", "eu-west-1", image, {}, 2, "")
            for number, image in IMAGES.items()
        ),
        images=tuple(ReadImage(IMAGE + n, f"ami-{n}", "") for n in range(images)),
        grounds={IMAGE: Grounds(ImageCodes(), None, 1)},
        types={},
        labels=LABELS,
        overrides=Overrides(overrides),
    )


def brought(found: Sequence[StreamRunsResponse.Chunk]) -> list[tuple[object, ...]]:
    """Return each run of the chunks, with its classification's distribution and overrides."""
    classes: list[inventory_pb2.Classification] = []
    runs: list[tuple[object, ...]] = []
    for chunk in found:
        assert chunk.ByteSize() < 4 * 1024 * 1024
        classes += chunk.classifications
        names = ("start", "end", "session_start", "confirmed_start", "confirmed_end", "end_latest")
        times = [struct.unpack(f"<{chunk.runs}q", getattr(chunk, name)) for name in names]
        instances = struct.unpack(f"<{chunk.runs}i", chunk.instance)
        codes = struct.unpack(f"<{chunk.runs}i", chunk.classification)
        for row in zip(*times, instances, codes, strict=True):
            what = classes[row[-1]]
            runs.append((*row[:-1], what.distribution, list(what.override_ids)))
    return runs


def one_by_one(runs: AccountRuns) -> list[tuple[object, ...]]:
    """Return the same, run by run."""
    found: list[tuple[object, ...]] = []
    rows: list[Row] = runs.rows.tolist()
    for row in rows:
        place = list(IMAGES).index(row[6])
        image = IMAGES[row[6]]
        whole = StoredRun("", *row[:6], "", 0, "")
        billed = "rhel" if row[8] == 3 else "unknown"
        for part, standing in parts(whole, runs.overrides.timeline(row[6], image)):
            said = [each.claim.distribution for each in standing if each.claim.distribution]
            times = [getattr(part, name) for name in TIMES]
            found.append((*times, place, (said or [billed])[0], [each.id for each in standing]))
    return found


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Draw runs of the four instances, by start without two at one instant."""
    made: dict[tuple[int, int], Row] = {}
    for _ in range(draw(st.integers(1, 12))):
        instance, start = draw(st.sampled_from(list(IMAGES))), draw(st.integers(1, 30))
        end = draw(st.one_of(st.just(0), st.integers(start, 40)))
        confirmed = (start, draw(st.integers(start + 1, 40))) if draw(st.booleans()) else (0, 0)
        latest = draw(st.sampled_from([0, 50])) if end else 0
        operation = draw(st.sampled_from([2, 3]))
        made[instance, start] = (start, end, 1, *confirmed, latest, instance, 1, operation, 0)
    return list(made.values())


@examples(200)
@given(rows(), known(), st.integers(1, 9))
def test_columns_are_cut_as_runs_are_one_by_one(
    drawn: list[Row], overrides: list[Override], in_chunk: int
) -> None:
    """However many go into a chunk, the parts are the same, and so many as were announced."""
    runs = account(drawn, overrides)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_convert, "RUNS_IN_CHUNK", in_chunk)
        found = list(chunks(1, runs))
    assert max(chunk.runs for chunk in found) <= in_chunk
    expected = one_by_one(runs)
    assert brought(found) == expected
    assert counted(runs) == len(expected)


def test_a_license_conversion_and_an_override_both_cut() -> None:
    """On from 0 to 40, RHEL on the bill from 10 on; from 20 on somebody says Rocky, paid by byos.

    Row one ends at 10 for its usage operation, row two is cut at 20.
    """
    says = Override(5, 0, INSTANCE, Claim("rocky"), "why", "ada", 20, 1)
    runs = account(
        [
            (1, 10, 1, 1, 10, 0, INSTANCE, 1, 2, 0),
            (10, 40, 1, 10, 30, 90, INSTANCE, 1, 3, 0),
        ],
        [says],
    )
    place = list(IMAGES).index(INSTANCE)
    assert brought(list(chunks(1, runs))) == [
        (1, 10, 1, 1, 10, 0, place, "unknown", []),
        (10, 20, 1, 10, 20, 0, place, "rhel", []),
        (20, 40, 1, 20, 30, 90, place, "rocky", [5]),
    ]


def test_a_run_of_zero_length_is_kept_where_an_override_begins() -> None:
    """At 20, where Rocky begins to hold, it is one run of Rocky."""
    says = Override(5, 0, INSTANCE, Claim("rocky"), "why", "ada", 20, 1)
    runs = account(
        [(10, 30, 10, 0, 0, 0, INSTANCE, 1, 2, 0), (20, 20, 20, 0, 0, 0, INSTANCE + 2, 1, 2, 0)],
        [says, Override(6, 0, INSTANCE + 2, Claim("rocky"), "why", "ada", 20, 1)],
    )
    found = [(row[0], row[1], row[-2]) for row in brought(list(chunks(1, runs)))]
    assert found == [(10, 20, "unknown"), (20, 30, "rocky"), (20, 20, "rocky")]
    assert counted(runs) == 3


def test_many_classifications_come_in_messages_that_fit() -> None:
    """8,000 overrides with many products, each from its own instant: 6 MB, all of it there."""
    products = tuple(f"a-product-with-quite-a-long-name-{n:02}" for n in range(20))
    overrides = [
        Override(n, 0, INSTANCE, Claim("rhel", str(n), None, products), "why", "ada", n, n)
        for n in range(1, 8001)
    ]
    runs = account([(1, 0, 1, 0, 0, 0, INSTANCE, 1, 2, 0)], overrides)
    found = brought(list(chunks(1, runs)))
    assert counted(runs) == len(found) == 8000
    assert [row[-1] for row in found] == [[n] for n in range(1, 8001)]
