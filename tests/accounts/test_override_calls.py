"""CreateOverride, ListOverrides, WithdrawOverride, and what they change in runs and reports.

One instance is on from 02:00 to 12:00 on 2026-03-01, the day of the clock; each test says what it
is and reads what follows.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2
from cloudigrade.accounts.v1 import inventory_pb2 as pb
from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc
from libs.common.channels import open_channel
from libs.common.config import ListenAddress
from libs.common.instants import to_micros
from libs.common.server_config import ServerConfig
from services.accounts.facts import Attributes, Event, EventKind, Source
from services.reports.__main__ import serve as serve_reports
from services.reports.config import ReportsConfig
from tests.accounts.test_stream_runs import stream
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller, Refusal, refusal
from tests.support.feeding import IMAGE, Feeder, feeder, instance, message

DAY = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = instance(1), instance(2)
RHEL, PLAIN = "RunInstances:0010", "RunInstances"
BYOS = pb.LICENSE_MODEL_BYOS
NOT_THERE = Refusal("NOT_FOUND", "ACCOUNT_NOT_FOUND", ())


def at(hour: int) -> datetime:
    """Return an hour of the day."""
    return DAY + timedelta(hours=hour)


@dataclass
class Fleet:
    """An account that an admin owns, and who feeds it."""

    accounts: Accounts
    feeder: Feeder

    @property
    def id(self) -> int:
        """The account's id."""
        return self.feeder.account_id

    def on(self, ec2_id: str, start: int, end: int = 0, operation: str = PLAIN) -> None:
        """Tell that an instance of the image was on from one hour to another, or still is."""
        events = [self._event(ec2_id, EventKind.POWER_ON, start, operation)]
        if end:
            events.append(self._event(ec2_id, EventKind.POWER_OFF, end))
        assert set(self.feeder.outcomes(events)) == {"STORED"}

    def converted(self, ec2_id: str, hour: int, operation: str) -> None:
        """Tell that an instance's usage operation changed."""
        change = self._event(ec2_id, EventKind.ATTRIBUTE_CHANGE, hour, operation)
        assert self.feeder.outcomes([change]) == ["STORED"]

    def say(self, **said: Any) -> pb.Override:
        """Create an override as the admin, of the image unless it names an instance."""
        if "instance_id" not in said:
            said.setdefault("image_id", IMAGE)
        return self.create({"reason": "we checked", **said}).override

    def create(self, said: dict[str, Any], request_id: str = "") -> pb.CreateOverrideResponse:
        """Create an override as the admin."""
        return self.accounts.admin.inventory.CreateOverride(self.request(said, request_id))

    def request(self, said: dict[str, Any], request_id: str = "") -> pb.CreateOverrideRequest:
        """Write a request about the account."""
        override = pb.Override(**{"account_id": self.id, **said})
        return pb.CreateOverrideRequest(override=override, request_id=request_id)

    def withdraw(self, number: int, reason: str = "") -> pb.Override:
        """Withdraw an override as the admin."""
        return self.accounts.admin.inventory.WithdrawOverride(
            pb.WithdrawOverrideRequest(account_id=self.id, id=number, reason=reason)
        ).override

    def listed(self, **asked: Any) -> pb.ListOverridesResponse:
        """List overrides as the admin."""
        return self.accounts.admin.inventory.ListOverrides(
            pb.ListOverridesRequest(account_id=self.id, **asked)
        )

    def runs(self, ec2_id: str = ONE, **asked: Any) -> list[tuple[int, int, str]]:
        """Return an instance's runs: from and to which hour (0: open), and what ran."""
        found = self.accounts.admin.inventory.ListRuns(
            pb.ListRunsRequest(account_id=self.id, instance_id=ec2_id, **asked)
        ).runs
        return [
            (hour(run.start_time), hour(run.end_time), words(run.classification)) for run in found
        ]

    def streamed(self, **asked: Any) -> list[tuple[int, int, int, str]]:
        """Return the runs as reports gets them: start, end, session start, and what ran."""
        found = stream(self.accounts, self.accounts.admin, **asked)
        (account,) = found.header.accounts
        assert account.runs == len(found.runs)
        return [
            (hour_of(start), hour_of(end), hour_of(session), words(found.classifications[rest[3]]))
            for start, end, session, *rest in found.runs
        ]

    def audit(self, action: str, **asked: Any) -> list[pb.AuditEntry]:
        """Return the account's audit entries of one kind."""
        found = self.accounts.admin.inventory.ListAuditEntries(
            pb.ListAuditEntriesRequest(account_id=self.id, **asked)
        ).entries
        return [each for each in found if each.action == action]

    def _event(
        self, ec2_id: str, kind: EventKind, hour: int, operation: str = ""
    ) -> events_pb2.Event:
        event = Event(
            event_id=f"{ec2_id} {kind.name} {hour}",
            kind=kind,
            occurred_at=to_micros(at(hour)),
            source=Source.CLOUDTRAIL,
            attributes=Attributes(usage_operation=operation),
        )
        return message(event, ec2_id, self.id, image_id=IMAGE)


