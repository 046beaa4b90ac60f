"""Cloud accounts: their rules, without any storage."""

import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from libs.common.errors import FailedPrecondition
from libs.common.identifiers import RoleArn
from libs.common.instants import Micros

LONGEST_NAME = 200
_EXTERNAL_ID_BYTES = 24


class State(IntEnum):
    """Where an account stands; the numbers are those of the proto and of the database."""

    PENDING = 1
    ENABLED = 2
    PAUSED = 3
    DISABLED = 4
    DELETED = 5


@dataclass(frozen=True, slots=True)
class Verification:
    """What the last try to verify an account found; `at` is 0 when there was none."""

    at: Micros = 0
    verified: bool = False
    detail: str = ""
    missing_permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """How current the knowledge about one Region is; instants are 0 when there are none."""

    region: str
    confirmed_through: Micros
    last_listing_at: Micros
    trouble: str
    trouble_since: Micros


@dataclass(frozen=True, slots=True)
class CloudAccount:
    """A cloud account as accounts keeps it; instants are 0 when there are none."""

    id: int
    owner_id: int
    name: str
    partition: str
    aws_account_id: str
    role_arn: str
    external_id: str
    state: State
    created_at: Micros
    verified_at: Micros
    last_scan_at: Micros
    verification: Verification = Verification()
    regions: tuple[RegionStatus, ...] = ()


def account_name(text: str) -> str:
    """Return a name that an account may have; ValueError otherwise."""
    if not 1 <= len(text) <= LONGEST_NAME:
        raise ValueError(f"has 1 to {LONGEST_NAME} characters")
    if any(unicodedata.category(each) in {"Cc", "Cs"} for each in text):
        raise ValueError("has no control characters")
    return text


def role_of(account: CloudAccount) -> Callable[[str], RoleArn]:
    """Return a parser of roles of the same AWS account, which raises ValueError for others."""

    def parse(text: str) -> RoleArn:
        role = RoleArn.parse(text)
        if (role.partition, role.account_id) != (account.partition, account.aws_account_id):
            raise ValueError(
                f"is of account {role.account_id} ({role.partition}); this one is "
                f"{account.aws_account_id} ({account.partition}). Register the other by itself"
            )
        return role

    return parse


def new_external_id(token: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """Return a random ExternalId, by which AWS tells our customers' roles apart.

    Letters, digits, - and _, of which AWS takes 2 to 1,224
    (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html).
    """
    return f"cloudigrade-{token(_EXTERNAL_ID_BYTES)}"


def enabled(state: State) -> State:
    """Return the state after enabling; FailedPrecondition for an account that is not proved."""
    _proved(state)
    return State.ENABLED


def disabled(state: State) -> State:
    """Return the state after disabling; FailedPrecondition for an account that is not proved."""
    _proved(state)
    return State.DISABLED


def paused(state: State) -> State:
    """Return the state after pausing; FailedPrecondition unless it is enabled or paused."""
    if state not in {State.ENABLED, State.PAUSED}:
        raise not_enabled(state)
    return State.PAUSED


def not_enabled(state: State) -> FailedPrecondition:
    """Return the error for what only an enabled account allows."""
    return FailedPrecondition(
        f"The account is {state.name}. Verify or enable it first.",
        reason="ACCOUNT_NOT_ENABLED",
        metadata={"state": state.name},
    )


def _proved(state: State) -> None:
    if state is State.PENDING:
        raise FailedPrecondition(
            "The account has not been verified yet. Verify it first.", reason="ACCOUNT_PENDING"
        )
