"""accounts processes that write at once, and that are killed at a point the test chooses.

A trigger in the test's own database holds a writing transaction, before its commit or inside it,
until the test lets go of an advisory lock.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from random import Random

import grpc
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.facts import Attributes, Event, InstanceFacts
from services.accounts.runs import derive
from tests.accounts.fact_strategies import events as some_events
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller
from tests.support.accounts_process import accounts_process
from tests.support.effort import examples
from tests.support.feeding import Feeder, feeder, instance, listed, message
from tests.support.timeline import at, confirmed_of, off, on, spans_of
from tests.support.waiting import wait_until

I1 = instance(1)
M5 = Attributes("m5.large", 2, "RunInstances")
EVENTS = (on("08:00"), off("09:00"), on("10:00", instance_type="a"), off("11:00"))
_numbers = count(100)
_LOCK = (4711, 1)
_HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711, 1); RETURN NULL; END $$;
"""
# Runs are the last that a transaction on facts writes.
_BEFORE = _HOLD + "CREATE TRIGGER held AFTER INSERT ON run EXECUTE FUNCTION hold();"
_INSIDE = _HOLD + (
    "CREATE CONSTRAINT TRIGGER held AFTER INSERT ON run DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION hold();"
)
_WAITING = """
SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 4711
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def feed(accounts: Accounts) -> Feeder:
    """Be a scanner with an account and its lease."""
    return feeder(accounts)


@dataclass
class Held:
    """A database in which whoever writes runs is held up."""

    connection: "psycopg2.extensions.connection"

    def ask(self, statement: str, *values: object) -> int:
        """Run a statement, and return how many rows it gives."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.rowcount

    def someone_waits(self) -> bool:
        """Whether a writer is held up now."""
        return self.ask(_WAITING) > 0

    def let_go(self) -> None:
        """Let the writer go on, and hold nobody up any more."""
        self.ask("SELECT pg_advisory_unlock(%s, %s)", *_LOCK)


@contextmanager
def _held(url: str, trigger: str) -> Iterator[Held]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        held = Held(connection)
        held.ask(trigger)
        held.ask("SELECT pg_advisory_lock(%s, %s)", *_LOCK)
        yield held


@contextmanager
def _through(feed: Feeder, target: str) -> Iterator[Feeder]:
    """Give the same scanner as it calls another process."""
    caller = Caller(target, SERVICE_TOKENS["scanner"])
    try:
        yield replace(feed, scanner=caller)
    finally:
        caller.close()


def _send_events(feed: Feeder) -> int:
    """Send all events in one batch; return how many were stored."""
    batch = [message(event, I1, feed.account_id) for event in EVENTS]
    return feed.outcomes(batch).count("STORED")


def _send_listing(feed: Feeder) -> int:
    """Send a listing; return how many of its events were stored."""
    return feed.show(at("11:00"), [listed(I1, at("10:00"), M5)]).events_stored


SENDING = pytest.mark.parametrize(
    ("send", "stored", "spans", "sure"),
    [
        (_send_events, 4, ["08:00-09:00", "10:00-11:00"], ["08:00-09:00", "10:00-11:00"]),
        (_send_listing, 1, ["10:00-"], ["10:00-10:55"]),
    ],
    ids=["events", "listing"],
)


@SENDING
def test_a_process_killed_before_its_commit_has_stored_nothing(
    feed: Feeder,
    database_url: str,
    send: Callable[[Feeder], int],
    stored: int,
    spans: list[str],
    sure: list[str],
) -> None:
    """The caller is told UNAVAILABLE and sends it again, as if for the first time."""
    with (
        _held(database_url, _BEFORE) as held,
        accounts_process(database_url) as (process, target),
        _through(feed, target) as caller,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(send, caller)
        wait_until(held.someone_waits)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(grpc.RpcError) as raised:
            answer.result()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        held.let_go()
    assert feed.runs(I1) == []
    assert send(feed) == stored
    assert (spans_of(feed.runs(I1)), confirmed_of(feed.runs(I1))) == (spans, sure)


@SENDING
def test_a_process_killed_after_its_commit_and_before_its_answer_has_stored_all(
    feed: Feeder,
    database_url: str,
    send: Callable[[Feeder], int],
    stored: int,
    spans: list[str],
    sure: list[str],
) -> None:
    """It never reads that its commit was done; what is sent again is known and changes nothing."""
    with (
        _held(database_url, _INSIDE) as held,
        accounts_process(database_url) as (process, target),
        _through(feed, target) as caller,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(send, caller)
        wait_until(held.someone_waits)
        assert feed.runs(I1) == []
        process.send_signal(signal.SIGSTOP)
        held.let_go()
        wait_until(lambda: feed.runs(I1))
        process.send_signal(signal.SIGKILL)
        with pytest.raises(grpc.RpcError) as raised:
            answer.result()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    revision = feed.revision()
    assert send(feed) == 0 < stored
    assert (spans_of(feed.runs(I1)), confirmed_of(feed.runs(I1))) == (spans, sure)
    assert feed.revision() == revision


def test_two_processes_that_write_at_once_store_what_one_would(
    feed: Feeder, database_url: str
) -> None:
    """Each tells part of one instance's events, some of them both, one by one."""
    with (
        accounts_process(database_url) as (_, one),
        accounts_process(database_url) as (_, other),
        _through(feed, one) as first,
        _through(feed, other) as second,
        ThreadPoolExecutor() as pool,
    ):

        @examples(20)
        @given(events=some_events(), random=st.randoms(use_true_random=False))
        def at_once(events: list[Event], random: Random) -> None:
            ec2_id = instance(next(_numbers))
            told = [random.sample(events, random.randint(0, len(events))) for _ in range(2)]
            told[0] += [event for event in events if event not in told[0] + told[1]]
            start = threading.Barrier(2)

            def tell(caller: Feeder, part: list[Event]) -> list[str]:
                start.wait()
                return caller.outcomes(*([message(e, ec2_id, feed.account_id)] for e in part))

            answers = list(pool.map(tell, (first, second), told))
            stored = [outcome for outcomes in answers for outcome in outcomes]
            assert stored.count("STORED") == len(events)
            assert set(stored) <= {"STORED", "DUPLICATE"}
            derived = derive(InstanceFacts(events))
            assert feed.runs(ec2_id) == derived.runs
            assert feed.anomalies(ec2_id) == derived.anomalies

        at_once()