def hour(stamp: Any) -> int:
    """Return a time's hour of the day; 0 for none."""
    return hour_of(stamp.ToMicroseconds()) if stamp.seconds else 0


def hour_of(micros: int) -> int:
    """Return an instant's hour of the day, which it must be exactly; 0 for none."""
    hours, rest = divmod(micros - to_micros(DAY), 3_600_000_000) if micros else (0, 0)
    assert rest == 0
    return hours


def words(what: pb.Classification) -> str:
    """Return a classification in short."""
    model = pb.LicenseModel.Name(what.license_model).removeprefix("LICENSE_MODEL_").lower()
    return " ".join(filter(None, (what.distribution, what.version, model)))


@pytest.fixture
def fleet(accounts: Accounts) -> Fleet:
    """Give an account in which an instance was on from 2 to 12 o'clock, of unknown distribution."""
    fleet = Fleet(accounts, feeder(accounts))
    fleet.on(ONE, 2, 12)
    return fleet


def test_an_override_is_shown_as_it_was_said(fleet: Fleet) -> None:
    """Who said it and when come from the server, whatever the request says of them."""
    made = fleet.say(
        distribution="rhel",
        version="9.4",
        license_model=BYOS,
        products=["sap", "openshift", "sap"],
        effective_time=at(6),
        id=77,
        author="somebody else",
        withdraw_time=at(7),
    )
    assert made == pb.Override(
        id=made.id,
        account_id=fleet.id,
        image_id=IMAGE,
        distribution="rhel",
        version="9.4",
        license_model=BYOS,
        products=["openshift", "sap"],
        reason="we checked",
        effective_time=at(6),
        author="ada",
        record_time=made.record_time,
    )
    assert made.record_time.ToDatetime(UTC) - fleet.accounts.clock.now() < timedelta(seconds=1)
    assert list(fleet.listed().overrides) == [made]


def test_a_run_is_what_was_said_from_then_on(fleet: Fleet) -> None:
    """On from 2 to 12, CentOS from 6 on: two runs of one session, in the list and the stream."""
    fleet.say(distribution="centos", version="7", effective_time=at(6))
    assert fleet.runs() == [(2, 6, "unknown unknown"), (6, 12, "centos 7 unknown")]
    assert fleet.streamed() == [(2, 6, 2, "unknown unknown"), (6, 12, 2, "centos 7 unknown")]


def test_an_override_of_one_instance_leaves_the_others(fleet: Fleet) -> None:
    """The image is Rocky, one of its instances was converted to RHEL at 8 o'clock."""
    fleet.on(TWO, 3, 10)
    fleet.say(distribution="rocky", license_model=pb.LICENSE_MODEL_FREE)
    own = fleet.say(instance_id=ONE, distribution="rhel", license_model=BYOS, effective_time=at(8))
    assert (own.instance_id, own.image_id) == (ONE, "")
    assert fleet.runs(ONE) == [(2, 8, "rocky free"), (8, 12, "rhel byos")]
    assert fleet.runs(TWO) == [(3, 10, "rocky free")]


