"""Users, tokens, and who may do what with them."""

import contextlib
import threading
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from cloudigrade.accounts.v1 import identity_pb2 as pb
from libs.common.embedded_postgres import EmbeddedPostgres
from tests.support.accounts import Accounts, Refusal, later, refusal, running_accounts

UUID = "9f4d3ca6-35bb-4b8e-8d32-7b5ac1fa31a5"


def user(accounts: Accounts, name: str, role: Any = pb.ROLE_MEMBER) -> pb.User:
    """Make a user as the admin."""
    return accounts.admin.identity.CreateUser(pb.CreateUserRequest(name=name, role=role)).user


def test_a_user_is_stored_as_asked(accounts: Accounts) -> None:
    """CreateUser gives the user with an id and the server's time, and GetUser gives the same."""
    made = user(accounts, "Zoë Example")
    assert (made.name, made.role) == ("Zoë Example", pb.ROLE_MEMBER)
    assert made.create_time.ToDatetime(later(timedelta()).tzinfo) == later(timedelta())
    assert accounts.admin.identity.GetUser(pb.GetUserRequest(id=made.id)).user == made


@pytest.mark.parametrize(
    ("name", "role", "fields"),
    [
        ("", pb.ROLE_MEMBER, ("name",)),
        ("x" * 101, pb.ROLE_MEMBER, ("name",)),
        (" max", pb.ROLE_MEMBER, ("name",)),
        ("max\n", pb.ROLE_MEMBER, ("name",)),
        ("ma\tx", pb.ROLE_MEMBER, ("name",)),
        ("max", pb.ROLE_UNSPECIFIED, ("role",)),
        ("", 7, ("name", "role")),
    ],
)
def test_a_bad_user_is_refused_with_its_fields(
    accounts: Accounts, name: str, role: Any, fields: tuple[str, ...]
) -> None:
    """Every wrong field is named, and no user is made."""
    call = pb.CreateUserRequest(name=name, role=role)
    assert refusal(lambda: accounts.admin.identity.CreateUser(call)) == Refusal(
        "INVALID_ARGUMENT", "INVALID_REQUEST", fields
    )
    assert len(accounts.admin.identity.ListUsers(pb.ListUsersRequest()).users) == 1


def test_a_name_is_taken_once(accounts: Accounts) -> None:
    """A second user of a name is ALREADY_EXISTS."""
    user(accounts, "max")
    assert refusal(lambda: user(accounts, "max")) == Refusal("ALREADY_EXISTS", "USER_EXISTS", ())


def test_repeating_a_create_gives_the_first_user(accounts: Accounts) -> None:
    """The same request_id and content make one user; with other content it is refused."""
    call = pb.CreateUserRequest(name="max", role=pb.ROLE_MEMBER, request_id=UUID)
    first = accounts.admin.identity.CreateUser(call).user
    assert accounts.admin.identity.CreateUser(call).user == first
    other = pb.CreateUserRequest(name="mia", role=pb.ROLE_MEMBER, request_id=UUID)
    assert refusal(lambda: accounts.admin.identity.CreateUser(other)) == Refusal(
        "INVALID_ARGUMENT", "REQUEST_ID_REUSED", ("request_id",)
    )
    bad = pb.CreateUserRequest(name="mia", role=pb.ROLE_MEMBER, request_id="one")
    assert refusal(lambda: accounts.admin.identity.CreateUser(bad)).fields == ("request_id",)


def test_a_create_repeated_at_the_same_moment_makes_one_user(accounts: Accounts) -> None:
    """Eight calls with one request_id at once all get the same user."""
    call = pb.CreateUserRequest(name="max", role=pb.ROLE_MEMBER, request_id=UUID)
    ids: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: ids.append(accounts.admin.identity.CreateUser(call).user.id)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_users_are_listed_in_pages_in_the_order_of_making(accounts: Accounts) -> None:
    """Pages of two give all five users once, and a foreign or altered token is refused."""
    made = ["ada"] + [user(accounts, f"user {number}").name for number in range(4)]
    names: list[str] = []
    token = ""
    sizes = []
    while True:
        answer = accounts.admin.identity.ListUsers(
            pb.ListUsersRequest(page_size=2, page_token=token)
        )
        names += [each.name for each in answer.users]
        sizes.append(len(answer.users))
        token = answer.next_page_token or token
        if not answer.next_page_token:
            break
    assert names == made
    assert sizes == [2, 2, 1]
    elsewhere = pb.ListTokensRequest(page_token=token)
    assert refusal(lambda: accounts.admin.identity.ListTokens(elsewhere)) == Refusal(
        "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", ("page_token",)
    )
    negative = pb.ListUsersRequest(page_size=-1)
    assert refusal(lambda: accounts.admin.identity.ListUsers(negative)).fields == ("page_size",)


