"""What others can learn or do: every RPC of all four services, walked by the descriptors."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    events_pb2,
    identity_pb2,
    inventory_pb2,
    schedule_pb2,
)
from libs.common.channels import on_behalf_of
from libs.common.instants import to_micros
from libs.common.timestamps import timestamp
from tests.accounts.test_access import ADMINS, SERVICES
from tests.support.accounts import START, Caller
from tests.support.embedded import SERVICE_TOKENS, System, embedded_system
from tests.support.feeding import instance, listed
from tests.support.strangers import Belongings, NoRequest, requests
from tests.support.waiting import wait_until
from tests.system.test_clients import SERVICES as DESCRIPTORS

METHODS: list[tuple[str, MethodDescriptor]] = [
    (name, method)
    for name, services in DESCRIPTORS.items()
    for service in services
    for method in service.methods
]
every_method = pytest.mark.parametrize(
    ("service", "method"), METHODS, ids=[f"{name}.{method.name}" for name, method in METHODS]
)
NOW = to_micros(START)
HOUR = 3_600_000_000
NO_ID = 987_654_321
NOBODYS = Belongings(
    *(NO_ID, "no-such-user", NO_ID, NO_ID, "i-0fedcba9876543210", "ami-0fedcba9876543210"),
    *(NO_ID, NO_ID),
)
TOKENS = {
    name.removeprefix("CLOUDIGRADE_").removesuffix("_TOKEN").lower(): token
    for name, token in SERVICE_TOKENS.items()
}


@dataclass(frozen=True)
class Somebody:
    """A member who calls."""

    token: str
    has: Belongings


@dataclass(frozen=True)
class World:
    """The running services, and two members with accounts of their own."""

    system: System
    victim: Somebody
    stranger: Somebody


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run all four services with two members, each of whom has one of everything.

    No AWS answers, which none of these calls should get to.
    """
    environ = {"CLOUDIGRADE_ACCOUNTS_SCAN_INTERVAL": "30d", "CLOUDIGRADE_AWS_MAX_ATTEMPTS": "1"}
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv("AWS_PROFILE", raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "made-up")
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        folder = tmp_path_factory.mktemp("state")
        system = stack.enter_context(embedded_system(folder, environ))
        victim = settled(system, stack, "victoria", 1)
        yield World(system, victim, settled(system, stack, "stranger", 2))


def settled(system: System, stack: ExitStack, name: str, number: int) -> Somebody:
    """Make a member with an account that is proved, an instance, an image and so on."""

    def caller(token: str) -> Caller:
        made = Caller(system.targets["accounts"], token)
        stack.callback(made.close)
        return made

    admin, scanner = caller(system.token), caller(TOKENS["scanner"])
    user = admin.identity.CreateUser(
        identity_pb2.CreateUserRequest(name=name, role=identity_pb2.ROLE_MEMBER)
    ).user
    token = admin.identity.CreateToken(
        identity_pb2.CreateTokenRequest(user_id=user.id, label=f"label-of-{name}")
    )
    member = caller(token.secret)
    aws_id = f"{number}" * 12
    account = member.accounts.CreateCloudAccount(
        accounts_pb2.CreateCloudAccountRequest(
            name=f"account-of-{name}", role_arn=f"arn:aws:iam::{aws_id}:role/role-of-{name}"
        )
    ).account
    scanner.schedule.RecordVerification(
        schedule_pb2.RecordVerificationRequest(
            account_id=account.id, role_arn=account.role_arn, observed_aws_account_id=aws_id
        )
    )
    ec2_id, ami_id = instance(number), f"ami-{number:017x}"
    show(scanner, account, ec2_id, ami_id, token.secret)
    scanner.events.Quarantine(
        events_pb2.QuarantineRequest(
            account_id=account.id,
            source=events_pb2.SOURCE_CLOUDTRAIL,
            origin=f"file-of-{name}",
            reason="not understood",
            content=b"{",
        )
    )
    override = member.inventory.CreateOverride(
        inventory_pb2.CreateOverrideRequest(
            override=inventory_pb2.Override(
                account_id=account.id, image_id=ami_id, distribution="rhel", reason=f"says {name}"
            )
        )
    ).override
    inspections = member.inventory.ListInspections(
        inventory_pb2.ListInspectionsRequest(account_id=account.id)
    ).inspections
    marks = (account.external_id, ec2_id, ami_id, aws_id, token.secret, name)
    has = Belongings(
        *(user.id, name, token.token.id, account.id, ec2_id, ami_id, override.id),
        *(inspections[0].id, marks),
    )
    return Somebody(token.secret, has)


