"""`cloudigrade audit`: who changed what, and why a past day's report is another now."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from cli.accounts import AccountArgument
from cli.connection import CALL, Connections
from cli.exits import CommandError, Exit
from cli.output import Column, Format, FormatOption, instant
from cli.paging import all_pages
from cli.times import instant_of, zone_of
from cloudigrade.accounts.v1.inventory_pb2 import AuditEntry, ListAuditEntriesRequest

_COLUMNS = (
    *(Column("when"), Column("who"), Column("what"), Column("of"), Column("changed reports from")),
    *(Column("up to"), Column("in words")),
)


def audit(
    context: typer.Context,
    account: AccountArgument,
    affecting: Annotated[
        str,
        typer.Option(
            help="Only what changed reports of this day, or of START..END, END not in it."
        ),
    ] = "",
    zone: Annotated[str, typer.Option(help="The IANA time zone of --affecting.")] = "UTC",
    output: FormatOption = Format.AUTO,
) -> None:
    """Show who changed what in an account, newest first."""
    connections: Connections = context.obj
    since, until = span(affecting, zone_of(zone)) if affecting else (None, None)
    stub = connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListAuditEntries(
                    ListAuditEntriesRequest(
                        account_id=account,
                        page_size=1000,
                        page_token=token,
                        affecting_start_time=since,
                        affecting_end_time=until,
                    ),
                    timeout=CALL,
                ),
                lambda answer: answer.entries,
            )
        )
    connections.output(output).messages(found, _COLUMNS, _row)


def span(text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the day or the span that --affecting names; CommandError when it names none."""
    start, dots, end = text.partition("..")
    if dots:
        since, until = (instant_of(each, zone, "--affecting") for each in (start, end))
        if since >= until:
            raise CommandError(f"--affecting {text!r} ends before it begins", Exit.USAGE)
        return since, until
    try:
        day = date.fromisoformat(text)
        # By the calendar: a day on which the clocks change has 23 or 25 hours.
        begin, end_of_day = (
            datetime.combine(each, time(), zone).astimezone(UTC)
            for each in (day, day + timedelta(days=1))
        )
    except (ValueError, OverflowError):
        raise CommandError(
            f"--affecting {text!r} is no day; write 2026-11-01, or two times with '..' between",
            Exit.USAGE,
        ) from None
    return begin, end_of_day


def _row(entry: AuditEntry) -> list[str]:
    return [
        *(instant(entry.time), entry.actor, entry.action, entry.subject),
        *(instant(entry.affected_start_time), instant(entry.affected_end_time), entry.detail),
    ]
