"""What was known at an instant, with numbers that a person can check."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2, runs_pb2, runs_pb2_grpc, schedule_pb2
from cloudigrade.accounts.v1 import inventory_pb2 as pb
from libs.common.channels import on_behalf_of
from libs.common.timestamps import timestamp
from services.accounts.facts import Attributes, Sighting
from services.accounts.past_facts import PastFacts
from tests.support.accounts import START, Accounts, refusal
from tests.support.answers import micros
from tests.support.feeding import IMAGE, Feeder, feeder, instance, listed, message
from tests.support.timeline import at, off, on, shown

I1, I2 = instance(1), instance(2)


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account, at noon of 2026-03-01."""
    return feeder(accounts)


def now(accounts: Accounts) -> Timestamp:
    """Let a minute pass, and return the instant that an answer of now speaks for."""
    accounts.clock.advance(timedelta(minutes=1))
    return timestamp(micros(accounts.clock.now()))


def runs(accounts: Accounts, feed: Feeder, as_of: Any = None, ec2_id: str = I1) -> list[str]:
    """Return an instance's runs as ListRuns gives them, as "10:00-11:00", "10:00-" while open."""
    answer = accounts.admin.inventory.ListRuns(
        pb.ListRunsRequest(account_id=feed.account_id, instance_id=ec2_id, as_of=as_of)
    )
    return [
        f"{_shown(each.start_time)}-{_shown(each.end_time) if each.HasField('end_time') else ''}"
        for each in answer.runs
    ]


def _shown(stamp: Timestamp) -> str:
    return shown(micros(stamp))


def streamed(
    accounts: Accounts, feed: Feeder | None = None, as_of: Any = None, *known: int
) -> list[runs_pb2.StreamRunsResponse]:
    """Return the stream of an account's runs, or of all, with the revisions that are known."""
    ids = [feed.account_id] if feed else []
    request = runs_pb2.StreamRunsRequest(
        as_of=as_of,
        account_ids=ids,
        known=[
            runs_pb2.StreamRunsRequest.Known(account_id=ids[0], revision=each) for each in known
        ],
    )
    stub = runs_pb2_grpc.RunServiceStub(accounts.service("reports").channel)
    return list(stub.StreamRuns(request, metadata=on_behalf_of(accounts.admin.token)))


def of_account(
    accounts: Accounts, feed: Feeder, as_of: Any = None, *known: int
) -> runs_pb2.StreamRunsResponse.AccountSnapshot:
    """Return what the header says of an account."""
    (one,) = streamed(accounts, feed, as_of, *known)[0].header.accounts
    return one


def test_a_late_off_changes_nothing_that_was_known_before(accounts: Accounts, feed: Feeder) -> None:
    """Until the off of 09:00 was told, the run of 08:00 went on."""
    feed.send([message(on("08:00"), I1, feed.account_id)])
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    feed.send([message(off("09:00"), I1, feed.account_id)])
    assert runs(accounts, feed) == ["08:00-09:00"]
    assert runs(accounts, feed, before) == ["08:00-"]
    columns = streamed(accounts, feed, before)[-1].chunk
    assert (columns.runs, int.from_bytes(columns.end, "little")) == (1, 0)


def test_a_late_on_that_takes_an_anomaly_away_leaves_it_in_the_past(
    accounts: Accounts, feed: Feeder
) -> None:
    """An off at 09:00 without an on was odd, and made no run, until an on at 08:00 was told."""
    feed.send([message(off("09:00"), I1, feed.account_id)])
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    feed.send([message(on("08:00"), I1, feed.account_id)])
    asked = pb.ListAnomaliesRequest(account_id=feed.account_id, as_of=before)
    api = accounts.admin.inventory
    assert [each.kind for each in api.ListAnomalies(asked).anomalies] == ["OFF_WITHOUT_ON"]
    asked.ClearField("as_of")
    assert list(api.ListAnomalies(asked).anomalies) == []
    assert runs(accounts, feed, before) == []
    assert runs(accounts, feed) == ["08:00-09:00"]


