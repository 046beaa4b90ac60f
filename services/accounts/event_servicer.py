"""EventService: takes the facts that runs are derived from."""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator

import grpc

from cloudigrade.accounts.v1 import events_pb2, events_pb2_grpc
from cloudigrade.accounts.v1.events_pb2 import RecordEventsRequest, RecordEventsResponse
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.identity import Access, service
from libs.common.instants import to_micros
from services.accounts.event_batches import Batches, Pending
from services.accounts.listing_convert import listing_from_proto, recorded_to_proto
from services.accounts.listing_store import ListingStore
from services.accounts.new_events import Aside
from services.accounts.quarantine_store import QuarantineStore

ACCESS: dict[str, Access] = {
    "RecordEvents": service("scanner"),
    "RecordListing": service("scanner"),
    "Quarantine": service("scanner"),
}

WINDOW = 16
"""Batches of a stream that may wait for their commit; a caller that sends more is made to wait."""

MOST_CONTENT = 1024 * 1024
LONGEST_ORIGIN = 1000


class EventServicer(events_pb2_grpc.EventServiceServicer):
    """Answers for the stores; `wake` is called when there are new images to inspect."""

    def __init__(
        self,
        batches: Batches,
        listings: ListingStore,
        quarantine: QuarantineStore,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._batches = batches
        self._listings = listings
        self._quarantine = quarantine
        self._clock = clock
        self._wake = wake

    def RecordEvents(
        self, request_iterator: Iterator[RecordEventsRequest], context: grpc.ServicerContext
    ) -> Iterator[RecordEventsResponse]:
        """Store batches of events and answer each after its commit."""
        with _Reader(request_iterator, self._batches) as reader:
            for pending in reader:
                yield pending.answer()

    def RecordListing(
        self,
        request_iterator: Iterator[events_pb2.RecordListingRequest],
        context: grpc.ServicerContext,
    ) -> events_pb2.RecordListingResponse:
        """Store a complete listing, or nothing."""
        listing, rejections = listing_from_proto(request_iterator, to_micros(self._clock.now()))
        recorded = self._listings.record(listing)
        if recorded.images_new:
            self._wake()
        return recorded_to_proto(recorded, rejections)

    def Quarantine(
        self, request: events_pb2.QuarantineRequest, context: grpc.ServicerContext
    ) -> events_pb2.QuarantineResponse:
        """Keep aside what nobody understood."""
        checks = Checks()
        checks.that(request.source in _SOURCES, "source", "is required, and must be one of Source")
        checks.text("origin", request.origin, LONGEST_ORIGIN)
        checks.text("reason", request.reason, LONGEST_ORIGIN)
        checks.required("content", request.content)
        checks.at_most("content", request.content, MOST_CONTENT)
        checks.finish()
        aside = Aside(
            request.account_id, request.source, request.origin, request.reason, request.content
        )
        kept = self._quarantine.keep(aside, to_micros(self._clock.now()))
        return events_pb2.QuarantineResponse(id=kept)


_SOURCES = frozenset(events_pb2.Source.values()) - {events_pb2.SOURCE_UNSPECIFIED}


class _Reader:
    """Reads and submits a stream's batches in a thread of its own, while others are answered.

    Iterating gives the batches in order, and raises in its place what ended the stream.
    """

    def __init__(self, requests: Iterator[RecordEventsRequest], batches: Batches) -> None:
        self._requests = requests
        self._batches = batches
        self._read: queue.SimpleQueue[Pending | BaseException | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(WINDOW)
        self._closed = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="record-events", daemon=True
        )

    def __enter__(self) -> Iterator[Pending]:
        self._thread.start()
        return self._pending()

    def __exit__(self, *_: object) -> None:
        # The call ends with this, so that reading the next request fails: nobody joins.
        self._closed = True
        self._free.release()

    def _pending(self) -> Iterator[Pending]:
        while (read := self._read.get()) is not None:
            if isinstance(read, BaseException):
                raise read
            yield read
            self._free.release()

    def _run(self) -> None:
        try:
            for number, request in enumerate(self._requests, start=1):
                self._read.put(self._batches.submit(request, number))
                self._free.acquire()
                if self._closed:
                    return
            self._read.put(None)
        except BaseException as error:  # noqa: BLE001 # raised where the stream is answered
            self._read.put(error)
