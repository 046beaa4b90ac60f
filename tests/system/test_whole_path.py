"""From an AWS account to a report, through the command line, as production and as embedded.

One fleet on a local AWS is watched by two systems at once: four processes with PostgreSQL and
RabbitMQ by URL, and all in one process with the embedded defaults.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.fleet import Fleet
from demo.local_aws.process import AwsProcess
from demo.machines import CUSTOMER_ACCOUNT
from libs.common.embedded_postgres import EmbeddedPostgres
from tests.support.embedded import System, embedded_system
from tests.support.processes import four_processes
from tests.support.rabbitmq import RabbitNode
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a command gave."""

    status: int
    answer: Any
    errors: str


def cloudigrade(system: System, *arguments: str) -> Done:
    """Run the command as a script would, and read its JSON."""
    done = subprocess.run(
        [BIN / "cloudigrade", *arguments],
        env={**os.environ, **system.environment()},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = done.stdout.strip()
    return Done(done.returncode, json.loads(lines) if lines else None, done.stderr)


@dataclass(frozen=True, slots=True)
class Watcher:
    """One system that watches the fleet's account, by a role of its own."""

    system: System
    account: str

    def scan(self) -> None:
        """Scan; a scan that began before this call does not count."""
        asked = datetime.now(UTC)
        while True:
            done = cloudigrade(self.system, "scan", self.account)
            assert done.status == 0, done.errors
            if datetime.fromisoformat(done.answer["startTime"]) >= asked:
                return

    def await_inspections(self, images: int) -> None:
        """Wait until every image's disk is read, or known not to be readable."""

        def ended() -> bool:
            listed = inspections(self.system, self.account)
            return len(listed) == images and all(
                each["state"] in ("STATE_DONE", "STATE_DEAD") for each in listed
            )

        wait_until(ended, SECONDS)

    def report(self, window: Sequence[str], *by: str) -> list[dict[str, Any]]:
        """Return the rows and totals of a report, all that is confirmed by scans left out."""
        options = [part for each in by for part in ("--by", each)]
        done = cloudigrade(self.system, "report", *window, *options)
        assert done.status == 0, done.errors
        rows = done.answer["rows"] + done.answer["totals"]
        for row in rows:
            # The two systems scan at different instants, and confirm by those.
            del row["measures"]["unconfirmed"]
        return [dict(row) for row in rows]


def inspections(system: System, account: str) -> list[dict[str, Any]]:
    """List the inspections of an account; the command gives one JSON object a line."""
    done = subprocess.run(
        [BIN / "cloudigrade", "inspections", "list", account],
        env={**os.environ, **system.environment()},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def register(system: System, aws: AwsProcess, role: str) -> Watcher:
    """Register the account by a role, make that role, and prove it."""
    arn = f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/{role}"
    added = cloudigrade(system, "account", "add", arn, "--name", "fleet").answer
    refused = cloudigrade(system, "account", "verify", added["id"])
    assert (refused.status, refused.answer["verified"]) == (7, False)
    make_role(aws, role, added["externalId"])
    proved = cloudigrade(system, "account", "verify", added["id"])
    assert proved.status == 0, proved
    return Watcher(system, added["id"])


def make_role(aws: AwsProcess, role: str, external_id: str) -> None:
    """Make a role as deploy/aws says."""
    documents = ROOT / "deploy/aws"
    principal = aws.client("sts", "us-east-1", "111111111111").get_caller_identity()["Account"]
    trust = (documents / "trust.json").read_text()
    trust = trust.replace("CLOUDIGRADE_PRINCIPAL", f"arn:aws:iam::{principal}:root")
    iam = aws.client("iam", "us-east-1", CUSTOMER_ACCOUNT)
    iam.create_role(
        RoleName=role, AssumeRolePolicyDocument=trust.replace("EXTERNAL_ID", external_id)
    )
    iam.put_role_policy(
        RoleName=role, PolicyName="read", PolicyDocument=(documents / "policy.json").read_text()
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsProcess]:
    """Run a local AWS, to which boto3 in this process leads too."""
    with AwsProcess() as process, pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in process.environment().items():
            patch.setenv(name, value)
        yield process


@pytest.mark.rabbitmq
def test_four_processes_and_one_process_give_the_true_report(
    aws: AwsProcess,
    rabbit_node: RabbitNode,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Both report what was done to the fleet, to the second, though the broker was killed."""
    folder = tmp_path_factory.mktemp("whole-path")
    environ: Mapping[str, str] = {
        # Only what the test asks for is scanned, so that nothing depends on the hour's quarter.
        "CLOUDIGRADE_ACCOUNTS_SCAN_INTERVAL": "12h",
    }
    fleet = Fleet(aws, lambda: datetime.now(UTC))
    fleet.act_out_the_past()
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        processes = stack.enter_context(
            four_processes(postgres.url("cloudigrade"), rabbit_node.url, environ, folder)
        )
        embedded = stack.enter_context(embedded_system(folder / "embedded", environ))
        apart = register(processes, aws, "cloudigrade-processes")
        together = register(embedded, aws, "cloudigrade-embedded")
        watchers = (apart, together)

        rabbit_node.kill()
        at_once(watcher.scan for watcher in watchers)
        rabbit_node.start()
        fleet.change()
        at_once(watcher.scan for watcher in watchers)
        fleet.change_again()
        at_once(watcher.scan for watcher in watchers)
        images = len({(machine.region, machine.image) for machine in fleet.machines})
        at_once(lambda each=watcher: each.await_inspections(images) for watcher in watchers)

        start, end = fleet.window_start, datetime.now(UTC).replace(microsecond=0)
        window = ["--start", start.isoformat(), "--end", end.isoformat()]
        expected = {name: span for name, span in fleet.truth(start, end).items() if span}
        for watcher in watchers:
            rows = watcher.report(window, "distribution")
            assert runtimes(rows) == expected
        for by in (("version", "region"), ("account", "license-model"), ("instance-type",)):
            assert apart.report(window, *by) == together.report(window, *by)
        days = [*window, "--bucket", "day", "--zone", "Europe/Berlin"]
        assert apart.report(days, "distribution") == together.report(days, "distribution")


def runtimes(rows: Sequence[Mapping[str, Any]]) -> dict[str, timedelta]:
    """Return the runtime of each group that ran at all."""
    found = {}
    for row in rows:
        runtime = row["measures"]["runtime"]
        span = timedelta(seconds=int(runtime["seconds"]), microseconds=runtime["nanos"] // 1000)
        if row["group"] and span:
            found[row["group"][0]["value"]] = span
    return found


def at_once(tasks: Any) -> None:
    """Do tasks side by side; raise what one of them raised."""
    raised: list[BaseException] = []

    def guarded(task: Any) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
