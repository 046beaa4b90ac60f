"""InventoryService: instances, images, and what is known of their past."""

from collections.abc import Callable
from functools import partial

import grpc

from cloudigrade.accounts.v1 import inventory_pb2, inventory_pb2_grpc
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.identifiers import image_id, instance_id
from libs.common.identity import USER, Access
from libs.common.timestamps import timestamp
from services.accounts.asked import asked_as_of
from services.accounts.callers import author, visible_owner
from services.accounts.history_store import HistoryStore, place
from services.accounts.image_convert import image_to_proto, inspection_to_proto
from services.accounts.image_store import ImageStore
from services.accounts.inventory_convert import (
    affecting_span,
    anomaly_to_proto,
    audit_to_proto,
    event_to_proto,
    instance_to_proto,
    quarantined_to_proto,
    run_to_proto,
)
from services.accounts.inventory_store import InventoryStore
from services.accounts.job_store import JobStore
from services.accounts.jobs import State
from services.accounts.override_servicer import OverrideServicer
from services.accounts.pages import dated_page, page

ACCESS: dict[str, Access] = {
    method.name: USER
    for method in inventory_pb2.DESCRIPTOR.services_by_name["InventoryService"].methods
}
_MOST_QUARANTINED = 50
"""At up to 1 MiB each."""
MOST_REDRIVEN = 1000
"""Inspections that an answer names: of at most 2 kB each, they fit into a message."""


