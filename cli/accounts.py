"""`cloudigrade account`."""

from typing import Annotated
from uuid import uuid4

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli.connection import CALL, LARGEST_ID, Connections
from cli.exits import CommandError, Exit
from cli.output import Column, Format, FormatOption, Output, instant, table_of
from cli.paging import all_pages
from cli.users import id_of_user
from cloudigrade.accounts.v1.accounts_pb2 import (
    CloudAccount,
    CreateCloudAccountRequest,
    DeleteCloudAccountRequest,
    DisableCloudAccountRequest,
    EnableCloudAccountRequest,
    GetCloudAccountRequest,
    History,
    ListCloudAccountsRequest,
    PauseCloudAccountRequest,
    UpdateCloudAccountRequest,
)
from cloudigrade.scanner.v1.scanner_pb2 import VerifyAccountRequest

_UNTRACKED = (
    "What is known stays in reports. Machines that were on count up to when they were last"
    " confirmed; what comes after is unknown."
)
_ERASED = (
    "Erased: it is gone from every report, of the past too. Its rows are being deleted in the"
    " background; the audit log of users keeps who erased it and when."
)

accounts = typer.Typer(help="The cloud accounts that are watched.", no_args_is_help=True)

AccountArgument = Annotated[
    int, typer.Argument(help="The account's id in cloudigrade.", min=1, max=LARGEST_ID)
]
_COLUMNS = (
    *(Column("id", right=True), Column("name"), Column("AWS account"), Column("state")),
    *(Column("last scan"), Column("ExternalId")),
)


@accounts.command("add")
def add(
    context: typer.Context,
    role_arn: Annotated[str, typer.Argument(help="arn:aws:iam::123456789012:role/cloudigrade")],
    name: Annotated[str, typer.Option(help="Your name for the account.")] = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """Register an AWS account by the role that cloudigrade is to assume in it."""
    connections: Connections = context.obj
    request = CreateCloudAccountRequest(
        name=name or role_arn, role_arn=role_arn, request_id=str(uuid4())
    )
    with connections.errors(connections.config.accounts):
        made = connections.accounts().CreateCloudAccount(request, timeout=CALL).account
    shown = connections.output(output)
    _show_one(shown, made)
    shown.line(
        f"Let the role's trust policy demand sts:ExternalId {made.external_id},\n"
        f"then run: cloudigrade account verify {made.id}"
    )


@accounts.command("list")
def list_(
    context: typer.Context,
    removed: Annotated[
        bool, typer.Option("--removed", help="Removed accounts with kept history too.")
    ] = False,
    output: FormatOption = Format.AUTO,
) -> None:
    """List the accounts that you may see."""
    connections: Connections = context.obj
    stub = connections.accounts()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListCloudAccounts(
                    ListCloudAccountsRequest(page_token=token, show_deleted=removed), timeout=CALL
                ),
                lambda answer: answer.accounts,
            )
        )
    connections.output(output).messages(found, _COLUMNS, _row)


