"""Users, tokens, and who may do what with them."""

import contextlib
import threading
from datetime import timedelta
from typing import Any

import grpc
import psycopg2
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cloudigrade.accounts.v1 import accounts_pb2, schedule_pb2
from cloudigrade.accounts.v1 import identity_pb2 as pb
from cloudigrade.accounts.v1.inventory_pb2 import AuditEntry
from libs.common.channels import on_behalf_of
from libs.common.embedded_postgres import EmbeddedPostgres
from tests.support.accounts import Accounts, Caller, Refusal, later, refusal, running_accounts
from tests.support.statuses import told

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


def caller_id(caller: Caller) -> int:
    """Give the id of the user who calls."""
    return caller.identity.GetCaller(pb.GetCallerRequest()).user.id


def test_the_last_admin_stays(accounts: Accounts) -> None:
    """Ada can neither be deleted nor made a member, by herself or another, while she is alone."""
    ada = caller_id(accounts.admin)
    last = Refusal("FAILED_PRECONDITION", "LAST_ADMIN", ())
    delete = pb.DeleteUserRequest(id=ada)
    demote = pb.UpdateUserRequest(user=pb.User(id=ada, role=pb.ROLE_MEMBER))
    assert refusal(lambda: accounts.admin.identity.DeleteUser(delete)) == last
    assert refusal(lambda: accounts.admin.identity.UpdateUser(demote)) == last
    assert caller_id(accounts.admin) == ada


def test_no_admin_loses_the_last_token_that_is_good(accounts: Accounts) -> None:
    """Another admin without a token, or with one that is over, is no way back in."""
    ada = caller_id(accounts.admin)
    second = user(accounts, "second", pb.ROLE_ADMIN)
    short = accounts.admin.identity.CreateToken(
        pb.CreateTokenRequest(user_id=second.id, expire_time=later(timedelta(minutes=1)))
    )
    accounts.clock.advance(timedelta(minutes=1))
    (token,) = accounts.admin.identity.ListTokens(pb.ListTokensRequest()).tokens
    last = Refusal("FAILED_PRECONDITION", "LAST_ADMIN_TOKEN", ())
    for call in (
        lambda: accounts.admin.identity.RevokeToken(pb.RevokeTokenRequest(id=token.id)),
        lambda: accounts.admin.identity.DeleteUser(pb.DeleteUserRequest(id=ada)),
        lambda: accounts.admin.identity.UpdateUser(
            pb.UpdateUserRequest(user=pb.User(id=ada, role=pb.ROLE_MEMBER))
        ),
    ):
        assert refusal(call) == last
    # One that is over may be revoked: nothing is lost by it.
    accounts.admin.identity.RevokeToken(pb.RevokeTokenRequest(id=short.token.id))
    fresh = accounts.admin.identity.CreateToken(pb.CreateTokenRequest(user_id=second.id))
    accounts.admin.identity.RevokeToken(pb.RevokeTokenRequest(id=token.id))
    assert caller_id(accounts.caller(fresh.secret)) == second.id


