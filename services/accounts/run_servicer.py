"""RunService: gives the runs to whoever adds them up."""

from collections.abc import Iterator, Mapping

import grpc

from cloudigrade.accounts.v1 import runs_pb2, runs_pb2_grpc
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from libs.common.clock import Clock
from libs.common.identity import Access, service_for_user
from libs.common.instants import Micros, to_micros
from libs.common.timestamps import timestamp
from services.accounts.account_convert import region_to_proto, state_to_proto
from services.accounts.asked import asked_as_of
from services.accounts.callers import visible_owner
from services.accounts.cloud_accounts import State
from services.accounts.run_convert import chunks, counted
from services.accounts.run_reader import ReadAccount, RunReader

ACCESS: dict[str, Access] = {"StreamRuns": service_for_user("reports")}


class RunServicer(runs_pb2_grpc.RunServiceServicer):
    """Streams snapshots of runs."""

    def __init__(self, reader: RunReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def StreamRuns(
        self, request: runs_pb2.StreamRunsRequest, context: grpc.ServicerContext
    ) -> Iterator[StreamRunsResponse]:
        """Stream a header, and the chunks of each account that the caller does not know."""
        asked = asked_as_of(request)
        known = {each.account_id: each.revision for each in request.known}
        now = to_micros(self._clock.now())
        # Everything is read before the first message leaves: a slow reader must not hold a
        # transaction open, nor one of the database's connections.
        with self._reader.snapshot(visible_owner(), request.account_ids, now, asked) as snapshot:
            new = {
                each.id: snapshot.runs(each)
                for each in snapshot.accounts
                if known.get(each.id) != each.revision and each.state is not State.PENDING
            }
        counts = {account_id: counted(runs) for account_id, runs in new.items()}
        yield _header(snapshot.at, snapshot.accounts, known, counts)
        # Turned into messages one by one, and given up account by account: nothing is held twice.
        for account_id in list(new):
            for chunk in chunks(account_id, new.pop(account_id)):
                yield StreamRunsResponse(chunk=chunk)


def _header(
    as_of: Micros,
    accounts: tuple[ReadAccount, ...],
    known: Mapping[int, int],
    counts: Mapping[int, int],
) -> StreamRunsResponse:
    return StreamRunsResponse(
        header=StreamRunsResponse.Header(
            as_of=timestamp(as_of),
            accounts=[
                _account(
                    each, counts.get(each.id, 0), unchanged=known.get(each.id) == each.revision
                )
                for each in accounts
            ],
        )
    )


def _account(
    account: ReadAccount, runs: int, *, unchanged: bool
) -> StreamRunsResponse.AccountSnapshot:
    return StreamRunsResponse.AccountSnapshot(
        account_id=account.id,
        revision=account.revision,
        runs=runs,
        unchanged=unchanged,
        name=account.name,
        aws_account_id=account.aws_account_id,
        regions=map(region_to_proto, account.regions),
        state=state_to_proto(account.state),
    )
