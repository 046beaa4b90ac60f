"""`cloudigrade config`: every setting, what it is now, and why it has its default."""

from dataclasses import dataclass
from typing import Any

import typer
from google.protobuf.struct_pb2 import Struct

from cli.connection import Connections
from cli.output import Column, Format, FormatOption
from cli.settings import ClientConfig
from libs.common.config import Setting, settings_of, unknown

_COLUMNS = (
    *(Column("for"), Column("variable"), Column("value"), Column("default")),
    *(Column("what it is"), Column("why it has this default")),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    setting: Setting


def show(context: typer.Context, output: FormatOption = Format.AUTO) -> None:
    """Print every setting, its value and why it has its default."""
    connections: Connections = context.obj
    environ = connections.environ
    entries = _entries()
    shown = connections.output(output)
    shown.messages(
        [_message(each, each.setting.shown(environ)) for each in entries],
        _COLUMNS,
        lambda message: [
            message[key] for key in ("for", "variable", "value", "default", "doc", "why")
        ],
    )
    known = {each.setting.env for each in entries}
    for name, nearest in unknown(environ, known).items():
        meant = f"; {nearest} was meant?" if nearest else ""
        shown.notes.print(f"{name} is set and nothing reads it{meant}", markup=False)


def _entries() -> list[_Entry]:
    """Return every setting once, with those who read it."""
    # Here, since a command that only asks a question must not load NumPy and boto3.
    from services.accounts.config import ProcessConfig as AccountsConfig  # noqa: PLC0415
    from services.inspector.config import ProcessConfig as InspectorConfig  # noqa: PLC0415
    from services.reports.config import ReportsConfig  # noqa: PLC0415
    from services.scanner.config import ScannerConfig  # noqa: PLC0415

    readers: dict[str, Any] = {
        "accounts": AccountsConfig,
        "scanner": ScannerConfig,
        "inspector": InspectorConfig,
        "reports": ReportsConfig,
        "cloudigrade": ClientConfig,
    }
    owners: dict[str, list[str]] = {}
    settings: dict[str, Setting] = {}
    for owner, config in readers.items():
        for each in settings_of(config, service=owner):
            owners.setdefault(each.env, []).append(owner)
            settings.setdefault(each.env, each)
    return [_Entry(", ".join(owners[env]), setting) for env, setting in settings.items()]


def _message(entry: _Entry, value: str) -> Struct:
    message = Struct()
    message.update(
        {
            "for": entry.owner,
            "variable": entry.setting.env,
            "value": value,
            "default": entry.setting.default if entry.setting.default is not None else "(none)",
            "doc": entry.setting.doc,
            "why": entry.setting.why,
        }
    )
    return message
