"""Accounts in memory, behind a real server: what the scanner needs of it, by the contracts."""

# ruff: noqa: N802, ARG002  # the names and arguments are gRPC's

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import grpc

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    events_pb2,
    events_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    schedule_pb2,
    schedule_pb2_grpc,
)
from libs.common.clock import Clock
from libs.common.config import ListenAddress
from libs.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unauthenticated,
)
from libs.common.identity import (
    Principal,
    Role,
    ServiceTokens,
    User,
    current_user,
    service,
    service_for_user,
)
from libs.common.server import Registration, Server, build_server
from libs.common.server_config import ServerConfig
from services.scanner.convert import to_moment, to_timestamp

SCANNER_TOKEN = "scanner-service-token"
USERS = {
    "ada-token": User(1, "ada", Role.ADMIN),
    "max-token": User(2, "max", Role.MEMBER),
    "eve-token": User(3, "eve", Role.MEMBER),
}
LEASE = timedelta(minutes=2)
INTERVAL = timedelta(minutes=15)


@dataclass
class Account:
    """A cloud account, its lease and what was told about it."""

    id: int
    owner_id: int
    aws_account_id: str
    role_arn: str
    external_id: str
    enabled: bool = True
    epoch: int = 0
    holder: str = ""
    started: datetime | None = None
    expires: datetime | None = None
    due: datetime | None = None
    last_scan: schedule_pb2.ScanSummary | None = None
    known_images: set[str] = field(default_factory=set)
    listings: list["Recorded"] = field(default_factory=list)
    verification: schedule_pb2.RecordVerificationRequest | None = None


@dataclass
class Recorded:
    """A listing that was stored."""

    header: events_pb2.RecordListingRequest.Header
    instances: list[events_pb2.ListedInstance] = field(default_factory=list)
    images: list[events_pb2.ImageDescription] = field(default_factory=list)
    instance_types: list[events_pb2.InstanceTypeDescription] = field(default_factory=list)
    parts: int = 0

    @property
    def region(self) -> str:
        """The listing's Region."""
        return self.header.region


class AccountsDouble:
    """Keeps accounts in memory. `before` may raise, or wait, before a method of that name."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.accounts: dict[int, Account] = {}
        self.before: dict[str, Callable[[Any], object]] = {}
        self.lock = threading.Lock()

    def add(self, role_arn: str, external_id: str, *, owner_id: int = 2) -> Account:
        """Register an account, enabled and due."""
        account = Account(
            id=len(self.accounts) + 1,
            owner_id=owner_id,
            aws_account_id=role_arn.split(":")[4],
            role_arn=role_arn,
            external_id=external_id,
            due=self.clock.now(),
        )
        self.accounts[account.id] = account
        return account

    def server(self) -> Server:
        """Return a server of it on a free port."""
        identity = _Identity()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED
        registrations = [
            _registration(identity_pb2, identity_pb2_grpc, "IdentityService", identity),
            _registration(schedule_pb2, schedule_pb2_grpc, "ScanScheduleService", _Schedule(self)),
            _registration(events_pb2, events_pb2_grpc, "EventService", _Events(self)),
        ]
        return build_server(
            ServerConfig(listen=ListenAddress("127.0.0.1", 0), stop_grace=timedelta(seconds=1)),
            registrations,
            authenticator=ServiceTokens({"scanner": SCANNER_TOKEN}, _Users()),
            clock=self.clock,
        )

    def visible(self, account_id: int) -> Account:
        """Return an account that the present call's user may see."""
        user = current_user()
        account = self.accounts.get(account_id)
        if account is None or (user.role is not Role.ADMIN and account.owner_id != user.id):
            raise NotFound(f"There is no cloud account {account_id}.", reason="ACCOUNT_NOT_FOUND")
        return account

    def held(self, account_id: int, epoch: int) -> Account:
        """Return an account whose lease has the epoch."""
        account = self.accounts[account_id]
        if account.epoch != epoch:
            raise FailedPrecondition("Stop the scan.", reason="LEASE_LOST")
        return account

    def meet(self, method: str, request: Any) -> None:
        """Do what the test planned before a method."""
        self.before.get(method, _nothing)(request)