@accounts.command("show")
def show(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """Show an account and how current the knowledge about each Region is."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        found = (
            connections.accounts()
            .GetCloudAccount(GetCloudAccountRequest(id=account), timeout=CALL)
            .account
        )
    shown = connections.output(output)
    columns = (Column("Region"), Column("known through"), Column("trouble"))
    rows = [[r.region, instant(r.confirmed_through), r.trouble] for r in found.regions]
    shown.line("  ".join(part for part in _row(found) if part))
    if found.verification.detail:
        shown.line(found.verification.detail)
    shown.message(found, lambda: table_of(columns, rows))


@accounts.command("verify")
def verify(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """Try to assume the account's role; says what is missing (exit status 7)."""
    connections: Connections = context.obj
    with connections.errors(connections.config.scanner):
        answer = connections.scanner().VerifyAccount(
            VerifyAccountRequest(account_id=account), timeout=CALL
        )
    row = [
        "yes" if answer.verified else "no",
        ", ".join(answer.missing_permissions),
        answer.detail,
    ]
    connections.output(output).message(
        answer,
        lambda: table_of(
            (Column("verified"), Column("missing permissions"), Column("what to do")), [row]
        ),
    )
    if not answer.verified or answer.missing_permissions:
        raise typer.Exit(Exit.PARTIAL)


@accounts.command("enable")
def enable(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """Take up scanning again after a pause or a disabling."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        answer = connections.accounts().EnableCloudAccount(
            EnableCloudAccountRequest(id=account), timeout=CALL
        )
    shown = connections.output(output)
    _show_one(shown, answer.account)
    shown.line(
        "It is scanned again from now on. Of the time between only machines count that are found to"
        " have run all through it."
    )


@accounts.command("pause")
def pause(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """Stop scanning for a while; what is known stays in reports."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        answer = connections.accounts().PauseCloudAccount(
            PauseCloudAccountRequest(id=account), timeout=CALL
        )
    shown = connections.output(output)
    _show_one(shown, answer.account)
    shown.line(_UNTRACKED)


@accounts.command("disable")
def disable(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """Stop all work for the account until it is enabled again; what is known stays in reports."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        answer = connections.accounts().DisableCloudAccount(
            DisableCloudAccountRequest(id=account), timeout=CALL
        )
    shown = connections.output(output)
    _show_one(shown, answer.account)
    shown.line(_UNTRACKED)


@accounts.command("rename")
def rename(
    context: typer.Context,
    account: AccountArgument,
    name: Annotated[str, typer.Argument(help="The new name.")],
    output: FormatOption = Format.AUTO,
) -> None:
    """Give an account another name; answers for the past keep the old one."""
    _update(context, output, CloudAccount(id=account, name=name), "name")


@accounts.command("role")
def role(
    context: typer.Context,
    account: AccountArgument,
    role_arn: Annotated[str, typer.Argument(help="Another role of the same AWS account.")],
    output: FormatOption = Format.AUTO,
) -> None:
    """Have another role of the account assumed; it must be verified then."""
    shown = _update(context, output, CloudAccount(id=account, role_arn=role_arn), "role_arn")
    shown.line(f"It is not scanned until you run: cloudigrade account verify {account}")


@accounts.command("give")
def give(
    context: typer.Context,
    account: AccountArgument,
    name: Annotated[str, typer.Argument(help="Whose it is to be.")],
    output: FormatOption = Format.AUTO,
) -> None:
    """Give an account with its history to another user (admins only)."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        owner = id_of_user(name, connections)
    _update(context, output, CloudAccount(id=account, owner_id=owner), "owner_id")


@accounts.command("remove")
def remove(
    context: typer.Context,
    account: AccountArgument,
    keep_history: Annotated[
        bool,
        typer.Option(
            "--keep-history",
            help="Reports keep what is known up to now; one that was never verified is erased.",
        ),
    ] = False,
    erase_history: Annotated[
        bool, typer.Option("--erase-history", help="What is known is gone for good.")
    ] = False,
    output: FormatOption = Format.AUTO,
) -> None:
    """Remove an account; say whether its history stays in reports."""
    if keep_history == erase_history:
        raise CommandError("say either --keep-history or --erase-history", Exit.USAGE)
    connections: Connections = context.obj
    stub = connections.accounts()
    history = History.HISTORY_KEEP if keep_history else History.HISTORY_ERASE
    with connections.errors(connections.config.accounts):
        old = stub.GetCloudAccount(GetCloudAccountRequest(id=account), timeout=CALL).account
        answer = stub.DeleteCloudAccount(
            DeleteCloudAccountRequest(id=account, history=history), timeout=CALL
        )
    kept = keep_history and old.HasField("verify_time")
    shown = connections.output(output)
    if shown.json:
        shown.message(answer, lambda: table_of((), ()))
    shown.line(f"Removed. {_UNTRACKED}" if kept else _ERASED)


def _update(context: typer.Context, output: Format, account: CloudAccount, path: str) -> Output:
    connections: Connections = context.obj
    request = UpdateCloudAccountRequest(account=account, update_mask=FieldMask(paths=[path]))
    with connections.errors(connections.config.accounts):
        changed = connections.accounts().UpdateCloudAccount(request, timeout=CALL).account
    shown = connections.output(output)
    _show_one(shown, changed)
    return shown


def _show_one(shown: Output, account: CloudAccount) -> None:
    shown.message(account, lambda: table_of(_COLUMNS, [_row(account)]))


def _row(account: CloudAccount) -> list[str]:
    state = CloudAccount.State.Name(account.state).removeprefix("STATE_").lower()
    return [
        *(str(account.id), account.name, account.aws_account_id, state),
        *(instant(account.last_scan_time), account.external_id),
    ]
