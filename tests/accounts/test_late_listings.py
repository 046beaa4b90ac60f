"""Listings that arrive after what they are older than: as if all had come on time."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from random import Random
from typing import NamedTuple, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2
from libs.common.instants import Micros
from services.accounts.fact_reader import Window, read_facts
from services.accounts.facts import Attributes, Event, EventKind, Source
from services.accounts.runs import derive
from services.accounts.sessions import FOREVER
from tests.support.accounts import Accounts
from tests.support.feeding import REGION, Feeder, feeder, instance, listed, message
from tests.support.timeline import at, shown

I1 = instance(1)
MINUTE = 60_000_000
_numbers = count(1000)
_regions = (f"aa-{chr(97 + n // 26)}{chr(97 + n % 26)}-{d}" for n in range(676) for d in range(99))


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account at midnight after 2026-03-01."""
    accounts.clock.advance(timedelta(hours=12))
    return feeder(accounts)


def _spans(feed: Feeder, ec2_id: str = I1) -> list[str]:
    return [
        f"{shown(run.start)}-{shown(run.end) if run.end else ''}"
        + (f"..{shown(run.end_latest)}" if run.end_latest else "")
        for run in feed.runs(ec2_id)
    ]


def _event(kind: EventKind, time: Micros, name: str, *, fresh: bool = False) -> Event:
    return Event(name, kind, time, Source.CLOUDTRAIL, fresh=fresh)


def _same_as_from_nothing(feed: Feeder, ec2_id: str) -> None:
    """Compare an instance's stored runs and anomalies with those derived from all its facts."""
    with feed.database.transaction() as cursor:
        cursor.execute(
            "SELECT instance_id FROM instance WHERE account_id = %s AND ec2_id = %s",
            (feed.account_id, ec2_id),
        )
        rows = cursor.fetchall()
        if not rows:
            return
        (facts,) = read_facts(cursor, [Window(feed.account_id, rows[0][0], 0, FOREVER)])
    derived = derive(facts)
    assert feed.runs(ec2_id) == derived.runs
    assert feed.anomalies(ec2_id) == derived.anomalies


# Runs


def test_a_listing_ends_a_session_before_events_that_are_later_than_it(feed: Feeder) -> None:
    """Begun at 10:00 it lacks an instance that was on and off while it was under way."""
    feed.send(
        [
            message(_event(EventKind.POWER_ON, at("09:00"), "a", fresh=True), I1, feed.account_id),
        ]
    )
    feed.show(at("09:50"), [])
    on, off = at("10:00") + 10_000_000, at("10:00") + 20_000_000
    feed.send(
        [
            message(_event(EventKind.POWER_ON, on, "b"), I1, feed.account_id),
            message(_event(EventKind.POWER_OFF, off, "c"), I1, feed.account_id),
        ]
    )
    assert [(run.start, run.end) for run in feed.runs(I1)] == [(at("09:00"), off)]
    feed.show(at("10:00"), [])
    assert [(run.start, run.end, run.end_latest) for run in feed.runs(I1)] == [
        (at("09:00"), at("09:00"), at("09:50")),
        (on, off, 0),
    ]
    _same_as_from_nothing(feed, I1)


def test_a_launch_that_is_later_than_the_listings_that_show_it_ends_what_was_before(
    feed: Feeder,
) -> None:
    """EC2's clock is ahead of the scanner's: at 10:10 and 10:11 the launch of 10:05 was over."""
    for time, launch in (("10:01", "10:05"), ("10:10", "10:20"), ("10:11", "10:20")):
        feed.show(at(time), [listed(I1, at(launch))])
    assert _spans(feed) == ["10:05-10:05..10:10", "10:20-"]
    _same_as_from_nothing(feed, I1)


Told: TypeAlias = Event | tuple[Micros, events_pb2.ListedInstance | None]


class _Kind(NamedTuple):
    """What a listing shows of the instance."""

    launch: int
    running: bool
    type_: str
    odd: bool


