"""The transaction that changes facts: accounts locked, facts dated, runs rewritten at its end."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from libs.common.clock import Clock
from libs.common.instants import Micros, to_micros
from services.accounts import audit
from services.accounts.audit import Author
from services.accounts.cloud_accounts import State
from services.accounts.copying import array
from services.accounts.database import Cursor, Database, lock_accounts
from services.accounts.history import CHANGED, Past, events_told
from services.accounts.instance_ids import InstanceIds, Named
from services.accounts.label_store import LabelStore
from services.accounts.new_events import NewEvent
from services.accounts.rederiving import Touch
from services.accounts.run_rows import Key
from services.accounts.run_store import RunStore


@dataclass(slots=True)
class Writing:
    """Facts being written; what is touched here has its runs derived again at the end."""

    cursor: Cursor
    now: Micros
    recorded_at: dict[int, Micros]
    """Of each account that may be written to: later than all that was recorded before."""
    found: dict[Named, int] = field(default_factory=dict)
    touches: dict[Key, Touch] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    """Accounts of which anything changed."""
    told: list[NewEvent] = field(default_factory=list)
    """Events that are stored, ..."""
    causes: dict[int, list[str]] = field(default_factory=dict)
    """... and what else is the cause when an account's past changes, in words."""
    new_images: bool = False
    """Whether images were made, whose inspection is then due."""

    def touch(self, key: Key, touch: Touch) -> None:
        """Note what is new about an instance."""
        before = self.touches.get(key)
        self.touches[key] = touch if before is None else before | touch
        self.changed.add(key[0])


class FactWriter:
    """Begins and ends transactions that change facts."""

    def __init__(
        self,
        database: Database,
        labels: LabelStore,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called when new images are committed, which wait for their inspection."""
        self._wake = wake
        self._database = database
        self._labels = labels
        self._clock = clock
        self._instances = InstanceIds()
        self._runs = RunStore(labels)

    @contextmanager
    def writing(self, account_ids: Collection[int], texts: Collection[str]) -> Iterator[Writing]:
        """Run one transaction on the facts of accounts; `texts` are the labels that they will need.

        Accounts that are unverified or removed are not among those that may be written to. Raises
        Unavailable or Aborted, and then nothing is changed.
        """
        self._labels.learn(texts)
        with self._database.transaction() as cursor:
            lock_accounts(cursor, account_ids)
            now = to_micros(self._clock.now())
            writing = Writing(cursor, now, _recorded_at(cursor, account_ids, now))
            yield writing
            _tell(writing, self._runs.rewrite(cursor, writing.touches, writing.recorded_at))
            _keep_recorded_at(writing)
        self._instances.remember(writing.found)
        if writing.new_images:
            self._wake()

    def find_instances(self, writing: Writing, regions: Mapping[Named, str]) -> dict[Named, int]:
        """Return the number of each instance, making it in its Region if it was never heard of."""
        found = self._instances.find(writing.cursor, regions, writing.recorded_at)
        writing.found.update(found)
        return found


def _recorded_at(cursor: Cursor, account_ids: Collection[int], now: Micros) -> dict[int, Micros]:
    cursor.execute(
        "SELECT id, greatest(%s, last_recorded_at + 1, (SELECT last_value + 1 FROM answered_at))"
        " FROM cloud_account"
        " WHERE id = ANY(%s) AND verified_at <> 0 AND state <> %s",
        (now, list(account_ids), State.DELETED.value),
    )
    return dict(cursor.fetchall())


def _tell(writing: Writing, pasts: Mapping[int, Past]) -> None:
    """Write into the audit log how the accounts' past changed, and by what."""
    by_events = events_told(writing.told, {number: past.day for number, past in pasts.items()})
    for account_id, past in pasts.items():
        causes = [*writing.causes.get(account_id, ()), *by_events.get(account_id, ())]
        author = Author("service:scanner", writing.recorded_at[account_id])
        span = (past.since, past.until)
        audit.record(writing.cursor, author, account_id, CHANGED, "runs", past.told(causes), span)


def _keep_recorded_at(writing: Writing) -> None:
    """Keep how far time has come, which is also the accounts' revision, where anything changed."""
    changed = sorted(writing.changed)
    if changed:
        writing.cursor.execute(
            "UPDATE cloud_account SET last_recorded_at = at"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS changed(account_id, at)"
            " WHERE id = account_id",
            (array(changed), array(writing.recorded_at[account_id] for account_id in changed)),
        )
