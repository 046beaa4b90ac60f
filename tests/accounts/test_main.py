"""accounts as a process: what it needs, what it says, how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cloudigrade.accounts.v1 import identity_pb2
from libs.common.embedded_postgres import EmbeddedPostgres
from tests.support.accounts import SERVICE_TOKENS, Accounts, Caller, running_accounts
from tests.support.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]


def environment(database_url: str, **more: str) -> dict[str, str]:
    """Give the variables that accounts needs, and no other of cloudigrade's."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("CLOUDIGRADE_")}
    return {
        **others,
        "CLOUDIGRADE_DATABASE_URL": database_url,
        "CLOUDIGRADE_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/",
        "CLOUDIGRADE_ACCOUNTS_LISTEN": "127.0.0.1:0",
        **{f"CLOUDIGRADE_{name.upper()}_TOKEN": token for name, token in SERVICE_TOKENS.items()},
        **more,
    }


def command(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run accounts' command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "services.accounts", *arguments],
        env=environ,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def process(environ: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run accounts as a process of its own, and give it with its port."""
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", "services.accounts"], env=environ, cwd=CHECKOUT, stderr=out
        ) as running,
    ):
        try:
            wait_until(lambda: b"server.started" in log.read_bytes() or running.poll(), 30)
            line = next(line for line in log.read_text().splitlines() if "server.started" in line)
            yield running, int(line.partition('"port": ')[2].partition(",")[0].rstrip("}"))
        finally:
            running.kill()


def test_an_operator_makes_the_first_admin(database_url: str) -> None:
    """create-admin prints a token and nothing else; the token is an admin's."""
    made = command(environment(database_url), "create-admin", "ada")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert len(secret.split()) == 1
    with running_accounts(database_url) as accounts:
        user = accounts.caller(secret).identity.GetCaller(identity_pb2.GetCallerRequest()).user
    assert (user.name, user.role) == ("ada", identity_pb2.ROLE_ADMIN)


def test_an_admin_who_lost_the_token_gets_another(database_url: str) -> None:
    """create-admin for an admin that exists prints a new token; the old one stays good."""
    with running_accounts(database_url) as accounts:
        again = command(environment(database_url), "create-admin", "ada").stdout.strip()
        for caller in (accounts.caller(again), accounts.admin):
            assert caller.identity.GetCaller(identity_pb2.GetCallerRequest()).user.name == "ada"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "no admin was made: has 1 to 100 characters"),
        ("max", "no admin was made: max is a member, not an admin"),
    ],
)
def test_no_admin_is_made_of_what_cannot_be_one(database_url: str, name: str, said: str) -> None:
    """A bad name and a member's are refused in one line."""
    with running_accounts(database_url) as accounts:
        accounts.member("max")
    refused = command(environment(database_url), "create-admin", name)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_missing_settings_are_named_in_one_line() -> None:
    """Without its settings accounts ends with one line that names each of them."""
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith("CLOUDIGRADE_")
    }
    refused = command(environ)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    for variable in ("DATABASE_URL", "SCANNER_TOKEN", "INSPECTOR_TOKEN", "REPORTS_TOKEN"):
        assert f"CLOUDIGRADE_{variable} must be set" in line


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CLOUDIGRADE_DATABASE_URL", "mysql://u:hunter2@h/d", "CLOUDIGRADE_DATABASE_URL"),
        (
            "CLOUDIGRADE_DATABASE_URL",
            "postgresql://u:hunter2@127.0.0.1:1/d",
            "no database at CLOUDIGRADE_DATABASE_URL: connection to server at",
        ),
        ("CLOUDIGRADE_ACCOUNTS_CONNECTIONS", "1", "CLOUDIGRADE_ACCOUNTS_CONNECTIONS is '1'"),
        ("CLOUDIGRADE_ACCOUNTS_SCAN_INTERVAL", "soon", "wants a span such as"),
        (
            "CLOUDIGRADE_REPORTS_TOKEN",
            SERVICE_TOKENS["scanner"],
            "every service needs a token of its own",
        ),
        ("CLOUDIGRADE_BROKER_URL", "", "CLOUDIGRADE_BROKER_URL must be set"),
    ],
)
def test_a_bad_setting_stops_the_start_in_one_line(
    database_url: str, variable: str, value: str, said: str
) -> None:
    """The line names the variable and what is wrong, and no secret."""
    refused = command(environment(database_url) | {variable: value})
    assert refused.returncode == 2
    lines = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, refused.stderr
    assert said in lines[0]
    assert "hunter2" not in refused.stderr


def test_a_process_serves_until_it_is_told_to_stop(database_url: str, tmp_path: Path) -> None:
    """It answers over its port, and after SIGTERM ends with status 0."""
    environ = environment(database_url)
    secret = command(environ, "create-admin", "ada").stdout.strip()
    with process(environ, tmp_path / "log") as (running, port):
        caller = Caller(f"127.0.0.1:{port}", secret)
        user = caller.identity.GetCaller(identity_pb2.GetCallerRequest(), timeout=10).user
        assert user.name == "ada"
        caller.close()
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_readiness_is_the_database_and_the_broker_has_a_name_of_its_own(
    private_postgres: EmbeddedPostgres,
) -> None:
    """With the database dead readiness fails; liveness and the broker's name do not."""

    def status(accounts: Accounts, name: str) -> str:
        stub: Any = health_pb2_grpc.HealthStub(accounts.caller(None).channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    with running_accounts(
        private_postgres.url("accounts"), CLOUDIGRADE_ACCOUNTS_HEALTH_INTERVAL="50ms"
    ) as accounts:
        assert status(accounts, "") == status(accounts, "liveness") == "SERVING"
        assert status(accounts, "broker") == "SERVING"
        private_postgres.kill()
        wait_until(lambda: status(accounts, "") == "NOT_SERVING")
        assert status(accounts, "liveness") == "SERVING"
        assert status(accounts, "broker") == "SERVING"
        private_postgres.start()
        wait_until(lambda: status(accounts, "") == "SERVING")
