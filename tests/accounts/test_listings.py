"""RecordListing through a real server and database: what listings show, and what they lack."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import timedelta
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2, inventory_pb2, schedule_pb2
from cloudigrade.accounts.v1.events_pb2 import RecordListingRequest
from libs.common.timestamps import timestamp
from services.accounts.facts import (
    Attributes,
    Event,
    EventKind,
    InstanceFacts,
    Sighting,
    Source,
    Statement,
)
from services.accounts.runs import derive
from tests.support.accounts import Accounts, refusal
from tests.support.feeding import (
    IMAGE,
    Feeder,
    feeder,
    instance,
    listed,
    message,
)
from tests.support.timeline import at, off, shown

I1, I2 = instance(1), instance(2)
M5 = Attributes("m5.large", 2, "RunInstances:0010")
MINUTE = 60_000_000


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account and its lease."""
    accounts.clock.advance(timedelta(hours=12))  # to midnight after 2026-03-01
    return feeder(accounts)


def _spans(feed: Feeder, ec2_id: str = I1) -> list[str]:
    return [
        f"{shown(run.start)}-{shown(run.end) if run.end else ''}"
        + (f"..{shown(run.end_latest)}" if run.end_latest else "")
        for run in feed.runs(ec2_id)
    ]


def _region(accounts: Accounts, feed: Feeder) -> accounts_pb2.RegionStatus:
    (region,) = accounts.admin.accounts.GetCloudAccount(
        accounts_pb2.GetCloudAccountRequest(id=feed.account_id)
    ).account.regions
    return region


# What a listing shows


def test_a_running_instance_has_an_open_run_from_its_launch(feed: Feeder) -> None:
    """Confirmed until five minutes before the listing, with what the listing shows."""
    answer = feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    assert answer.events_stored == 1
    assert answer.confirmed_through == timestamp(at("10:25"))
    (run,) = feed.runs(I1)
    assert (run.start, run.end) == (at("10:00"), 0)
    assert (run.confirmed_start, run.confirmed_end) == (at("10:00"), at("10:25"))
    assert (run.instance_type, run.vcpu, run.usage_operation) == astuple(M5)


def test_the_same_listing_again_changes_nothing(feed: Feeder) -> None:
    """Sent again after a lost answer, it is not a second one."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    feed.show(at("11:00"), [])
    before = feed.revision()
    again = feed.show(at("11:00"), [])
    assert again.confirmed_through == timestamp(at("10:55"))
    assert feed.revision() == before
    assert _spans(feed) == ["10:00-"]


def test_two_listings_that_lack_an_instance_end_its_session(feed: Feeder) -> None:
    """Where it was last confirmed, and at the latest at the first of the two."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    feed.show(at("10:45"), [])
    feed.show(at("11:00"), [])
    assert _spans(feed) == ["10:00-10:25..10:45"]


def test_an_off_told_after_an_instance_is_gone_counts(feed: Feeder) -> None:
    """CloudTrail comes later than describe."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    feed.show(at("10:45"), [])
    feed.show(at("11:00"), [])
    feed.send([message(off("10:40"), I1, feed.account_id)])
    assert _spans(feed) == ["10:00-10:40"]


def test_an_on_told_after_the_listings_that_lack_it_is_gone_at_once(feed: Feeder) -> None:
    """The listings were there first: a late fact gives what it would have given on time."""
    feed.show(at("10:30"), [])
    feed.show(at("10:45"), [])
    on = Event("x", EventKind.POWER_ON, at("10:20"), Source.CLOUDTRAIL)
    feed.send([message(on, I1, feed.account_id)])
    assert _spans(feed) == ["10:20-10:20..10:30"]


def test_listings_of_another_region_lack_nothing(feed: Feeder) -> None:
    """Each speaks of its Region alone."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    feed.show(at("10:45"), [], region="eu-west-1")
    feed.show(at("11:00"), [], region="eu-west-1")
    assert _spans(feed) == ["10:00-"]