def test_an_image_shows_the_overrides_of_the_image(fleet: Fleet) -> None:
    """With its evidence; what is said of one of its instances is not what the image is."""
    said = fleet.say(distribution="rocky", version="9.4")
    fleet.say(instance_id=ONE, distribution="rhel")
    inventory = fleet.accounts.admin.inventory
    found = inventory.GetImage(pb.GetImageRequest(account_id=fleet.id, image_id=IMAGE)).image
    known = found.classification
    assert (known.distribution, known.version, list(known.override_ids)) == (
        "rocky",
        "9.4",
        [said.id],
    )
    assert known.distribution_authority == pb.AUTHORITY_OVERRIDE
    assert known.evidence[0].signal == "override"
    assert "we checked (ada, 2026-03-01" in known.evidence[0].value
    assert known.record_time == said.record_time


def test_runs_are_paged_by_their_parts(fleet: Fleet) -> None:
    """One run cut in four comes one part a page, each once."""
    for when in (4, 6, 8):
        fleet.say(distribution="rhel", version=str(when), effective_time=at(when))
    request = pb.ListRunsRequest(account_id=fleet.id, instance_id=ONE, page_size=1)
    starts = []
    while True:
        answer = fleet.accounts.admin.inventory.ListRuns(request)
        starts += [hour(run.start_time) for run in answer.runs]
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert starts == [2, 4, 6, 8]


def test_a_conversion_and_an_override_both_cut(fleet: Fleet) -> None:
    """On from 0, RHEL on the bill up to 4 and brought from 4 on; said to be RHEL 8.10 from 6 on."""
    fleet.on(TWO, 1, 9, RHEL)
    fleet.converted(TWO, 4, "RunInstances:00g0")
    fleet.say(instance_id=TWO, distribution="rhel", version="8.10", effective_time=at(6))
    assert fleet.runs(TWO) == [
        (1, 4, "rhel included"),
        (4, 6, "rhel byos"),
        (6, 9, "rhel 8.10 byos"),
    ]


def test_the_answer_from_before_stays_what_it_was(fleet: Fleet) -> None:
    """As of before it was said nothing was; before it was withdrawn, it held; now it does not."""
    before = fleet.listed().as_of
    fleet.accounts.clock.advance(timedelta(minutes=1))
    said = fleet.say(distribution="ol", effective_time=at(6))
    held = fleet.listed().as_of
    fleet.accounts.clock.advance(timedelta(minutes=1))
    gone = fleet.withdraw(said.id, "it was the other one")
    old, new = [(2, 12, "unknown unknown")], [(2, 6, "unknown unknown"), (6, 12, "ol unknown")]
    for _ in range(2):
        assert fleet.runs() == old
        assert fleet.runs(as_of=held) == new
        assert fleet.runs(as_of=before) == old
        assert [run[3] for run in fleet.streamed(as_of=held)] == ["unknown unknown", "ol unknown"]
        assert [run[3] for run in fleet.streamed(as_of=before)] == ["unknown unknown"]
    assert list(fleet.listed(as_of=before).overrides) == []
    assert list(fleet.listed(as_of=held).overrides) == [said]
    assert list(fleet.listed().overrides) == [gone]


def test_an_override_is_withdrawn_once(fleet: Fleet) -> None:
    """The second time changes nothing: neither who, when and why, nor the account's revision."""
    said = fleet.say(distribution="ol")
    fleet.accounts.clock.advance(timedelta(minutes=1))
    gone = fleet.withdraw(said.id, "a mistake")
    assert (gone.withdrawer, gone.withdraw_reason) == ("ada", "a mistake")
    assert gone.withdraw_time.ToMicroseconds() > said.record_time.ToMicroseconds()
    revision = fleet.feeder.revision()
    assert fleet.withdraw(said.id, "once more") == gone
    assert fleet.feeder.revision() == revision
    assert len(fleet.audit("override.withdrawn")) == 1


