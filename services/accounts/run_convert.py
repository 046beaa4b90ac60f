"""An account's runs as the chunks of StreamRuns."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cloudigrade.accounts.v1 import inventory_pb2
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from services.accounts.classification import classify_run
from services.accounts.classification_store import NO_GROUNDS
from services.accounts.image_convert import classification_to_proto
from services.accounts.run_reader import AccountRuns, InstanceType, RunRows

Chunk: TypeAlias = StreamRunsResponse.Chunk

RUNS_IN_CHUNK = 32 * 1024
"""2 MiB of columns; with the entries beside them it stays below gRPC's 4 MiB."""
_ENTRY_BYTES = 1024 * 1024
_ENTRY_OVERHEAD = 100
"""More than an entry takes beside its tags and names, whose bytes are counted."""

_UNKNOWN_IMAGE = -1


def chunks(account_id: int, runs: AccountRuns) -> Iterator[Chunk]:
    """Yield an account's runs; each chunk brings the dictionary entries that it is first to use."""
    instances = _Instances(runs)
    types, type_of = _dense(runs.rows["instance_type"])
    # One code for each pair of image and usage operation: licences may differ between runs of one
    # image, and classifying a million runs one by one would take longer than all the rest.
    operations, operation_of = _dense(runs.rows["usage_operation"])
    pairs, class_of = _dense(instances.image_of[instances.code_of] * len(operations) + operation_of)
    classes = [
        (instances.image_ids[pair // len(operations)], operations[pair % len(operations)])
        for pair in pairs
    ]
    dictionary = Chunk(
        account_id=account_id,
        instance_types=[_type_entry(runs, runs.labels[number]) for number in types],
        classifications=[
            _classification(runs, image_id, runs.labels[number]) for image_id, number in classes
        ],
    )
    yield dictionary
    yield from instances.images(account_id)
    sent = 0
    for start in range(0, len(runs.rows), RUNS_IN_CHUNK):
        part = slice(start, min(start + RUNS_IN_CHUNK, len(runs.rows)))
        codes = instances.code_of[part]
        used = int(codes[-1]) + 1
        *before, last = instances.entries(account_id, sent, used)
        yield from before
        sent = used
        _add_columns(last, runs.rows[part], codes, type_of[part], class_of[part])
        yield last


class _Instances:
    """The codes of an account's instances and images, and the dictionary entries of both."""

    def __init__(self, runs: AccountRuns) -> None:
        self._runs = runs
        ids = np.array([each.instance_id for each in runs.instances], np.int64)
        # Rows are in the order of instances, and so are codes.
        self.code_of = np.searchsorted(ids, runs.rows["instance_id"]).astype(np.int32)
        used = {each.image_id for each in runs.instances}
        self._images = [each for each in runs.images if each.image_id in used]
        self._image_code = {each.image_id: code for code, each in enumerate(self._images)}
        self.image_ids = [*(each.image_id for each in self._images), 0]
        """By code; after the last one what stands for an unknown image."""
        unknown = len(self._images)
        self.image_of = np.array(
            [self._image_code.get(each.image_id, unknown) for each in runs.instances], np.int64
        )
        """Of each instance by its code: its image's code."""

    def images(self, account_id: int) -> Iterator[Chunk]:
        """Yield chunks of images, none of them large."""
        chunk, size = Chunk(account_id=account_id), 0
        for each in self._images:
            if size > _ENTRY_BYTES:
                yield chunk
                chunk, size = Chunk(account_id=account_id), 0
            chunk.images.add(image_id=each.ami_id, name=each.name)
            size += _ENTRY_OVERHEAD + 4 * len(each.name)
        yield chunk

    def entries(self, account_id: int, start: int, end: int) -> Iterator[Chunk]:
        """Yield chunks of instances, by code, none of them large; the last may have none."""
        chunk, size = Chunk(account_id=account_id), 0
        for each in self._runs.instances[start:end]:
            if size > _ENTRY_BYTES:
                yield chunk
                chunk, size = Chunk(account_id=account_id), 0
            chunk.instances.add(
                instance_id=each.ec2_id,
                region=each.region,
                image=self._image_code.get(each.image_id, _UNKNOWN_IMAGE),
                tags=each.tags,
                architecture=each.architecture,
            )
            size += _ENTRY_OVERHEAD + each.tags_bytes
        yield chunk


def _dense(column: NDArray[Any]) -> tuple[list[int], NDArray[np.int64]]:
    """Return the numbers that occur, ascending, and each row's place among them.

    The numbers are small: as np.unique, without its sorting of all rows.
    """
    occurs = np.zeros(int(column.max(initial=0)) + 1, bool)
    occurs[column] = True
    return np.flatnonzero(occurs).tolist(), (np.cumsum(occurs) - 1)[column]


def _add_columns(
    chunk: Chunk,
    rows: RunRows,
    instances: NDArray[np.int32],
    types: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> None:
    chunk.runs = len(rows)
    chunk.start = _times(rows["start_at"])
    chunk.end = _times(rows["end_at"])
    chunk.session_start = _times(rows["session_start"])
    chunk.confirmed_start = _times(rows["confirmed_start"])
    chunk.confirmed_end = _times(rows["confirmed_end"])
    chunk.end_latest = _times(rows["end_latest"])
    chunk.vcpus = rows["vcpu"].astype("<i4").tobytes()
    chunk.instance = instances.astype("<i4").tobytes()
    chunk.instance_type = types.astype("<i4").tobytes()
    chunk.classification = classes.astype("<i4").tobytes()


def _times(column: NDArray[np.int64]) -> bytes:
    return column.astype("<i8").tobytes()


def _type_entry(runs: AccountRuns, name: str) -> StreamRunsResponse.InstanceTypeEntry:
    known = runs.types.get(name, InstanceType(name))
    return StreamRunsResponse.InstanceTypeEntry(
        instance_type=known.name, vcpus=known.vcpu, memory_mib=known.memory_mib
    )


def _classification(
    runs: AccountRuns, image_id: int, usage_operation: str
) -> inventory_pb2.Classification:
    known = runs.grounds.get(image_id, NO_GROUNDS)
    found = classify_run(known.codes, known.installed, usage_operation)
    return classification_to_proto(found, known.recorded_at, evidence=False)
