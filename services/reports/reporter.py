"""Answers questions about runtime, from the runs that the asking user may see."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from libs.common.deadlines import check_deadline, time_left
from libs.common.errors import DeadlineExceeded, InvalidRequest
from libs.common.instants import Micros
from services.reports.cache import Cache
from services.reports.columns import Fleet, joined
from services.reports.coverage import Unconfirmed, unconfirmed
from services.reports.filters import Filter, counted
from services.reports.groups import Dimension, TooManyGroups
from services.reports.runtime import Report, report
from services.reports.snapshots import Revisions, Snapshot, Source
from services.reports.timelines import Timelines
from services.reports.windows import Bucket, Window, bucket_edges, most_buckets
from services.reports.zones import load_zone

MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `as_of` None: as known now. `time_zone` is an IANA name, "" for UTC."""

    window: Window
    bucket: Bucket = Bucket.NONE
    time_zone: str = ""
    by: tuple[Dimension, ...] = ()
    filter: Filter = field(default_factory=Filter)
    as_of: Micros | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A report, the instant it speaks for, and what was not confirmed throughout the window."""

    report: Report
    as_of: Micros
    unconfirmed: tuple[Unconfirmed, ...]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Several accounts' runs as one fleet, ready to be swept."""

    fleet: Fleet
    timelines: Timelines


class Reporter:
    """Answers questions, a few at a time so that memory stays bounded.

    What was prepared, and answers about the past, are kept by the revisions of the accounts they
    are made of, and used again only while accounts says that these are the caller's and current.
    """

    def __init__(
        self, source: Source, *, prepared_bytes: int, answers_bytes: int, at_once: int
    ) -> None:
        self._source = source
        self._prepared: Cache[Revisions, _Prepared] = Cache(prepared_bytes)
        self._answers: Cache[tuple[Revisions, Question], Report] = Cache(answers_bytes)
        self._turns = threading.BoundedSemaphore(at_once)

    def answer(self, question: Question, user_token: str) -> Answer:
        """Return the answer for a user.

        Raises InvalidRequest (TOO_MANY_ROWS) for an answer that would be too large, NotFound for a
        filter that names what the user may not see, and what the source raises.
        """
        edges = _edges(question)
        with self._turn():
            snapshot = self._source.snapshot(
                user_token, question.filter.account_ids, question.as_of
            )
            check_deadline()
            found = self._report(question, edges, snapshot)
        upto = min(question.window.end, snapshot.as_of)
        return Answer(
            found, snapshot.as_of, unconfirmed(snapshot.accounts, upto, question.filter.regions)
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=time_left()):
            raise DeadlineExceeded("The server was busy with other reports for too long.")
        try:
            yield
        finally:
            self._turns.release()

    def _report(self, question: Question, edges: tuple[Micros, ...], snapshot: Snapshot) -> Report:
        """Return the report, the one given before if nothing can have changed since."""
        if snapshot.revisions is None or question.window.end > snapshot.as_of:
            return self._computed(question, edges, snapshot)
        key = (snapshot.revisions, replace(question, as_of=None))
        kept = self._answers.get(key)
        if kept is None:
            kept = self._computed(question, edges, snapshot)
            self._answers.put(key, kept, kept.nbytes)
        return kept

    def _computed(
        self, question: Question, edges: tuple[Micros, ...], snapshot: Snapshot
    ) -> Report:
        prepared = self._ready(snapshot)
        check_deadline()
        try:
            return report(
                prepared.fleet,
                prepared.timelines,
                question.by,
                edges,
                snapshot.as_of,
                counted=counted(prepared.fleet, question.filter),
                most_groups=MOST_ROWS // (len(edges) - 1),
            )
        except TooManyGroups as error:
            raise _too_many_rows("group_by", error.groups * (len(edges) - 1)) from None

    def _ready(self, snapshot: Snapshot) -> _Prepared:
        kept = None if snapshot.revisions is None else self._prepared.get(snapshot.revisions)
        if kept is not None:
            return kept
        fleet = joined(snapshot.fleets)
        prepared = _Prepared(fleet, Timelines.of(fleet))
        if snapshot.revisions is not None:
            # A single account's runs are the source's own, and counted there.
            own = fleet.nbytes if len(snapshot.fleets) != 1 else 0
            self._prepared.put(snapshot.revisions, prepared, own + prepared.timelines.nbytes)
        return prepared


def _edges(question: Question) -> tuple[Micros, ...]:
    most = most_buckets(question.window, question.bucket)
    # A little more than there are, so what is just below may still be laid out and counted.
    if most <= MOST_ROWS + 2:
        zone = load_zone(question.time_zone)
        edges = bucket_edges(question.window, question.bucket, zone)
        most = len(edges) - 1
        if most <= MOST_ROWS:
            return edges
    raise _too_many_rows("bucket", most)


def _too_many_rows(field_name: str, rows: int) -> InvalidRequest:
    return InvalidRequest(
        f"the answer would have {rows} rows or more, and at most {MOST_ROWS} are given: choose"
        " larger buckets, a shorter window, fewer groupings or a filter",
        field=field_name,
        reason="TOO_MANY_ROWS",
        metadata={"rows": str(rows), "most": str(MOST_ROWS)},
    )