def test_what_was_superseded_later_was_not_superseded_then(
    accounts: Accounts, feed: Feeder
) -> None:
    """An on at 08:00 became one at 08:30; before that it stood alone, at 08:00."""
    feed.send([message(on("08:00", event_id="e"), I1, feed.account_id)])
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    feed.send([message(on("08:30", event_id="e"), I1, feed.account_id)])
    asked = pb.ListEventsRequest(account_id=feed.account_id, instance_id=I1, as_of=before)
    (then,) = accounts.admin.inventory.ListEvents(asked).events
    assert (then.superseded, then.HasField("supersede_time")) == (False, False)
    asked.ClearField("as_of")
    first, second = accounts.admin.inventory.ListEvents(asked).events
    assert (first.superseded, second.superseded) == (True, False)
    assert first.supersede_time == second.record_time
    assert (runs(accounts, feed, before), runs(accounts, feed)) == (["08:00-"], ["08:30-"])


def test_a_late_listing_splits_what_was_one_sighting_only_from_then_on(
    accounts: Accounts, feed: Feeder
) -> None:
    """Seen on at 10:00 and 11:00, on all the while; then the listing of 10:30 says: stopped."""
    for time in ("10:00", "11:00"):
        feed.show(at(time), [listed(I1, at("08:00"))])
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    feed.show(at("10:30"), [listed(I1, at("08:00"), sighted=False)])
    with accounts.database.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT instance_id FROM instance WHERE ec2_id = %s", (I1,))
        (number,) = cursor.fetchone() or (0,)
        (then,) = PastFacts(cursor, feed.account_id, micros(before)).read([number])
        (today,) = PastFacts(cursor, feed.account_id, 2**60).read([number])
    assert then.sightings == [Sighting(at("08:00"), at("10:00"), at("11:00"))]
    assert then.statements == []
    assert sorted(each.first_listing for each in today.sightings) == [at("10:00"), at("11:00")]
    assert [each.first_listing for each in today.statements] == [at("10:30")]


def test_a_region_was_known_as_far_as_its_listings_by_then(
    accounts: Accounts, feed: Feeder
) -> None:
    """After the listing of 11:00 everything up to 10:55 was known; after that of 11:30, 11:25."""
    feed.show(at("11:00"), [])
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    feed.show(at("11:30"), [])
    (then,) = of_account(accounts, feed, before).regions
    (today,) = of_account(accounts, feed).regions
    assert (_shown(then.last_listing_time), _shown(then.confirmed_through)) == ("11:00", "10:55")
    assert (_shown(today.last_listing_time), _shown(today.confirmed_through)) == ("11:30", "11:25")


def test_tracking_that_resumed_later_had_not_resumed_then(accounts: Accounts, feed: Feeder) -> None:
    """Paused at 12:02, a run counts to 11:25; seen again at 12:14, it never ended."""
    feed.show(at("11:30"), [listed(I1, at("08:00"))])
    tracked = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    accounts.admin.accounts.PauseCloudAccount(
        accounts_pb2.PauseCloudAccountRequest(id=feed.account_id)
    )
    paused = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    accounts.admin.accounts.EnableCloudAccount(
        accounts_pb2.EnableCloudAccountRequest(id=feed.account_id)
    )
    accounts.clock.advance(timedelta(minutes=10))
    feed.show(at("12:14"), [listed(I1, at("08:00"))], epoch=_lease(accounts))
    assert runs(accounts, feed, tracked) == ["08:00-"]
    assert runs(accounts, feed, paused) == ["08:00-11:25"]
    assert runs(accounts, feed) == ["08:00-"]
    state = of_account(accounts, feed, paused).state
    assert state == accounts_pb2.CloudAccount.STATE_PAUSED


