"""`cloudigrade inspections`: the reading of images' disks."""

from typing import Annotated

import typer

from cli.accounts import AccountArgument
from cli.connection import CALL, LARGEST_ID, Connections
from cli.output import Column, Format, FormatOption, instant, table_of
from cli.paging import all_pages
from cloudigrade.accounts.v1.inventory_pb2 import (
    Inspection,
    ListInspectionsRequest,
    ListQuarantineRequest,
    QuarantinedItem,
    RedriveInspectionsRequest,
)

inspections = typer.Typer(help="The reading of images' disks.", no_args_is_help=True)

_COLUMNS = (
    *(Column("id", right=True), Column("image"), Column("state"), Column("tries", right=True)),
    *(Column("reason"), Column("changed"), Column("next try")),
)
_REDRIVEN = (Column("redriven", right=True), Column("image"), Column("why it had ended"))
_ASIDE = (Column("id", right=True), Column("where"), Column("reason"), Column("kept"))
_QUEUES = "inspection."
"""How the origins of inspectors' messages begin: with the name of their queue."""


@inspections.command("list")
def list_(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """List the inspections of an account's images, newest first."""
    connections: Connections = context.obj
    stub = connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListInspections(
                    ListInspectionsRequest(account_id=account, page_size=1000, page_token=token),
                    timeout=CALL,
                ),
                lambda answer: answer.inspections,
            )
        )
    connections.output(output).messages(found, _COLUMNS, _row)


@inspections.command("redrive")
def redrive(
    context: typer.Context,
    account: AccountArgument,
    ids: Annotated[
        list[int] | None,
        typer.Argument(help="Which; none named: all that were given up.", min=1, max=LARGEST_ID),
    ] = None,
    output: FormatOption = Format.AUTO,
) -> None:
    """Give inspections a new round of tries.

    Those that were given up; named by their ids, also those whose disk could not be read.
    """
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        answer = connections.inventory().RedriveInspections(
            RedriveInspectionsRequest(account_id=account, ids=ids or []), timeout=CALL
        )
    shown = connections.output(output)
    shown.message(
        answer,
        lambda: table_of(
            _REDRIVEN, ([str(each.id), each.image_id, each.reason] for each in answer.inspections)
        ),
    )
    if not answer.redriven:
        shown.line("Nothing was redriven: no inspection of this account has been given up.")
    elif answer.redriven > len(answer.inspections):
        shown.line(f"And others: {answer.redriven} were redriven.")


@inspections.command("aside")
def aside(
    context: typer.Context,
    account: Annotated[
        int,
        typer.Argument(
            help="The account's id; none: those of no account that is known (for admins).",
            min=0,
            max=LARGEST_ID,
        ),
    ] = 0,
    output: FormatOption = Format.AUTO,
) -> None:
    """List the inspectors' messages that could not be taken, each with its reason."""
    connections: Connections = context.obj
    stub = connections.inventory()
    with connections.errors(connections.config.accounts):
        kept = all_pages(
            lambda token: stub.ListQuarantine(
                ListQuarantineRequest(account_id=account, page_token=token), timeout=CALL
            ),
            lambda answer: answer.items,
        )
        found = [each for each in kept if each.origin.startswith(_QUEUES)]
    connections.output(output).messages(found, _ASIDE, _aside_row)


def _aside_row(item: QuarantinedItem) -> list[str]:
    return [str(item.id), item.origin, item.reason, instant(item.record_time)]


def _row(inspection: Inspection) -> list[str]:
    state = Inspection.State.Name(inspection.state).removeprefix("STATE_").lower()
    return [
        *(str(inspection.id), inspection.image_id, state, str(inspection.attempts)),
        *(inspection.reason, instant(inspection.update_time), instant(inspection.next_time)),
    ]