class _Identity(identity_pb2_grpc.IdentityServiceServicer):
    def Authenticate(
        self, request: identity_pb2.AuthenticateRequest, context: grpc.ServicerContext
    ) -> identity_pb2.AuthenticateResponse:
        user = _Users().authenticate(request.secret).user
        assert user is not None
        role = identity_pb2.ROLE_ADMIN if user.role is Role.ADMIN else identity_pb2.ROLE_MEMBER
        return identity_pb2.AuthenticateResponse(
            user=identity_pb2.User(id=user.id, name=user.name, role=role)
        )


class _Users:
    def authenticate(self, token: str) -> Principal:
        if token not in USERS:
            raise Unauthenticated("The token is not known.", reason="TOKEN_UNKNOWN")
        return Principal(user=USERS[token])


class _Schedule(schedule_pb2_grpc.ScanScheduleServiceServicer):
    def __init__(self, double: AccountsDouble) -> None:
        self._double = double

    def AcquireDueLeases(
        self, request: schedule_pb2.AcquireDueLeasesRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.AcquireDueLeasesResponse:
        self._double.meet("AcquireDueLeases", request)
        with self._double.lock:
            now = self._double.clock.now()
            due = [
                account
                for account in self._double.accounts.values()
                if account.enabled
                and account.due is not None
                and account.due <= now
                and (account.expires is None or account.expires <= now)
            ]
            leases = [self._take(account, request.holder) for account in due[: request.max_leases]]
            times = [found.due for found in self._double.accounts.values() if found.due]
        answer = schedule_pb2.AcquireDueLeasesResponse(leases=leases)
        if times:
            answer.next_due_time.CopyFrom(to_timestamp(min(times)))
        return answer

    def AcquireLease(
        self, request: schedule_pb2.AcquireLeaseRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.AcquireLeaseResponse:
        self._double.meet("AcquireLease", request)
        with self._double.lock:
            account = self._double.visible(request.account_id)
            if not account.enabled:
                raise FailedPrecondition("Verify it first.", reason="ACCOUNT_NOT_ENABLED")
            last = account.last_scan
            after = to_moment(request.after) if request.HasField("after") else None
            if last is not None and after is not None and to_moment(last.start_time) > after:
                return schedule_pb2.AcquireLeaseResponse(completed=last)
            if account.expires is not None and account.expires > self._double.clock.now():
                return schedule_pb2.AcquireLeaseResponse(
                    running=schedule_pb2.AcquireLeaseResponse.Running(
                        holder=account.holder,
                        start_time=account.started,
                        expire_time=account.expires,
                    )
                )
            return schedule_pb2.AcquireLeaseResponse(lease=self._take(account, request.holder))

    def RenewLease(
        self, request: schedule_pb2.RenewLeaseRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.RenewLeaseResponse:
        self._double.meet("RenewLease", request)
        with self._double.lock:
            account = self._double.held(request.account_id, request.epoch)
            account.expires = self._double.clock.now() + LEASE
            return schedule_pb2.RenewLeaseResponse(expire_time=account.expires)

    def CompleteScan(
        self, request: schedule_pb2.CompleteScanRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.CompleteScanResponse:
        self._double.meet("CompleteScan", request)
        with self._double.lock:
            account = self._double.held(request.account_id, request.epoch)
            account.last_scan, account.expires = request.summary, None
            account.due = to_moment(request.summary.start_time) + INTERVAL
            return schedule_pb2.CompleteScanResponse(next_due_time=account.due)

    def GetScanTarget(
        self, request: schedule_pb2.GetScanTargetRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.GetScanTargetResponse:
        account = self._double.visible(request.account_id)
        return schedule_pb2.GetScanTargetResponse(target=_target(account))

    def RecordVerification(
        self, request: schedule_pb2.RecordVerificationRequest, context: grpc.ServicerContext
    ) -> schedule_pb2.RecordVerificationResponse:
        account = self._double.accounts[request.account_id]
        verified = request.observed_aws_account_id == account.aws_account_id
        others = [found for found in self._double.accounts.values() if found is not account]
        if verified and any(found.aws_account_id == account.aws_account_id for found in others):
            raise AlreadyExists("Somebody else has proved it.", reason="ACCOUNT_EXISTS")
        account.verification = request
        return schedule_pb2.RecordVerificationResponse(
            account=accounts_pb2.CloudAccount(
                id=account.id,
                verification=accounts_pb2.Verification(
                    verified=verified,
                    detail=request.detail,
                    missing_permissions=request.missing_permissions,
                ),
            )
        )

    def _take(self, account: Account, holder: str) -> schedule_pb2.ScanLease:
        now = self._double.clock.now()
        account.epoch, account.holder = account.epoch + 1, holder
        account.started, account.expires = now, now + LEASE
        return schedule_pb2.ScanLease(
            target=_target(account), epoch=account.epoch, expire_time=account.expires
        )


def _target(account: Account) -> schedule_pb2.ScanTarget:
    return schedule_pb2.ScanTarget(
        account_id=account.id,
        aws_account_id=account.aws_account_id,
        partition="aws",
        role_arn=account.role_arn,
        external_id=account.external_id,
        known_image_ids=sorted(account.known_images),
    )


class _Events(events_pb2_grpc.EventServiceServicer):
    def __init__(self, double: AccountsDouble) -> None:
        self._double = double

    def RecordListing(
        self,
        request_iterator: Iterator[events_pb2.RecordListingRequest],
        context: grpc.ServicerContext,
    ) -> events_pb2.RecordListingResponse:
        listing = Recorded(next(request_iterator).header)
        self._double.meet("RecordListing", listing)
        for request in request_iterator:
            if request.HasField("end"):
                break
            listing.parts += 1
            listing.instances += request.part.instances
            listing.images += request.part.images
            listing.instance_types += request.part.instance_types
        else:
            raise InvalidRequest("The listing has no end.", field="end")
        if request.end.instances != len(listing.instances):
            raise InvalidRequest("The count differs.", field="end.instances")
        with self._double.lock:
            account = self._double.held(listing.header.account_id, listing.header.epoch)
            account.listings.append(listing)
            new = {image.image_id for image in listing.images} - account.known_images
            account.known_images |= new
        return events_pb2.RecordListingResponse(
            events_stored=sum(len(instance.events) for instance in listing.instances),
            images_new=len(new),
        )

    def RecordEvents(
        self,
        request_iterator: Iterator[events_pb2.RecordEventsRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[events_pb2.RecordEventsResponse]:
        for request in request_iterator:
            self._double.meet("RecordEvents", request)
            yield events_pb2.RecordEventsResponse(
                sequence=request.sequence,
                outcomes=[events_pb2.RecordEventsResponse.OUTCOME_STORED] * len(request.events),
            )

    def Quarantine(
        self, request: events_pb2.QuarantineRequest, context: grpc.ServicerContext
    ) -> events_pb2.QuarantineResponse:
        return events_pb2.QuarantineResponse(id=1)


_FOR_USERS = {"AcquireLease", "GetScanTarget"}


def _registration(messages: Any, stubs: Any, name: str, servicer: object) -> Registration:
    descriptor = messages.DESCRIPTOR.services_by_name[name]
    access = {
        method.name: service_for_user("scanner")
        if method.name in _FOR_USERS
        else service("scanner")
        for method in descriptor.methods
    }
    return Registration(
        descriptor, getattr(stubs, f"add_{name}Servicer_to_server"), servicer, access
    )


def _nothing(_request: object) -> None:
    """Let the method go on."""
