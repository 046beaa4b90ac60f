"""Rows of sightings: segments of the listings of a Region, in whatever order those arrive."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from itertools import count
from typing import NamedTuple, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.clock import ManualClock
from libs.common.instants import Micros
from services.accounts.database import Database
from services.accounts.fact_writing import FactWriter
from services.accounts.label_store import LabelStore
from services.accounts.listing import ListedInstance, Listing
from services.accounts.listing_store import ListingStore
from services.accounts.new_events import Stated
from services.accounts.type_store import TypeStore
from tests.support.accounts import START, Accounts
from tests.support.feeding import Feeder, feeder, instance
from tests.support.timeline import at

MINUTE = 60_000_000
BASE = at("01:00")
_numbers = count(1)
_regions = (f"aa-{chr(97 + n // 26)}{chr(97 + n % 26)}-{d}" for n in range(676) for d in range(99))


class Look(NamedTuple):
    """How a listing showed an instance; launch 0: it was not understood."""

    launch: Micros
    running: bool
    instance_type: str


UNREAD = Look(0, running=False, instance_type="")
Shown: TypeAlias = Mapping[str, Look]
Row: TypeAlias = tuple[str, Look, Micros, Micros]


class Sender:
    """Records listings of one Region without a server in between."""

    def __init__(self, database: Database, feed: Feeder) -> None:
        self.clock = ManualClock(START + timedelta(hours=12))
        labels = LabelStore(database)
        writer = FactWriter(database, labels, self.clock)
        self._store = ListingStore(writer, TypeStore(database, self.clock))
        self._feed = feed
        self._database = database

    def record(
        self, region: str, started_at: Micros, shown: Shown, *, complete: bool = True
    ) -> Micros:
        """Record a listing and return as of when it is known."""
        self._store.record(
            Listing(
                self._feed.account_id,
                self._feed.epoch,
                region,
                started_at,
                tuple(
                    ListedInstance(
                        ec2_id,
                        "running" if look.running else "stopped",
                        look.launch,
                        look.running,
                        Stated(look.instance_type, 0, "", 0),
                        (),
                    )
                    for ec2_id, look in shown.items()
                    if look != UNREAD
                ),
                unread=tuple(ec2_id for ec2_id, look in shown.items() if look == UNREAD),
                complete=complete,
            )
        )
        return self._feed.revision()

    def rows(self, region: str) -> list[Row]:
        """Return the rows of a Region's instances, by instance and time."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT ec2_id, launch_time, running, s.instance_type, first_listing, last_listing"
                " FROM sighting s JOIN instance i USING (account_id, instance_id)"
                " WHERE account_id = %s AND i.region = %s ORDER BY ec2_id, first_listing",
                (self._feed.account_id, region),
            )
            return [(row[0], Look(*row[1:4]), row[4], row[5]) for row in cursor.fetchall()]


@pytest.fixture
def sender(accounts: Accounts, database_url: str) -> Iterator[Sender]:
    """Be a scanner with an account at midnight after 2026-03-01."""
    accounts.clock.advance(timedelta(hours=12))
    with closing(Database(database_url, pool_size=2)) as database:
        yield Sender(database, feeder(accounts))


def segments(listings: Mapping[Micros, Shown]) -> list[Row]:
    """Replay listings in order: a row goes on while one listing after the other shows the same."""
    rows: list[Row] = []
    for ec2_id in sorted({ec2_id for shown in listings.values() for ec2_id in shown}):
        before: Look | None = None
        for started_at in sorted(listings):
            look = listings[started_at].get(ec2_id)
            if look is not None and look == before:
                rows[-1] = (*rows[-1][:3], started_at)
            elif look is not None:
                rows.append((ec2_id, look, started_at, started_at))
            before = look
    return rows


def clipped(rows: list[Row], known: set[Micros]) -> list[Row]:
    """Return rows as far as known listings reach, those that none parts being one."""
    found: list[Row] = []
    for ec2_id, look, first, last in rows:
        inside = [each for each in known if first <= each <= last]
        if not inside:
            continue
        row = (ec2_id, look, min(inside), max(inside))
        if found and found[-1][:2] == row[:2]:
            parting = [each for each in known if found[-1][3] < each < row[2]]
            if not parting:
                row = (*found.pop()[:3], row[3])
        found.append(row)
    return found


_looks = st.sampled_from(  # few, so that listings often show the same
    [Look(BASE, running=True, instance_type="m5.large"), UNREAD]
)
_minutes = st.lists(st.integers(1, 40), min_size=1, max_size=8, unique=True)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), minutes=_minutes)
def test_rows_are_segments_whatever_the_order_of_arrival(
    sender: Sender, data: st.DataObject, minutes: list[int]
) -> None:
    """At the end, and as of each time before clipped to what was known: as replayed in order."""
    names = [instance(next(_numbers)) for _ in range(2)]
    region = next(_regions)
    looks = st.fixed_dictionaries({}, optional=dict.fromkeys(names, _looks))
    listings: dict[Micros, Shown] = {BASE + minute * MINUTE: data.draw(looks) for minute in minutes}
    known_at: list[set[Micros]] = []
    recorded: list[Micros] = []
    for started_at, shown in listings.items():  # in the order in which they were drawn
        recorded.append(sender.record(region, started_at, shown, complete=data.draw(st.booleans())))
        # Told again, even in other words, it is known already.
        assert sender.record(region, started_at, {}) == recorded[-1]
        known_at.append({*(known_at[-1] if known_at else ()), started_at})
    assert recorded == sorted(set(recorded))
    rows = sender.rows(region)
    assert rows == segments(listings)
    for known in known_at:
        seen = {each: listings[each] for each in known}
        assert clipped(rows, known) == segments(seen)


def test_a_listing_in_order_extends_what_the_one_before_it_showed(sender: Sender) -> None:
    """09:00 and 09:15 one row; not at 09:30; 09:45 another row of the same."""
    running = Look(at("08:00"), running=True, instance_type="m5.large")
    i1 = instance(1)
    for time, shown in (
        ("09:00", {i1: running}),
        ("09:15", {i1: running}),
        ("09:30", {}),
        ("09:45", {i1: running}),
    ):
        sender.record("us-east-1", at(time), shown)
    assert sender.rows("us-east-1") == [
        (i1, running, at("09:00"), at("09:15")),
        (i1, running, at("09:45"), at("09:45")),
    ]


def test_a_late_listing_parts_a_row_that_it_does_not_bear_out(sender: Sender) -> None:
    """09:00 and 09:30 were one row until 09:15 came, which did not show it."""
    running = Look(at("08:00"), running=True, instance_type="m5.large")
    i1 = instance(1)
    for time in ("09:00", "09:30"):
        sender.record("us-east-1", at(time), {i1: running})
    assert sender.rows("us-east-1") == [(i1, running, at("09:00"), at("09:30"))]
    sender.record("us-east-1", at("09:15"), {})
    assert sender.rows("us-east-1") == [
        (i1, running, at("09:00"), at("09:00")),
        (i1, running, at("09:30"), at("09:30")),
    ]
