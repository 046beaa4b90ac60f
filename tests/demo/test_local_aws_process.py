"""The local AWS in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from demo.local_aws.moment import Moment
from demo.local_aws.process import AwsProcess
from tests.support.local_aws import CUSTOMER

# Starts a local AWS and says its process id, and then waits.
_OWNER = """
import sys, time
from demo.local_aws.process import AwsProcess
with AwsProcess() as aws:
    aws.url
    print(aws._process.pid, flush=True)
    time.sleep(600)
"""


def alive(process_id: int) -> bool:
    """Say whether there is such a process that is not a zombie."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def running() -> Iterator[AwsProcess]:
    """Run one for the tests that only call it."""
    with AwsProcess() as aws:
        yield aws


def test_it_serves_the_accounts_administrators_in_their_time(running: AwsProcess) -> None:
    """Clients act in their account, at the time that they name, as in one process."""
    when = datetime(2026, 11, 1, 8, 15, 30, tzinfo=UTC)
    ebs = running.client("ebs", "us-east-1", CUSTOMER, Moment(when))
    started = ebs.start_snapshot(VolumeSize=1)
    identity = running.client("sts", "us-east-1", CUSTOMER).get_caller_identity()
    assert (started["OwnerId"], started["StartTime"]) == (CUSTOMER, when)
    assert identity["Account"] == CUSTOMER


def test_its_environment_leads_boto3_to_it(running: AwsProcess) -> None:
    """Endpoint and keys are its own, and the user's own configuration is left aside."""
    environment = running.environment()
    assert environment["AWS_ENDPOINT_URL"] == running.url
    assert environment["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    assert environment["AWS_CONFIG_FILE"] == os.devnull


def test_it_ends_with_its_owner() -> None:
    """Nothing of it is left when the process that started it is killed."""
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    assert alive(child)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    pause, tries = threading.Event(), 300
    while alive(child) and tries:
        pause.wait(0.1)
        tries -= 1
    assert not alive(child)


def test_what_was_not_started_has_no_address() -> None:
    """It says so instead of waiting."""
    with pytest.raises(RuntimeError, match="does not run"):
        _ = AwsProcess().url