def test_overrides_change_the_revision_that_reports_hold(fleet: Fleet) -> None:
    """So that nobody goes on with runs from before, at creation and at withdrawal."""
    seen = {fleet.feeder.revision()}
    said = fleet.say(distribution="ol")
    seen.add(fleet.feeder.revision())
    fleet.withdraw(said.id)
    seen.add(fleet.feeder.revision())
    assert len(seen) == 3


def test_a_repeat_returns_the_first(fleet: Fleet) -> None:
    """The same request_id makes one override; with another content it is refused."""
    key, said = str(uuid4()), {"image_id": IMAGE, "distribution": "ol", "reason": "checked"}
    first = fleet.create(said, key)
    assert fleet.create(said, key.upper()) == first
    assert len(fleet.listed().overrides) == len(fleet.audit("override.created")) == 1
    other = refusal(lambda: fleet.create({**said, "distribution": "rhel"}, key))
    assert other == Refusal("INVALID_ARGUMENT", "REQUEST_ID_REUSED", ("request_id",))
    gone = fleet.withdraw(first.override.id)
    assert fleet.create(said, key).override == gone


def test_overrides_are_listed_newest_first_in_pages(fleet: Fleet) -> None:
    """Three of them in pages of two, as of the first page, whatever is said meanwhile."""
    for name in ("rhel", "ol", "rocky"):
        fleet.say(distribution=name)
    first = fleet.listed(page_size=2)
    fleet.say(distribution="centos")
    second = fleet.listed(page_size=2, page_token=first.next_page_token)
    names = [each.distribution for page in (first, second) for each in page.overrides]
    assert (names, second.next_page_token, second.as_of) == (
        ["rocky", "ol", "rhel"],
        "",
        first.as_of,
    )


def test_the_audit_log_says_why_a_past_day_changed(fleet: Fleet) -> None:
    """On from 2 to 12, and still on at the clock's 12: said from 6 on, 6 to 12 changed."""
    fleet.on(TWO, 7)
    fleet.accounts.clock.advance(timedelta(hours=24))
    said = fleet.say(distribution="ol", effective_time=at(6))
    gone = fleet.withdraw(said.id, "a mistake")
    (created,) = fleet.audit("override.created")
    assert (created.actor, created.subject) == ("ada", IMAGE)
    assert created.detail == (
        f"override {said.id}: ol, from 2026-03-01 06:00:00 UTC on: we checked"
    )
    assert created.affected_start_time.ToDatetime(UTC) == at(6)
    # The second instance is still on, so that all up to now has changed.
    assert created.affected_end_time == created.time == said.record_time
    (withdrawn,) = fleet.audit("override.withdrawn")
    assert withdrawn.detail.endswith("06:00:00 UTC on: a mistake")
    assert withdrawn.affected_end_time == withdrawn.time == gone.withdraw_time


@pytest.mark.parametrize(
    ("said", "affected"),
    [
        ({"image_id": IMAGE}, (2, 12)),
        ({"image_id": IMAGE, "effective_time": at(4)}, (4, 12)),
        ({"instance_id": TWO}, (8, 10)),
        ({"instance_id": TWO, "effective_time": at(11)}, (0, 0)),
    ],
)
def test_only_time_in_which_instances_were_on_is_affected(
    fleet: Fleet, said: dict[str, Any], affected: tuple[int, int]
) -> None:
    """One was on from 2 to 12, the other from 8 to 10 o'clock."""
    fleet.on(TWO, 8, 10)
    fleet.say(**said, license_model=BYOS)
    (entry,) = fleet.audit("override.created")
    assert (hour(entry.affected_start_time), hour(entry.affected_end_time)) == affected
    span = {"affecting_start_time": at(3), "affecting_end_time": at(5)}
    expected = 1 if affected in {(2, 12), (4, 12)} else 0
    assert len(fleet.audit("override.created", **span)) == expected


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "neither": ({"image_id": ""}, "override.image_id"),
    "both": ({"instance_id": ONE}, "override.instance_id"),
    "no image id": ({"image_id": "image-1"}, "override.image_id"),
    "no instance id": ({"image_id": "", "instance_id": "i-xyz"}, "override.instance_id"),
    "nothing claimed": ({"distribution": ""}, "override.distribution"),
    "upper case": ({"distribution": "RHEL"}, "override.distribution"),
    "too long": ({"distribution": "a" * 65}, "override.distribution"),
    "a version alone": ({"distribution": "", "version": "9"}, "override.version"),
    "a version of nothing known": ({"distribution": "unknown", "version": "9"}, "override.version"),
    "two lines of version": ({"version": "9\n4"}, "override.version"),
    "products alone": (
        {"distribution": "", "license_model": BYOS, "products": ["sap"]},
        "override.products",
    ),
    "no product": ({"products": ["SAP HANA"]}, "override.products"),
    "many products": ({"products": [f"p{n}" for n in range(51)]}, "override.products"),
    "no license": ({"license_model": 9}, "override.license_model"),
    "no reason": ({"reason": ""}, "override.reason"),
    "a long reason": ({"reason": "x" * 1001}, "override.reason"),
    "half a character": ({"reason": "a\0b"}, "override.reason"),
    "the future": ({"effective_time": DAY + timedelta(days=2)}, "override.effective_time"),
    "before 1970": (
        {"effective_time": datetime(1969, 12, 31, tzinfo=UTC)},
        "override.effective_time",
    ),
}


