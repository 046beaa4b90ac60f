"""Whatever happens afterwards, an answer asked again with its as_of is the answer it was."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2, inventory_pb2, schedule_pb2
from libs.common.instants import Micros, to_micros
from libs.common.timestamps import timestamp
from services.accounts.audit import Author
from services.accounts.classification import Installed
from services.accounts.classification_store import reclassify
from services.accounts.database import Cursor, lock_accounts, next_recorded_at
from services.accounts.fact_reader import Window, read_facts
from services.accounts.facts import Attributes, Event, EventKind, InstanceFacts, Source
from services.accounts.past_facts import PastFacts
from services.accounts.sessions import FOREVER
from tests.support.accounts import START, Accounts
from tests.support.answers import Everything, everything, micros
from tests.support.effort import examples
from tests.support.feeding import Feeder, feeder, instance, listed, message

TICK = 150_000_000
"""Two and a half minutes, so that describe's lag is two of them."""
EC2_IDS = [instance(number) for number in (1, 2, 3)]
IMAGES = [f"ami-{number:017x}" for number in (1, 2)]
_numbers = count(100_000_000_000)

ec2_ids = st.sampled_from(EC2_IDS)
images = st.sampled_from(["", *IMAGES])
ticks = st.integers(1, 60).map(lambda tick: to_micros(START) - tick * TICK)
launches = st.sampled_from([60, 60, 30]).map(lambda tick: to_micros(START) - tick * TICK)
types = st.sampled_from(["", "m5.large", "t3.nano"])
attributes = st.builds(
    Attributes,
    instance_type=types,
    vcpu=st.sampled_from([0, 0, 3]),
    usage_operation=st.sampled_from(["", "", "RunInstances", "RunInstances:0010"]),
)


Facts: TypeAlias = dict[str, list[str]]
"""Of each instance of which anything is known."""


@dataclass
class Story:
    """An account, what happens to it, and what was said of it meanwhile."""

    accounts: Accounts
    feed: Feeder
    epoch: int
    tracked: bool = True
    noted: list[tuple[Everything, Facts]] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    overrides: list[int] = field(default_factory=list)

    @property
    def account_id(self) -> int:
        """The account."""
        return self.feed.account_id

    def note(self) -> None:
        """Keep what is said now, and what it follows from."""
        said = everything(self.accounts, self.accounts.admin, self.account_id)
        self.noted.append((said, self._facts()))

    def facts_at(self, at: Micros) -> Facts:
        """Return what past answers follow from; what is of instances not known then is nothing."""
        with self.accounts.database.transaction(snapshot=True) as cursor:
            ids = self._ids(cursor)
            read = PastFacts(cursor, self.account_id, at).read(list(ids.values()))
        return _facts(ids, read)

    def _facts(self) -> Facts:
        with self.accounts.database.transaction(snapshot=True) as cursor:
            ids = self._ids(cursor)
            windows = [Window(self.account_id, number, 0, FOREVER) for number in ids.values()]
            read = read_facts(cursor, windows) if windows else []
        return _facts(ids, read)

    def _ids(self, cursor: Cursor) -> dict[str, int]:
        cursor.execute(
            "SELECT ec2_id, instance_id FROM instance WHERE account_id = %s", (self.account_id,)
        )
        return dict(cursor.fetchall())


Step = Callable[[Story], None]


@st.composite
def told(draw: st.DrawFn) -> Step:
    """Tell of some events: in any order, twice, or with another content under an id."""
    events = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(
                [EventKind.POWER_ON] * 3 + [EventKind.POWER_OFF] * 3 + [EventKind.ATTRIBUTE_CHANGE]
            )
        )
        off = kind is EventKind.POWER_OFF
        event = Event(
            event_id=f"e{draw(st.integers(0, 7))}",
            kind=kind,
            occurred_at=draw(ticks),
            source=Source.CLOUDTRAIL,
            fresh=kind is EventKind.POWER_ON and draw(st.booleans()),
            previous_state=draw(st.sampled_from(["", "stopped"])) if off else "",
            termination=off and draw(st.integers(0, 7)) == 0,
            attributes=Attributes() if off else draw(attributes),
        )
        events.append((event, draw(ec2_ids), "" if off else draw(images)))

    def tell(story: Story) -> None:
        story.feed.send(
            [
                message(event, ec2_id, story.account_id, image_id=image)
                for event, ec2_id, image in events
            ]
        )
        story.shown |= {ec2_id for _, ec2_id, _ in events}

    return tell


@st.composite
def shown(draw: st.DrawFn) -> Step:
    """Send a listing, perhaps late; perhaps it holds something that nobody understands."""
    started = draw(ticks)
    some = draw(st.lists(ec2_ids, unique=True))
    instances = [
        listed(
            ec2_id,
            min(started, draw(launches)),
            draw(st.one_of(st.just(Attributes("m5.large")), attributes)),
            sighted=draw(st.integers(0, 3)) > 0,
            image_id=draw(images),
            tags={"Name": draw(st.sampled_from(["web", "db"]))},
            product_codes=draw(st.sampled_from([[], ["abc"]])),
        )
        for ec2_id in some
    ]
    if draw(st.integers(0, 4)) == 0:
        instances.append(
            events_pb2.ListedInstance(instance_id=draw(st.sampled_from(["?", EC2_IDS[0]])))
        )
        instances = list({each.instance_id: each for each in instances}.values())
    described = [
        events_pb2.ImageDescription(
            image_id=ami_id,
            name=draw(st.sampled_from(["RHEL-9", "base"])),
            owner_id="309956199498",
            usage_operation=draw(st.sampled_from(["", "RunInstances:0010"])),
            state="available",
        )
        for ami_id in draw(st.lists(st.sampled_from(IMAGES), unique=True))
    ]
    described_types = [
        events_pb2.InstanceTypeDescription(
            instance_type=name, vcpus=draw(st.integers(1, 3)), memory_mib=1024
        )
        for name in draw(st.lists(st.sampled_from(["m5.large", "t3.nano"]), unique=True))
    ]
    region = draw(st.sampled_from(["us-east-1", "us-east-1", "eu-west-1"]))

    def show(story: Story) -> None:
        if story.tracked:
            # An instance is in one Region for ever.
            here = instances if region == "us-east-1" else []
            story.feed.show(
                started,
                here,
                region=region,
                epoch=story.epoch,
                images=described,
                instance_types=described_types,
            )
            story.shown |= {each.instance_id for each in here if each.instance_id in EC2_IDS}

    return show