def show(
    scanner: Caller,
    account: accounts_pb2.CloudAccount,
    ec2_id: str,
    ami_id: str,
    secret: str,
) -> None:
    """List an instance with its image, as a scanner that has the lease."""
    asked = schedule_pb2.AcquireLeaseRequest(account_id=account.id, holder="test")
    epochs: list[int] = []

    def has_lease() -> bool:
        # The scanner's own schedule may have been faster; its scan fails soon.
        got = scanner.schedule.AcquireLease(asked, metadata=on_behalf_of(secret))
        epochs.append(got.lease.epoch)
        return got.HasField("lease")

    wait_until(has_lease, 30)
    epoch = epochs[-1]
    image = events_pb2.ImageDescription(image_id=ami_id, name=f"name-{ami_id}")
    shown = listed(ec2_id, NOW - 5 * HOUR, image_id=ami_id)
    header = events_pb2.RecordListingRequest.Header(
        account_id=account.id, epoch=epoch, region="us-east-1", start_time=timestamp(NOW)
    )
    make = events_pb2.RecordListingRequest
    scanner.events.RecordListing(
        iter(
            [
                make(header=header),
                make(part=make.Part(images=[image])),
                make(part=make.Part(instances=[shown])),
                make(end=make.End(instances=1)),
            ]
        )
    )


@dataclass(frozen=True)
class Answer:
    """What came back: the code, the whole status as text, and every message."""

    code: str
    reason: str = ""
    status: str = ""
    messages: tuple[Message, ...] = ()


def ask(
    world: World,
    service: str,
    method: MethodDescriptor,
    request: Message,
    *metadata: tuple[str, str],
) -> Answer:
    """Make a call and return all that came back."""
    reply: Any = GetMessageClass(method.output_type)
    serializers = (type(request).SerializeToString, reply.FromString)
    path = f"/{method.containing_service.full_name}/{method.name}"
    asked: Any = iter([request]) if method.client_streaming else request
    with grpc.insecure_channel(world.system.targets[service]) as channel:
        kinds: dict[tuple[bool, bool], Any] = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        call = kinds[method.client_streaming, method.server_streaming](path, *serializers)
        try:
            answer = call(asked, metadata=metadata, timeout=30)
            return Answer("OK", messages=tuple(answer) if method.server_streaming else (answer,))
        except grpc.RpcError as error:
            return refused(error)


def refused(error: Any) -> Answer:
    """Return a refusal with all of its status, but for the id of the request that it answers."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    del info.metadata["request_id"]
    others = [detail.type_url + detail.value.hex() for detail in status.details[1:]]
    whole = "\n".join([str(status.code), status.message, str(info), *others])
    return Answer(error.code().name, info.reason, whole)


def bearer(token: str) -> tuple[str, str]:
    """Return the header of a caller."""
    return ("authorization", f"Bearer {token}")


def callers(world: World, service: str, method: MethodDescriptor) -> list[list[tuple[str, str]]]:
    """Return the stranger, and the services that may call on their behalf, as metadata."""
    found = [[bearer(world.stranger.token)]]
    if service == "accounts":
        behalf = on_behalf_of(world.stranger.token)
        found += [[bearer(TOKENS[name]), *behalf] for name in sorted(SERVICES.get(method.name, ()))]
    return found


def is_services_own(method: MethodDescriptor) -> bool:
    """Whether only services call it, for themselves, so that a request names what they like."""
    return method.name in SERVICES and method.name not in {
        *("StreamRuns", "AcquireLease", "GetScanTarget")
    }


def shows(messages: tuple[Message, ...], whose: Belongings, beside: str = "") -> set[str]:
    """Return what of somebody's stands in an answer, beside what was said in the request."""
    text = "\n".join(map(str, messages))
    found = {mark for mark in whose.marks if mark in text and mark not in beside}
    for field, number in (("account_id", whose.account_id), ("owner_id", whose.user_id)):
        if re.search(rf"\b{field}: {number}\b", text):
            found.add(field)
    return found


@every_method
def test_a_stranger_learns_nothing(world: World, service: str, method: MethodDescriptor) -> None:
    """Whatever of the victim's a request names: refused, in the words for what nobody has."""
    if is_services_own(method):
        (mine,) = [bearer(world.stranger.token)]
        empty = GetMessageClass(method.input_type)()
        assert ask(world, service, method, empty, mine).reason == "SERVICES_ONLY"
        return
    victim, stranger = world.victim.has, world.stranger.has
    for metadata in callers(world, service, method):
        every = zip(
            requests(method, victim, stranger), requests(method, NOBODYS, stranger), strict=True
        )
        for (named, theirs), (_, nobodys) in every:
            answer = ask(world, service, method, theirs, *metadata)
            none = ask(world, service, method, nobodys, *metadata) if named else answer
            told = (method.name, named, theirs, answer.reason)
            assert answer.code == none.code, told
            assert shows(answer.messages, victim, beside=str(theirs)) == set(), told
            assert forgotten(answer.status, victim) == forgotten(none.status, NOBODYS), told
            if named == "everything":
                assert answer.code in {"NOT_FOUND", "PERMISSION_DENIED", "UNIMPLEMENTED"}, told


