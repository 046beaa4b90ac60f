"""An account's runs as the chunks of StreamRuns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from cloudigrade.accounts.v1 import inventory_pb2
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from services.accounts.classification import classify_run
from services.accounts.classification_store import NO_GROUNDS
from services.accounts.image_convert import classification_to_proto
from services.accounts.overrides import Standing, apply, known_since
from services.accounts.run_parts import Part, Parts
from services.accounts.run_reader import AccountRuns, InstanceType

Chunk: TypeAlias = StreamRunsResponse.Chunk

RUNS_IN_CHUNK = 32 * 1024
"""2 MiB of columns; with the entries beside them it stays below gRPC's 4 MiB."""
_ENTRY_BYTES = 1024 * 1024
_ENTRY_OVERHEAD = 100
"""More than an entry takes beside its tags and names, whose bytes are counted."""

_SMALL, _SMALL_FOR_ROW = 64 * 1024, 16
"""Up to such a number all that are smaller may be looked at."""

_UNKNOWN_IMAGE = -1


def counted(runs: AccountRuns) -> int:
    """Return how many runs `chunks` will bring: those of the account, cut where overrides begin."""
    return len(Parts(runs, _code_of(runs))) if runs.overrides else len(runs.rows)


def chunks(account_id: int, runs: AccountRuns) -> Iterator[Chunk]:
    """Yield an account's runs; each chunk brings the dictionary entries that it is first to use.

    A run is cut where an override begins to hold; its parts keep their session's start.
    """
    instances = _Instances(runs)
    types, type_of = _dense(runs.rows["instance_type"])
    parts = Parts(runs, instances.code_of)
    classes = _Classes(runs, instances, parts.standings)
    yield from _entries(
        account_id,
        "instance_types",
        (_type_entry(runs, runs.labels[number]) for number in types),
    )
    yield from instances.images(account_id)
    sent = 0
    for start in range(0, len(parts), RUNS_IN_CHUNK):
        part = parts.between(start, min(start + RUNS_IN_CHUNK, len(parts)))
        codes = instances.code_of[part.places]
        class_of, new = classes.codes(part)
        yield from _entries(account_id, "classifications", new)
        used = int(codes[-1]) + 1
        *before, last = instances.entries(account_id, sent, used)
        yield from before
        sent = used
        _add_columns(last, part, codes, type_of[part.places], class_of)
        yield last


class _Classes:
    """The codes of classifications, by order of appearance.

    One code for each image, usage operation, product codes and set of overrides: licences may
    differ between runs of one image, and classifying a million runs one by one would take longer
    than all the rest.
    """

    def __init__(
        self, runs: AccountRuns, instances: "_Instances", standings: Sequence[Standing]
    ) -> None:
        self._runs = runs
        self._image_ids = instances.image_ids
        self._standings = standings
        self._operations, operation_of = _dense(runs.rows["usage_operation"])
        texts = [runs.labels[number] for number in self._operations]
        operation_now, self._products, products_now = _now(runs, texts)
        # Product codes are those of now, and so of runs under the usage operation of now alone.
        code_of = instances.code_of
        products_of = np.where(operation_now[code_of] == operation_of, products_now[code_of], 0)
        keys = instances.image_of[code_of] * len(self._operations) + operation_of
        self._keys, self._key_of = _dense(keys * len(self._products) + products_of)
        self._code: dict[int, int] = {}

    def codes(self, part: Part) -> tuple[NDArray[np.int64], Iterator[inventory_pb2.Classification]]:
        """Return each part's code, and the entries of codes that did not appear before."""
        keys, place_of = _dense(self._key_of[part.places] * len(self._standings) + part.standing)
        new = [key for key in keys if key not in self._code]
        self._code.update(zip(new, range(len(self._code), len(self._code) + len(new)), strict=True))
        codes = np.array([self._code[key] for key in keys], np.int64)
        return codes[place_of], map(self._entry, new)

    def _entry(self, key: int) -> inventory_pb2.Classification:
        place, standing = divmod(key, len(self._standings))
        rest, products = divmod(self._keys[place], len(self._products))
        image, operation = divmod(rest, len(self._operations))
        known = self._runs.grounds.get(self._image_ids[image], NO_GROUNDS)
        usage_operation = self._runs.labels[self._operations[operation]]
        found = classify_run(
            known.codes, known.installed, usage_operation, self._products[products]
        )
        decided = self._standings[standing]
        since = known_since(known.recorded_at, decided)
        return classification_to_proto(apply(found, decided), since, evidence=False)