def test_a_token_works_until_it_expires(accounts: Accounts) -> None:
    """A token for an hour is good for an hour, and then says that it has expired."""
    owner = user(accounts, "max")
    made = accounts.admin.identity.CreateToken(
        pb.CreateTokenRequest(
            user_id=owner.id, label="laptop", expire_time=later(timedelta(hours=1))
        )
    )
    assert made.token.label == "laptop"
    caller = accounts.caller(made.secret)
    assert caller.identity.GetCaller(pb.GetCallerRequest()).user == owner
    accounts.clock.advance(timedelta(hours=1) - timedelta(microseconds=1))
    caller.identity.GetCaller(pb.GetCallerRequest())
    accounts.clock.advance(timedelta(microseconds=1))
    assert refusal(lambda: caller.identity.GetCaller(pb.GetCallerRequest())) == Refusal(
        "UNAUTHENTICATED", "TOKEN_EXPIRED", ()
    )


def test_a_token_lasts_ninety_days_unless_told_otherwise(accounts: Accounts) -> None:
    """Without an expire_time it is 90 days; one below a minute or above ten years is refused."""
    made = accounts.admin.identity.CreateToken(pb.CreateTokenRequest())
    assert made.token.expire_time.ToDatetime(later(timedelta()).tzinfo) == later(timedelta(days=90))
    for wrong in (timedelta(seconds=59), timedelta(days=3653), -timedelta(days=1)):
        call = pb.CreateTokenRequest(expire_time=later(wrong))
        assert refusal(lambda: accounts.admin.identity.CreateToken(call)).fields == (  # noqa: B023  # called at once
            "expire_time",
        )


def test_a_revoked_token_is_useless_at_once(accounts: Accounts) -> None:
    """After RevokeToken the next call is refused; revoking again changes nothing."""
    member = accounts.member()
    (token,) = member.identity.ListTokens(pb.ListTokensRequest()).tokens
    revoked = member.identity.RevokeToken(pb.RevokeTokenRequest(id=token.id)).token
    assert revoked.HasField("revoke_time")
    assert refusal(lambda: member.identity.GetCaller(pb.GetCallerRequest())) == Refusal(
        "UNAUTHENTICATED", "TOKEN_REVOKED", ()
    )
    accounts.clock.advance(timedelta(minutes=1))
    again = accounts.admin.identity.RevokeToken(pb.RevokeTokenRequest(id=token.id)).token
    assert again == revoked


def test_the_database_holds_no_secret(accounts: Accounts, database_url: str) -> None:
    """Nothing that is stored about a token contains its secret."""
    secret = accounts.admin.identity.CreateToken(pb.CreateTokenRequest(label="x")).secret
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT string_agg(t::text, '') FROM"
            " (SELECT token::text AS t FROM token UNION ALL SELECT audit::text FROM audit) AS rows"
        )
        (stored,) = cursor.fetchone() or ("",)
    assert secret not in stored
    assert secret.encode().hex() not in stored
    assert secret.startswith("cgt_")
    assert len(secret) == 4 + 43


def test_a_wrong_or_missing_token_is_refused(accounts: Accounts) -> None:
    """No token, and one that is nobody's, are UNAUTHENTICATED."""
    nobody = accounts.caller(None)
    assert refusal(lambda: nobody.identity.GetCaller(pb.GetCallerRequest())) == Refusal(
        "UNAUTHENTICATED", "TOKEN_MISSING", ()
    )
    guessed = accounts.caller("cgt_guessed")
    assert refusal(lambda: guessed.identity.GetCaller(pb.GetCallerRequest())) == Refusal(
        "UNAUTHENTICATED", "TOKEN_UNKNOWN", ()
    )


def test_members_manage_themselves_and_nobody_else(accounts: Accounts) -> None:
    """What concerns other users is NOT_FOUND for a member, and making users PERMISSION_DENIED."""
    member = accounts.member("max")
    other = user(accounts, "mia")
    (theirs,) = accounts.admin.identity.ListTokens(pb.ListTokensRequest()).tokens
    no_user = Refusal("NOT_FOUND", "USER_NOT_FOUND", ())
    for call in (
        lambda: member.identity.GetUser(pb.GetUserRequest(id=other.id)),
        lambda: member.identity.GetUser(pb.GetUserRequest(id=999)),
        lambda: member.identity.CreateToken(pb.CreateTokenRequest(user_id=other.id)),
        lambda: member.identity.CreateToken(pb.CreateTokenRequest(user_name="mia")),
        lambda: member.identity.CreateToken(pb.CreateTokenRequest(user_name="nobody")),
        lambda: member.identity.ListTokens(pb.ListTokensRequest(user_id=other.id)),
    ):
        assert refusal(call) == no_user
    assert refusal(
        lambda: member.identity.RevokeToken(pb.RevokeTokenRequest(id=theirs.id))
    ).code == ("NOT_FOUND")
    for denied in (
        lambda: member.identity.CreateUser(pb.CreateUserRequest(name="x", role=pb.ROLE_ADMIN)),
        lambda: member.identity.ListUsers(pb.ListUsersRequest()),
        lambda: member.identity.DeleteUser(pb.DeleteUserRequest(id=other.id)),
    ):
        assert refusal(denied) == Refusal("PERMISSION_DENIED", "ADMIN_ONLY", ())
    own = member.identity.CreateToken(pb.CreateTokenRequest(user_name="max", label="second"))
    assert accounts.caller(own.secret).identity.GetCaller(pb.GetCallerRequest()).user.name == "max"
    assert accounts.admin.identity.GetCaller(pb.GetCallerRequest()).user.name == "ada"