class InventoryServicer(inventory_pb2_grpc.InventoryServiceServicer):
    """Answers from the stores; `wake` tells the relay that jobs are due."""

    def __init__(
        self,
        store: InventoryStore,
        history: HistoryStore,
        images: ImageStore,
        jobs: JobStore,
        overrides: OverrideServicer,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._history = history
        self._images = images
        self._jobs = jobs
        self._overrides = overrides
        self._clock = clock
        self._wake = wake

    def ListInstances(
        self, request: inventory_pb2.ListInstancesRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListInstancesResponse:
        """Give a page of an account's instances."""
        _check(image_id=(image_id, request.image_id))
        owner = visible_owner()
        found = dated_page(
            request,
            (str,),
            lambda asked, after, limit: self._store.instances(
                request.account_id, owner, request.image_id, asked, after, limit
            ),
            lambda instance: (instance.ec2_id,),
            instance_to_proto,
        )
        return inventory_pb2.ListInstancesResponse(
            instances=found.items, next_page_token=found.next_token, as_of=timestamp(found.as_of)
        )

    def GetInstance(
        self, request: inventory_pb2.GetInstanceRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.GetInstanceResponse:
        """Give one instance with its image."""
        _check(required=True, instance_id=(instance_id, request.instance_id))
        as_of, instance, image = self._store.instance(
            request.account_id, visible_owner(), asked_as_of(request), request.instance_id
        )
        return inventory_pb2.GetInstanceResponse(
            instance=instance_to_proto(instance),
            image=image_to_proto(image, evidence=False) if image else None,
            as_of=timestamp(as_of),
        )

    def ListImages(
        self, request: inventory_pb2.ListImagesRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListImagesResponse:
        """Give a page of an account's images."""
        owner = visible_owner()
        found = dated_page(
            request,
            (str,),
            lambda asked, after, limit: self._images.images(
                request.account_id, owner, asked, after, limit
            ),
            lambda known: (known.image.ami_id,),
            partial(image_to_proto, evidence=False),
        )
        return inventory_pb2.ListImagesResponse(
            images=found.items, next_page_token=found.next_token, as_of=timestamp(found.as_of)
        )

    def GetImage(
        self, request: inventory_pb2.GetImageRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.GetImageResponse:
        """Give one image with all evidence."""
        _check(required=True, image_id=(image_id, request.image_id))
        as_of, known = self._images.image(
            request.account_id, visible_owner(), asked_as_of(request), request.image_id
        )
        return inventory_pb2.GetImageResponse(
            image=image_to_proto(known, evidence=True), as_of=timestamp(as_of)
        )

    def ListInspections(
        self, request: inventory_pb2.ListInspectionsRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListInspectionsResponse:
        """Give a page of the readings of disks."""
        owner = visible_owner()
        checks = Checks()
        state = checks.parsed("state", _as_state, request.state) if request.state else None
        checks.finish()
        found = page(
            request,
            (int,),
            lambda after, limit: self._jobs.inspections(
                request.account_id, owner, state, after, limit
            ),
            lambda inspection: (inspection.id,),
            inspection_to_proto,
        )
        return inventory_pb2.ListInspectionsResponse(
            inspections=found.items, next_page_token=found.next_token
        )

    def RedriveInspections(
        self, request: inventory_pb2.RedriveInspectionsRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.RedriveInspectionsResponse:
        """Give inspections that were given up a new try."""
        redriven = self._jobs.redrive(
            request.account_id, visible_owner(), request.ids, author(self._clock)
        )
        self._wake()
        return inventory_pb2.RedriveInspectionsResponse(
            redriven=len(redriven), inspections=map(inspection_to_proto, redriven[:MOST_REDRIVEN])
        )

    def ListEvents(
        self, request: inventory_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListEventsResponse:
        """Give a page of an instance's events."""
        _check(required=True, instance_id=(instance_id, request.instance_id))
        owner = visible_owner()
        found = dated_page(
            request,
            (int, str, int),
            lambda asked, after, limit: self._store.events(
                request.account_id, owner, request.instance_id, asked, after, limit
            ),
            lambda event: (event.occurred_at, event.event_id, event.recorded_at),
            event_to_proto,
        )
        return inventory_pb2.ListEventsResponse(
            events=found.items, next_page_token=found.next_token, as_of=timestamp(found.as_of)
        )

    def ListRuns(
        self, request: inventory_pb2.ListRunsRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListRunsResponse:
        """Give a page of an instance's runs."""
        _check(required=True, instance_id=(instance_id, request.instance_id))
        owner = visible_owner()
        found = dated_page(
            request,
            (int,),
            lambda asked, after, limit: self._history.runs(
                request.account_id, owner, request.instance_id, asked, after, limit
            ),
            lambda each: (each.run.start_at,),
            run_to_proto,
        )
        return inventory_pb2.ListRunsResponse(
            runs=found.items, next_page_token=found.next_token, as_of=timestamp(found.as_of)
        )

    def ListAnomalies(
        self, request: inventory_pb2.ListAnomaliesRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListAnomaliesResponse:
        """Give a page of what did not fit."""
        _check(instance_id=(instance_id, request.instance_id))
        owner = visible_owner()
        found = dated_page(
            request,
            (str, int, int, str),
            lambda asked, after, limit: self._history.anomalies(
                request.account_id, owner, request.instance_id, asked, after, limit
            ),
            place,
            anomaly_to_proto,
        )
        return inventory_pb2.ListAnomaliesResponse(
            anomalies=found.items, next_page_token=found.next_token, as_of=timestamp(found.as_of)
        )

    def ListQuarantine(
        self, request: inventory_pb2.ListQuarantineRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListQuarantineResponse:
        """Give a page of what was kept aside."""
        owner = visible_owner()
        found = page(
            request,
            (int,),
            lambda after, limit: self._store.quarantine(request.account_id, owner, after, limit),
            lambda item: (item.id,),
            quarantined_to_proto,
            most=_MOST_QUARANTINED,
        )
        return inventory_pb2.ListQuarantineResponse(
            items=found.items, next_page_token=found.next_token
        )

    def ListAuditEntries(
        self, request: inventory_pb2.ListAuditEntriesRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListAuditEntriesResponse:
        """Give a page of who changed what."""
        owner, affecting = visible_owner(), affecting_span(request)
        found = page(
            request,
            (int,),
            lambda after, limit: self._store.audit(
                request.account_id, owner, affecting, after, limit
            ),
            lambda entry: (entry.id,),
            audit_to_proto,
        )
        return inventory_pb2.ListAuditEntriesResponse(
            entries=found.items, next_page_token=found.next_token
        )

    def CreateOverride(
        self, request: inventory_pb2.CreateOverrideRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.CreateOverrideResponse:
        """Store what somebody says an image or an instance is."""
        return self._overrides.create(request)

    def ListOverrides(
        self, request: inventory_pb2.ListOverridesRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.ListOverridesResponse:
        """Give a page of what people have said."""
        return self._overrides.list(request)

    def WithdrawOverride(
        self, request: inventory_pb2.WithdrawOverrideRequest, context: grpc.ServicerContext
    ) -> inventory_pb2.WithdrawOverrideResponse:
        """Take back what somebody has said."""
        return self._overrides.withdraw(request)


def _check(*, required: bool = False, **ids: tuple[Callable[[str], str], str]) -> None:
    """Check ids by their fields' names; an empty one is wrong only where it is required."""
    checks = Checks()
    for field, (parse, value) in ids.items():
        if value or required:
            checks.parsed(field, parse, value)
    checks.finish()


def _as_state(number: int) -> State:
    try:
        return State(number)
    except ValueError:
        raise ValueError("is no state of an inspection") from None