_kinds = st.sampled_from(  # few, so that listings often show the same
    [
        _Kind(5, running=True, type_="a", odd=False),
        _Kind(5, running=False, type_="b", odd=False),
        _Kind(20, running=True, type_="", odd=False),
        _Kind(20, running=False, type_="", odd=True),
    ]
)
_listings = st.dictionaries(st.integers(1, 60), st.none() | _kinds, max_size=6)
_events = st.lists(
    st.tuples(
        st.sampled_from([EventKind.POWER_ON, EventKind.POWER_OFF]),
        st.integers(1, 65),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda each: each[:2],
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(listings=_listings, events=_events, random=st.randoms(use_true_random=False))
def test_stored_runs_are_those_of_a_derivation_from_nothing(
    feed: Feeder,
    listings: dict[int, _Kind | None],
    events: Sequence[tuple[EventKind, int, bool]],
    random: Random,
) -> None:
    """After each of any facts in any order, however they contradict each other."""
    ec2_id, region, base = instance(next(_numbers)), next(_regions), at("01:00")
    told: list[Told] = [
        _event(kind, base + minute * MINUTE, f"{number}", fresh=fresh)
        for number, (kind, minute, fresh) in enumerate(events)
    ]
    told += [
        (base + minute * MINUTE, None if kind is None else _listed(ec2_id, base, kind))
        for minute, kind in listings.items()
    ]
    random.shuffle(told)
    for each in told:
        if isinstance(each, Event):
            feed.send([message(each, ec2_id, feed.account_id, region=region)])
        else:
            feed.show(each[0], [] if each[1] is None else [each[1]], region=region)
        _same_as_from_nothing(feed, ec2_id)


def _listed(ec2_id: str, base: Micros, kind: _Kind) -> events_pb2.ListedInstance:
    told = listed(ec2_id, base + kind.launch * MINUTE, Attributes(kind.type_), sighted=kind.running)
    if kind.odd:
        told.ClearField("launch_time")
    return told


def test_an_instance_listed_elsewhere_than_told_is_looked_for_there(feed: Feeder) -> None:
    """Events name eu-west-1, whose listings lacked it; it is in us-east-1: all its runs change."""
    for time in ("06:30", "06:45"):
        feed.show(at(time), [], region="eu-west-1")
    for event in (
        _event(EventKind.POWER_ON, at("06:00"), "w"),
        _event(EventKind.POWER_ON, at("08:00"), "x", fresh=True),
        _event(EventKind.POWER_OFF, at("09:00"), "y"),
        _event(EventKind.POWER_ON, at("10:00"), "z", fresh=True),
    ):
        feed.send([message(event, I1, feed.account_id, region="eu-west-1")])
    assert _spans(feed) == ["06:00-06:00..06:30", "08:00-09:00", "10:00-"]
    feed.show(at("10:40"), [listed(I1, at("10:00"), sighted=False)])
    assert _spans(feed) == ["06:00-06:00..08:00", "08:00-09:00", "10:00-"]
    feed.show(at("10:55"), [])
    assert _spans(feed) == [
        "06:00-06:00..08:00",
        "08:00-09:00",
        "10:00-10:00..10:40",
    ]
    _same_as_from_nothing(feed, I1)


# What instances and images show


def _instance(accounts: Accounts, feed: Feeder) -> inventory_pb2.Instance:
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    return found


def test_an_older_listing_that_comes_later_changes_nothing_that_was_shown_since(
    feed: Feeder, accounts: Accounts
) -> None:
    """Of three listings of one set of tags the one in between comes last, with others."""

    def show(time: str, name: str) -> None:
        feed.show(at(time), [listed(I1, at("09:00"), tags={"Name": name})])

    show("10:00", "web")
    show("10:30", "web")
    show("10:15", "old")
    assert dict(_instance(accounts, feed).tags) == {"Name": "web"}
    show("10:45", "new")
    assert dict(_instance(accounts, feed).tags) == {"Name": "new"}


def test_an_older_description_of_an_image_that_comes_later_is_no_news(
    feed: Feeder, accounts: Accounts
) -> None:
    """What 10:30 says holds, whichever came last; so it does over what says nothing."""
    ami = "ami-00000000000000001"

    def describe(time: str, state: str, name: str = "", description: str = "") -> None:
        image = events_pb2.ImageDescription(
            image_id=ami, state=state, name=name, description=description
        )
        feed.show(at(time), [listed(I1, at("09:00"), image_id=ami)], images=[image])

    describe("10:45", "unavailable")
    describe("10:30", "available", name="new", description="x")
    describe("10:15", "available", name="old")
    found = accounts.admin.inventory.GetImage(
        inventory_pb2.GetImageRequest(account_id=feed.account_id, image_id=ami)
    ).image
    assert (found.description.name, found.description.description) == ("new", "x")
    assert found.description.state == "available"
    assert found.region == REGION