def test_names_tags_and_types_are_those_of_then(accounts: Accounts, feed: Feeder) -> None:
    """The account was "web", the instance "a", and an m5.large had 2 vCPUs as far as was known."""

    def show(time: str, name: str, vcpus: int) -> None:
        m5 = events_pb2.InstanceTypeDescription(instance_type="m5.large", vcpus=vcpus)
        one = listed(I1, at("08:00"), Attributes("m5.large"), tags={"Name": name})
        feed.show(at(time), [one], instance_types=[m5])

    show("11:00", "a", 2)
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=2))
    show("11:30", "b", 4)
    accounts.admin.accounts.UpdateCloudAccount(
        accounts_pb2.UpdateCloudAccountRequest(
            account=accounts_pb2.CloudAccount(id=feed.account_id, name="production")
        )
    )

    def told(as_of: Timestamp | None) -> tuple[str, str, str, int, int]:
        header, *chunks = streamed(accounts, feed, as_of)
        (entry,) = [each for message in chunks for each in message.chunk.instances]
        (kind,) = [each for message in chunks for each in message.chunk.instance_types]
        api, one = accounts.admin.inventory, {"account_id": feed.account_id, "instance_id": I1}
        shown = api.GetInstance(pb.GetInstanceRequest(**one, as_of=as_of)).instance  # type: ignore[arg-type] # fields by their names
        (run,) = api.ListRuns(pb.ListRunsRequest(**one, as_of=as_of)).runs  # type: ignore[arg-type] # the same
        names = (header.header.accounts[0].name, entry.tags["Name"], shown.tags["Name"])
        return *names, kind.vcpus, run.vcpus

    assert told(before) == ("web", "a", "a", 2, 2)
    assert told(None) == ("production", "b", "b", 4, 4)


def test_an_image_was_what_was_known_of_it_then(accounts: Accounts, feed: Feeder) -> None:
    """Named at first by nobody's codes, then described as RHEL: its runs were unknown before."""
    feed.send([message(on("08:00"), I1, feed.account_id, image_id=IMAGE)])
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    described = events_pb2.ImageDescription(
        image_id=IMAGE, name="RHEL-9", usage_operation="RunInstances:0010", state="available"
    )
    feed.show(at("11:00"), [], images=[described])

    def told(as_of: Timestamp | None) -> tuple[str, str, str]:
        api = accounts.admin.inventory
        asked = pb.GetImageRequest(account_id=feed.account_id, image_id=IMAGE, as_of=as_of)
        image = api.GetImage(asked).image
        (run,) = api.ListRuns(
            pb.ListRunsRequest(account_id=feed.account_id, instance_id=I1, as_of=as_of)
        ).runs
        name, what = image.description.name, image.classification.distribution
        return name, what, run.classification.distribution

    assert told(before) == ("", "unknown", "unknown")
    assert told(None) == ("RHEL-9", "rhel", "rhel")


def test_pages_after_the_first_are_as_of_the_first(accounts: Accounts, feed: Feeder) -> None:
    """An instance that comes up between two pages is in neither, and the last page says 12:01."""
    feed.send([message(on("08:00"), instance(n), feed.account_id) for n in (1, 3)])
    asked_at = now(accounts)
    request = pb.ListInstancesRequest(account_id=feed.account_id, page_size=1)
    first = accounts.admin.inventory.ListInstances(request)
    accounts.clock.advance(timedelta(minutes=1))
    feed.send([message(on("08:00"), I2, feed.account_id)])
    request.page_token, request.page_size = first.next_page_token, 10
    second = accounts.admin.inventory.ListInstances(request)
    assert [each.instance_id for each in second.instances] == [instance(3)]
    assert first.as_of == second.as_of == asked_at


