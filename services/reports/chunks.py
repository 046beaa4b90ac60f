"""An account's runs put together from the chunks of StreamRuns."""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cloudigrade.accounts.v1 import inventory_pb2
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from services.reports.columns import (
    OPEN,
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

Chunk = StreamRunsResponse.Chunk

N = TypeVar("N", bound=np.generic)

_TIME: np.dtype[np.int64] = np.dtype("<i8")
_CODE: np.dtype[np.int32] = np.dtype("<i4")


class FleetBuilder:
    """Takes the chunks of one account, in order, and makes its fleet."""

    def __init__(self, account: Account, runs: int) -> None:
        self._account = account
        self._runs = Runs.empty(runs)
        self._filled = 0
        self._ids: list[str] = []
        self._region: list[int] = []
        self._image: list[int] = []
        self._architecture: list[int] = []
        self._tags: list[int] = []
        self._images: list[str] = []
        self._types: list[Shape] = []
        self._classifications: list[Classification] = []
        self._regions = Dictionary[str]()
        self._architectures = Dictionary[str]()
        self._tag_sets = Dictionary[Tags]()
        self._shapes = Dictionary[Shape]()

    def add(self, chunk: Chunk) -> None:
        """Take a chunk; ValueError when its columns do not fit what was announced."""
        self._add_entries(chunk)
        rows = slice(self._filled, self._filled + chunk.runs)
        if rows.stop > len(self._runs):
            raise ValueError("more runs than the header announced")
        self._filled = rows.stop
        runs = self._runs
        end = _column(chunk.end, _TIME, chunk.runs)
        runs.start[rows] = _column(chunk.start, _TIME, chunk.runs)
        runs.end[rows] = np.where(end == 0, OPEN, end)
        runs.session_start[rows] = _column(chunk.session_start, _TIME, chunk.runs)
        runs.confirmed_start[rows] = _column(chunk.confirmed_start, _TIME, chunk.runs)
        runs.confirmed_end[rows] = _column(chunk.confirmed_end, _TIME, chunk.runs)
        runs.possible_end[rows] = _column(chunk.end_latest, _TIME, chunk.runs)
        runs.instance[rows] = _column(chunk.instance, _CODE, chunk.runs)
        runs.classification[rows] = _column(chunk.classification, _CODE, chunk.runs)
        runs.shape[rows] = self._shaped(
            _column(chunk.instance_type, _CODE, chunk.runs), _column(chunk.vcpus, _CODE, chunk.runs)
        )

    def fleet(self) -> Fleet:
        """Return the fleet; ValueError when runs are missing or a code has no entry."""
        if self._filled != len(self._runs):
            raise ValueError("fewer runs than the header announced")
        runs = self._runs
        _check_codes("instance", runs.instance, len(self._ids))
        _check_codes("classification", runs.classification, len(self._classifications))
        return Fleet(
            runs=_by_instance_and_start(runs),
            instances=Instances(
                ids=np.array(self._ids, "S"),
                account=np.zeros(len(self._ids), np.int32),
                region=np.array(self._region, np.int32),
                image=np.array(self._image, np.int32),
                architecture=np.array(self._architecture, np.int32),
                tags=np.array(self._tags, np.int32),
            ),
            shapes=tuple(self._shapes),
            classifications=tuple(self._classifications),
            accounts=(self._account,),
            regions=tuple(self._regions),
            images=tuple(self._images),
            architectures=tuple(self._architectures),
            tags=tuple(self._tag_sets),
        )

    def _add_entries(self, chunk: Chunk) -> None:
        self._images += [entry.image_id for entry in chunk.images]
        self._types += [
            Shape(entry.instance_type, entry.vcpus, entry.memory_mib)
            for entry in chunk.instance_types
        ]
        self._classifications += map(classification, chunk.classifications)
        instances = chunk.instances
        self._ids += [entry.instance_id for entry in instances]
        self._image += [entry.image for entry in instances]
        self._region += map(self._regions.code, [entry.region for entry in instances])
        self._tags += map(self._tag_sets.code, map(_tags, instances))
        self._architecture += map(
            self._architectures.code, [entry.architecture for entry in instances]
        )

    def _shaped(self, types: Codes, vcpus: Codes) -> Codes:
        """Return the code of each run's shape: its type's, with vCPUs by CPU options if stated."""
        _check_codes("instance_type", types, len(self._types))
        shapes = self._shapes.codes(self._types)[types]
        stated = np.flatnonzero(vcpus)
        pairs = zip(types[stated].tolist(), vcpus[stated].tolist(), strict=True)
        shapes[stated] = self._shapes.codes(
            replace(self._types[code], vcpus=count) for code, count in pairs
        )
        return shapes


def _tags(entry: StreamRunsResponse.InstanceEntry) -> Tags:
    return tuple(sorted(entry.tags.items())) if entry.tags else ()


def classification(message: inventory_pb2.Classification) -> Classification:
    """Return what a run's classification says, its products without order or repetition."""
    purpose = message.syspurpose
    return Classification(
        distribution=message.distribution or "unknown",
        version=message.version,
        license_model=_LICENSE_MODELS.get(message.license_model, "unknown"),
        products=tuple(sorted(set(message.products))),
        role=purpose.role,
        sla=purpose.sla,
        usage=purpose.usage,
    )


_LICENSE_MODELS: Mapping[int, str] = MappingProxyType(
    {
        inventory_pb2.LICENSE_MODEL_INCLUDED: "included",
        inventory_pb2.LICENSE_MODEL_BYOS: "byos",
        inventory_pb2.LICENSE_MODEL_FREE: "free",
    }
)


def _column(content: bytes, kind: np.dtype[N], runs: int) -> NDArray[N]:
    column = np.frombuffer(content, kind)
    if len(column) != runs:
        raise ValueError(f"a column of {len(column)} numbers in a chunk of {runs} runs")
    return column


def _check_codes(name: str, codes: Codes, entries: int) -> None:
    if len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= entries):
        raise ValueError(f"a code of {name} that no entry explains")


def _by_instance_and_start(runs: Runs) -> Runs:
    """Return the runs in the order that reports counts on; they mostly come in it."""
    instance, start = runs.instance, runs.start
    same = instance[1:] == instance[:-1]
    if ((instance[1:] > instance[:-1]) | (same & (start[1:] >= start[:-1]))).all():
        return runs
    order = np.lexsort((start, instance))
    return Runs(**{each.name: getattr(runs, each.name)[order] for each in fields(Runs)})
