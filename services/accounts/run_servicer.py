"""RunService: gives the runs to whoever adds them up."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import grpc

from cloudigrade.accounts.v1 import runs_pb2, runs_pb2_grpc
from cloudigrade.accounts.v1.runs_pb2 import StreamRunsResponse
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.errors import Unimplemented
from libs.common.identity import Access, service_for_user
from libs.common.instants import to_micros
from libs.common.timestamps import from_timestamp, timestamp
from services.accounts.account_convert import region_to_proto, state_to_proto
from services.accounts.callers import visible_owner
from services.accounts.cloud_accounts import State
from services.accounts.run_convert import chunks
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
        self._refuse_other_times(request)
        known = {each.account_id: each.revision for each in request.known}
        # Everything is read before the first message leaves: a slow reader must not hold a
        # transaction open, nor one of the database's connections.
        answer = [StreamRunsResponse()]
        with self._reader.snapshot(visible_owner(), request.account_ids) as snapshot:
            # After the snapshot's first look, so that nothing in it is later than this.
            as_of = self._clock.now()
            new = [
                each
                for each in snapshot.accounts
                if known.get(each.id) != each.revision and each.state is not State.PENDING
            ]
            counts: dict[int, int] = {}
            for account in new:
                runs = snapshot.runs(account)
                counts[account.id] = len(runs.rows)
                answer += (StreamRunsResponse(chunk=each) for each in chunks(account.id, runs))
        answer[0] = _header(as_of, snapshot.accounts, known, counts)
        # Given up one by one, so that what was sent takes no memory.
        answer.reverse()
        while answer:
            yield answer.pop()

    def _refuse_other_times(self, request: runs_pb2.StreamRunsRequest) -> None:
        if not request.HasField("as_of"):
            return
        checks = Checks()
        as_of = checks.parsed("as_of", from_timestamp, request.as_of)
        checks.finish()
        now = to_micros(self._clock.now())
        checks.that(as_of <= now, "as_of", "lies ahead of the server's clock; leave it out for now")
        checks.finish()
        raise Unimplemented("Answers as of an earlier time are not built yet; leave as_of out.")


def _header(
    as_of: datetime,
    accounts: tuple[ReadAccount, ...],
    known: Mapping[int, int],
    counts: Mapping[int, int],
) -> StreamRunsResponse:
    return StreamRunsResponse(
        header=StreamRunsResponse.Header(
            as_of=timestamp(to_micros(as_of)),
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
