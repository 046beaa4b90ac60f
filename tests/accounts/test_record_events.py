"""RecordEvents through a real server and database: outcomes, protocol, order of arrival."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from itertools import count, islice
from random import Random
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2
from cloudigrade.accounts.v1.events_pb2 import RecordEventsRequest
from services.accounts.facts import Event, EventKind, InstanceFacts, Source
from services.accounts.runs import derive
from tests.accounts.fact_strategies import events as some_events
from tests.support.accounts import START, Accounts, refusal
from tests.support.feeding import REGION, Feeder, feeder, instance, message
from tests.support.timeline import at, change, fresh, off, on, shown

I1 = instance(1)


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account."""
    accounts.clock.advance(timedelta(hours=12))  # to midnight after 2026-03-01
    return feeder(accounts)


def _spans(feed: Feeder, ec2_id: str = I1) -> list[str]:
    return [f"{shown(run.start)}-{shown(run.end) if run.end else ''}" for run in feed.runs(ec2_id)]


# Outcomes


def test_an_event_is_stored_with_the_run_that_follows(feed: Feeder) -> None:
    """After the answer the run is there."""
    assert feed.outcomes([message(on("10:00"), I1, feed.account_id)]) == ["STORED"]
    assert _spans(feed) == ["10:00-"]


def test_an_event_told_twice_counts_once(feed: Feeder) -> None:
    """In another batch, in the same batch, or by another source under the same id."""
    event = message(on("10:00", event_id="x"), I1, feed.account_id)
    again = message(on("10:00", event_id="x", source=Source.LOOKUP), I1, feed.account_id)
    assert feed.outcomes([event, event], [event], [again]) == [
        "STORED",
        "DUPLICATE",
        "DUPLICATE",
        "DUPLICATE",
    ]
    assert _spans(feed) == ["10:00-"]


def test_an_event_told_again_changes_no_revision(feed: Feeder) -> None:
    """Readers need not read again."""
    event = message(on("10:00"), I1, feed.account_id)
    feed.send([event])
    before = feed.revision()
    feed.send([event])
    assert feed.revision() == before


def test_ids_are_unique_per_instance_only(feed: Feeder) -> None:
    """One CloudTrail record starts many instances under one event id."""
    event = on("10:00", event_id="x")
    two = [message(event, instance(n), feed.account_id) for n in (1, 2)]
    assert feed.outcomes(two) == ["STORED", "STORED"]
    assert _spans(feed, instance(2)) == ["10:00-"]


def test_another_content_under_the_same_id_supersedes(feed: Feeder, accounts: Accounts) -> None:
    """The run follows the new one; the old row stays and is audited; told again it is old news."""
    old = message(on("10:00", event_id="x"), I1, feed.account_id)
    new = message(on("10:30", event_id="x"), I1, feed.account_id)
    assert feed.outcomes([old], [new], [old], [new]) == [
        "STORED",
        "SUPERSEDED",
        "DUPLICATE",
        "DUPLICATE",
    ]
    assert _spans(feed) == ["10:30-"]
    stored = accounts.admin.inventory.ListEvents(
        inventory_pb2.ListEventsRequest(account_id=feed.account_id, instance_id=I1)
    ).events
    assert [each.superseded for each in stored] == [True, False]
    entries = accounts.admin.inventory.ListAuditEntries(
        inventory_pb2.ListAuditEntriesRequest(account_id=feed.account_id)
    ).entries
    assert ("event.superseded", "x") in {(each.action, each.subject) for each in entries}


def test_many_events_superseded_together_are_audited_in_one_entry(
    feed: Feeder, accounts: Accounts
) -> None:
    """A newer parser that is run over old records must not fill the log: five are named."""
    numbers = range(1, 8)
    told = [on("10:00", event_id=f"e{n}") for n in numbers]
    later = [on("10:30", event_id=f"e{n}") for n in numbers]
    for each in (told, later):
        batch = [message(event, instance(n), feed.account_id) for n, event in enumerate(each, 1)]
        feed.send(batch)
    entries = accounts.admin.inventory.ListAuditEntries(
        inventory_pb2.ListAuditEntriesRequest(account_id=feed.account_id)
    ).entries
    assert [
        (each.subject, each.detail) for each in entries if each.action == "event.superseded"
    ] == [("7 events", "e1, e2, e3, e4, e5, ...")]


def test_two_contents_under_one_id_in_one_batch_supersede_in_order(feed: Feeder) -> None:
    """As if they had come in two."""
    old = message(on("10:00", event_id="x"), I1, feed.account_id)
    new = message(on("10:30", event_id="x"), I1, feed.account_id)
    assert feed.outcomes([old, new]) == ["STORED", "SUPERSEDED"]
    assert _spans(feed) == ["10:30-"]


