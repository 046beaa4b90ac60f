"""The store against the reference of its runs: whatever arrives, in whatever order and company.

After every step the stored runs and anomalies are those that the reference gives for all facts told
by then. `TEST_EFFORT=50 .venv/bin/pytest -q tests/accounts/test_runs_stored.py` tries fifty times
as many histories, each run others.
"""

from datetime import timedelta
from itertools import count
from random import Random
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2
from libs.common.instants import Micros, to_micros
from libs.common.timestamps import timestamp
from services.accounts.facts import Attributes, Event, EventKind, Source
from services.accounts.runs import derive
from tests.accounts.runs_reference import reference
from tests.accounts.store_model import NOT_THERE, Licence, Shown, TellableEvent, Told
from tests.support.accounts import START, Accounts
from tests.support.effort import examples
from tests.support.feeding import attributes_message, feeder, instance, listed, message

_numbers = count(1)
SECOND = 1_000_000
NOW = to_micros(START)
# Crowded, so that facts meet, about instants that lie up to a year apart.
_BASES = [NOW - days * 86_400 * SECOND - 2_400 * SECOND for days in (0, 1, 30, 365)]
times = st.builds(
    lambda base, tick: base + tick * 10 * SECOND, st.sampled_from(_BASES), st.integers(0, 240)
)
# What is licensed since an instant is the same whoever tells of it.
licences = st.one_of(
    st.just(Licence()),
    st.sampled_from(["x", "y"]).map(Licence),
    st.integers(1, 4).map(lambda n: Licence(f"since{n}", _BASES[-1] + n * 600 * SECOND)),
    st.integers(5, 8).map(lambda n: Licence(f"since{n}", _BASES[0] + (n - 4) * 500 * SECOND)),
)
types = st.sampled_from(["", "a", "b"])
vcpus = st.sampled_from([0, 2, 4])


@st.composite
def events(draw: st.DrawFn) -> TellableEvent:
    """Draw an event, which may come together with others of its instant."""
    kind = draw(st.sampled_from([*EventKind, EventKind.POWER_ON, EventKind.POWER_OFF]))
    off = kind is EventKind.POWER_OFF
    licence = Licence() if off else draw(licences)
    stated = Attributes() if off else Attributes(draw(types), draw(vcpus), licence.usage_operation)
    event = Event(
        event_id=str(draw(st.integers(0, 9))),
        kind=kind,
        occurred_at=draw(times),
        source=draw(st.sampled_from(list(Source))),
        fresh=kind is EventKind.POWER_ON and draw(st.booleans()),
        previous_state=draw(st.sampled_from(["", "", "running", "stopped"])) if off else "",
        termination=off and draw(st.integers(0, 5)) == 0,
        attributes=stated,
    )
    return TellableEvent(event, licence)


shown = st.builds(Shown, times, st.booleans(), types, vcpus, licences)


def _attributes(stated: Attributes, licence: Licence) -> events_pb2.Attributes | None:
    written = attributes_message(stated)
    if written is not None and licence.since:
        written.usage_operation_time.CopyFrom(timestamp(licence.since))
    return written


def _message(each: TellableEvent, ec2_id: str, account_id: int) -> events_pb2.Event:
    stated = _attributes(each.event.attributes, each.licence)
    return message(each.event, ec2_id, account_id, attributes=stated)


def _listed(ec2_id: str, each: Shown) -> events_pb2.ListedInstance:
    stated = Attributes(each.instance_type, each.vcpu, each.licence.usage_operation)
    return listed(
        ec2_id,
        each.launch_time,
        sighted=each.running,
        attributes=_attributes(stated, each.licence),
    )


