"""An account's runs as the chunks of StreamRuns."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cloudigrade.accounts.v1 import inventory_pb2
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from services.accounts.classification import classify_run
from services.accounts.classification_store import NO_GROUNDS
from services.accounts.image_convert import classification_to_proto
from services.accounts.run_reader import AccountRuns, InstanceType, ReadInstance, RunRows

Chunk: TypeAlias = StreamRunsResponse.Chunk
Codes: TypeAlias = NDArray[np.int32]

RUNS_IN_CHUNK = 32 * 1024
"""2 MiB of columns; with the entries beside them it stays below gRPC's 4 MiB."""
_ENTRY_BYTES = 1024 * 1024

_UNKNOWN_IMAGE = -1


def chunks(account_id: int, runs: AccountRuns) -> Iterator[Chunk]:
    """Yield an account's runs; each chunk brings the dictionary entries that it is first to use."""
    instances = _Instances(runs)
    # One code for each pair of image and usage operation: licences may differ between runs of one
    # image, and classifying a million runs one by one would take longer than all the rest.
    classes, class_of = np.unique(
        np.stack([instances.image_ids[instances.code_of], runs.rows["usage_operation"]]),
        axis=1,
        return_inverse=True,
    )
    types, type_of = np.unique(runs.rows["instance_type"], return_inverse=True)
    dictionary = Chunk(
        account_id=account_id,
        instance_types=[_type_entry(runs, runs.labels[number]) for number in types.tolist()],
        classifications=[
            _classification(runs, image_id, runs.labels[number])
            for image_id, number in classes.T.tolist()
        ],
    )
    yield dictionary
    yield from _batched(account_id, instances.image_entries(), ())
    sent = 0
    for start in range(0, len(runs.rows), RUNS_IN_CHUNK):
        part = slice(start, min(start + RUNS_IN_CHUNK, len(runs.rows)))
        codes = instances.code_of[part]
        used = int(codes[-1]) + 1
        *before, last = _batched(account_id, (), instances.entries(sent, used))
        yield from before
        sent = used
        _add_columns(last, runs.rows[part], codes, type_of[part], class_of.reshape(-1)[part])
        yield last


class _Instances:
    """The codes of an account's instances and images."""

    def __init__(self, runs: AccountRuns) -> None:
        self._runs = runs
        ids = np.array([each.instance_id for each in runs.instances], np.int64)
        # Rows are in the order of instances, and so are codes.
        self.code_of = np.searchsorted(ids, runs.rows["instance_id"]).astype(np.int32)
        self.image_ids = np.array([each.image_id for each in runs.instances], np.int64)
        used = set(self.image_ids.tolist())
        self._images = [each for each in runs.images if each.image_id in used]
        self._image_code = {each.image_id: code for code, each in enumerate(self._images)}

    def image_entries(self) -> Iterator[StreamRunsResponse.ImageEntry]:
        for each in self._images:
            yield StreamRunsResponse.ImageEntry(image_id=each.ami_id, name=each.name)

    def entries(self, start: int, end: int) -> Iterator[StreamRunsResponse.InstanceEntry]:
        for each in self._runs.instances[start:end]:
            yield self._entry(each)

    def _entry(self, instance: ReadInstance) -> StreamRunsResponse.InstanceEntry:
        return StreamRunsResponse.InstanceEntry(
            instance_id=instance.ec2_id,
            region=instance.region,
            image=self._image_code.get(instance.image_id, _UNKNOWN_IMAGE),
            tags=instance.tags,
            architecture=instance.architecture,
        )


def _batched(
    account_id: int,
    images: Iterable[StreamRunsResponse.ImageEntry],
    instances: Iterable[StreamRunsResponse.InstanceEntry],
) -> Iterator[Chunk]:
    """Yield chunks of entries, none of them large; the last may have none."""
    chunk, size = Chunk(account_id=account_id), 0
    for image in images:
        if size > _ENTRY_BYTES:
            yield chunk
            chunk, size = Chunk(account_id=account_id), 0
        chunk.images.append(image)
        size += image.ByteSize()
    for instance in instances:
        if size > _ENTRY_BYTES:
            yield chunk
            chunk, size = Chunk(account_id=account_id), 0
        chunk.instances.append(instance)
        size += instance.ByteSize()
    yield chunk


def _add_columns(
    chunk: Chunk,
    rows: RunRows,
    instances: Codes,
    types: NDArray[np.intp],
    classes: NDArray[np.intp],
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