def test_an_event_of_an_unknown_account_is_not_kept(feed: Feeder, accounts: Accounts) -> None:
    """By our id, by AWS's, or of an account that nobody has proved."""
    pending = accounts.account(accounts.admin, "999999999999")
    event = message(on("10:00"), I1, 4711)
    by_aws = message(on("10:00"), I1, 0, aws_account_id="000000000000")
    unproved = message(on("10:00"), I1, pending.id)
    assert feed.outcomes([event, by_aws, unproved]) == ["UNKNOWN_ACCOUNT"] * 3


def test_an_account_is_found_by_its_aws_id(feed: Feeder) -> None:
    """CloudTrail knows no other."""
    by_aws = message(on("10:00"), I1, 0, aws_account_id=feed.aws_account_id)
    assert feed.outcomes([by_aws]) == ["STORED"]
    assert _spans(feed) == ["10:00-"]


def test_an_aws_id_of_another_partition_is_another_account(feed: Feeder) -> None:
    """The Region tells the partition."""
    china = message(on("10:00"), I1, 0, aws_account_id=feed.aws_account_id, region="cn-north-1")
    assert feed.outcomes([china]) == ["UNKNOWN_ACCOUNT"]


_WRONG: dict[str, dict[str, Any]] = {
    "account_id": {"aws_account_id": "123456789012"},  # two accounts
    "region": {"region": "nowhere"},
    "instance_id": {"instance_id": "i-1"},
    "event_id": {"event_id": ""},
    "kind": {"kind": 0},
    "source": {"source": 0},
    "occur_time": {"occur_time": START + timedelta(hours=12, minutes=6)},
    "image_id": {"image_id": "ami-x"},
    "state": {"state": "a\0b"},
    "attributes.vcpus": {"attributes": events_pb2.Attributes(vcpus=0)},
}


@pytest.mark.parametrize("field", _WRONG)
def test_a_malformed_event_is_rejected_and_kept_aside(
    feed: Feeder, accounts: Accounts, field: str
) -> None:
    """With the field that is wrong; the others of its batch are stored."""
    good = message(on("10:00"), I1, feed.account_id)
    bad = message(off("11:00"), I1, feed.account_id, **_WRONG[field])
    (answer,) = feed.send([good, bad])
    assert list(answer.outcomes) == [1, 4]
    assert [(each.index, each.field) for each in answer.rejections] == [(1, f"events[1].{field}")]
    assert _spans(feed) == ["10:00-"]
    kept = accounts.admin.inventory.ListQuarantine(
        inventory_pb2.ListQuarantineRequest(account_id=feed.account_id)
    ).items
    if field != "account_id":
        assert [events_pb2.Event.FromString(each.content) for each in kept] == [bad]
        assert kept[0].reason.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("number", "aws_id", "why"),
    [
        (0, "", "or aws_account_id is required: there is not one account that knows the instance"),
        (1, "123456789012", "is not given together with aws_account_id"),
    ],
    ids=["none", "two"],
)
def test_an_event_that_names_no_one_account_is_kept_aside(
    feed: Feeder, number: int, aws_id: str, why: str
) -> None:
    """Under no account, with its content and the reason, for an admin to see."""
    bad = message(on("10:00"), I1, number, aws_account_id=aws_id)
    assert feed.outcomes([bad, message(on("10:00"), I1, feed.account_id)]) == [
        "REJECTED",
        "STORED",
    ]
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT account_id, reason, content FROM quarantine")
        ((account_id, reason, content),) = cursor.fetchall()
    assert account_id == 0
    assert reason == f"account_id: {why}"
    assert events_pb2.Event.FromString(bytes(content)) == bad


def test_an_event_without_an_account_is_of_the_one_that_knows_its_instance(
    feed: Feeder, accounts: Accounts
) -> None:
    """As long as that is one: the same instance id in two accounts leaves it open."""
    feed.send([message(on("10:00"), I1, feed.account_id)])
    assert feed.outcomes([message(off("11:00"), I1, 0)]) == ["STORED"]
    assert _spans(feed) == ["10:00-11:00"]
    other = accounts.verified(accounts.admin, "999999999999")
    feed.send([message(on("10:00"), I1, other.id)])
    assert feed.outcomes([message(off("12:00"), I1, 0)]) == ["REJECTED"]