def test_an_instance_listed_stopped_without_a_time_is_as_good_as_missing(feed: Feeder) -> None:
    """Twice listed and not on: ended, though nobody told when."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    for time in ("10:45", "11:00"):
        feed.show(at(time), [listed(I1, at("10:00"), M5, sighted=False)])
    assert _spans(feed) == ["10:00-10:25..10:45"]


def test_what_a_stopped_instance_shows_is_not_what_ran(feed: Feeder) -> None:
    """Its type was changed after it was stopped."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    stopped = [message(off("10:40"), I1, feed.account_id)]
    bigger = replace(M5, instance_type="m5.xlarge", vcpu=4)
    feed.show(at("11:00"), [listed(I1, at("10:00"), bigger, sighted=False, events=stopped)])
    feed.show(at("12:00"), [listed(I1, at("11:30"), bigger)])
    assert [(shown(r.start), r.instance_type, r.vcpu) for r in feed.runs(I1)] == [
        ("10:00", "m5.large", 2),
        ("11:30", "m5.xlarge", 4),
    ]


def test_a_licence_converted_before_the_launch_bars_the_sessions_before_it(feed: Feeder) -> None:
    """UsageOperationUpdateTime 09:00 lies between two sessions."""
    old = Event("x", EventKind.POWER_ON, at("07:00"), Source.CLOUDTRAIL)
    feed.send([message(e, I1, feed.account_id) for e in (old, off("08:00"))])
    stated = events_pb2.Attributes(
        usage_operation="RunInstances:0010", usage_operation_time=timestamp(at("09:00"))
    )
    feed.show(at("10:30"), [listed(I1, at("10:00"), attributes=stated)])
    assert [run.usage_operation for run in feed.runs(I1)] == ["", "RunInstances:0010"]


def test_a_listing_keeps_what_it_shows_of_an_instance(feed: Feeder, accounts: Accounts) -> None:
    """Tags with any characters, image, state."""
    tags = {"Name": 'a "b"\t\\c\nd', "größe": "{}"}
    shown_ = listed(
        I1,
        at("10:00"),
        M5,
        tags=tags,
        image_id=IMAGE,
        architecture="arm64",
        lifecycle="spot",
        platform_details="Red Hat Enterprise Linux",
        product_codes=['a"b', "c\\d", ""],
    )
    feed.show(at("10:30"), [shown_])
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    assert dict(found.tags) == tags
    assert (found.image_id, found.state, found.architecture) == (IMAGE, "running", "arm64")
    assert (found.lifecycle, found.instance_type) == ("spot", "m5.large")


def test_a_new_image_is_inspected_once(feed: Feeder, accounts: Accounts) -> None:
    """However many instances and listings name it."""
    image = events_pb2.ImageDescription(
        image_id=IMAGE, name="RHEL-9", root_snapshot_id="snap-00000000000000001", state="available"
    )
    both = [listed(I1, at("10:00"), image_id=IMAGE), listed(I2, at("10:00"), image_id=IMAGE)]
    assert feed.show(at("10:30"), both, images=[image]).images_new == 1
    assert feed.show(at("10:45"), both, images=[image]).images_new == 0
    inspections = accounts.admin.inventory.ListInspections(
        inventory_pb2.ListInspectionsRequest(account_id=feed.account_id)
    ).inspections
    assert [each.image_id for each in inspections] == [IMAGE]


def test_an_image_that_can_no_longer_be_described_keeps_its_description(
    feed: Feeder, accounts: Accounts
) -> None:
    """Deregistered since."""
    image = events_pb2.ImageDescription(image_id=IMAGE, name="RHEL-9", state="available")
    gone = events_pb2.ImageDescription(image_id=IMAGE, state="unavailable")
    feed.show(at("10:30"), [listed(I1, at("10:00"), image_id=IMAGE)], images=[image])
    feed.show(at("10:45"), [listed(I1, at("10:00"), image_id=IMAGE)], images=[gone])
    found = accounts.admin.inventory.GetImage(
        inventory_pb2.GetImageRequest(account_id=feed.account_id, image_id=IMAGE)
    ).image
    assert found.description.name == "RHEL-9"


