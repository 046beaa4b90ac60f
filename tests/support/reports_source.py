"""An accounts double for tests of reports: a real gRPC server that streams fleets made by hand."""

# ruff: noqa: N802, ARG002  # the names and arguments are gRPC's

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import grpc
import numpy as np

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    identity_pb2,
    identity_pb2_grpc,
    inventory_pb2,
    runs_pb2,
    runs_pb2_grpc,
)
from libs.common.clock import ManualClock
from libs.common.config import ListenAddress
from libs.common.errors import InvalidRequest, NotFound, Unauthenticated
from libs.common.identity import (
    Access,
    Principal,
    Role,
    ServiceTokens,
    User,
    current_user,
    service,
    service_for_user,
)
from libs.common.instants import Micros, to_micros
from libs.common.server import Registration, Server, build_server
from libs.common.server_config import ServerConfig
from libs.common.timestamps import from_timestamp, timestamp
from services.reports.columns import OPEN, Classification, Fleet
from services.reports.snapshots import RegionStatus

Response = runs_pb2.StreamRunsResponse

REPORTS_TOKEN = "reports-token-for-tests"
# 64 Ki runs would be 4 MiB of columns, more than gRPC takes.
_CHUNK = 2**15
_USERS = {"ada-token": User(1, "ada", Role.ADMIN), "max-token": User(2, "max", Role.MEMBER)}
_LICENSES = {
    "included": inventory_pb2.LICENSE_MODEL_INCLUDED,
    "byos": inventory_pb2.LICENSE_MODEL_BYOS,
    "free": inventory_pb2.LICENSE_MODEL_FREE,
}


@dataclass
class Held:
    """A cloud account, whose it is and what is known of it."""

    owner: int
    fleet: Fleet
    revision: int = 1
    name: str = "production"
    regions: tuple[RegionStatus, ...] = ()


@dataclass
class Source(runs_pb2_grpc.RunServiceServicer):
    """Streams what `held` says, and counts what it streamed."""

    clock: ManualClock
    held: dict[int, Held] = field(default_factory=dict)
    then: dict[Micros, dict[int, Held]] = field(default_factory=dict)
    """What was held at instants that may be asked for."""
    chunks: int = 0
    streams: int = 0
    fault: Exception | None = None
    revoked: set[str] = field(default_factory=set)

    def change(self, account_id: int, fleet: Fleet) -> None:
        """Put other runs in place of an account's, as a new revision."""
        now = self.held[account_id]
        self.held[account_id] = replace(now, fleet=fleet, revision=now.revision + 1)

    def StreamRuns(
        self, request: runs_pb2.StreamRunsRequest, context: grpc.ServicerContext
    ) -> Iterator[Response]:
        """Stream the runs that the user may see."""
        self.streams += 1
        as_of, every = self._as_of(request)
        visible = self._visible(every, tuple(request.account_ids))
        known = {each.account_id: each.revision for each in request.known}
        yield _header(as_of, visible, known)
        for account_id, held in visible.items():
            if known.get(account_id) != held.revision:
                for chunk in chunks_of(account_id, held.fleet):
                    if self.fault is not None:
                        raise self.fault
                    self.chunks += 1
                    yield Response(chunk=chunk)

    def _as_of(self, request: runs_pb2.StreamRunsRequest) -> tuple[Micros, dict[int, Held]]:
        now = to_micros(self.clock.now())
        if not request.HasField("as_of"):
            return now, self.held
        as_of = from_timestamp(request.as_of)
        if as_of > now:
            raise InvalidRequest("must not be ahead of the clock", field="as_of")
        return as_of, self.then.get(as_of, self.held)

    def _visible(self, every: dict[int, Held], asked: tuple[int, ...]) -> dict[int, Held]:
        user = current_user()
        visible = {
            account_id: held
            for account_id, held in sorted(every.items())
            if user.role is Role.ADMIN or held.owner == user.id
        }
        for account_id in asked:
            if account_id not in visible:
                raise NotFound(f"There is no cloud account {account_id} that you may see.")
        return {key: held for key, held in visible.items() if not asked or key in asked}


class _Identity(identity_pb2_grpc.IdentityServiceServicer):
    def Authenticate(
        self, request: identity_pb2.AuthenticateRequest, context: grpc.ServicerContext
    ) -> identity_pb2.AuthenticateResponse:
        """Say whose a token is."""
        user = _user(request.secret)
        role = identity_pb2.ROLE_ADMIN if user.role is Role.ADMIN else identity_pb2.ROLE_MEMBER
        return identity_pb2.AuthenticateResponse(
            user=identity_pb2.User(id=user.id, name=user.name, role=role)
        )


class _Users:
    def __init__(self, source: Source) -> None:
        self._source = source

    def authenticate(self, token: str) -> Principal:
        if token in self._source.revoked:
            raise Unauthenticated("The token was revoked.", reason="TOKEN_REVOKED")
        return Principal(user=_user(token))


