"""`cloudigrade override`: what people say that images and instances really are."""

from enum import StrEnum
from typing import Annotated
from uuid import uuid4

import typer

from cli.accounts import AccountArgument
from cli.connection import CALL, LARGEST_ID, Connections
from cli.exits import CommandError, Exit
from cli.output import Column, Format, FormatOption, Output, instant, table_of
from cli.paging import all_pages
from cli.times import AsOfOption, as_of, instant_of, zone_of
from cloudigrade.accounts.v1.inventory_pb2 import (
    CreateOverrideRequest,
    LicenseModel,
    ListOverridesRequest,
    Override,
    WithdrawOverrideRequest,
)

overrides = typer.Typer(
    help="Say what an image or an instance really is, where cloudigrade cannot see it.",
    no_args_is_help=True,
)

_COLUMNS = (
    *(Column("id", right=True), Column("about"), Column("says"), Column("from"), Column("why")),
    *(Column("who"), Column("said"), Column("withdrawn")),
)


class License(StrEnum):
    """How a distribution is paid for."""

    INCLUDED = "included"
    BYOS = "byos"
    FREE = "free"
    UNKNOWN = "unknown"


@overrides.command("create")
def create(
    context: typer.Context,
    account: AccountArgument,
    about: Annotated[
        str, typer.Argument(metavar="IMAGE|INSTANCE", help="ami-..., or i-... for this one alone.")
    ],
    reason: Annotated[str, typer.Option(help="Why you say so, in one line.")],
    distribution: Annotated[
        str, typer.Option(help="ID in os-release: rhel, centos, ...; windows; unknown.")
    ] = "",
    version: Annotated[str, typer.Option(help="The distribution's version: 9.4.")] = "",
    product: Annotated[
        list[str] | None,
        typer.Option(help="A product on it: openshift, rhel-ha, sap. May be repeated."),
    ] = None,
    license_model: Annotated[
        License | None, typer.Option("--license", help="How it is paid for.")
    ] = None,
    since: Annotated[
        str,
        typer.Option("--from", help="2026-11-01, or with a time; all history.", show_default=False),
    ] = "",
    zone: Annotated[str, typer.Option(help="The IANA time zone of --from.")] = "UTC",
    output: FormatOption = Format.AUTO,
) -> None:
    """Say what an image or an instance is. What you do not say stays as it is."""
    if not about.startswith(("ami-", "i-")):
        raise CommandError(
            f"{about!r} is neither an image nor an instance; write ami-... or i-...", Exit.USAGE
        )
    connections: Connections = context.obj
    model = f"LICENSE_MODEL_{license_model.name}" if license_model else None
    override = Override(
        account_id=account,
        image_id=about if about.startswith("ami-") else "",
        instance_id=about if about.startswith("i-") else "",
        distribution=distribution,
        version=version,
        license_model=model,
        products=product or [],
        reason=reason,
        effective_time=instant_of(since, zone_of(zone), "--from") if since else None,
    )
    request = CreateOverrideRequest(override=override, request_id=str(uuid4()))
    with connections.errors(connections.config.accounts):
        answer = connections.inventory().CreateOverride(request, timeout=CALL)
    shown = connections.output(output)
    _show_one(shown, answer.override)
    shown.line(
        f"Reports count it from now on; take it back with: "
        f"cloudigrade override withdraw {account} {answer.override.id}"
    )


@overrides.command("list")
def list_(
    context: typer.Context,
    account: AccountArgument,
    known: AsOfOption = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """List what was said of an account's images and instances, newest first; withdrawn too."""
    connections: Connections = context.obj
    asked, stub = as_of(known), connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListOverrides(
                    ListOverridesRequest(
                        account_id=account, page_size=1000, page_token=token, as_of=asked
                    ),
                    timeout=CALL,
                ),
                lambda answer: answer.overrides,
            )
        )
    connections.output(output).messages(found, _COLUMNS, _row)


@overrides.command("withdraw")
def withdraw(
    context: typer.Context,
    account: AccountArgument,
    number: Annotated[
        int, typer.Argument(metavar="ID", help="The override's id.", min=1, max=LARGEST_ID)
    ],
    reason: Annotated[str, typer.Option(help="Why, in one line.")] = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """Take back what was said; reports as of an earlier time still count it."""
    connections: Connections = context.obj
    request = WithdrawOverrideRequest(account_id=account, id=number, reason=reason)
    with connections.errors(connections.config.accounts):
        answer = connections.inventory().WithdrawOverride(request, timeout=CALL)
    _show_one(connections.output(output), answer.override)


def _show_one(shown: Output, override: Override) -> None:
    shown.message(override, lambda: table_of(_COLUMNS, [_row(override)]))


def _row(override: Override) -> list[str]:
    withdrawn = instant(override.withdraw_time)
    by = f" by {override.withdrawer}" if withdrawn else ""
    why = f": {override.withdraw_reason}" if override.withdraw_reason else ""
    return [
        *(str(override.id), override.image_id or override.instance_id, _said(override)),
        *(instant(override.effective_time) or "always", override.reason, override.author),
        *(instant(override.record_time), f"{withdrawn}{by}{why}"),
    ]


def _said(override: Override) -> str:
    said = [override.distribution, override.version, *override.products]
    if override.license_model:
        model = LicenseModel.Name(override.license_model).removeprefix("LICENSE_MODEL_")
        said.append(f"({model.lower()})")
    return " ".join(filter(None, said))
