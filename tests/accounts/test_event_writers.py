"""Writers at once, and writers that are killed: an acknowledged event is never lost."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import count
from random import Random

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudigrade.accounts.v1 import events_pb2
from cloudigrade.accounts.v1.events_pb2 import RecordEventsRequest
from libs.common.clock import ManualClock
from libs.common.embedded_postgres import EmbeddedPostgres
from libs.common.instants import to_micros
from services.accounts.database import Database
from services.accounts.event_store import EventStore
from services.accounts.fact_writing import FactWriter
from services.accounts.facts import Event, EventKind, InstanceFacts, Source
from services.accounts.label_store import LabelStore
from services.accounts.new_events import NewEvent, Outcome
from services.accounts.runs import derive
from tests.accounts.fact_strategies import events as some_events
from tests.support.accounts import SERVICE_TOKENS, START, Accounts, Caller
from tests.support.accounts_process import accounts_process
from tests.support.feeding import REGION, Feeder, feeder, instance, message

_numbers = count(1)


@contextmanager
def _store(url: str, wake: Callable[[], None] = lambda: None) -> Iterator[EventStore]:
    """Open a store of its own, as another process would."""
    with closing(Database(url, pool_size=2)) as database:
        clock = ManualClock(START + timedelta(hours=12))
        yield EventStore(FactWriter(database, LabelStore(database), clock, wake))


def _new(event: Event, account_id: int, ec2_id: str) -> NewEvent:
    stated = event.attributes
    return NewEvent(
        account_id=account_id,
        region=REGION,
        ec2_id=ec2_id,
        event_id=event.event_id,
        kind=event.kind,
        occurred_at=event.occurred_at,
        source=event.source,
        fresh=event.fresh,
        termination=event.termination,
        state="",
        previous_state=event.previous_state,
        instance_type=stated.instance_type,
        vcpu=stated.vcpu,
        usage_operation=stated.usage_operation,
        usage_operation_at=0,
        image="",
        raw_id="",
    )


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account."""
    return feeder(accounts)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(facts=some_events(), random=st.randoms(use_true_random=False))
def test_two_writers_at_once_lose_nothing(
    feed: Feeder, database_url: str, facts: list[Event], random: Random
) -> None:
    """Each tells part of one instance's events, some of them both, in transactions at once."""
    ec2_id = instance(next(_numbers))
    told = [random.sample(facts, random.randint(0, len(facts))) for _ in range(2)]
    told[0] += [event for event in facts if event not in told[0] and event not in told[1]]
    start = threading.Barrier(2)
    failures: list[BaseException] = []

    def write(events: Sequence[Event]) -> None:
        try:
            with _store(database_url) as store:
                start.wait()
                for event in events:
                    store.record([_new(event, feed.account_id, ec2_id)])
        except BaseException as error:  # noqa: BLE001 # raised where the test sees it
            failures.append(error)
            start.abort()

    writers = [threading.Thread(target=write, args=(events,)) for events in told]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    derived = derive(InstanceFacts(facts))
    assert feed.runs(ec2_id) == derived.runs


def test_facts_of_one_account_are_dated_one_after_the_other(
    feed: Feeder, database_url: str
) -> None:
    """The clock stands still, and yet no two transactions share an instant."""
    events = [Event(f"e{n}", EventKind.POWER_ON, n, Source.CLOUDTRAIL) for n in range(1, 5)]
    with _store(database_url) as one, _store(database_url) as other:
        for event, store in zip(events, (one, other, one, other), strict=True):
            store.record([_new(event, feed.account_id, instance(1))])
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT recorded_at FROM event ORDER BY occurred_at")
        dated = [row[0] for row in cursor.fetchall()]
    assert dated == sorted(set(dated))
    assert feed.revision() == dated[-1]


_WRITING = textwrap.dedent("""
    import sys
    from services.accounts.facts import Event, EventKind, Source
    from tests.accounts.test_event_writers import _new, _store

    url, account_id, ec2_id = sys.argv[1:]
    with _store(url) as store:
        print("here", flush=True)
        sys.stdin.readline()
        for n in range(1, 21):
            event = Event(f"{ec2_id}-{n}", EventKind.POWER_ON, n, Source.CLOUDTRAIL)
            store.record([_new(event, int(account_id), ec2_id)])
""")


def test_processes_that_write_at_once_never_share_an_instant(
    feed: Feeder, database_url: str
) -> None:
    """Two, twenty transactions each on one account, by clocks that stand still at one time."""
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        *(sys.executable, "-c", _WRITING, database_url),
                        *(str(feed.account_id), instance(number)),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in (1, 2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert any(line.strip() == "here" for line in iter(writer.stdout.readline, ""))
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.wait(60) for writer in writers] == [0, 0]
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT recorded_at, instance_id FROM event ORDER BY recorded_at")
        rows = cursor.fetchall()
    dated = [at for at, _ in rows]
    assert len(dated) == 40
    assert dated == sorted(set(dated))
    assert feed.revision() == dated[-1]
    assert len({number for _, number in rows}) == 2


def test_facts_are_dated_after_every_answer_that_was_given(feed: Feeder, database_url: str) -> None:
    """Somebody was told what was known in a thousand seconds: what comes now was not."""
    said = to_micros(START + timedelta(hours=12)) + 1_000_000_000
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT setval('answered_at', %s)", (said,))
    with _store(database_url) as store:
        store.record([_new(Event("x", EventKind.POWER_ON, 1, Source.LOOKUP), feed.account_id, "i")])
    with feed.database.transaction() as cursor:
        cursor.execute("SELECT recorded_at FROM event UNION SELECT recorded_at FROM run")
        assert cursor.fetchall() == [(said + 1,)]


