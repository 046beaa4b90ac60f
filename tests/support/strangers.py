"""Requests for any RPC that name what somebody has, made from the descriptors of its messages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

DAY = {"seconds": 1_772_323_200}  # 2026-03-01
NEXT_DAY = {"seconds": 1_772_409_600}


@dataclass(frozen=True)
class Belongings:
    """What a member has, by which a request can name it."""

    user_id: int
    user_name: str
    token_id: int
    account_id: int
    instance_id: str
    image_id: str
    override_id: int
    inspection_id: int
    marks: tuple[str, ...] = ()
    """Texts that stand in nothing but what is theirs."""


# What a field names, by the field's name, or by its message's and its own where that differs.
NAMES: Mapping[str, str] = {
    "account_id": "account_id",
    "account_ids": "account_id",
    "image_id": "image_id",
    "image_ids": "image_id",
    "instance_id": "instance_id",
    "instance_ids": "instance_id",
    "user_id": "user_id",
    "user_name": "user_name",
    "owner_id": "user_id",
    "GetUserRequest.id": "user_id",
    "DeleteUserRequest.id": "user_id",
    "User.id": "user_id",
    "RevokeTokenRequest.id": "token_id",
    "CloudAccount.id": "account_id",
    "GetCloudAccountRequest.id": "account_id",
    "EnableCloudAccountRequest.id": "account_id",
    "PauseCloudAccountRequest.id": "account_id",
    "DisableCloudAccountRequest.id": "account_id",
    "DeleteCloudAccountRequest.id": "account_id",
    "WithdrawOverrideRequest.id": "override_id",
    "RedriveInspectionsRequest.ids": "inspection_id",
}
# What must be said besides for a request to be whole.
SAID: Mapping[str, Any] = {
    "start_time": DAY,
    "end_time": NEXT_DAY,
    "region": "us-east-1",
    "reason": "because",
    "bucket": None,
    "ReplayLogsRequest.bucket": "a-bucket",
    "ReplayLogsRequest.prefix": "AWSLogs/",
    "DeleteCloudAccountRequest.history": 2,
    "CreateUserRequest.name": "somebody",
    "CreateCloudAccountRequest.name": "mine",
    "CreateCloudAccountRequest.role_arn": "arn:aws:iam::555555555555:role/mine",
    "CloudAccount.name": "taken over",
    "Override.distribution": "rhel",
    "ExportRuntimeRequest.format": 1,
    "AcquireLeaseRequest.holder": "a-holder",
}
# What is left out: it narrows an answer, or says how to give it, and names nothing of anybody's.
LEFT_OUT = {
    *("page_size", "page_token", "as_of", "request_id", "update_mask", "label", "expire_time"),
    *("time_zone", "group_by", "licensing_view", "show_deleted", "affecting_start_time"),
    *("affecting_end_time", "state", "after", "regions", "distributions", "tags", "name_pattern"),
    "revision",
}
# Of these messages what the server makes is no part of a request.
READ_FROM: Mapping[str, set[str]] = {
    "CloudAccount": {"id", "name"},
    "User": {"id", "role"},
    "Override": {"account_id", "image_id", "instance_id", "distribution", "reason"},
}
# Of these only one may be given.
ALTERNATIVES = {"CreateTokenRequest.user_name", "Override.instance_id"}


class NoRequest(AssertionError):
    """Nobody has said what to put into a field of some request."""


def requests(
    method: MethodDescriptor, theirs: Belongings, mine: Belongings
) -> Iterator[tuple[str, Message]]:
    """Yield requests for an RPC, each with what it names of theirs ("" when it can name nothing).

    First all that can be named at once, then each thing by itself beside what is mine. Raises
    NoRequest for a field that is not known here.
    """
    named = list(_named(method.input_type))
    alternatives = [path for path in named if _last(path) in ALTERNATIVES]
    plain = [path for path in named if path not in alternatives]
    if not named:
        yield "", _build(method.input_type, {})
        return
    yield "everything", _build(method.input_type, dict.fromkeys(plain, theirs))
    for path in named if len(named) > 1 else ():
        others = [other for other in plain if other != path and not _excludes(path, other)]
        values = {**dict.fromkeys(others, mine), path: theirs}
        yield path[-1].name, _build(method.input_type, values)


Path = tuple[FieldDescriptor, ...]


def _excludes(path: Path, other: Path) -> bool:
    """Say whether two fields are alternatives: of one message, and one of them listed as such."""
    same = path[:-1] == other[:-1]
    return same and _last(path) in ALTERNATIVES and other[-1].name in {"user_id", "image_id"}


def _last(path: Path) -> str:
    return _own(path[-1])


def _own(field: FieldDescriptor) -> str:
    message = field.containing_type
    assert message is not None
    return f"{message.name}.{field.name}"


def _fields(message: Descriptor) -> list[FieldDescriptor]:
    allowed = READ_FROM.get(message.name)
    return [
        field
        for field in message.fields
        if field.name not in LEFT_OUT and (allowed is None or field.name in allowed)
    ]


def _is_said(field: FieldDescriptor) -> bool:
    return _own(field) in SAID or field.name in SAID


def _name_of(field: FieldDescriptor) -> str | None:
    return NAMES.get(_own(field), NAMES.get(field.name))


def _named(message: Descriptor, above: Path = ()) -> Iterator[Path]:
    """Yield the way to each field that names something; NoRequest for an unknown one."""
    for field in _fields(message):
        path = (*above, field)
        if _name_of(field):
            yield path
        elif _is_said(field) or field.name == "role":
            continue
        elif field.message_type is not None:
            yield from _named(field.message_type, path)
        else:
            raise NoRequest(
                f"{field.full_name}: say in {__name__} what a stranger puts there, or leave it out"
            )


def _build(message: Descriptor, named: Mapping[Path, Belongings], above: Path = ()) -> Any:
    built: Any = message_factory.GetMessageClass(message)()
    for field in _fields(message):
        path = (*above, field)
        whose = named.get(path)
        own = f"{message.name}.{field.name}"
        if whose is not None:
            _put(built, field, getattr(whose, _name_of(field) or ""))
        elif _name_of(field):
            continue
        elif (value := SAID.get(own, SAID.get(field.name))) is not None:
            if isinstance(value, dict):
                assert field.message_type is not None
                kind: Any = message_factory.GetMessageClass(field.message_type)
                getattr(built, field.name).CopyFrom(kind(**value))
            else:
                _put(built, field, value)
        elif field.name == "role":
            built.role = 2
        elif field.message_type is not None and not _is_said(field):
            inner = _build(field.message_type, named, path)
            if inner.ByteSize() and field.is_repeated:
                getattr(built, field.name).append(inner)
            elif inner.ByteSize():
                getattr(built, field.name).CopyFrom(inner)
    return built


def _put(message: Any, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)
