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
    RedriveInspectionsRequest,
)

inspections = typer.Typer(help="The reading of images' disks.", no_args_is_help=True)

_COLUMNS = (
    *(Column("id", right=True), Column("image"), Column("state"), Column("tries", right=True)),
    *(Column("reason"), Column("changed"), Column("next try")),
)


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
        typer.Argument(help="Which; none: all that were given up.", min=1, max=LARGEST_ID),
    ] = None,
    output: FormatOption = Format.AUTO,
) -> None:
    """Give inspections that were given up a new try."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        answer = connections.inventory().RedriveInspections(
            RedriveInspectionsRequest(account_id=account, ids=ids or []), timeout=CALL
        )
    connections.output(output).message(
        answer, lambda: table_of([Column("redriven", right=True)], [[str(answer.redriven)]])
    )


def _row(inspection: Inspection) -> list[str]:
    state = Inspection.State.Name(inspection.state).removeprefix("STATE_").lower()
    return [
        *(str(inspection.id), inspection.image_id, state, str(inspection.attempts)),
        *(inspection.reason, instant(inspection.update_time), instant(inspection.next_time)),
    ]
