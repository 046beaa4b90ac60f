"""The `cloudigrade` command: puts its parts together and turns errors into exit statuses."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from cli import (
    accounts,
    auditing,
    inspections,
    inventory,
    overrides,
    reporting,
    scanning,
    users,
    variables,
)
from cli.connection import Connections
from cli.exits import CommandError, Exit
from cli.running import demo, down, up
from cli.settings import ClientConfig
from cli.state import InUse, StateFolder
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
    app.add_typer(overrides.overrides, name="override")
    app.command("audit")(auditing.audit)
    app.command("config")(variables.show)
    return app


def _connect(context: typer.Context) -> None:
    config = _where_it_runs(load(ClientConfig, os.environ))
    context.obj = Connections(config, SystemClock(), os.environ)
    context.call_on_close(context.obj.close)


def _where_it_runs(config: ClientConfig) -> ClientConfig:
    """Let what serves from the state folder be called, unless other addresses are set."""
    running = StateFolder(config.state).running()
    targets = running.targets if running else {}
    unset: dict[str, Any] = {
        name: target
        for name, target in targets.items()
        if not os.environ.get(f"CLOUDIGRADE_{name.upper()}_TARGET")
    }
    return replace(config, **unset)


def main(arguments: Annotated[Sequence[str] | None, "without the program's name"] = None) -> None:
    """Run the command and end the process with its exit status (`cli.exits`)."""
    # gRPC's core would write lines of its own to standard error; errors are told below.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        status = application()(args=arguments, prog_name="cloudigrade", standalone_mode=False)
    except CommandError as error:
        status = _complain(error)
    except typer.TyperException as error:
        # A command group without a command has printed its help, and has nothing more to say.
        text = error.format_message().strip()
        status = _complain(CommandError(text, Exit.USAGE)) if text else Exit.USAGE
    except typer.Abort:
        status = _complain(CommandError("broken off; nothing was done"))
    except ConfigError as error:
        status = _complain(CommandError(str(error), Exit.USAGE))
    except InUse as error:
        status = _complain(CommandError(str(error), Exit.CONFLICT))
    except StartError as error:
        status = _complain(CommandError(str(error)))
    except OSError as error:
        if error.filename is None:
            raise
        status = _complain(CommandError(f"{error.filename}: {error.strerror}"))
    sys.exit(status)


def _complain(error: CommandError) -> int:
    # A program that reads JSON gets its errors so too; standard output stays free for results.
    text = f"cloudigrade: {error.message}" if sys.stderr.isatty() else error.as_json()
    sys.stderr.write(text + "\n")
    return int(error.status)


if __name__ == "__main__":
    main()
