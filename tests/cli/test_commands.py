"""Every command that asks the services something, against all four of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.commands import Done, command
from tests.support.embedded import System, embedded_system
from tests.support.fleet import Fleet
from tests.support.local_aws import CUSTOMER, ROLE_ARN, make_role

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

Run = Callable[..., Done]
YESTERDAY = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), time(), UTC)
WINDOW = ("--start", f"{YESTERDAY:%Y-%m-%d}", "--end", f"{YESTERDAY + timedelta(days=1):%Y-%m-%d}")
LARGE = "9" * 23


@pytest.fixture(scope="module")
def aws(local_aws_server: "LocalAws") -> "Iterator[LocalAws]":
    """Give this module an empty local AWS, to which boto3's default chain leads."""
    local_aws_server.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in local_aws_server.environment().items():
            patch.setenv(name, value)
        yield local_aws_server
    local_aws_server.reset()


@pytest.fixture(scope="module")
def system(aws: "LocalAws", tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run all four services for this module's tests, each of which makes what it needs."""
    with embedded_system(tmp_path_factory.mktemp("system"), aws.environment()) as running:
        yield running


@pytest.fixture(scope="module")
def run(system: System, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what runs a command as the admin, or with another token."""
    folder = str(tmp_path_factory.mktemp("no-state"))

    def run(*arguments: str, token: str = "", **environ: str) -> Done:
        given = {**system.environment(), "CLOUDIGRADE_STATE": folder, **environ}
        return command({**given, "CLOUDIGRADE_TOKEN": token or system.token}, *arguments)

    return run


@pytest.fixture(scope="module")
def account(aws: "LocalAws", run: Run) -> str:
    """Register and scan an account; its one instance ran yesterday from 10:00 to 12:15 UTC."""
    fleet = Fleet(aws, "eu-west-1")
    instance = fleet.launch(fleet.register("an-image"), YESTERDAY + timedelta(hours=10))
    fleet.stop(instance, YESTERDAY + timedelta(hours=12, minutes=15))
    added = run("account", "add", ROLE_ARN, "--name", "production").answer
    refused = run("account", "verify", added["id"])
    assert (refused.status, refused.answer["verified"]) == (7, False)
    make_role(aws, ["ec2:*", "ebs:*"], external_id=added["externalId"])
    assert run("account", "verify", added["id"]).status == 0
    scanned = run("scan", added["id"])
    assert scanned.status == 0, scanned.err
    assert scanned.answer["instances"] == "1"
    return str(added["id"])


@pytest.fixture
def member(run: Run) -> str:
    """Make a member, and return their token."""
    name = f"member-{uuid4()}"
    assert run("user", "create", name).answer["role"] == "ROLE_MEMBER"
    return str(run("token", "create", name).answer["secret"])


def pending(run: Run) -> str:
    """Register an account that nobody else has, and return its id."""
    number = uuid4().int % 10**12
    return str(run("account", "add", f"arn:aws:iam::{number:012}:role/r").answer["id"])


# Users and tokens.


def test_users_are_made_once_and_listed(run: Run) -> None:
    """A new user is in the list with their role; the same name again is status 5."""
    name = f"admin-{uuid4()}"
    made = run("user", "create", name, "--role", "admin")
    assert (made.status, made.answer["name"], made.answer["role"]) == (0, name, "ROLE_ADMIN")
    assert made.answer in run("user", "list").answers
    again = run("user", "create", name)
    assert (again.status, again.error["reason"], again.error["exit"]) == (5, "USER_EXISTS", 5)


def test_a_token_works_until_it_is_revoked(run: Run) -> None:
    """Its owner's token is listed without its secret, and is worth nothing once revoked."""
    name = f"someone-{uuid4()}"
    run("user", "create", name)
    made = run("token", "create", name, "--label", "laptop", "--days", "7").answer
    held = datetime.fromisoformat(made["token"]["expireTime"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < held < timedelta(days=7, hours=1)
    assert run("account", "list", token=made["secret"]).status == 0
    [listed] = run("token", "list", name).answers
    assert listed["label"] == "laptop"
    assert made["secret"] not in str(listed)
    assert run("token", "revoke", listed["id"]).answer["revokeTime"]
    refused = run("account", "list", token=made["secret"])
    assert (refused.status, refused.error["exit"]) == (4, 4)


def test_a_user_changes_role_and_goes(run: Run) -> None:
    """Member, admin, gone; the log says so, the newest first, and a second deletion is status 3."""
    name = f"someone-{uuid4()}"
    run("user", "create", name)
    assert run("user", "role", name, "admin").answer["role"] == "ROLE_ADMIN"
    assert run("user", "role", name, "god").status == 2
    assert run("user", "delete", name).status == 0
    assert run("user", "delete", name).status == 3
    told = [each["action"] for each in run("user", "audit").answers if each["subject"] == name]
    assert told == ["user.deleted", "user.role_changed", "user.created"]


def test_the_last_admin_is_told_to_make_another(run: Run) -> None:
    """Status 5, and what to do, for the only admin who has a token that is good."""
    refused = run("user", "role", "admin", "member")
    assert (refused.status, refused.error["exit"]) == (5, 5)
    assert refused.error["reason"] in {"LAST_ADMIN", "LAST_ADMIN_TOKEN"}
    assert "first" in refused.error["message"]


@pytest.mark.parametrize("what", ["user", "token"])
def test_a_name_is_not_asked_for_where_nobody_can_answer(run: Run, what: str) -> None:
    """Without a name and without a terminal the command says what to give, with status 2."""
    done = run(what, "create")
    assert (done.status, done.out) == (2, "")
    assert "NAME=" in done.error["message"]


def test_a_member_may_not_manage_users(run: Run, member: str) -> None:
    """A member's token is a good one that may not: status 4."""
    assert run("user", "list", token=member).status == 4
    assert run("user", "create", "x", token=member).error["exit"] == 4


@pytest.mark.parametrize("token", ["nonsense", "two\nlines", "é"])
def test_a_bad_token_is_refused(run: Run, token: str) -> None:
    """Whatever is wrong with it: one sentence and status 4."""
    done = run("account", "list", token=token)
    assert (done.status, done.error["exit"]) == (4, 4)


# Accounts and what is known of them.


def test_an_account_is_shown_with_its_regions(run: Run, account: str) -> None:
    """After a scan each Region is known through some instant; the list has the account too."""
    shown = run("account", "show", account).answer
    assert (shown["name"], shown["awsAccountId"]) == ("production", CUSTOMER)
    assert "eu-west-1" in [region["region"] for region in shown["regions"]]
    assert account in [each["id"] for each in run("account", "list").answers]


def test_what_is_not_yours_is_not_found(run: Run, account: str, member: str) -> None:
    """Another user's account is status 3 for every command, and in nobody else's list."""
    for words in (
        *(["account", "show"], ["account", "verify"], ["account", "pause"], ["scan"]),
        *(["inventory", "instances"], ["inventory", "images"], ["inspections", "list"]),
        *(["account", "remove", "--erase-history"], ["report", "--account"]),
    ):
        done = run(*words, account, token=member)
        assert (done.status, done.error["exit"]) == (3, 3), words
    assert run("account", "list", token=member).out == ""


def test_an_account_is_paused_disabled_and_taken_up_again(run: Run, account: str) -> None:
    """Each command answers with the account as it then is."""
    for word, state in (("pause", "PAUSED"), ("disable", "DISABLED"), ("enable", "ENABLED")):
        done = run("account", word, account)
        assert (done.status, done.answer["state"]) == (0, f"STATE_{state}")


def test_each_change_says_what_becomes_of_the_history(run: Run, account: str) -> None:
    """A person reads it under the table; a program reads the state."""
    for words, said in (
        (["pause", account], "count up to when they were last confirmed"),
        (["enable", account], "found to have run all through it"),
        (["disable", account], "What is known stays in reports"),
        (["enable", account], "scanned again from now on"),
    ):
        done = run("account", *words, "--output", "table")
        assert (done.status, said in " ".join(done.out.split())) == (0, True), words


def test_an_account_is_renamed_gets_another_role_and_another_owner(run: Run, member: str) -> None:
    """Each answers with the account; a role of another AWS account is status 2."""
    number = f"{uuid4().int % 10**12:012}"
    added = run("account", "add", f"arn:aws:iam::{number}:role/r").answer
    assert run("account", "rename", added["id"], "shop").answer["name"] == "shop"
    new = f"arn:aws:iam::{number}:role/new"
    assert run("account", "role", added["id"], new).answer["roleArn"] == new
    other = run("account", "role", added["id"], "arn:aws:iam::999999999999:role/r")
    assert (other.status, "999999999999" in other.error["message"]) == (2, True)
    name = run("user", "list").answers[-1]["name"]
    owner = run("user", "list").answers[-1]["id"]
    assert run("account", "give", added["id"], name, token=member).status == 4
    assert run("account", "give", added["id"], name).answer["ownerId"] == owner
    assert run("account", "show", added["id"], token=member).status == 0
    deleted = run("user", "delete", name)
    assert (deleted.status, deleted.error["reason"]) == (5, "USER_OWNS_ACCOUNTS")
    gone = run("account", "remove", added["id"], "--erase-history", "--output", "table")
    assert "gone from every report, of the past too" in " ".join(gone.out.split())
    told = run("user", "audit").answers[0]
    assert (told["action"], told["subject"]) == ("account.erased", f"account {added['id']}")
    assert run("user", "delete", name).status == 0


def test_a_pending_account_must_be_verified_first(run: Run) -> None:
    """Scanning it is status 5."""
    done = run("scan", pending(run))
    assert (done.status, done.error["reason"]) == (5, "ACCOUNT_NOT_ENABLED")


def test_an_account_is_registered_once_and_can_be_removed(run: Run) -> None:
    """The same AWS account again is status 5; removed, it is gone for the next command."""
    arn = f"arn:aws:iam::{uuid4().int % 10**12:012}:role/r"
    added = run("account", "add", arn).answer
    assert run("account", "add", arn).status == 5
    unsaid = run("account", "remove", added["id"])
    assert (unsaid.status, "--keep-history" in unsaid.error["message"]) == (2, True)
    assert run("account", "remove", added["id"], "--erase-history").status == 0
    assert run("account", "show", added["id"]).status == 3


def test_a_removed_account_that_was_never_verified_is_said_to_be_erased(run: Run) -> None:
    """It has no history to keep, whatever was asked for."""
    gone = run("account", "remove", pending(run), "--keep-history", "--output", "table")
    assert (gone.status, "Erased" in gone.out, "stays in reports" in gone.out) == (0, True, False)


def test_the_inventory_shows_instances_and_images(run: Run, account: str) -> None:
    """The one instance and its image, one JSON object a line."""
    [instance] = run("inventory", "instances", account).answers
    assert (instance["region"], instance["instanceType"]) == ("eu-west-1", "m5.large")
    [image] = run("inventory", "images", account).answers
    assert image["description"]["imageId"] == instance["imageId"]
    shown = run("inventory", "image", account, instance["imageId"])
    assert [each["signal"] for each in shown.answer["classification"]["evidence"]][-2:] == [
        *("usage-operation", "platform-details"),
    ]
    table = run("inventory", "image", account, instance["imageId"], "-o", "table").out
    assert [line.split()[:2] for line in table.splitlines()][-2:] == [
        *(["supporting", "usage-operation"], ["supporting", "platform-details"]),
    ]
    assert run("inventory", "image", account, "ami-0123456789abcdef0").status == 3
    assert run("inspections", "list", account).status == 0
    assert run("inspections", "redrive", account).status == 0


# Reports.


def test_a_report_is_exact_in_buckets_of_a_zone(run: Run, account: str) -> None:
    """In Kolkata (5:30 ahead) the run is from 15:30 to 17:45: 30, 60 and 45 minutes of hours."""
    done = run(
        *("report", *WINDOW, "--zone", "Asia/Kolkata", "--bucket", "hour"),
        *("--by", "region", "--account", account),
    )
    assert done.status == 0, done.err
    used = {
        row["startTime"]: int(row["measures"]["runtime"]["seconds"])
        for row in done.answer["rows"]
        if row["measures"]["runtime"]["seconds"] != "0"
    }
    marks = [YESTERDAY + timedelta(hours=hour, minutes=30) for hour in (9, 10, 11)]
    assert used == {
        f"{mark:%Y-%m-%dT%H:%M:%SZ}": s for mark, s in zip(marks, (1800, 3600, 2700), strict=True)
    }


def test_a_report_is_a_table_for_people(run: Run, account: str) -> None:
    """The table says 2:15:00 for the instance's type, and as of when."""
    done = run(
        *("report", *WINDOW, "--by", "region", "--by", "instance-type", "-o", "table"),
        *("--account", account),
    )
    [row] = [line.split() for line in done.out.splitlines() if line.startswith("eu-west-1")]
    assert row[:3] == ["eu-west-1", "m5.large", "2:15:00"]
    assert "As of " in done.out


def test_an_answer_as_of_its_instant_is_given_again(run: Run, account: str) -> None:
    """The same report for its own asOf; and before yesterday nothing was known of the account."""
    asked = ("report", *WINDOW, "--account", account)
    first = run(*asked).answer
    again = run(*asked, "--as-of", first["asOf"])
    assert again.status == 0, again.err
    assert again.answer == first
    before = f"{YESTERDAY - timedelta(days=1):%Y-%m-%d}"
    assert run(*asked, "--as-of", before).answer["totals"][0]["measures"]["runtime"] == {
        "seconds": "0",
        "nanos": 0,
    }
    assert run("inventory", "instances", account, "--as-of", before).answers == []
    assert run("inventory", "images", account, "--as-of", before).answers == []


@pytest.mark.parametrize("command", [("report",), ("inventory", "instances", "1")])
def test_an_as_of_that_is_no_time_is_named(run: Run, command: tuple[str, ...]) -> None:
    """The error says which option is wrong, and the exit status is that of wrong usage."""
    done = run(*command, "--as-of", "yesterday")
    assert done.status == 2
    assert "--as-of 'yesterday'" in done.err


def test_an_override_changes_a_report_until_it_is_withdrawn(run: Run, account: str) -> None:
    """On from 10:00 to 12:15, Oracle Linux from 11:00 on: 75 minutes, and none once withdrawn."""

    def seconds() -> int:
        report = run("report", *WINDOW, "--account", account, "--distribution", "ol")
        return sum(int(row["measures"]["runtime"]["seconds"]) for row in report.answer["rows"])

    [instance] = run("inventory", "instances", account).answers
    since = f"{YESTERDAY + timedelta(hours=12):%Y-%m-%dT%H:%M}"
    said = run(
        *("override", "create", account, instance["instanceId"], "--distribution", "ol"),
        *("--version", "9.4", "--product", "sap", "--license", "byos", "--reason", "converted"),
        *("--from", since, "--zone", "Africa/Lagos"),
    )
    assert said.status == 0, said.err
    assert said.answer["effectiveTime"] == f"{YESTERDAY + timedelta(hours=11):%Y-%m-%dT%H:%M:%SZ}"
    assert (said.answer["licenseModel"], said.answer["products"]) == (
        "LICENSE_MODEL_BYOS",
        ["sap"],
    )
    assert seconds() == 75 * 60
    number, day = said.answer["id"], f"{YESTERDAY:%Y-%m-%d}"
    changed = run("audit", account, "--affecting", day).answers
    assert [each["action"] for each in changed if each["subject"] == instance["instanceId"]] == [
        "override.created"
    ]
    table = run("override", "list", account, "-o", "table").out
    assert "ol 9.4 sap (byos)" in " ".join(table.split())
    gone = run("override", "withdraw", account, number, "--reason", "it was another one")
    assert gone.answer["withdrawReason"] == "it was another one"
    assert run("override", "list", account).answers == [gone.answer]
    assert seconds() == 0
    assert run("override", "withdraw", account, "999999").status == 3


def test_the_audit_log_is_asked_about_a_day(run: Run, account: str) -> None:
    """What changed no report of that day is left out; without a day all is there."""
    every = [each["action"] for each in run("audit", account).answers]
    assert {"account.created", "account.verified"} <= set(every)
    assert run("audit", account, "--affecting", "2001-01-01").answers == []
    span = "2001-01-01..2001-01-03T12:00"
    assert run("audit", account, "--affecting", span, "--zone", "Asia/Tokyo").answers == []


@pytest.mark.parametrize(
    "words",
    [
        ["user", "list"],
        ["user", "audit"],
        ["token", "list"],
        ["account", "list"],
        ["account", "show", "{account}"],
        ["account", "verify", "{account}"],
        ["inventory", "instances", "{account}"],
        ["inventory", "images", "{account}"],
        ["inspections", "list", "{account}"],
        ["audit", "{account}"],
        ["scan", "{account}"],
        ["config"],
    ],
    ids=" ".join,
)
def test_every_answer_is_a_table_too(run: Run, account: str, words: list[str]) -> None:
    """With --output table there are columns instead of JSON, and no error."""
    done = run(*[word.format(account=account) for word in words], "--output", "table")
    assert done.status == 0, done.err
    assert len(done.out.splitlines()) > 1
    assert not done.out.startswith("{")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["account", "add", "arn:nonsense"], "role_arn"),
        (["account", "add", "arn:aws:iam::12345:role/x"], "role_arn"),
        (["account", "show", "x"], "account"),
        (["account", "show", "0"], "account"),
        (["account", "show", LARGE], "account"),
        (["account", "verify", LARGE], "account"),
        (["scan", LARGE], "account"),
        (["token", "revoke", LARGE], "token_id"),
        (["token", "create", "x", "--days", "0"], "--days"),
        (["user", "create", "x", "--role", "god"], "--role"),
        (["inspections", "redrive", "1", LARGE], "ids"),
        (["override", "create", "1", "web", "--reason", "x"], "ami-"),
        (["override", "create", "1", "ami-1", "--reason", "x", "--license", "mine"], "--license"),
        (["override", "create", "1", "ami-1", "--reason", "x", "--from", "noon"], "--from"),
        (["override", "create", "1", "ami-1", "--reason", "x"], "override.image_id"),
        (["override", "create", "1", "ami-1", "--distribution", "rhel"], "--reason"),
        (["override", "withdraw", "1", "0"], "id"),
        (["audit", "1", "--affecting", "yesterday"], "--affecting"),
        (["audit", "1", "--affecting", "2026-01-02..2026-01-01"], "--affecting"),
        (["audit", "1", "--affecting", "2026-01-01..9"], "--affecting"),
        (["report", "--account", LARGE], "--account"),
        (["report", "--start", "2026-12-02", "--end", "2026-12-01"], "end_time"),
        (["report", "--start", "2026-12-01", "--end", "2026-12-01"], "end_time"),
        (["report", "--start", "0001-01-01T00:00:00+14:00"], "--start"),
        (["report", "--last", f"{LARGE}d"], "--last"),
        (["report", "--zone", "Europe"], "--zone"),
        (["report", "--zone", "../../etc/passwd"], "--zone"),
        (["report", "--by", "colour"], "--by"),
        (["report", "--bucket", "year"], "--bucket"),
        (["report", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["report", "--output", "yaml"], "--output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_is_named(run: Run, words: list[str], named: str) -> None:
    """One JSON error that names the value, status 2, and nothing on standard output."""
    done = run(*words)
    assert (done.status, done.error["exit"], done.out) == (2, 2, "")
    assert named in done.error["message"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["account", "show", "999999"], "ACCOUNT_NOT_FOUND"),
        (["report", "--account", "999999"], "ACCOUNT_NOT_FOUND"),
        (["token", "revoke", "999999"], "NOT_FOUND"),
        (["token", "create", "nobody"], "USER_NOT_FOUND"),
        (["token", "list", "nobody"], "USER_NOT_FOUND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_not_there_is_status_3(run: Run, words: list[str], reason: str) -> None:
    """Status 3 and the reason, for a script to tell it from a mistake."""
    done = run(*words)
    assert (done.status, done.error["reason"]) == (3, reason)


@pytest.mark.parametrize("service", ["accounts", "scanner", "reports"])
def test_a_service_that_is_away_is_status_6(run: Run, service: str) -> None:
    """The error says where nothing answers, and what starts it."""
    words = {"accounts": ["user", "list"], "scanner": ["scan", "1"], "reports": ["report"]}
    done = run(*words[service], **{f"CLOUDIGRADE_{service.upper()}_TARGET": "127.0.0.1:1"})
    assert (done.status, done.error["exit"]) == (6, 6)
    assert "127.0.0.1:1" in done.error["message"]
    assert "cloudigrade up" in done.error["message"]


def test_config_names_a_variable_that_nothing_reads(run: Run) -> None:
    """A misspelt variable is told on standard error with the one that was meant; secrets hide."""
    done = run("config", CLOUDIGRADE_ACCOUNTS_TARGT="x")
    assert done.status == 0
    assert "CLOUDIGRADE_ACCOUNTS_TARGET was meant?" in " ".join(done.err.split())
    values = {each["variable"]: each["value"] for each in done.answers}
    assert values["CLOUDIGRADE_TOKEN"] == "(secret, set)"


def test_a_variable_that_cannot_be_used_is_status_2(run: Run) -> None:
    """The error names it."""
    done = run("account", "list", CLOUDIGRADE_TLS_CA="/does/not/exist")
    assert (done.status, "CLOUDIGRADE_TLS_CA" in done.error["message"]) == (2, True)
