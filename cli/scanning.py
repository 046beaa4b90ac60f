"""`cloudigrade scan`."""

from contextlib import nullcontext

import typer

from cli.accounts import AccountArgument
from cli.connection import LONG_CALL, Connections
from cli.exits import CommandError, Exit
from cli.output import Column, Format, FormatOption, table_of
from cloudigrade.scanner.v1.scanner_pb2 import RegionProgress, ScanAccountRequest, ScanSummary

_FINE = (RegionProgress.STATE_LISTED, RegionProgress.STATE_DISABLED)


def scan(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """List all Regions of an account now (exit status 7 when one could not be read)."""
    connections: Connections = context.obj
    shown = connections.output(output)
    summary: ScanSummary | None = None
    regions: dict[str, RegionProgress] = {}
    notes = shown.notes
    status = notes.status("Scanning ...") if notes.is_terminal else nullcontext()
    with connections.errors(connections.config.scanner), status as spinner:
        for answer in connections.scanner().ScanAccount(
            ScanAccountRequest(account_id=account), timeout=LONG_CALL
        ):
            if answer.WhichOneof("message") == "summary":
                summary = answer.summary
                continue
            regions[answer.region.region] = answer.region
            if spinner is not None:
                spinner.update(_progress(regions))
    if summary is None:
        raise CommandError("the scan broke off; run it again", Exit.TRY_AGAIN)
    shown.message(summary, lambda: table_of(_COLUMNS, [_row(each) for each in summary.regions]))
    shown.line(_said(summary))
    if any(each.state not in _FINE for each in summary.regions):
        raise typer.Exit(Exit.PARTIAL)


_COLUMNS = (Column("Region"), Column("state"), Column("instances", right=True), Column("detail"))


def _row(region: RegionProgress) -> list[str]:
    return [region.region, _state(region), str(region.instances), region.detail]


def _state(region: RegionProgress) -> str:
    return RegionProgress.State.Name(region.state).removeprefix("STATE_").lower()


def _progress(regions: dict[str, RegionProgress]) -> str:
    done = sum(
        each.state not in (RegionProgress.STATE_WAITING, RegionProgress.STATE_LISTING)
        for each in regions.values()
    )
    instances = sum(each.instances for each in regions.values())
    return f"Scanning: {done} of {len(regions)} Regions, {instances} instances"


def _said(summary: ScanSummary) -> str:
    if summary.joined:
        return "Another scan was under way or had just ended; this is what it found."
    return (
        f"{summary.instances} instances, {summary.events_stored} new events, "
        f"{summary.images_new} new images."
    )