class Store(RuleBasedStateMachine):
    """A scanner that tells accounts of two instances, as anybody might."""

    accounts: ClassVar[Accounts]

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.tracked = True
        self.named = 0
        self.ids = [instance(next(_numbers)) for _ in range(2)]

    @initialize()
    def register(self) -> None:
        """Register an account of this history's own, and take its lease."""
        self.accounts.clock.advance(timedelta(seconds=1))
        self.feed = feeder(self.accounts, f"{next(_numbers):012}")

    @rule(
        new=st.lists(st.tuples(st.integers(0, 1), events()), min_size=1, max_size=5),
        again=st.integers(0, 3),
        batches=st.integers(1, 3),
        random=st.randoms(use_true_random=False),
    )
    def tell(
        self, new: list[tuple[int, TellableEvent]], again: int, batches: int, random: Random
    ) -> None:
        """Send new events and some that were sent before, each perhaps twice, in some batches."""
        known = [(id_, each) for (id_, _), each in self.told.events.items()]
        sent = [(self.ids[n], self._named(each)) for n, each in new]
        for ec2_id, each in sent:
            self.told.tell(ec2_id, each)
        sent += random.choices(known + sent, k=again)
        random.shuffle(sent)
        written = [_message(each, ec2_id, self.feed.account_id) for ec2_id, each in sent]
        parts = [part for n in range(batches) if (part := written[n::batches])]
        outcomes = self.feed.outcomes(*parts)
        assert outcomes.count("STORED") == len(new)
        assert outcomes.count("DUPLICATE") == again

    def _named(self, each: TellableEvent) -> TellableEvent:
        """Give an event an id of its own, which sorts anywhere among the others."""
        self.named += 1
        return each._replace(
            event=each.event._replace(event_id=f"{each.event.event_id}-{self.named}")
        )

    @precondition(lambda self: self.tracked)
    @rule(
        started=times,
        showing=st.tuples(*[st.sampled_from([NOT_THERE, None]) | shown] * 2),
        nameless=st.booleans(),
    )
    def show(
        self, *, started: Micros, showing: tuple[Shown | None, Shown | None], nameless: bool
    ) -> None:
        """Send a listing that shows anything, or again one that was sent before."""
        seen = {
            ec2_id: each
            for ec2_id, each in zip(self.ids, showing, strict=True)
            if each is not NOT_THERE
        }
        if started in self.told.listings:
            seen, nameless = self.told.listings[started], started in self.told.incomplete
        rows = [
            _listed(ec2_id, each) if each else events_pb2.ListedInstance(instance_id=ec2_id)
            for ec2_id, each in seen.items()
        ]
        if nameless:
            rows.append(events_pb2.ListedInstance(instance_id="?"))
        self.feed.show(started, rows)
        self.told.show(started, seen, complete=not nameless)

    @rule(ahead=st.sampled_from([1, 30, 900]))
    def wait(self, ahead: int) -> None:
        """Let time pass."""
        self.accounts.clock.advance(timedelta(seconds=ahead))

    @rule(pause=st.booleans())
    def end_or_resume_tracking(self, *, pause: bool) -> None:
        """Pause or disable the account, or enable it again."""
        self.accounts.clock.advance(timedelta(seconds=1))
        now = to_micros(self.accounts.clock.now())
        admin, id_ = self.accounts.admin.accounts, self.feed.account_id
        self.tracked = not self.tracked
        if self.tracked:
            admin.EnableCloudAccount(accounts_pb2.EnableCloudAccountRequest(id=id_))
            self.told.resume_tracking(now)
            self.feed = self.feed.leased()
            return
        if pause:
            admin.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=id_))
        else:
            admin.DisableCloudAccount(accounts_pb2.DisableCloudAccountRequest(id=id_))
        self.told.end_tracking(now)

    @invariant()
    def stored_is_what_follows(self) -> None:
        """Compare with the reference, and with all that is derived from nothing."""
        for ec2_id in self.ids:
            facts = self.told.facts(ec2_id)
            runs, odd = self.feed.runs(ec2_id), self.feed.anomalies(ec2_id)
            plain = [(each.occurred_at, int(each.kind), each.event_id) for each in odd]
            assert ([run[:-1] for run in runs], plain) == reference(facts)
            assert runs == derive(facts).runs

    def teardown(self) -> None:
        """Remove the account, so that nobody scans it any more."""
        if hasattr(self, "feed"):
            request = accounts_pb2.DeleteCloudAccountRequest(
                id=self.feed.account_id,
                history=accounts_pb2.HISTORY_KEEP,
            )
            self.accounts.admin.accounts.DeleteCloudAccount(request)


def test_what_is_stored_follows_from_all_that_was_told(accounts: Accounts) -> None:
    """Events, listings and pauses in any order, again, in any batches, up to a year late."""

    class StoreHere(Store):
        """On this test's server."""

    StoreHere.accounts = accounts
    run_state_machine_as_test(StoreHere, settings=examples(15, steps=15))
