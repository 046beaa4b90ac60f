"""The `cloudigrade` command: puts its parts together and turns errors into exit statuses."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import accounts, inspections, inventory, reporting, scanning, users, variables
from cli.connection import Connections
from cli.exits import CommandError, Exit
from cli.running import demo, down, up
from cli.settings import ClientConfig
from libs.common.clock import SystemClock
from libs.common.config import ConfigError, StartError, load


def application() -> typer.Typer:
    """Return the command with all its subcommands."""
    app = typer.Typer(
        help="How long each Linux distribution ran on your public-cloud machines.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_connect)
    app.command("up")(up)
    app.command("down")(down)
    app.command("demo")(demo)
    app.add_typer(users.users, name="user")
    app.add_typer(users.tokens, name="token")
    app.add_typer(accounts.accounts, name="account")
    app.command("scan")(scanning.scan)
    app.command("report")(reporting.report)
    app.add_typer(inventory.inventory, name="inventory")
    app.add_typer(inspections.inspections, name="inspections")
    app.command("config")(variables.show)
    return app


def _connect(context: typer.Context) -> None:
    config = load(ClientConfig, os.environ)
    context.obj = Connections(config, SystemClock(), os.environ)
    context.call_on_close(context.obj.close)


def main(arguments: Annotated[Sequence[str] | None, "without the program's name"] = None) -> None:
    """Run the command and end the process with its exit status (`cli.exits`)."""
    try:
        application()(args=arguments, prog_name="cloudigrade")
    except CommandError as error:
        sys.exit(_complain(error))
    except ConfigError as error:
        sys.exit(_complain(CommandError(str(error), Exit.USAGE)))
    except StartError as error:
        sys.exit(_complain(CommandError(str(error))))


def _complain(error: CommandError) -> int:
    # A program that reads JSON gets its errors so too; standard output stays free for results.
    text = f"cloudigrade: {error.message}" if sys.stderr.isatty() else error.as_json()
    sys.stderr.write(text + "\n")
    return int(error.status)


if __name__ == "__main__":
    main()