def test_describe_names_an_instances_image_before_any_event(
    feed: Feeder, accounts: Accounts
) -> None:
    """Even before an earlier record."""
    early = Event("x", EventKind.POWER_ON, at("08:00"), Source.CLOUDTRAIL)
    other = "ami-00000000000000002"
    feed.send([message(early, I1, feed.account_id, image_id=other)])
    feed.show(at("10:30"), [listed(I1, at("10:00"), image_id=IMAGE)])
    feed.send([message(early._replace(event_id="y"), I1, feed.account_id, image_id=other)])
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    assert found.image_id == IMAGE


# What is refused


def test_a_listing_of_another_epoch_is_refused(feed: Feeder) -> None:
    """A scanner that was thought dead wakes."""
    told = refusal(lambda: feed.show(at("10:30"), [listed(I1, at("10:00"))], epoch=feed.epoch + 1))
    assert (told.code, told.reason) == ("FAILED_PRECONDITION", "LEASE_LOST")
    assert feed.runs(I1) == []


def test_a_listing_of_an_unknown_account_is_refused(feed: Feeder) -> None:
    """NOT_FOUND."""
    stranger = replace(feed, account_id=4711)
    assert refusal(lambda: stranger.show(at("10:30"), [])).code == "NOT_FOUND"


@pytest.mark.parametrize("broken", ["", "PE", "HP", "HHPE", "HPEP", "HPPE", "HE"])
def test_a_stream_that_breaks_the_protocol_changes_nothing(feed: Feeder, broken: str) -> None:
    """Header, part and end missing, twice, too late, an instance twice, a count that differs."""
    messages = dict(zip("HPE", feed.stream(at("10:30"), [listed(I1, at("10:00"))]), strict=True))
    requests = [messages[each] for each in broken]
    assert refusal(lambda: feed.scanner.events.RecordListing(iter(requests))).code == (
        "INVALID_ARGUMENT"
    )
    assert feed.runs(I1) == []


def test_a_bad_header_is_refused_with_every_field(feed: Feeder) -> None:
    """All at once."""
    requests = [RecordListingRequest(header=RecordListingRequest.Header())]
    told = refusal(lambda: feed.scanner.events.RecordListing(iter(requests)))
    assert set(told.fields) == {
        "header.account_id",
        "header.epoch",
        "header.region",
        "header.start_time",
    }


def test_an_instance_that_is_not_understood_is_left_out(feed: Feeder, accounts: Accounts) -> None:
    """It is kept aside and not missing, since its id was read; what is not there is."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5), listed(I2, at("10:00"), M5)])
    odd = listed(I1, at("10:00"), M5)
    odd.ClearField("launch_time")
    for time in ("10:45", "11:00"):
        answer = feed.show(at(time), [odd])
        assert [each.field for each in answer.rejections] == ["instances[0].launch_time"]
    assert _spans(feed, I1) == ["10:00-"]
    assert _spans(feed, I2) == ["10:00-10:25..10:45"]
    kept = accounts.admin.inventory.ListQuarantine(
        inventory_pb2.ListQuarantineRequest(account_id=feed.account_id)
    ).items
    assert [each.reason for each in kept] == ["launch_time: is required"]
    # The Region says what is wrong, since when, and no longer once the instance is understood.
    region = _region(accounts, feed)
    assert region.confirmed_through == timestamp(at("10:55"))
    assert region.trouble.startswith("1 instance of the last listing was not understood")
    assert region.trouble_since == timestamp(at("10:45"))
    feed.show(at("11:15"), [listed(I1, at("10:00"), M5)])
    assert _region(accounts, feed).trouble == ""


def test_while_an_id_cannot_be_read_nothing_is_missing(feed: Feeder, accounts: Accounts) -> None:
    """Any instance may be the one; nothing is confirmed by such a listing either."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    for time in ("10:45", "11:00"):
        answer = feed.show(at(time), [listed("moon", at("10:00"), M5)])
        assert [each.field for each in answer.rejections] == ["instances[0].instance_id"]
    assert _spans(feed) == ["10:00-"]
    region = _region(accounts, feed)
    assert region.confirmed_through == timestamp(at("10:25"))
    assert region.trouble.startswith("1 instance of the last listing was not understood")
    feed.show(at("11:15"), [])
    feed.show(at("11:30"), [])
    assert _spans(feed) == ["10:00-10:25..11:15"]