def test_nothing_was_known_before_the_account(accounts: Accounts) -> None:
    """A day before it was registered it is in no answer, and by its id it has nothing."""
    yesterday = START - timedelta(days=1)
    accounts.clock.advance(timedelta(hours=1))
    feed = feeder(accounts)
    feed.send([message(on("08:00"), I1, feed.account_id)])
    (all_then,) = streamed(accounts, None, yesterday)
    assert list(all_then.header.accounts) == []
    only, *chunks = streamed(accounts, feed, yesterday)
    (one,) = only.header.accounts
    assert (one.state, one.name, one.runs) == (accounts_pb2.CloudAccount.STATE_PENDING, "", 0)
    assert chunks == []
    api = accounts.admin.inventory
    asked: dict[str, Any] = {"account_id": feed.account_id, "as_of": yesterday}
    assert list(api.ListInstances(pb.ListInstancesRequest(**asked)).instances) == []
    one_instance = pb.GetInstanceRequest(**asked, instance_id=I1)
    assert refusal(lambda: api.GetInstance(one_instance)).reason == "INSTANCE_NOT_FOUND"


def test_an_account_shows_nothing_of_the_time_before_it_was_proved(accounts: Accounts) -> None:
    """Registered at 12:00 and proved at 12:02, at 12:01 it was PENDING and left out."""
    account = accounts.account(accounts.admin)
    before = now(accounts)
    accounts.clock.advance(timedelta(minutes=1))
    accounts.verify(account)
    assert list(streamed(accounts, None, before)[0].header.accounts) == []
    assert [each.account_id for each in streamed(accounts)[0].header.accounts] == [account.id]


def test_a_revision_never_lets_another_content_pass(accounts: Accounts, feed: Feeder) -> None:
    """Each instant's revision is its own, unless nothing has changed since."""
    feed.send([message(on("08:00"), I1, feed.account_id)])
    before = now(accounts)
    held = of_account(accounts, feed).revision
    accounts.clock.advance(timedelta(minutes=1))
    # Nothing has changed: the present one is good for the past.
    assert of_account(accounts, feed, before, held).unchanged
    feed.send([message(off("09:00"), I1, feed.account_id)])
    today, then = of_account(accounts, feed), of_account(accounts, feed, before)
    earlier = of_account(accounts, feed, timestamp(micros(before) - 1))
    assert len({held, today.revision, then.revision, earlier.revision}) == 4
    for known in (held, then.revision, earlier.revision):
        assert not of_account(accounts, feed, None, known).unchanged
    for known in (held, today.revision, earlier.revision):
        assert not of_account(accounts, feed, before, known).unchanged
    assert of_account(accounts, feed, before, then.revision).unchanged


def test_an_instant_of_which_nothing_can_be_known_is_refused(
    accounts: Accounts, feed: Feeder
) -> None:
    """Ahead of the clock, or before there was anything, is INVALID_ARGUMENT on as_of."""
    api = accounts.admin.inventory
    calls: list[Callable[..., Any]] = [
        lambda **asked: api.ListInstances(pb.ListInstancesRequest(**asked)),
        lambda **asked: api.ListImages(pb.ListImagesRequest(**asked)),
        lambda **asked: api.GetImage(pb.GetImageRequest(**asked, image_id=IMAGE)),
        lambda **asked: api.ListAnomalies(pb.ListAnomaliesRequest(**asked)),
        lambda **asked: api.ListOverrides(pb.ListOverridesRequest(**asked)),
        lambda **asked: api.GetInstance(pb.GetInstanceRequest(**asked, instance_id=I1)),
        lambda **asked: api.ListRuns(pb.ListRunsRequest(**asked, instance_id=I1)),
        lambda **asked: api.ListEvents(pb.ListEventsRequest(**asked, instance_id=I1)),
    ]
    for wrong in (START + timedelta(days=1), datetime(1969, 7, 20, tzinfo=UTC)):
        for call in calls:
            said = refusal(partial(call, account_id=feed.account_id, as_of=wrong))
            assert (said.code, said.fields) == ("INVALID_ARGUMENT", ("as_of",))


def _lease(accounts: Accounts) -> int:
    (lease,) = (
        accounts.service("scanner")
        .schedule.AcquireDueLeases(
            schedule_pb2.AcquireDueLeasesRequest(holder="test", max_leases=1)
        )
        .leases
    )
    return lease.epoch
