"""Reports as responses of ReportService."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.reports.v1 import reports_pb2
from libs.common.errors import InvalidRequest
from libs.common.instants import MICROS_PER_SECOND, Micros
from libs.common.timestamps import timestamp
from services.reports.coverage import Unconfirmed
from services.reports.groups import Dimension, Key
from services.reports.reporter import Answer
from services.reports.runtime import Table

_NANOS = 1_000  # in a microsecond
_MIB_PER_GIB = 1_024
# gRPC takes messages of at most 4 MiB; some of it is kept for what frames one.
_MOST_BYTES = 4 * 2**20 - 2**16

GroupValues = list[reports_pb2.GroupValue]


def runtime_response(answer: Answer, by: Sequence[Dimension]) -> reports_pb2.GetRuntimeResponse:
    """Return a report as the response of GetRuntime; InvalidRequest when it is too large."""
    report, edges = answer.report, _edges(answer)
    response = reports_pb2.GetRuntimeResponse(
        rows=_runtime_rows(edges, _group_values(report.keys, by), report.rows),
        totals=_runtime_rows(edges, [[]], report.totals),
        as_of=timestamp(answer.as_of),
        unconfirmed=map(_unconfirmed, answer.unconfirmed),
    )
    _check_size(response.ByteSize())
    return response


def concurrency_response(
    answer: Answer, by: Sequence[Dimension]
) -> reports_pb2.GetConcurrencyResponse:
    """Return a report's peaks as the response of GetConcurrency; InvalidRequest when too large."""
    report, edges = answer.report, _edges(answer)
    response = reports_pb2.GetConcurrencyResponse(
        rows=_concurrency_rows(edges, _group_values(report.keys, by), report.rows),
        totals=_concurrency_rows(edges, [[]], report.totals),
        as_of=timestamp(answer.as_of),
        unconfirmed=map(_unconfirmed, answer.unconfirmed),
    )
    _check_size(response.ByteSize())
    return response


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise InvalidRequest(
            f"the answer would have {size} bytes, and at most {_MOST_BYTES} fit: choose larger"
            " buckets, a shorter window, fewer groupings or a filter",
            field="group_by",
            reason="TOO_MANY_ROWS",
            metadata={"bytes": str(size), "most_bytes": str(_MOST_BYTES)},
        )


def _edges(answer: Answer) -> list[Timestamp]:
    return [timestamp(edge) for edge in answer.report.edges]


def _group_values(keys: Sequence[Key], by: Sequence[Dimension]) -> list[GroupValues]:
    names = [f"DIMENSION_{each.name}" for each in by]
    return [
        [
            reports_pb2.GroupValue(dimension=name, value=value)
            for name, value in zip(names, key, strict=True)
        ]
        for key in keys
    ]


def _runtime_rows(
    edges: Sequence[Timestamp], groups: Sequence[GroupValues], table: Table
) -> Iterator[reports_pb2.RuntimeRow]:
    cells = _cells(table)
    for start, end in pairwise(edges):
        for group in groups:
            yield reports_pb2.RuntimeRow(
                start_time=start, end_time=end, group=group, measures=_measures(next(cells))
            )


def _concurrency_rows(
    edges: Sequence[Timestamp], groups: Sequence[GroupValues], table: Table
) -> Iterator[reports_pb2.ConcurrencyRow]:
    cells = _cells(table)
    for start, end in pairwise(edges):
        for group in groups:
            yield reports_pb2.ConcurrencyRow(
                start_time=start, end_time=end, group=group, **_peaks(next(cells))
            )


Cell = Mapping[str, int]
# A message's fields, to be made part of another: protobuf takes them much faster than a message.
Fields = dict[str, Any]


def _cells(table: Table) -> Iterator[Cell]:
    """Yield each cell of a table, bucket by bucket."""
    names = [each.name for each in fields(Table)]
    columns = (getattr(table, name).ravel().tolist() for name in names)
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _measures(cell: Cell) -> Fields:
    return {
        "runtime": _usage(cell["runtime"]),
        "unconfirmed": _usage(cell["unconfirmed"]),
        "possible": _usage(cell["possible"]),
        "vcpu_time": _usage(cell["vcpu_time"]),
        "vcpu_unknown": _usage(cell["vcpu_unknown"]),
        # Of MiB times microseconds what is finer than a nanosecond of a GiB is cut.
        "memory_gib_time": _usage_of_nanos(cell["memory_time"] * _NANOS // _MIB_PER_GIB),
        "memory_unknown": _usage(cell["memory_unknown"]),
        "instances": cell["instances"],
        "images": cell["images"],
        **_peaks(cell),
    }


def _peaks(cell: Cell) -> Fields:
    """Return the fields of the peaks, without an instant where nothing was on."""
    found: Fields = {}
    for name in ("peak_instances", "peak_vcpus"):
        if cell[name]:
            found[name] = cell[name]
            found[f"{name}_time"] = _usage(cell[f"{name}_at"])
    return found


def _usage(micros: int) -> Fields:
    """Return the fields of a UsageTime, which are a Timestamp's as well."""
    return _usage_of_nanos(micros * _NANOS)


def _usage_of_nanos(nanos: int) -> Fields:
    seconds, rest = divmod(nanos, MICROS_PER_SECOND * _NANOS)
    return {"seconds": seconds, "nanos": rest}


def _unconfirmed(found: Unconfirmed) -> reports_pb2.UnconfirmedRegion:
    through: Micros | None = found.region.confirmed_through
    return reports_pb2.UnconfirmedRegion(
        account_id=found.account.id,
        account_name=found.account.name,
        region=found.region.region,
        confirmed_through=None if through is None else timestamp(through),
        trouble=found.region.trouble,
    )