def test_what_is_wrong_is_refused_by_its_field(fleet: Fleet) -> None:
    """Nothing is stored, and the field that is wrong is named."""
    good = {"image_id": IMAGE, "distribution": "rhel", "reason": "we checked"}
    create = fleet.accounts.admin.inventory.CreateOverride
    for what, (said, field) in BAD.items():
        refused = refusal(partial(create, fleet.request({**good, **said})))
        assert refused == Refusal("INVALID_ARGUMENT", "INVALID_REQUEST", (field,)), what
    assert not fleet.listed().overrides


def test_everything_that_is_wrong_is_named_at_once(fleet: Fleet) -> None:
    """An empty override, and a request_id that is none."""
    refused = refusal(lambda: fleet.create({}, "not-a-uuid"))
    assert set(refused.fields) == {
        *("override.image_id", "override.distribution", "override.reason", "request_id"),
    }


def test_nobody_knows_is_something_to_say(fleet: Fleet) -> None:
    """That the distribution and the license are unknown is the word of a person too."""
    fleet.on(TWO, 1, 2, RHEL)
    fleet.say(instance_id=TWO, distribution="unknown", license_model=pb.LICENSE_MODEL_UNKNOWN)
    assert fleet.runs(TWO) == [(1, 2, "unknown unknown")]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"image_id": "ami-0123456789abcdef0"}, "IMAGE_NOT_FOUND"),
        ({"instance_id": instance(99)}, "INSTANCE_NOT_FOUND"),
    ],
)
def test_what_is_not_in_the_account_is_not_found(
    fleet: Fleet, said: dict[str, str], reason: str
) -> None:
    """An image and an instance that nobody has told of; nor is an override, nor an account."""
    assert refusal(lambda: fleet.say(**said, license_model=BYOS)).reason == reason
    assert refusal(lambda: fleet.withdraw(99)) == Refusal("NOT_FOUND", "OVERRIDE_NOT_FOUND", ())
    unknown = {"account_id": 99, "image_id": IMAGE, "distribution": "ol", "reason": "x"}
    assert refusal(lambda: fleet.create(unknown)) == NOT_THERE


def test_a_withdrawal_must_name_an_override(fleet: Fleet) -> None:
    """And its reason, where there is one, is one line."""
    assert refusal(lambda: fleet.withdraw(0)).fields == ("id",)
    assert refusal(lambda: fleet.withdraw(1, "a\nb")).fields == ("reason",)