def _user(token: str) -> User:
    if token not in _USERS:
        raise Unauthenticated("The token is not known.", reason="TOKEN_UNKNOWN")
    return _USERS[token]


def source_server(source: Source) -> Server:
    """Return a server of the double, on a free port."""
    identity = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]
    rules: dict[str, Access] = {each.name: service() for each in identity.methods}
    return build_server(
        ServerConfig(listen=ListenAddress("127.0.0.1", 0)),
        [
            Registration(
                runs_pb2.DESCRIPTOR.services_by_name["RunService"],
                runs_pb2_grpc.add_RunServiceServicer_to_server,
                source,
                {"StreamRuns": service_for_user("reports")},
            ),
            Registration(
                identity,
                identity_pb2_grpc.add_IdentityServiceServicer_to_server,
                _Identity(),  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED
                rules | {"Authenticate": service("reports")},
            ),
        ],
        authenticator=ServiceTokens({"reports": REPORTS_TOKEN}, _Users(source)),
        clock=source.clock,
        name="accounts",
    )


def _header(as_of: Micros, visible: Mapping[int, Held], known: Mapping[int, int]) -> Response:
    accounts = []
    for account_id, held in visible.items():
        unchanged = known.get(account_id) == held.revision
        accounts.append(
            Response.AccountSnapshot(
                account_id=account_id,
                revision=held.revision,
                runs=0 if unchanged else len(held.fleet.runs),
                unchanged=unchanged,
                name=held.name,
                aws_account_id=f"{account_id:012}",
                regions=map(_region, held.regions),
            )
        )
    return Response(header=Response.Header(as_of=timestamp(as_of), accounts=accounts))


def _region(status: RegionStatus) -> accounts_pb2.RegionStatus:
    through = status.confirmed_through
    return accounts_pb2.RegionStatus(
        region=status.region,
        confirmed_through=None if through is None else timestamp(through),
        trouble=status.trouble,
    )


def chunks_of(account_id: int, fleet: Fleet) -> Iterator[Response.Chunk]:
    """Yield a fleet of one account as chunks, its dictionaries in portions before the runs."""
    yield Response.Chunk(
        account_id=account_id,
        images=[Response.ImageEntry(image_id=image) for image in fleet.images],
        instance_types=[
            Response.InstanceTypeEntry(
                instance_type=shape.instance_type, vcpus=shape.vcpus, memory_mib=shape.memory_mib
            )
            for shape in fleet.shapes
        ],
        classifications=map(_classification, fleet.classifications),
    )
    entries = list(_instances(fleet))
    for first in range(0, len(entries), _CHUNK):
        yield Response.Chunk(account_id=account_id, instances=entries[first : first + _CHUNK])
    for first in range(0, len(fleet.runs), _CHUNK):
        yield _columns(account_id, fleet, slice(first, first + _CHUNK))


def _instances(fleet: Fleet) -> Iterator[Response.InstanceEntry]:
    instances = fleet.instances
    columns = (instances.region, instances.image, instances.tags, instances.architecture)
    for id_, region, image, tags, architecture in zip(
        instances.ids.tolist(), *(each.tolist() for each in columns), strict=True
    ):
        yield Response.InstanceEntry(
            instance_id=id_.decode(),
            region=fleet.regions[region],
            image=image,
            tags=dict(fleet.tags[tags]),
            architecture=fleet.architectures[architecture],
        )


def _classification(it: Classification) -> inventory_pb2.Classification:
    message = inventory_pb2.Classification(
        distribution=it.distribution,
        version=it.version,
        license_model=_LICENSES.get(it.license_model, inventory_pb2.LICENSE_MODEL_UNKNOWN),
        products=it.products,
    )
    message.syspurpose.role, message.syspurpose.sla = it.role, it.sla
    message.syspurpose.usage = it.usage
    return message


def _columns(account_id: int, fleet: Fleet, rows: slice) -> Response.Chunk:
    runs = fleet.runs
    end = runs.end[rows]
    return Response.Chunk(
        account_id=account_id,
        runs=len(end),
        start=runs.start[rows].tobytes(),
        end=np.where(end == OPEN, 0, end).tobytes(),
        session_start=runs.session_start[rows].tobytes(),
        confirmed_start=runs.confirmed_start[rows].tobytes(),
        confirmed_end=np.minimum(runs.confirmed_end[rows], OPEN - 1).tobytes(),
        end_latest=runs.possible_end[rows].tobytes(),
        instance=runs.instance[rows].tobytes(),
        instance_type=runs.shape[rows].tobytes(),
        classification=runs.classification[rows].tobytes(),
        vcpus=np.zeros(len(end), "<i4").tobytes(),
    )
