"""`cloudigrade user` and `cloudigrade token`."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import typer

from cli.connection import CALL, LARGEST_ID, Connections
from cli.exits import CommandError, Exit
from cli.output import Column, Format, FormatOption, instant, table_of
from cli.paging import all_pages
from cloudigrade.accounts.v1.identity_pb2 import (
    CreateTokenRequest,
    CreateTokenResponse,
    CreateUserRequest,
    DeleteUserRequest,
    ListIdentityAuditEntriesRequest,
    ListTokensRequest,
    ListUsersRequest,
    RevokeTokenRequest,
    Role,
    Token,
    UpdateUserRequest,
    User,
)
from cloudigrade.accounts.v1.inventory_pb2 import AuditEntry

users = typer.Typer(help="Users.", no_args_is_help=True)
tokens = typer.Typer(help="Users' tokens.", no_args_is_help=True)

_ROLES = {"admin": Role.ROLE_ADMIN, "member": Role.ROLE_MEMBER}
_USER_COLUMNS = (Column("id", right=True), Column("name"), Column("role"), Column("since"))
_AUDIT_COLUMNS = (
    *(Column("when"), Column("who"), Column("what"), Column("to whom or which")),
    Column("more"),
)
_TOKEN_COLUMNS = (
    *(Column("id", right=True), Column("label"), Column("made"), Column("expires")),
    Column("revoked"),
)


@users.command("create")
def create_user(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="The new user's name; without one it is asked for.")
    ] = "",
    role: Annotated[str, typer.Option(help="admin or member.")] = "member",
    output: FormatOption = Format.AUTO,
) -> None:
    """Create a user; `cloudigrade token create NAME` then makes a token for them."""
    connections: Connections = context.obj
    if role not in _ROLES:
        raise typer.BadParameter("it is admin or member", param_hint="--role")
    request = CreateUserRequest(name=name or _asked_name(), role=_ROLES[role])
    with connections.errors(connections.config.accounts):
        user = connections.identity().CreateUser(request, timeout=CALL).user
    connections.output(output).message(user, lambda: table_of(_USER_COLUMNS, [_user_row(user)]))


@users.command("list")
def list_users(context: typer.Context, output: FormatOption = Format.AUTO) -> None:
    """List all users."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        found = list(_every_user(connections))
    connections.output(output).messages(found, _USER_COLUMNS, _user_row)


@users.command("role")
def change_role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose role.")],
    role: Annotated[str, typer.Argument(help="admin or member.")],
    output: FormatOption = Format.AUTO,
) -> None:
    """Give a user another role."""
    connections: Connections = context.obj
    if role not in _ROLES:
        raise typer.BadParameter("it is admin or member", param_hint="role")
    with connections.errors(connections.config.accounts):
        user = User(id=id_of_user(name, connections), role=_ROLES[role])
        changed = connections.identity().UpdateUser(UpdateUserRequest(user=user), timeout=CALL).user
    shown = connections.output(output)
    shown.message(changed, lambda: table_of(_USER_COLUMNS, [_user_row(changed)]))
    shown.line("Their tokens are good for it within 30 seconds.")


@users.command("delete")
def delete_user(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who.")],
    output: FormatOption = Format.AUTO,
) -> None:
    """Delete a user who owns no account, with their tokens."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        request = DeleteUserRequest(id=id_of_user(name, connections))
        answer = connections.identity().DeleteUser(request, timeout=CALL)
    shown = connections.output(output)
    if shown.json:
        shown.message(answer, lambda: table_of((), ()))
    shown.line("Deleted. Their tokens are useless within 30 seconds.")


@users.command("audit")
def audit(context: typer.Context, output: FormatOption = Format.AUTO) -> None:
    """List who changed users and tokens, and who erased which account, newest first."""
    connections: Connections = context.obj
    stub = connections.identity()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListIdentityAuditEntries(
                    ListIdentityAuditEntriesRequest(page_token=token), timeout=CALL
                ),
                lambda answer: answer.entries,
            )
        )
    connections.output(output).messages(found, _AUDIT_COLUMNS, _audit_row)


@tokens.command("create")
def create_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose token; without a name it is asked for.")] = "",
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[int, typer.Option(help="How many days it holds.", min=1, max=3650)] = 90,
    output: FormatOption = Format.AUTO,
) -> None:
    """Make a token for a user and print it: this once, and never again."""
    connections: Connections = context.obj
    request = CreateTokenRequest(
        user_name=name or _asked_name(),
        label=label,
        expire_time=connections.clock.now() + timedelta(days=days),
    )
    with connections.errors(connections.config.accounts):
        made = connections.identity().CreateToken(request, timeout=CALL)
    shown = connections.output(output)
    shown.message(made, lambda: table_of([Column("token")], [[made.secret]]))
    shown.line(_advice(made))


@tokens.command("list")
def list_tokens(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose; without a name your own.")] = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """List a user's tokens, without their secrets."""
    connections: Connections = context.obj
    stub = connections.identity()
    with connections.errors(connections.config.accounts):
        user_id = id_of_user(name, connections) if name else 0
        found = list(
            all_pages(
                lambda token: stub.ListTokens(
                    ListTokensRequest(user_id=user_id, page_token=token), timeout=CALL
                ),
                lambda answer: answer.tokens,
            )
        )
    connections.output(output).messages(found, _TOKEN_COLUMNS, _token_row)


@tokens.command("revoke")
def revoke_token(
    context: typer.Context,
    token_id: Annotated[int, typer.Argument(help="The token's id.", min=1, max=LARGEST_ID)],
    output: FormatOption = Format.AUTO,
) -> None:
    """Make a token useless from now on."""
    connections: Connections = context.obj
    with connections.errors(connections.config.accounts):
        answer = connections.identity().RevokeToken(RevokeTokenRequest(id=token_id), timeout=CALL)
    connections.output(output).message(
        answer.token, lambda: table_of(_TOKEN_COLUMNS, [_token_row(answer.token)])
    )


def _asked_name() -> str:
    """Ask for a user's name; CommandError when there is nobody to ask."""
    if not sys.stdin.isatty():
        raise CommandError("give the user's name (make: NAME=...)", Exit.USAGE)
    name: str = typer.prompt("Name of the user", err=True)
    return name


def _every_user(connections: Connections) -> Iterator[User]:
    stub = connections.identity()
    return all_pages(
        lambda token: stub.ListUsers(ListUsersRequest(page_token=token), timeout=CALL),
        lambda answer: answer.users,
    )


def id_of_user(name: str, connections: Connections) -> int:
    """Return a user's id, by the list of users that the caller may see; CommandError."""
    for user in _every_user(connections):
        if user.name == name:
            found: int = user.id
            return found
    raise CommandError(f"there is no user {name!r}", Exit.NOT_FOUND, reason="USER_NOT_FOUND")


def _user_row(user: User) -> list[str]:
    role = next((name for name, value in _ROLES.items() if value == user.role), "?")
    return [str(user.id), user.name, role, instant(user.create_time)]


def _audit_row(entry: AuditEntry) -> list[str]:
    return [instant(entry.time), entry.actor, entry.action, entry.subject, entry.detail]


def _token_row(token: Token) -> list[str]:
    return [
        *(str(token.id), token.label, instant(token.create_time), instant(token.expire_time)),
        instant(token.revoke_time),
    ]


def _advice(made: CreateTokenResponse) -> str:
    return f"It is shown this once and holds until {instant(made.token.expire_time)}."