def _now(
    runs: AccountRuns, operations: Sequence[str]
) -> tuple[NDArray[np.int64], list[tuple[str, ...] | None], NDArray[np.int64]]:
    """Return what AWS bills each instance by now.

    The place of its usage operation among those that occur (-1: it does not), the sets of product
    codes, whose first is that none are known, and the place of its set among them.
    """
    places = {text: place for place, text in enumerate(operations) if text}
    products: dict[tuple[str, ...] | None, int] = {None: 0}
    operation_of = [places.get(each.usage_operation, -1) for each in runs.instances]
    products_of = [
        products.setdefault(tuple(each.product_codes), len(products)) for each in runs.instances
    ]
    return np.array(operation_of, np.int64), list(products), np.array(products_of, np.int64)


class _Instances:
    """The codes of an account's instances and images, and the dictionary entries of both."""

    def __init__(self, runs: AccountRuns) -> None:
        self._runs = runs
        self.code_of = _code_of(runs)
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
        return _entries(
            account_id,
            "images",
            (
                StreamRunsResponse.ImageEntry(image_id=each.ami_id, name=each.name)
                for each in self._images
            ),
        )

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


def _code_of(runs: AccountRuns) -> NDArray[np.int32]:
    """Return the code of each row's instance.

    Rows are in the order of instances, and so are codes.
    """
    ids = np.array([each.instance_id for each in runs.instances], np.int64)
    return np.searchsorted(ids, runs.rows["instance_id"]).astype(np.int32)


def _entries(account_id: int, dictionary: str, entries: Iterable[Message]) -> Iterator[Chunk]:
    """Yield chunks that bring a dictionary's entries, none of them large; none without entries."""
    chunk, size = Chunk(account_id=account_id), 0
    for entry in entries:
        if size > _ENTRY_BYTES:
            yield chunk
            chunk, size = Chunk(account_id=account_id), 0
        getattr(chunk, dictionary).append(entry)
        size += _ENTRY_OVERHEAD + entry.ByteSize()
    if size:
        yield chunk


def _dense(column: NDArray[Any]) -> tuple[list[int], NDArray[np.int64]]:
    """Return the numbers that occur, ascending, and each row's place among them.

    As np.unique, without its sorting of all rows where the numbers are small, as most are.
    """
    most = int(column.max(initial=0)) + 1
    if most > _SMALL + _SMALL_FOR_ROW * len(column):
        numbers, places = np.unique(column, return_inverse=True)
        return numbers.tolist(), places
    occurs = np.zeros(most, bool)
    occurs[column] = True
    return np.flatnonzero(occurs).tolist(), (np.cumsum(occurs) - 1)[column]


def _add_columns(
    chunk: Chunk,
    part: Part,
    instances: NDArray[np.int32],
    types: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> None:
    chunk.runs = len(part.rows)
    chunk.start = _times(part.times.start)
    chunk.end = _times(part.times.end)
    chunk.session_start = _times(part.rows["session_start"])
    chunk.confirmed_start = _times(part.times.confirmed_start)
    chunk.confirmed_end = _times(part.times.confirmed_end)
    chunk.end_latest = _times(part.times.end_latest)
    chunk.vcpus = part.rows["vcpu"].astype("<i4").tobytes()
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
