"""The methods of InventoryService that are about overrides."""

from cloudigrade.accounts.v1 import inventory_pb2
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.identifiers import uuid
from libs.common.instants import to_micros
from libs.common.timestamps import timestamp
from services.accounts.callers import author, request_key, visible_owner
from services.accounts.override_convert import LONGEST_REASON, override_to_proto, to_proposal
from services.accounts.override_store import OverrideStore
from services.accounts.pages import dated_page


class OverrideServicer:
    """Answers for the store."""

    def __init__(self, store: OverrideStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def create(
        self, request: inventory_pb2.CreateOverrideRequest
    ) -> inventory_pb2.CreateOverrideResponse:
        """Store what somebody says an image or an instance is."""
        checks = Checks()
        proposal = to_proposal(request.override, checks, to_micros(self._clock.now()))
        request_id = (
            checks.parsed("request_id", uuid, request.request_id) if request.request_id else ""
        )
        checks.finish()
        made = self._store.create(
            proposal, visible_owner(), author(self._clock), request_key(request, request_id)
        )
        return inventory_pb2.CreateOverrideResponse(override=override_to_proto(made))

    def list(
        self, request: inventory_pb2.ListOverridesRequest
    ) -> inventory_pb2.ListOverridesResponse:
        """Give a page of what people have said, newest first."""
        owner = visible_owner()
        found = dated_page(
            request,
            (int,),
            lambda asked, after, limit: self._store.overrides(
                request.account_id, owner, asked, after, limit
            ),
            lambda named: (named.override.id,),
            override_to_proto,
        )
        return inventory_pb2.ListOverridesResponse(
            overrides=found.items, next_page_token=found.next_token, as_of=timestamp(found.as_of)
        )

    def withdraw(
        self, request: inventory_pb2.WithdrawOverrideRequest
    ) -> inventory_pb2.WithdrawOverrideResponse:
        """Take back what somebody has said."""
        checks = Checks()
        checks.required("id", request.id)
        if request.reason:
            checks.text("reason", request.reason, LONGEST_REASON)
        checks.finish()
        found = self._store.withdraw(
            request.account_id, request.id, request.reason, visible_owner(), author(self._clock)
        )
        return inventory_pb2.WithdrawOverrideResponse(override=override_to_proto(found))