def test_of_two_admins_who_delete_each_other_one_stays(accounts: Accounts) -> None:
    """At one moment, again and again: one call succeeds, and somebody can still call."""
    for round_ in range(5):
        pair = []
        for name in ("left", "right"):
            made = user(accounts, f"{name}-{round_}", pb.ROLE_ADMIN)
            secret = accounts.admin.identity.CreateToken(pb.CreateTokenRequest(user_id=made.id))
            pair.append(accounts.caller(secret.secret))
        before = accounts.admin
        ids = [caller_id(each) for each in pair]
        pair[0].identity.DeleteUser(pb.DeleteUserRequest(id=caller_id(before)))
        codes: list[str] = []

        def delete(caller: Caller, other: int, codes: list[str]) -> None:
            try:
                caller.identity.DeleteUser(pb.DeleteUserRequest(id=other))
                codes.append("OK")
            except grpc.RpcError as error:
                codes.append(told(error).reason)

        threads = [
            threading.Thread(target=delete, args=(each, other, codes))
            for each, other in zip(pair, ids[::-1], strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        # The other was too late: its token is gone, or it would have been the last to go.
        assert codes.count("OK") == 1
        (accounts.admin,) = [each for each, code in zip(pair, _working(pair), strict=True) if code]


def _working(callers: list[Caller]) -> list[bool]:
    def works(caller: Caller) -> bool:
        try:
            caller_id(caller)
        except grpc.RpcError:
            return False
        return True

    return [works(each) for each in callers]


def test_a_role_changes_at_once(accounts: Accounts) -> None:
    """A member made an admin may what admins may, with the token that they have, and back."""
    member = accounts.member("max")
    list_users = pb.ListUsersRequest()
    number = caller_id(member)

    def become(role: Any, *paths: str) -> pb.User:
        return accounts.admin.identity.UpdateUser(
            pb.UpdateUserRequest(
                user=pb.User(id=number, role=role, name="ignored"),
                update_mask=FieldMask(paths=paths),
            )
        ).user

    assert refusal(lambda: member.identity.ListUsers(list_users)).reason == "ADMIN_ONLY"
    assert become(pb.ROLE_ADMIN).role == pb.ROLE_ADMIN
    assert len(member.identity.ListUsers(list_users).users) == 2
    assert become(pb.ROLE_ADMIN, "role").name == "max"
    assert become(pb.ROLE_MEMBER, "role").role == pb.ROLE_MEMBER
    assert refusal(lambda: member.identity.ListUsers(list_users)).reason == "ADMIN_ONLY"
    assert refusal(lambda: become(pb.ROLE_ADMIN, "name")).fields == ("update_mask",)
    assert refusal(lambda: become(pb.ROLE_UNSPECIFIED)).fields == ("user.role",)
    number = 999
    assert refusal(lambda: become(pb.ROLE_ADMIN)).reason == "USER_NOT_FOUND"


def test_an_owner_of_accounts_is_not_deleted_and_it_is_said_what_to_do(accounts: Accounts) -> None:
    """The accounts are named, removed ones with kept history too; given away, they do not count."""
    owner = accounts.member("max")
    first, second = accounts.verified(owner), accounts.account(owner, "999999999999")
    owner.accounts.DeleteCloudAccount(
        accounts_pb2.DeleteCloudAccountRequest(id=first.id, history=accounts_pb2.HISTORY_KEEP)
    )
    delete = pb.DeleteUserRequest(id=caller_id(owner))
    with pytest.raises(grpc.RpcError) as caught:
        accounts.admin.identity.DeleteUser(delete)
    refused = told(caught.value)
    assert refused.reason == "USER_OWNS_ACCOUNTS"
    assert f"(ids {first.id}, {second.id})" in refused.message
    assert "Give them to another user" in refused.message
    for account in (first, second):
        accounts.admin.accounts.UpdateCloudAccount(
            accounts_pb2.UpdateCloudAccountRequest(
                account=accounts_pb2.CloudAccount(id=account.id, owner_id=caller_id(accounts.admin))
            )
        )
    accounts.admin.identity.DeleteUser(delete)


def test_the_audit_log_says_who_made_and_revoked_what(accounts: Accounts) -> None:
    """Users and tokens, in pages, the newest first; for admins only."""
    member = accounts.member("max")
    number = caller_id(member)
    made = member.identity.CreateToken(pb.CreateTokenRequest(label="laptop")).token
    accounts.admin.identity.RevokeToken(pb.RevokeTokenRequest(id=made.id))
    for role in (pb.ROLE_ADMIN, pb.ROLE_MEMBER):
        accounts.admin.identity.UpdateUser(pb.UpdateUserRequest(user=pb.User(id=number, role=role)))
    accounts.admin.identity.DeleteUser(pb.DeleteUserRequest(id=number))
    entries: list[AuditEntry] = []
    token = ""
    while True:
        page = accounts.admin.identity.ListIdentityAuditEntries(
            pb.ListIdentityAuditEntriesRequest(page_size=3, page_token=token)
        )
        entries += page.entries
        token = page.next_page_token
        if not token:
            break
    assert [(e.actor, e.action, e.subject, e.detail) for e in entries] == [
        ("ada", "user.deleted", "max", f"user {number}, member"),
        ("ada", "user.role_changed", "max", "admin to member"),
        ("ada", "user.role_changed", "max", "member to admin"),
        ("ada", "token.revoked", "max", f"token {made.id}: laptop"),
        ("max", "token.created", "max", f"token {made.id}: laptop"),
        ("ada", "token.created", "max", "token 2"),
        ("ada", "user.created", "max", "member"),
        ("operator", "token.created", "ada", "token 1: made on the server"),
        ("operator", "user.created", "ada", "admin"),
    ]


def test_a_services_question_counts_against_the_token_asked_about(accounts: Accounts) -> None:
    """The same wrong token too often is RESOURCE_EXHAUSTED; the service asks on about others."""
    scanner = accounts.service("scanner")

    def ask(secret: str) -> Refusal:
        request = pb.AuthenticateRequest(secret=secret)
        return refusal(lambda: scanner.identity.Authenticate(request))

    unknown = Refusal("UNAUTHENTICATED", "TOKEN_UNKNOWN", ())
    too_many = Refusal("RESOURCE_EXHAUSTED", "TOO_MANY_ATTEMPTS", ())
    assert [ask("cgt_old") for _ in range(12)] == [unknown] * 10 + [too_many] * 2
    assert [ask(f"cgt_{number}") for number in range(120)] == [unknown] * 120
    member = accounts.member()
    scanner.identity.Authenticate(pb.AuthenticateRequest(secret=member.token))
    # It is the same count as where a service calls for the user.
    request = schedule_pb2.GetScanTargetRequest(account_id=1)
    behalf = on_behalf_of("cgt_old")
    assert refusal(lambda: scanner.schedule.GetScanTarget(request, metadata=behalf)) == too_many
    accounts.clock.advance(timedelta(minutes=1))
    assert ask("cgt_old") == unknown


def test_a_services_token_given_as_a_users_harms_no_service(accounts: Accounts) -> None:
    """Somebody calls reports with its own token again and again; reports itself calls on."""
    reports = accounts.service("reports")
    request = pb.AuthenticateRequest(secret=reports.token)
    reasons = [refusal(lambda: reports.identity.Authenticate(request)).reason for _ in range(12)]
    assert reasons == ["TOKEN_UNKNOWN"] * 10 + ["TOO_MANY_ATTEMPTS"] * 2
    member = accounts.member()
    reports.identity.Authenticate(pb.AuthenticateRequest(secret=member.token))


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
