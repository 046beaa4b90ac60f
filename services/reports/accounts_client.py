"""reports' one call to accounts: the runs that a user may see, and what is known about them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import grpc

from cloudigrade.accounts.v1 import accounts_pb2, runs_pb2, runs_pb2_grpc
from libs.common.channels import on_behalf_of
from libs.common.errors import CloudigradeError, FailedPrecondition
from libs.common.instants import Micros
from libs.common.statuses import from_rpc_error
from libs.common.timestamps import from_timestamp, timestamp
from services.reports.cache import Cache
from services.reports.chunks import FleetBuilder
from services.reports.columns import Account, Fleet
from services.reports.snapshots import AccountStatus, RegionStatus, Snapshot

_TIMEOUT = 120.0
"""Seconds in which runs must have come: a million take about one."""

Header = runs_pb2.StreamRunsResponse.Header
Responses = Iterator[runs_pb2.StreamRunsResponse]


class Accounts:
    """Accounts, as reports calls it. The channel carries reports' service token.

    Runs are kept by account and revision. A caller gets what is kept only for accounts which were
    named in this very call as theirs to see, with that revision.
    """

    def __init__(self, channel: grpc.Channel, most_bytes: int, most_runs: int) -> None:
        self._stub = runs_pb2_grpc.RunServiceStub(channel)
        self._kept: Cache[int, tuple[int, Fleet]] = Cache(most_bytes)
        self._most_runs = most_runs

    def snapshot(
        self, user_token: str, account_ids: tuple[int, ...], as_of: Micros | None
    ) -> Snapshot:
        """Return what a user may see of these accounts, of all when none is named.

        Raises the error family: what accounts raised (NotFound, InvalidRequest on as_of, ...),
        Unavailable while it is away, FailedPrecondition for more runs than fit into memory.
        """
        kept = self._kept.items()
        request = runs_pb2.StreamRunsRequest(
            as_of=None if as_of is None else timestamp(as_of),
            account_ids=account_ids,
            known=[
                runs_pb2.StreamRunsRequest.Known(account_id=account_id, revision=revision)
                for account_id, (revision, _) in kept.items()
            ],
        )
        with _family():
            call = self._stub.StreamRuns(
                request, metadata=on_behalf_of(user_token), timeout=_TIMEOUT
            )
            try:
                header = _header(call)
                fleets = self._fleets(header, call, {key: held[1] for key, held in kept.items()})
            finally:
                call.cancel()
        revisions = tuple((each.account_id, each.revision) for each in header.accounts)
        # A revision is of one content, whatever the instant. What only a past instant asks for is
        # not kept: it would take the place of what everybody asks for.
        past = as_of is not None
        if not past:
            self._keep(header, fleets)
        known = all(each.unchanged for each in header.accounts)
        return Snapshot(
            as_of=from_timestamp(header.as_of),
            accounts=tuple(map(_status, header.accounts)),
            fleets=fleets,
            revisions=None if past and not known else revisions,
        )

    def _fleets(
        self, header: Header, responses: Responses, kept: Mapping[int, Fleet]
    ) -> tuple[Fleet, ...]:
        unchanged = {each.account_id for each in header.accounts if each.unchanged}
        self._check_size(header, sum(len(kept[account_id].runs) for account_id in unchanged))
        builders = {
            each.account_id: FleetBuilder(Account(each.account_id), each.runs)
            for each in header.accounts
            if not each.unchanged
        }
        for response in responses:
            builders[response.chunk.account_id].add(response.chunk)
        return tuple(
            kept[each.account_id] if each.unchanged else builders.pop(each.account_id).fleet()
            for each in header.accounts
        )

    def _check_size(self, header: Header, held: int) -> None:
        runs = held + sum(each.runs for each in header.accounts)
        if runs > self._most_runs:
            raise FailedPrecondition(
                f"{runs} runs are visible, more than this server adds up at once"
                f" ({self._most_runs}): name fewer accounts in the filter.",
                reason="TOO_MANY_RUNS",
                metadata={"runs": str(runs), "most": str(self._most_runs)},
            )

    def _keep(self, header: Header, fleets: Iterable[Fleet]) -> None:
        for each, fleet in zip(header.accounts, fleets, strict=True):
            if not each.unchanged:
                self._kept.put(each.account_id, (each.revision, fleet), fleet.nbytes)


def _header(responses: Responses) -> Header:
    first = next(responses, None)
    if first is None or not first.HasField("header"):
        raise CloudigradeError("accounts sent a stream of runs without a header")
    return first.header


def _status(message: runs_pb2.StreamRunsResponse.AccountSnapshot) -> AccountStatus:
    return AccountStatus(message.account_id, message.name, tuple(map(_region, message.regions)))


def _region(message: accounts_pb2.RegionStatus) -> RegionStatus:
    known = message.HasField("confirmed_through")
    return RegionStatus(
        message.region,
        from_timestamp(message.confirmed_through) if known else None,
        message.trouble,
    )


@contextmanager
def _family() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) or error from error