def test_a_deleted_user_calls_no_more(accounts: Accounts) -> None:
    """Deleting a user takes their tokens along; deleting them again is NOT_FOUND."""
    member = accounts.member("max")
    member_id = member.identity.GetCaller(pb.GetCallerRequest()).user.id
    delete = pb.DeleteUserRequest(id=member_id)
    accounts.admin.identity.DeleteUser(delete)
    assert refusal(lambda: member.identity.GetCaller(pb.GetCallerRequest())).reason == (
        "TOKEN_UNKNOWN"
    )
    assert refusal(lambda: accounts.admin.identity.DeleteUser(delete)).code == "NOT_FOUND"


def test_the_last_admin_and_owners_stay(accounts: Accounts) -> None:
    """The last admin cannot be deleted, nor a user who owns a cloud account."""
    ada = accounts.admin.identity.GetCaller(pb.GetCallerRequest()).user
    assert refusal(
        lambda: accounts.admin.identity.DeleteUser(pb.DeleteUserRequest(id=ada.id))
    ) == Refusal("FAILED_PRECONDITION", "LAST_ADMIN", ())
    owner = accounts.member("max")
    accounts.account(owner)
    max_id = owner.identity.GetCaller(pb.GetCallerRequest()).user.id
    assert refusal(
        lambda: accounts.admin.identity.DeleteUser(pb.DeleteUserRequest(id=max_id))
    ) == Refusal("FAILED_PRECONDITION", "USER_OWNS_ACCOUNTS", ())


def test_services_learn_whose_a_token_is(accounts: Accounts) -> None:
    """Authenticate gives the user and the expiry; users may not ask, nor services anything else."""
    member = accounts.member("max")
    for name in ("scanner", "inspector", "reports"):
        answer = accounts.service(name).identity.Authenticate(
            pb.AuthenticateRequest(secret=member.token)
        )
        assert (answer.user.name, answer.user.role) == ("max", pb.ROLE_MEMBER)
        assert answer.expire_time.ToDatetime(later(timedelta()).tzinfo) == later(timedelta(days=90))
    scanner = accounts.service("scanner")
    assert refusal(
        lambda: scanner.identity.Authenticate(pb.AuthenticateRequest(secret="cgt_guess"))
    ) == Refusal("UNAUTHENTICATED", "TOKEN_UNKNOWN", ())
    assert refusal(lambda: scanner.identity.Authenticate(pb.AuthenticateRequest())).fields == (
        "secret",
    )
    assert refusal(
        lambda: member.identity.Authenticate(pb.AuthenticateRequest(secret=member.token))
    ) == Refusal("PERMISSION_DENIED", "SERVICES_ONLY", ())
    assert refusal(lambda: scanner.identity.ListUsers(pb.ListUsersRequest())).code == (
        "PERMISSION_DENIED"
    )


def test_tokens_outlive_a_restart(database_url: str) -> None:
    """A token made before accounts was restarted works after."""
    with running_accounts(database_url) as accounts:
        secret = accounts.member("max").token
    with running_accounts(database_url) as accounts:
        caller = accounts.caller(secret)
        assert caller.identity.GetCaller(pb.GetCallerRequest()).user.name == "max"


def test_calls_wait_out_no_dead_database(private_postgres: EmbeddedPostgres) -> None:
    """With the database dead a call is UNAVAILABLE, and works again once it is back."""
    with running_accounts(private_postgres.url("accounts")) as accounts:
        private_postgres.kill()
        assert refusal(
            lambda: accounts.admin.identity.GetCaller(pb.GetCallerRequest(), timeout=20)
        ) == Refusal("UNAVAILABLE", "DATABASE_UNAVAILABLE", ())
        private_postgres.start()
        assert accounts.admin.identity.GetCaller(pb.GetCallerRequest()).user.name == "ada"
