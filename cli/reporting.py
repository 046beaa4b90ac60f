"""`cloudigrade report`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from cli.connection import CALL, LARGEST_ID, Connections
from cli.exits import CommandError, Exit
from cli.output import Column, Format, FormatOption, Output, hours, instant, table_of
from cli.times import AsOfOption, as_of, instant_of, zone_of
from cloudigrade.reports.v1.reports_pb2 import (
    Bucket,
    Dimension,
    Filter,
    GetRuntimeRequest,
    GetRuntimeResponse,
    RuntimeRow,
)

_DIMENSIONS = {
    name.removeprefix("DIMENSION_").lower().replace("_", "-"): name
    for name in Dimension.keys()  # noqa: SIM118  # an EnumTypeWrapper cannot be iterated
    if name != "DIMENSION_UNSPECIFIED"
}
_BUCKETS = {"none": "BUCKET_UNSPECIFIED"} | {
    name.removeprefix("BUCKET_").lower(): name
    for name in Bucket.keys()  # noqa: SIM118  # as above
    if name != "BUCKET_UNSPECIFIED"
}
_SPAN = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def report(
    context: typer.Context,
    start: Annotated[
        str, typer.Option(help="The window's start: 2026-11-01, or with a time.")
    ] = "",
    end: Annotated[
        str, typer.Option(help="The window's end, which is not in it; --as-of or now.")
    ] = "",
    last: Annotated[str, typer.Option(help="Instead of --start: 12h, 30d, 4w up to the end.")] = "",
    by: Annotated[
        list[str] | None,
        typer.Option(help="Group by: " + ", ".join(_DIMENSIONS) + ". May be repeated."),
    ] = None,
    bucket: Annotated[str, typer.Option(help="none, hour, day, week or month.")] = "none",
    zone: Annotated[str, typer.Option(help="The IANA time zone of days and of --start.")] = "UTC",
    account: Annotated[
        list[int] | None, typer.Option(help="Only this account (id).", min=1, max=LARGEST_ID)
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this Region.")] = None,
    distribution: Annotated[
        list[str] | None, typer.Option(help="Only this distribution, such as rhel.")
    ] = None,
    known: AsOfOption = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """Report how long each distribution ran in a window of time."""
    connections: Connections = context.obj
    asked = as_of(known, zone)
    begin, until = window(start, end, last, zone, asked or connections.clock.now())
    request = GetRuntimeRequest(
        start_time=begin,
        end_time=until,
        time_zone=zone,
        bucket=_chosen(bucket, _BUCKETS, "--bucket"),
        group_by=[_chosen(each, _DIMENSIONS, "--by") for each in by or ["distribution"]],
        filter=Filter(
            account_ids=account or [], regions=region or [], distributions=distribution or []
        ),
        as_of=asked,
    )
    with connections.errors(connections.config.reports):
        answer = connections.reports().GetRuntime(request, timeout=CALL)
    show(connections.output(output), request, answer)


def window(start: str, end: str, last: str, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the window that the options name; CommandError when they name none.

    Without a start it is the 30 days up to the end; without an end it ends now. Times without an
    offset are read in the zone.
    """
    if start and last:
        raise CommandError("--start and --last exclude one another", Exit.USAGE)
    place = zone_of(zone)
    until = instant_of(end, place, "--end") if end else now
    if start:
        return instant_of(start, place, "--start"), until
    match = _SPAN.fullmatch(last or "30d")
    if match is None:
        raise CommandError(f"--last {last!r} is no span; write 12h, 30d or 4w", Exit.USAGE)
    try:
        return until - int(match[1]) * _UNITS[match[2]], until
    except OverflowError:
        raise CommandError(f"--last {last!r} begins before time did", Exit.USAGE) from None


def show(output: Output, request: GetRuntimeRequest, answer: GetRuntimeResponse) -> None:
    """Show a report, and beside it what it does not know."""
    output.message(answer, lambda: runtime_table(request, answer))
    output.line("")
    output.line(f"As of {instant(answer.as_of)}; times are hours:minutes:seconds.")
    for each in answer.unconfirmed:
        known = instant(each.confirmed_through)
        output.line(
            f"Not confirmed{f' since {known}' if known else ''}: {each.account_name} "
            f"{each.region} {each.trouble}".rstrip()
        )


def runtime_table(request: GetRuntimeRequest, answer: GetRuntimeResponse) -> Table:
    """Return the report as a table, the totals last."""
    zone = ZoneInfo(request.time_zone or "UTC")
    bucketed = request.bucket != Bucket.BUCKET_UNSPECIFIED
    dimensions = [
        Dimension.Name(each).removeprefix("DIMENSION_").lower().replace("_", " ")
        for each in request.group_by
    ]
    columns = [
        *([Column("from")] if bucketed else []),
        *(Column(each) for each in dimensions),
        *(Column("runtime", right=True), Column("of it unconfirmed", right=True)),
        *(Column("possibly more", right=True), Column("vCPU time", right=True)),
        *(Column("instances", right=True), Column("at once", right=True)),
    ]
    rows = [_row(row, zone if bucketed else None, len(dimensions)) for row in answer.rows]
    totals = [_row(row, zone if bucketed else None, len(dimensions)) for row in answer.totals]
    return table_of(columns, rows + totals)


def _row(row: RuntimeRow, zone: ZoneInfo | None, dimensions: int) -> list[str]:
    group = [each.value or "-" for each in row.group]
    if dimensions and not group:
        group = ["total", *[""] * (dimensions - 1)]
    measures = row.measures
    vcpu = hours(measures.vcpu_time)
    if measures.HasField("vcpu_unknown") and (
        measures.vcpu_unknown.seconds or measures.vcpu_unknown.nanos
    ):
        vcpu += f" + unknown for {hours(measures.vcpu_unknown)}"
    start = row.start_time.ToDatetime(UTC).astimezone(zone) if zone else None
    return [
        *([start.strftime("%Y-%m-%d %H:%M")] if start else []),
        *group,
        *(hours(measures.runtime), hours(measures.unconfirmed), hours(measures.possible)),
        *(vcpu, str(measures.instances), str(measures.peak_instances)),
    ]


def _chosen(word: str, choices: dict[str, str], option: str) -> str:
    try:
        return choices[word.lower()]
    except KeyError:
        known = ", ".join(choices)
        raise CommandError(f"{option} {word!r} is not one of {known}", Exit.USAGE) from None