def test_an_image_that_only_an_event_names_is_inspected_at_once(
    feed: Feeder, database_url: str
) -> None:
    """Its job is in the transaction, and after the commit whoever publishes is woken, once."""
    woken: list[int] = []

    def wake() -> None:
        with feed.database.transaction() as cursor:
            cursor.execute("SELECT count(*) FROM inspection_job")
            woken.extend(count for (count,) in cursor.fetchall())

    event = Event("x", EventKind.POWER_ON, 1, Source.CLOUDTRAIL)
    named = _new(event, feed.account_id, instance(1))._replace(image="ami-00000001")
    with _store(database_url, wake) as store:
        for other in (named, named, named._replace(event_id="y")):
            store.record([other])
    assert woken == [1]


_KILLED = textwrap.dedent("""
    import sys
    from services.accounts import fact_writing
    from services.accounts.facts import Event, EventKind, Source
    from tests.accounts.test_event_writers import _new, _store

    def wait():
        print("here", flush=True)
        sys.stdin.read()

    url, account_id, ec2_id, when = sys.argv[1:]
    event = _new(Event("x", EventKind.POWER_ON, 36_000_000_000, Source.CLOUDTRAIL),
                 int(account_id), ec2_id)
    if when == "before":
        fact_writing._keep_recorded_at = lambda writing: wait()
    with _store(url) as store:
        store.record([event])
        wait()
""")


@pytest.mark.parametrize(("when", "again"), [("before", "STORED"), ("after", "DUPLICATE")])
def test_a_writer_killed_about_its_commit_leaves_all_or_nothing(
    feed: Feeder, database_url: str, when: str, again: str
) -> None:
    """Killed before it: nothing, and no lock. After it: all, and the event told again is known."""
    ec2_id = instance(1)
    arguments = [sys.executable, "-c", _KILLED, database_url, str(feed.account_id), ec2_id, when]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert any(line.strip() == "here" for line in iter(writer.stdout.readline, ""))
        writer.send_signal(signal.SIGKILL)
    assert bool(feed.runs(ec2_id)) is (when == "after")
    event = Event("x", EventKind.POWER_ON, 36_000_000_000, Source.CLOUDTRAIL)
    with _store(database_url) as store:
        assert store.record([_new(event, feed.account_id, ec2_id)]) == [Outcome[again]]
    assert [run.start for run in feed.runs(ec2_id)] == [36_000_000_000]


def _history(count_: int, account_id: int) -> list[list[events_pb2.Event]]:
    """Return batches of ons and offs of fifty instances, in no order."""
    events = [
        message(
            Event(
                f"e{n}-{i}",
                EventKind.POWER_OFF if n % 2 else EventKind.POWER_ON,
                (n + 1) * 3_600_000_000 + i,
                Source.CLOUDTRAIL,
            ),
            instance(i),
            account_id,
        )
        for n in range(count_)
        for i in range(50)
    ]
    Random(1).shuffle(events)  # noqa: S311 # the same shuffle each time
    return [events[at : at + 20] for at in range(0, len(events), 20)]


def test_a_server_killed_while_it_stores_loses_nothing_that_it_answered(
    feed: Feeder, database_url: str
) -> None:
    """The caller resends what was not answered, and the runs are as without the fault."""
    waiting = dict(enumerate(_history(20, feed.account_id)))
    for answers_until_killed in (3, 7, None):
        with accounts_process(database_url) as (process, target):
            caller = Caller(target, SERVICE_TOKENS["scanner"])
            order = sorted(waiting)
            requests = [
                RecordEventsRequest(sequence=number, events=waiting[place])
                for number, place in enumerate(order, start=1)
            ]
            answers = caller.events.RecordEvents(iter(requests))
            with contextlib.suppress(grpc.RpcError):
                for number, _ in enumerate(answers, start=1):
                    del waiting[order[number - 1]]
                    if number == answers_until_killed:
                        process.kill()
            killed = answers_until_killed is not None
            assert (answers.code() is grpc.StatusCode.UNAVAILABLE) is killed
            caller.close()
    assert waiting == {}
    hour = 3_600_000_000
    for i in range(50):
        spans = [(run.start, run.end) for run in feed.runs(instance(i))]
        assert spans == [((n + 1) * hour + i, (n + 2) * hour + i) for n in range(0, 20, 2)]


def test_a_database_that_restarts_is_waited_for_by_the_caller(
    private_postgres: EmbeddedPostgres,
) -> None:
    """While it is away the stream ends with UNAVAILABLE; afterwards the same batch is stored."""
    url = private_postgres.url("accounts")
    with closing(Database(url)) as database:
        database.migrate()
    with accounts_process(url) as (_, target), closing(Database(url)) as database:
        caller = Caller(target, SERVICE_TOKENS["scanner"])
        with database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn,"
                " external_id, state, created_at, verified_at)"
                " VALUES (1, 'web', 'aws', '123456789012', '', '', 2, 1, 1) RETURNING id"
            )
            (account_id,) = cursor.fetchone() or (0,)
        event = Event("x", EventKind.POWER_ON, 36_000_000_000, Source.CLOUDTRAIL)
        batch = RecordEventsRequest(sequence=1, events=[message(event, instance(1), account_id)])
        private_postgres.kill()
        with pytest.raises(grpc.RpcError) as raised:
            list(caller.events.RecordEvents(iter([batch])))
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        private_postgres.start()
        (answer,) = caller.events.RecordEvents(iter([batch]))
        assert list(answer.outcomes) == [answer.OUTCOME_STORED]
        caller.close()