def test_an_instance_first_heard_of_when_it_was_not_understood_is_not_missing_then(
    feed: Feeder,
) -> None:
    """CloudTrail tells of it later: the listings that named it do not lack it."""
    odd = listed(I1, at("10:00"), M5)
    odd.ClearField("launch_time")
    for time in ("10:30", "10:45"):
        feed.show(at(time), [odd])
    on = Event("x", EventKind.POWER_ON, at("10:20"), Source.CLOUDTRAIL)
    feed.send([message(on, I1, feed.account_id)])
    assert _spans(feed) == ["10:20-"]
    feed.show(at("11:00"), [])
    feed.show(at("11:15"), [])
    assert _spans(feed) == ["10:20-10:20..11:00"]


def test_odd_characters_that_people_write_bar_nothing(feed: Feeder, accounts: Accounts) -> None:
    """No-break spaces, joiners and characters of private use are kept as they are."""
    odd = "a\u00a0b\u200b\u2028\ue000"
    shown_ = listed(I1, at("10:00"), M5, tags={odd: odd}, platform_details=odd, reservation_id=odd)
    assert not feed.show(at("10:30"), [shown_]).rejections
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    assert dict(found.tags) == {odd: odd}
    (rejection,) = feed.show(
        at("10:45"), [listed(I1, at("10:00"), M5, platform_details="a\u0085b")]
    ).rejections
    assert rejection.field == "instances[0].platform_details"


# Regions and tracking


def test_a_listing_confirms_its_region_and_ends_its_trouble(
    feed: Feeder, accounts: Accounts
) -> None:
    """confirmed_through is five minutes before the last listing, whichever came last."""
    outcome = schedule_pb2.RegionOutcome(
        region="us-east-1",
        outcome=schedule_pb2.RegionOutcome.OUTCOME_DENIED,
        detail="AccessDenied",
    )
    feed.scanner.schedule.CompleteScan(
        schedule_pb2.CompleteScanRequest(
            account_id=feed.account_id,
            epoch=feed.epoch,
            summary=schedule_pb2.ScanSummary(
                start_time=timestamp(at("10:00")),
                end_time=timestamp(at("10:01")),
                regions=[outcome],
            ),
        )
    )
    assert _region(accounts, feed).trouble
    feed.show(at("10:45"), [])
    feed.show(at("10:30"), [])
    region = _region(accounts, feed)
    assert (region.trouble, region.confirmed_through) == ("", timestamp(at("10:40")))


def test_pausing_an_account_ends_what_is_open_and_enabling_lets_a_sighting_fill_it(
    feed: Feeder, accounts: Accounts
) -> None:
    """Rule 9, from the account's life to its runs."""
    feed.show(at("10:30"), [listed(I1, at("10:00"), M5)])
    admin = accounts.admin.accounts
    admin.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=feed.account_id))
    assert _spans(feed) == ["10:00-10:25..ever"]
    accounts.clock.advance(timedelta(hours=2))
    admin.EnableCloudAccount(accounts_pb2.EnableCloudAccountRequest(id=feed.account_id))
    assert _spans(feed) == ["10:00-10:25..ever"]
    accounts.clock.advance(timedelta(minutes=10))
    after = at("23:59") + 130 * MINUTE
    lease = feed.scanner.schedule.AcquireDueLeases(
        schedule_pb2.AcquireDueLeasesRequest(holder="x", max_leases=1)
    ).leases[0]
    feed.show(after, [listed(I1, at("10:00"), M5)], epoch=lease.epoch)
    assert _spans(feed) == ["10:00-"]