def forgotten(status: str, asked: Belongings) -> str:
    """Return a status without what was asked for, which its words may repeat."""
    texts = {str(getattr(asked, field.name)) for field in fields(asked) if field.name != "marks"}
    for text in sorted(texts, key=len, reverse=True):
        status = re.sub(rf"(?<![\w-]){re.escape(text)}(?![\w-])", "#", status)
    return status


@every_method
def test_nobody_is_told_to_say_who_they_are(
    world: World, service: str, method: MethodDescriptor
) -> None:
    """Without a token, whatever is asked for."""
    empty = GetMessageClass(method.input_type)()
    answer = ask(world, service, method, empty)
    assert (answer.code, answer.reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    behalf = on_behalf_of(world.victim.token)
    assert ask(world, service, method, empty, *behalf).reason == "TOKEN_MISSING"


@every_method
def test_a_service_may_call_what_is_its_own_and_nothing_else(
    world: World, service: str, method: MethodDescriptor
) -> None:
    """Each service's token, alone and for the victim; beyond accounts none of them is any good."""
    empty = GetMessageClass(method.input_type)()
    for name, token in TOKENS.items():
        if service == "accounts" and name in SERVICES.get(method.name, ()):
            continue
        for behalf in ((), tuple(on_behalf_of(world.victim.token))):
            answer = ask(world, service, method, empty, bearer(token), *behalf)
            if service == "accounts":
                assert (answer.code, answer.reason) == ("PERMISSION_DENIED", "SERVICE_NOT_ALLOWED")
            else:
                assert answer.code in {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}, name


@pytest.mark.parametrize(
    ("service", "method"),
    [each for each in METHODS if each[1].name in ADMINS],
    ids=lambda each: getattr(each, "name", each),
)
def test_a_member_is_no_admin(world: World, service: str, method: MethodDescriptor) -> None:
    """What is for admins is denied to members, about themselves too, and to who pretends."""
    for named in (world.victim.has, world.stranger.has):
        for _, request in requests(method, named, world.stranger.has):
            answer = ask(world, service, method, request, bearer(world.stranger.token))
            assert (answer.code, answer.reason) == ("PERMISSION_DENIED", "ADMIN_ONLY")
    behalf = on_behalf_of(world.system.token)
    empty = GetMessageClass(method.input_type)()
    answer = ask(world, service, method, empty, bearer(world.stranger.token), *behalf)
    assert (answer.code, answer.reason) == ("PERMISSION_DENIED", "ON_BEHALF_OF_NOT_ALLOWED")


def test_the_victim_gets_what_the_stranger_does_not(world: World) -> None:
    """The same requests find what is there when its owner makes them, so they ask for something."""
    found = set()
    for service, method in METHODS:
        if method.name in SERVICES or method.name in ADMINS or _changes(method):
            continue
        for _, request in requests(method, world.victim.has, world.victim.has):
            answer = ask(world, service, method, request, bearer(world.victim.token))
            if answer.code == "OK" and shows(answer.messages, world.victim.has):
                found.add(method.name)
    assert found >= {
        *("GetUser", "ListTokens", "GetCaller", "GetCloudAccount", "ListCloudAccounts"),
        *("ListInstances", "GetInstance", "ListImages", "GetImage", "ListEvents", "ListRuns"),
        *("ListInspections", "ListOverrides", "ListQuarantine", "ListAuditEntries"),
    }


def _changes(method: MethodDescriptor) -> bool:
    return not method.name.startswith(("Get", "List", "Export"))


def test_a_new_field_that_nobody_thought_of_fails_the_walk() -> None:
    """A request with a field that no table here knows is no request that can be made."""
    fields_ = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="cloudigrade/stranger.proto", package="cloudigrade.stranger", syntax="proto3"
    )
    message = file.message_type.add(name="GetSecretRequest")
    message.field.add(
        name="secret_number", number=1, type=fields_.TYPE_INT64, label=fields_.LABEL_OPTIONAL
    )
    service = file.service.add(name="SecretService")
    name = ".cloudigrade.stranger.GetSecretRequest"
    service.method.add(name="GetSecret", input_type=name, output_type=name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    method = pool.FindServiceByName("cloudigrade.stranger.SecretService").methods[0]
    with pytest.raises(NoRequest, match=r"GetSecretRequest\.secret_number: say in"):
        list(requests(method, NOBODYS, NOBODYS))
