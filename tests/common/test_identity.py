"""Principals, service tokens and access rules."""

import pytest

from libs.common.errors import CloudigradeError, PermissionDenied, Unauthenticated
from libs.common.identity import (
    ADMIN,
    ANONYMOUS,
    PUBLIC,
    USER,
    Access,
    Principal,
    Role,
    ServiceTokens,
    User,
    acting_as,
    current_principal,
    current_user,
    service,
    service_for_user,
)
from tests.support.probe import KnownUsers

ADA = User(1, "ada", Role.ADMIN)
MAX = User(2, "max", Role.MEMBER)
AS_ADA, AS_MAX = Principal(user=ADA), Principal(user=MAX)
SCANNER, REPORTS = Principal(service="scanner"), Principal(service="reports")
REPORTS_FOR_MAX = Principal(user=MAX, service="reports")


@pytest.mark.parametrize(
    ("access", "principal"),
    [
        (PUBLIC, ANONYMOUS),
        (PUBLIC, SCANNER),
        (USER, AS_ADA),
        (USER, AS_MAX),
        (ADMIN, AS_ADA),
        (service("scanner", "reports"), REPORTS),
        (service("reports"), REPORTS_FOR_MAX),
        (service_for_user("reports"), REPORTS_FOR_MAX),
        (USER | service("scanner"), AS_MAX),
        (USER | service("scanner"), SCANNER),
        (ADMIN | service_for_user("reports"), REPORTS_FOR_MAX),
    ],
)
def test_who_may_is_admitted(access: Access, principal: Principal) -> None:
    """Each rule and one whom it is for."""
    access.admit(principal)


@pytest.mark.parametrize(
    ("access", "principal", "error", "reason"),
    [
        (USER, ANONYMOUS, Unauthenticated, "TOKEN_MISSING"),
        (service("scanner"), ANONYMOUS, Unauthenticated, "TOKEN_MISSING"),
        (ADMIN, AS_MAX, PermissionDenied, "ADMIN_ONLY"),
        (service("scanner"), AS_ADA, PermissionDenied, "SERVICES_ONLY"),
        (service("scanner"), REPORTS, PermissionDenied, "SERVICE_NOT_ALLOWED"),
        (USER, SCANNER, PermissionDenied, "SERVICE_NOT_ALLOWED"),
        (USER, REPORTS_FOR_MAX, PermissionDenied, "SERVICE_NOT_ALLOWED"),
        (service_for_user("reports"), REPORTS, Unauthenticated, "USER_TOKEN_MISSING"),
        (service_for_user("scanner"), REPORTS_FOR_MAX, PermissionDenied, "SERVICE_NOT_ALLOWED"),
        (Access(), AS_ADA, PermissionDenied, "SERVICES_ONLY"),
        (Access(), SCANNER, PermissionDenied, "SERVICE_NOT_ALLOWED"),
    ],
)
def test_who_may_not_is_told_why(
    access: Access, principal: Principal, error: type[CloudigradeError], reason: str
) -> None:
    """Unknown callers are unauthenticated, known ones denied."""
    with pytest.raises(error) as caught:
        access.admit(principal)
    assert caught.value.reason == reason


def test_a_service_is_known_by_its_token() -> None:
    """And every other token is left to the others."""
    tokens = ServiceTokens({"scanner": "s3cret", "reports": "r3port"}, KnownUsers())
    assert tokens.authenticate("s3cret") == SCANNER
    assert tokens.service_of("s3cre") is None
    user = tokens.authenticate("max-token").user
    assert user is not None
    assert user.name == "max"


def test_a_token_nobody_knows_is_refused() -> None:
    """Also when it is not ASCII, and when there are no others."""
    for authenticator in (
        ServiceTokens({"scanner": "s3cret"}),
        ServiceTokens({"scanner": "s3cret"}, KnownUsers()),
    ):
        for token in ("wrong", "", "é"):
            with pytest.raises(Unauthenticated) as caught:
                authenticator.authenticate(token)
            assert caught.value.reason == "TOKEN_UNKNOWN"


def test_an_empty_service_token_is_a_defect() -> None:
    """It would let in whoever sends none."""
    with pytest.raises(ValueError, match="never empty"):
        ServiceTokens({"scanner": ""})


def test_a_users_token_is_not_in_their_repr() -> None:
    """Nor does it make two users differ."""
    user = User(2, "max", Role.MEMBER, token="max-token")
    assert "max-token" not in repr(user)
    assert user == MAX


def test_the_current_principal_is_that_of_the_block() -> None:
    """Nested blocks restore the one before, errors too."""
    assert current_principal() is ANONYMOUS
    with acting_as(AS_ADA):
        assert current_user() == ADA
        with acting_as(SCANNER):
            assert current_principal() == SCANNER
        with pytest.raises(RuntimeError), acting_as(SCANNER):
            raise RuntimeError
        assert current_user() == ADA
    assert current_principal() is ANONYMOUS


def test_without_a_user_there_is_no_current_user() -> None:
    """Unauthenticated says what is missing."""
    with acting_as(SCANNER), pytest.raises(Unauthenticated) as caught:
        current_user()
    assert caught.value.reason == "USER_TOKEN_MISSING"