def test_an_instance_that_was_not_understood_before_a_pause_was_known_until_it_was(
    feed: Feeder, accounts: Accounts
) -> None:
    """The Region's last listing says of the other instance, not of this one, that it was on."""
    both = [listed(I1, at("10:00"), M5), listed(I2, at("10:00"), M5)]
    feed.show(at("10:30"), both)
    both[0].ClearField("launch_time")
    feed.show(at("10:45"), both)
    pause = accounts_pb2.PauseCloudAccountRequest(id=feed.account_id)
    accounts.admin.accounts.PauseCloudAccount(pause)
    assert _spans(feed, I1) == ["10:00-10:25..ever"]
    assert _spans(feed, I2) == ["10:00-10:40..ever"]


# However facts arrive

_numbers = count(1000)
_regions = (f"aa-{chr(97 + n // 26)}{chr(97 + n % 26)}-{d}" for n in range(676) for d in range(99))


@st.composite
def _fleet(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Draw when an instance was truly on, in minutes."""
    edges = sorted(draw(st.lists(st.integers(1, 400), max_size=6, unique=True)))
    return list(zip(edges[::2], edges[1::2], strict=False))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fleet=_fleet(),
    times=st.lists(st.integers(1, 400), max_size=8, unique=True),
    told=st.sets(st.integers(0, 12)),
    random=st.randoms(use_true_random=False),
)
def test_runs_do_not_depend_on_how_listings_and_events_arrive(
    feed: Feeder, fleet: list[tuple[int, int]], times: list[int], told: set[int], random: Random
) -> None:
    """Listings in any order among events in any order, some of which nobody tells."""
    ec2_id, region, base = instance(next(_numbers)), next(_regions), at("01:00")
    events = [
        Event(f"{kind.name}{n}", kind, base + minute * MINUTE, Source.CLOUDTRAIL)
        for n, session in enumerate(fleet)
        for kind, minute in zip((EventKind.POWER_ON, EventKind.POWER_OFF), session, strict=True)
    ]
    known = [event for n, event in enumerate(events) if n in told]
    showings = {minute: _showing(fleet, minute) for minute in times}

    def tell() -> Iterator[None]:
        steps: list[int | Event] = [*times, *known, *times[:2]]
        random.shuffle(steps)
        for step in steps:
            if isinstance(step, Event):
                feed.send([message(step, ec2_id, feed.account_id, region=region)])
            else:
                feed.show(base + step * MINUTE, _rows(ec2_id, showings[step], base), region=region)
            yield

    for _ in tell():
        pass
    derived = derive(_facts(base, known, showings))
    assert feed.runs(ec2_id) == derived.runs


def _showing(fleet: list[tuple[int, int]], minute: int) -> tuple[int, bool] | None:
    """Return what a listing shows: the last launch and whether it is on; None before the first."""
    begun = [(start, end) for start, end in fleet if start <= minute]
    return (begun[-1][0], minute < begun[-1][1]) if begun else None


def _stated(launch: int) -> Attributes:
    return Attributes(f"type{launch}", 2, "x" if launch % 2 else "")


def _rows(
    ec2_id: str, showing: tuple[int, bool] | None, base: int
) -> list[events_pb2.ListedInstance]:
    if showing is None:
        return []
    launch, running = showing
    return [listed(ec2_id, base + launch * MINUTE, _stated(launch), sighted=running)]


def _facts(
    base: int, known: list[Event], showings: dict[int, tuple[int, bool] | None]
) -> InstanceFacts:
    """Put together what listings and events tell of the instance."""
    seen: dict[tuple[int, bool], list[int]] = {}
    for minute, showing in showings.items():
        if showing is not None:
            seen.setdefault(showing, []).append(base + minute * MINUTE)
    launches = {launch for launch, _ in seen}
    return InstanceFacts(
        [
            *known,
            *(
                Event(
                    f"describe:power_on:{base + launch * MINUTE}",
                    EventKind.POWER_ON,
                    base + launch * MINUTE,
                    Source.DESCRIBE,
                    fresh=True,
                )
                for launch in launches
            ),
        ],
        [
            Sighting(base + launch * MINUTE, min(when), max(when), _stated(launch))
            for (launch, running), when in seen.items()
            if running
        ],
        [
            Statement(min(when), max(when), _stated(launch))
            for (launch, running), when in seen.items()
            if not running
        ],
        sorted(base + minute * MINUTE for minute in showings),
    )
