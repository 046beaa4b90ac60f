"""What every request passes before moto answers it: who asks, where, what, and planned faults.

moto lets anybody do anything anywhere. AWS knows its callers, lets a role do what its policies
allow, ends its sessions, and answers in enabled Regions only.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

from moto.ebs.responses import EBSResponse
from moto.ec2.responses import EC2Response
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse
from moto.sts.models import sts_backends
from moto.sts.responses import TokenResponse

from demo.local_aws import refusals
from demo.local_aws.clock import CLOCK
from demo.local_aws.patches import wrap
from demo.local_aws.refusals import Refused


@dataclass(slots=True)
class Fault:
    """A planned refusal or delay of one action ("ec2:DescribeInstances"), so many times."""

    action: str
    region: str | None = None
    code: str = ""
    message: str = "a planned fault"
    status: int = 400
    seconds: float = 0.0
    times: int | None = None


@dataclass(slots=True)
class Gate:
    """The local AWS's Regions and planned faults, and the calls that it has seen."""

    enabled: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    expired: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def reset(self, enabled: tuple[str, ...], disabled: tuple[str, ...]) -> None:
        """Begin anew with these Regions."""
        with self.lock:
            self.enabled, self.disabled = enabled, disabled
            self.faults.clear()
            self.calls.clear()
            self.expired.clear()

    def take_fault(self, action: str, region: str) -> Fault | None:
        """Count the call; return the fault that is planned for it."""
        with self.lock:
            self.calls[action] += 1
            for fault in self.faults:
                if fault.action == action and fault.region in {None, region} and fault.times != 0:
                    if fault.times:
                        fault.times -= 1
                    return fault
        return None


GATE = Gate()


def install() -> None:
    """Put the gate before the services that cloudigrade and its demo call."""
    for response in (EC2Response, EBSResponse, TokenResponse, IamResponse):
        wrap(response, call_action=_guarded)


def _guarded(answer: Any) -> Any:
    def call_action(self: Any) -> Any:
        try:
            _pass(self)
            return answer(self)
        except Refused as refused:
            return refusals.answer(self.service_name, refused)

    return call_action


def _pass(request: Any) -> None:
    """Let a request through, or raise what AWS would answer."""
    service = request.service_name
    action = f"{service}:{request._get_action()}"  # noqa: SLF001  # moto's own hook
    if service != "iam" and request.region not in GATE.enabled:
        raise _unknown_caller(service)
    fault = GATE.take_fault(action, request.region)
    if fault is not None:
        time.sleep(fault.seconds)
        if fault.code:
            raise Refused(fault.status, fault.code, fault.message)
    key = _key(request)
    if key is None:
        raise _unknown_caller(service)
    if _is_expired(key):
        raise Refused(*_EXPIRED[service])
    if key.role_arn and action != "sts:GetCallerIdentity":
        _check_policies(request, key, action)


_EXPIRED = {
    "ec2": (400, "RequestExpired", "Request has expired."),
    "ebs": (403, "ExpiredTokenException", "The security token included in the request is expired"),
    "sts": (403, "ExpiredToken", "The security token included in the request is expired"),
    "iam": (403, "ExpiredToken", "The security token included in the request is expired"),
}


def _unknown_caller(service: str) -> Refused:
    """Say what AWS says to unknown keys, and to all keys in a Region that is not enabled."""
    if service == "ec2":
        words = "AWS was not able to validate the provided access credentials"
        return Refused(401, "AuthFailure", words)
    code = "UnrecognizedClientException" if service == "ebs" else "InvalidClientTokenId"
    return Refused(403, code, "The security token included in the request is invalid.")


def _key(request: Any) -> Any:
    """Return the access key that signed the request, if the account it belongs to knows it."""
    return iam_backends[request.current_account][request.partition].access_keys.get(
        request.access_key
    )


def _is_expired(key: Any) -> bool:
    ends = getattr(key, "session_end", None)
    return key.access_key_id in GATE.expired or (ends is not None and ends <= CLOCK.now())


def _check_policies(request: Any, key: Any, action: str) -> None:
    """Raise unless the role's policies allow the action. Resources and conditions are not read."""
    role = iam_backends[request.current_account][request.partition].get_role_by_arn(key.role_arn)
    statements = list(_statements(role))
    allowed = any(_covers(each, "Allow", action) for each in statements)
    denied = any(_covers(each, "Deny", action) for each in statements)
    if allowed and not denied:
        return
    caller = next(
        assumed.arn
        for assumed in sts_backends[request.current_account][request.partition].assumed_roles
        if assumed.access_key_id == key.access_key_id
    )
    why = (
        "with an explicit deny in an identity-based policy"
        if denied
        else f"because no identity-based policy allows the {action} action"
    )
    words = f"User: {caller} is not authorized to perform: {action} {why}"
    if request.service_name == "ec2":
        words = f"You are not authorized to perform this operation. {words}"
        raise Refused(403, "UnauthorizedOperation", words)
    code = "AccessDeniedException" if request.service_name == "ebs" else "AccessDenied"
    raise Refused(403, code, words)


def _statements(role: Any) -> Iterator[dict[str, Any]]:
    attached = [policy.document for policy in role.managed_policies.values()]
    for document in [*role.policies.values(), *attached]:
        found = json.loads(document)["Statement"]
        yield from [found] if isinstance(found, dict) else found


def _covers(statement: dict[str, Any], effect: str, action: str) -> bool:
    patterns = statement.get("Action", [])
    named: Iterable[str] = [patterns] if isinstance(patterns, str) else patterns
    return statement["Effect"] == effect and any(
        fnmatchcase(action.lower(), pattern.lower()) for pattern in named
    )
