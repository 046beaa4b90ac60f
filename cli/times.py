"""The times that options name."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from cli.exits import CommandError, Exit

AsOfOption = Annotated[
    str,
    typer.Option(
        "--as-of",
        help="The answer as known then (2026-11-01T12:30:00Z), for ever the same; else now.",
        show_default=False,
    ),
]


def as_of(text: str, zone: str = "UTC") -> datetime | None:
    """Return the instant that --as-of names, None for now; CommandError when it is none."""
    return instant_of(text, zone_of(zone), "--as-of") if text else None


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of that name; CommandError when there is none."""
    try:
        return ZoneInfo(name)
    # Not found; a path that leads elsewhere; a folder of the database.
    except (KeyError, ValueError, OSError):
        raise CommandError(
            f"--zone {name!r} is no IANA time zone; write it as in Europe/Berlin", Exit.USAGE
        ) from None


def instant_of(text: str, zone: ZoneInfo, option: str) -> datetime:
    """Return the instant that an option names, in the zone unless it has an offset of its own.

    Raises CommandError when it names none.
    """
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option} {text!r} is no time; write 2026-11-01 or 2026-11-01T12:30:00+01:00",
            Exit.USAGE,
        ) from None