def test_an_image_that_a_superseded_event_named_is_named_no_more(
    feed: Feeder, accounts: Accounts
) -> None:
    """The newer parser reads another image, or none: then what other events say holds."""
    wrong, right, other = (f"ami-0000000000000000{n}" for n in (1, 2, 3))
    told = on("10:00", event_id="x")
    after = message(on("11:00"), I1, feed.account_id, image_id=other)
    feed.send([message(told, I1, feed.account_id, image_id=wrong), after])
    seen = []
    for image in (right, ""):
        again = message(told, I1, feed.account_id, image_id=image)
        assert feed.outcomes([again]) == ["SUPERSEDED"]
        (found,) = accounts.admin.inventory.ListInstances(
            inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
        ).instances
        seen.append(found.image_id)
    assert seen == [right, other]


def test_events_of_unknown_accounts_are_counted_in_the_log(
    feed: Feeder, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing of them is kept, so the log says that there were some, and of how many accounts."""
    unknown = [message(on("10:00", event_id=f"{n}"), I1, 4711 + n // 2) for n in range(3)]
    assert feed.outcomes([*unknown, message(on("10:00"), I1, feed.account_id)]) == [
        *(["UNKNOWN_ACCOUNT"] * 3),
        "STORED",
    ]
    (line,) = [each for each in capfd.readouterr().out.splitlines() if "unknown_account" in each]
    assert "events=3" in line
    assert "accounts=2" in line
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT FROM quarantine")
        assert cursor.rowcount == 0


def test_a_time_five_minutes_ahead_is_taken(feed: Feeder) -> None:
    """Clocks differ."""
    ahead = message(on("10:00"), I1, feed.account_id, occur_time=START + timedelta(hours=12.08))
    assert feed.outcomes([ahead]) == ["STORED"]


def test_a_rejected_event_told_again_is_kept_once(feed: Feeder, accounts: Accounts) -> None:
    """The same content from the same place."""
    bad = message(on("10:00"), "i-1", feed.account_id)
    assert feed.outcomes([bad], [bad]) == ["REJECTED", "REJECTED"]
    kept = accounts.admin.inventory.ListQuarantine(
        inventory_pb2.ListQuarantineRequest(account_id=feed.account_id)
    ).items
    assert len(kept) == 1


def test_a_licence_dates_from_its_own_time(feed: Feeder) -> None:
    """Converted at 10:30, told by an event of 10:00."""
    stated = events_pb2.Attributes(
        usage_operation="RunInstances:0010", usage_operation_time=START - timedelta(hours=1.5)
    )
    feed.send([message(fresh("10:00"), I1, feed.account_id, attributes=stated)])
    assert [(shown(run.start), run.usage_operation) for run in feed.runs(I1)] == [
        ("10:00", ""),
        ("10:30", "RunInstances:0010"),
    ]


def test_an_event_names_its_instances_image(feed: Feeder, accounts: Accounts) -> None:
    """Of two that disagree, the earlier record wins."""
    second, first = "ami-00000000000000002", "ami-00000000000000001"
    feed.send([message(on("11:00"), I1, feed.account_id, image_id=second)])
    feed.send([message(on("10:00"), I1, feed.account_id, image_id=first)])
    feed.send([message(on("12:00"), I1, feed.account_id, image_id=second)])
    (found,) = accounts.admin.inventory.ListInstances(
        inventory_pb2.ListInstancesRequest(account_id=feed.account_id)
    ).instances
    assert (found.instance_id, found.image_id, found.region) == (I1, first, REGION)


# The stream's protocol


def test_batches_are_answered_in_order(feed: Feeder) -> None:
    """Each with its sequence."""
    batches = [[message(on("10:00"), instance(n), feed.account_id)] for n in range(1, 41)]
    assert [answer.sequence for answer in feed.send(*batches)] == list(range(1, 41))


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([RecordEventsRequest(sequence=2, events=[events_pb2.Event()])], "sequence"),
        ([RecordEventsRequest(sequence=1)], "events"),
        ([RecordEventsRequest(sequence=1, events=[events_pb2.Event()] * 1001)], "events"),
    ],
    ids=["out of sequence", "empty", "too many"],
)
def test_a_stream_that_breaks_the_protocol_ends(
    feed: Feeder, requests: list[RecordEventsRequest], field: str
) -> None:
    """INVALID_ARGUMENT, with what is wrong."""
    told = refusal(lambda: list(feed.scanner.events.RecordEvents(iter(requests))))
    assert (told.code, told.fields) == ("INVALID_ARGUMENT", (field,))


def test_what_was_answered_before_a_bad_batch_stays(feed: Feeder) -> None:
    """The good first batch is answered, then the stream ends."""
    good = RecordEventsRequest(sequence=1, events=[message(on("10:00"), I1, feed.account_id)])
    answers = feed.scanner.events.RecordEvents(iter([good, RecordEventsRequest(sequence=3)]))
    assert next(answers).sequence == 1
    assert refusal(lambda: next(answers)).code == "INVALID_ARGUMENT"
    assert _spans(feed) == ["10:00-"]


def test_a_caller_that_sends_without_reading_is_made_to_wait(feed: Feeder) -> None:
    """The server takes no more than its window of batches that wait for their answer."""
    sent = count()

    def endless() -> Iterator[RecordEventsRequest]:
        filler = "x" * 900
        for number in sent:
            event = message(on("10:00"), I1, feed.account_id, raw_id=filler)
            yield RecordEventsRequest(sequence=number + 1, events=[event] * 1000)

    answers = feed.scanner.events.RecordEvents(endless())
    assert [answer.sequence for answer in islice(answers, 2)] == [1, 2]
    answers.cancel()
    with contextlib.suppress(grpc.RpcError):
        list(answers)
    # A megabyte each: what HTTP/2 and the two windows hold, and no more.
    assert next(sent) < 100


def test_only_the_scanner_may_send(feed: Feeder, accounts: Accounts) -> None:
    """Users and other services may not."""
    user, other = accounts.admin.events, accounts.service("reports").events
    assert refusal(lambda: list(user.RecordEvents(iter(())))).code == "PERMISSION_DENIED"
    assert refusal(lambda: list(other.RecordEvents(iter(())))).code == "PERMISSION_DENIED"


# However events arrive

_numbers = count(1000)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(facts=some_events(), random=st.randoms(use_true_random=False))
def test_runs_do_not_depend_on_how_events_arrive(
    feed: Feeder, facts: list[Event], random: Random
) -> None:
    """Shuffled, told again, cut into batches of any size, on one stream or several."""
    ec2_id = instance(next(_numbers))
    told = [*facts, *random.sample(facts, len(facts) // 2)]
    random.shuffle(told)
    while told:
        size = random.randint(1, len(told))
        batch, told = told[:size], told[size:]
        cut = random.randint(0, len(batch))
        halves = [half for half in (batch[:cut], batch[cut:]) if half]
        feed.send(*([message(event, ec2_id, feed.account_id) for event in half] for half in halves))
    derived = derive(InstanceFacts(facts))
    assert feed.runs(ec2_id) == derived.runs
    assert sorted(map(repr, feed.anomalies(ec2_id))) == sorted(map(repr, derived.anomalies))


def test_a_late_event_into_a_long_history_rewrites_only_its_session(feed: Feeder) -> None:
    """Of fifty sessions the twentieth changes, and no other row is written."""
    day = [on(f"{n // 4:02}:{n % 4 * 15:02}", event_id=f"on{n}") for n in range(50)]
    day += [off(f"{n // 4:02}:{n % 4 * 15 + 10:02}", event_id=f"off{n}") for n in range(50)]
    feed.send([message(event, I1, feed.account_id) for event in day])
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT start_at, xmin::text FROM run ORDER BY 1")
        before = dict(cursor.fetchall())
    feed.send([message(off("05:07"), I1, feed.account_id)])
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT start_at, xmin::text FROM run ORDER BY 1")
        after = dict(cursor.fetchall())
    assert [shown(start) for start in after if after[start] != before.get(start)] == ["05:00"]
    assert "05:00-05:07" in _spans(feed)


def test_a_change_after_the_fact_reaches_the_sessions_that_lean_on_it(feed: Feeder) -> None:
    """A type stated last reaches back to the first session; a change in between bars it again."""
    feed.send([message(e, I1, feed.account_id) for e in (on("08:00"), off("09:00"), on("10:00"))])
    feed.send([message(on("10:00", instance_type="a"), I1, feed.account_id)])
    assert [run.instance_type for run in feed.runs(I1)] == ["a", "a"]
    feed.send([message(change("09:30", instance_type="b"), I1, feed.account_id)])
    assert [run.instance_type for run in feed.runs(I1)] == ["", "a"]


def test_events_before_the_registration_count(feed: Feeder) -> None:
    """History of a year ago."""
    year_ago = Event("old", EventKind.POWER_ON, at("10:00") - 365 * 86_400_000_000, Source.LOOKUP)
    assert feed.outcomes([message(year_ago, I1, feed.account_id)]) == ["STORED"]
    assert [run.start for run in feed.runs(I1)] == [year_ago.occurred_at]