def pause_or_enable(story: Story) -> None:
    """End tracking, or begin it again."""
    api = story.accounts.admin.accounts
    if story.tracked:
        api.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=story.account_id))
    else:
        api.EnableCloudAccount(accounts_pb2.EnableCloudAccountRequest(id=story.account_id))
        story.epoch = _lease(story.accounts, story.account_id)
    story.tracked = not story.tracked


def rename(story: Story) -> None:
    """Give the account another name."""
    account = accounts_pb2.CloudAccount(
        id=story.account_id, name=f"web {len(story.noted)} {story.feed.revision()}"
    )
    story.accounts.admin.accounts.UpdateCloudAccount(
        accounts_pb2.UpdateCloudAccountRequest(account=account)
    )


@st.composite
def inspected(draw: st.DrawFn) -> Step:
    """Keep what an image's disk says."""
    ami_id = draw(st.sampled_from(IMAGES))
    found = Installed(draw(st.sampled_from(["rhel", "centos"])), version="9")

    def inspect(story: Story) -> None:
        with story.accounts.database.transaction() as cursor:
            lock_accounts(cursor, [story.account_id])
            cursor.execute(
                "SELECT image_id FROM image WHERE account_id = %s AND ami_id = %s",
                (story.account_id, ami_id),
            )
            ids = [number for (number,) in cursor.fetchall()]
            now = to_micros(story.accounts.clock.now())
            recorded_at = next_recorded_at(cursor, story.account_id, now)
            author = Author("service:inspector", recorded_at)
            reclassify(cursor, story.account_id, ids, author, found)

    return inspect


@st.composite
def overridden(draw: st.DrawFn) -> Step:
    """Say what an instance is, for ever or from an instant on; or take that back."""
    ec2_id, since = draw(ec2_ids), draw(st.one_of(st.none(), ticks))
    distribution = draw(st.sampled_from(["rocky", "ol"]))
    withdraw = draw(st.booleans())

    def override(story: Story) -> None:
        api = story.accounts.admin.inventory
        if withdraw and story.overrides:
            api.WithdrawOverride(
                inventory_pb2.WithdrawOverrideRequest(
                    account_id=story.account_id, id=story.overrides.pop()
                )
            )
        elif ec2_id in story.shown:
            made = api.CreateOverride(
                inventory_pb2.CreateOverrideRequest(
                    override=inventory_pb2.Override(
                        account_id=story.account_id,
                        instance_id=ec2_id,
                        distribution=distribution,
                        reason="converted",
                        effective_time=timestamp(since) if since else None,
                    )
                )
            )
            story.overrides.append(made.override.id)

    return override


@st.composite
def waited(draw: st.DrawFn) -> Step:
    """Let time pass, or not."""
    span = timedelta(microseconds=draw(st.sampled_from([0, 1, 60_000_000])))
    return lambda story: story.accounts.clock.advance(span)


steps = st.one_of(
    told(),
    told(),
    shown(),
    shown(),
    st.just(pause_or_enable),
    st.just(rename),
    inspected(),
    overridden(),
    waited(),
)
stories = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=2, max_size=5)


@examples(12)
@given(stories)
def test_every_answer_can_be_given_again(accounts: Accounts, chapters: list[list[Step]]) -> None:
    """Runs byte for byte and the whole inventory, page by page, after everything else happened."""
    feed = feeder(accounts, str(next(_numbers)))
    story = Story(accounts, feed, feed.epoch)
    story.note()
    try:
        for chapter in chapters:
            for step in chapter:
                step(story)
            story.note()
    finally:
        # Its leases are nobody's any more.
        if story.tracked:
            pause_or_enable(story)
    for was, facts in story.noted:
        assert story.facts_at(micros(was.as_of)) == facts
        again = everything(accounts, accounts.admin, feed.account_id, was.as_of, page_size=2)
        assert again.inventory == was.inventory
        assert again.runs == was.runs


def _facts(ids: dict[str, int], read: list[InstanceFacts]) -> Facts:
    """Write facts down in a fixed order; not listings, of which more may be read than matter."""
    written = {
        ec2_id: sorted(map(repr, (*each.events, *each.sightings, *each.statements)))
        for ec2_id, each in zip(ids, read, strict=True)
    }
    return {ec2_id: facts for ec2_id, facts in written.items() if facts}


def _lease(accounts: Accounts, account_id: int) -> int:
    leases = (
        accounts.service("scanner")
        .schedule.AcquireDueLeases(
            schedule_pb2.AcquireDueLeasesRequest(holder="test", max_leases=10)
        )
        .leases
    )
    (epoch,) = [each.epoch for each in leases if each.target.account_id == account_id]
    return epoch