def test_a_stranger_neither_sees_nor_says_anything(fleet: Fleet) -> None:
    """Each call answers a member without the account as if there were none."""
    said = fleet.say(distribution="ol")
    stranger = fleet.accounts.member("stranger")
    override = pb.Override(account_id=fleet.id, image_id=IMAGE, distribution="ol", reason="mine")
    calls: list[Callable[[Caller], object]] = [
        lambda who: who.inventory.CreateOverride(pb.CreateOverrideRequest(override=override)),
        lambda who: who.inventory.ListOverrides(pb.ListOverridesRequest(account_id=fleet.id)),
        lambda who: who.inventory.WithdrawOverride(
            pb.WithdrawOverrideRequest(account_id=fleet.id, id=said.id)
        ),
    ]
    for call in calls:
        assert refusal(partial(call, stranger)) == NOT_THERE
    assert list(fleet.listed().overrides) == [said]


def test_an_override_stays_with_its_tenant(fleet: Fleet) -> None:
    """The same public image in another's account is what it was, and shows no override."""
    member = fleet.accounts.member("other")
    other = fleet.accounts.verified(member, "222222222222")
    scanner = fleet.feeder.scanner
    theirs = Fleet(
        fleet.accounts, Feeder(scanner, other.id, "222222222222", 0, fleet.accounts.database)
    )
    theirs.on(TWO, 3, 5)
    said = fleet.say(distribution="ol")
    request = pb.ListRunsRequest(account_id=other.id, instance_id=TWO)
    (run,) = member.inventory.ListRuns(request).runs
    assert (run.classification.distribution, list(run.classification.override_ids)) == (
        "unknown",
        [],
    )
    withdrawal = pb.WithdrawOverrideRequest(account_id=other.id, id=said.id)
    assert refusal(lambda: member.inventory.WithdrawOverride(withdrawal)).code == "NOT_FOUND"
    assert not member.inventory.ListOverrides(
        pb.ListOverridesRequest(account_id=other.id)
    ).overrides


def test_a_removed_account_whose_history_is_kept_can_be_put_right(fleet: Fleet) -> None:
    """Its history is still reported, and so what it was can still be said."""
    fleet.accounts.admin.accounts.DeleteCloudAccount(
        accounts_pb2.DeleteCloudAccountRequest(id=fleet.id, history=accounts_pb2.HISTORY_KEEP)
    )
    said = fleet.say(distribution="ol")
    assert fleet.runs() == [(2, 12, "ol unknown")]
    fleet.withdraw(said.id)
    assert fleet.runs() == [(2, 12, "unknown unknown")]


@contextmanager
def reports_of(accounts: Accounts) -> Iterator[reports_pb2_grpc.ReportServiceStub]:
    """Run reports in front of accounts, and call it as the admin."""
    config = ReportsConfig(
        server=ServerConfig(listen=ListenAddress("127.0.0.1", 0)),
        accounts_target=accounts.target,
        token=SERVICE_TOKENS["reports"],
    )
    with ExitStack() as stack:
        server = serve_reports(config, stack, clock=accounts.clock)
        channel = open_channel(f"127.0.0.1:{server.port}", token=accounts.admin.token)
        stack.callback(channel.close)
        yield reports_pb2_grpc.ReportServiceStub(channel)


def test_a_report_counts_each_distribution_for_its_time(fleet: Fleet) -> None:
    """On from 2 to 12, and a second from 3 to 5; Oracle Linux from 6 on: 4 + 2 hours and 6 hours.

    Withdrawn, all twelve are unknown again; as of before that they are what they were.
    """
    fleet.on(TWO, 3, 5)
    said = fleet.say(distribution="ol", effective_time=at(6))
    with reports_of(fleet.accounts) as reports:

        def hours(**asked: Any) -> dict[str, float]:
            request = reports_pb2.GetRuntimeRequest(
                start_time=DAY,
                end_time=DAY + timedelta(days=1),
                group_by=[reports_pb2.DIMENSION_DISTRIBUTION],
                **asked,
            )
            rows = reports.GetRuntime(request).rows
            return {row.group[0].value: row.measures.runtime.seconds / 3600 for row in rows}

        assert hours() == {"unknown": 6, "ol": 6}
        held = fleet.listed().as_of
        fleet.accounts.clock.advance(timedelta(minutes=1))
        fleet.withdraw(said.id)
        assert hours() == {"unknown": 12}
        assert hours(as_of=held) == {"unknown": 6, "ol": 6}
