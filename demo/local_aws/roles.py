"""STS: a role is assumed by whom its trust policy names, with the ExternalId that it demands."""

import json
from datetime import UTC
from typing import Any

from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

from demo.local_aws.patches import wrap
from demo.local_aws.refusals import Refused


def install() -> None:
    """Check trust, and note when a session ends."""
    wrap(STSBackend, assume_role=_with_end)
    wrap(TokenResponse, assume_role=_with_trust)


def _with_end(assume: Any) -> Any:
    def assume_role(self: Any, **request: Any) -> Any:
        role = assume(self, **request)
        role.access_key.session_end = role.expiration.replace(tzinfo=UTC)
        return role

    return assume_role


def _with_trust(answer: Any) -> Any:
    def respond(self: Any) -> Any:
        _check_trust(self)
        return answer(self)

    return respond


def _check_trust(request: Any) -> None:
    role_arn = request._get_param("RoleArn")  # noqa: SLF001  # moto's own way
    _, _, caller = request.backend.get_caller_identity(request.access_key, request.region)
    account = role_arn.split(":")[4]
    try:
        role = iam_backends[account][request.partition].get_role_by_arn(role_arn)
        document = json.loads(role.assume_role_policy_document)
    except NotFoundException:
        document = {"Statement": []}
    given = request._get_param("ExternalId")  # noqa: SLF001  # moto's own way
    if not any(_trusts(each, caller, given) for each in document["Statement"]):
        raise Refused(
            403,
            "AccessDenied",
            f"User: arn:{request.partition}:iam::{caller}:user/operator is not authorized to "
            f"perform: sts:AssumeRole on resource: {role_arn}",
        )


def _trusts(statement: dict[str, Any], caller: str, external_id: str | None) -> bool:
    principals = statement.get("Principal", {}).get("AWS", [])
    named = [principals] if isinstance(principals, str) else principals
    wanted = statement.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId")
    return (
        statement["Effect"] == "Allow"
        and any(name in {"*", caller} or f"::{caller}:" in name for name in named)
        and (wanted is None or wanted == external_id)
    )
