"""The demo from its beginning to its report, through the public API alone."""

import shlex
import shutil
import sys
import threading
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from google.protobuf.json_format import MessageToJson

from cli.connection import CALL, LONG_CALL, Connections
from cli.exits import CommandError, Exit
from cli.paging import all_pages
from cli.reporting import runtime_table
from cloudigrade.accounts.v1.accounts_pb2 import CreateCloudAccountRequest
from cloudigrade.accounts.v1.inventory_pb2 import Inspection, ListInspectionsRequest
from cloudigrade.reports.v1.reports_pb2 import (
    Dimension,
    GetRuntimeRequest,
    GetRuntimeResponse,
    UsageTime,
)
from cloudigrade.scanner.v1.scanner_pb2 import (
    RegionProgress,
    ScanAccountRequest,
    ScanSummary,
    VerifyAccountRequest,
)
from demo.fleet import Session
from demo.narrator import Narrator
from demo.stage import Stage
from libs.common.server import run_until_signal

_INSPECTIONS_TAKE = timedelta(seconds=90)
_POLL_SECONDS = 0.2
_FINE = (RegionProgress.STATE_LISTED, RegionProgress.STATE_DISABLED)
_ENDED = (Inspection.STATE_DONE, Inspection.STATE_DEAD)


def tell(connections: Connections, *, keep: bool) -> None:
    """Run the demo; with `keep` leave it running until it is told to stop.

    Raises CommandError when something did not work, or the report is not what happened.
    """
    folder = connections.config.state / "demo"
    narrator = Narrator()
    with Stage.set_up(folder, connections.environ, connections.clock, narrator) as stage:
        Story(stage, narrator).tell()
        if keep:
            down = f"CLOUDIGRADE_STATE={shlex.quote(str(folder))} {_program('cloudigrade')} down"
            narrator.say(f"\nIt runs until you press Ctrl-C, or elsewhere: {down}")
            run_until_signal()
        else:
            narrator.say("\nThat was all; with --keep (make demo KEEP=1) it stays for you to ask.")


class Story:
    """What happens, step by step."""

    def __init__(self, stage: Stage, narrator: Narrator) -> None:
        self._stage = stage
        self._to = stage.connections
        self._narrator = narrator

    def tell(self) -> GetRuntimeResponse:
        """Register, scan, let things happen, scan again, inspect, report; return the report."""
        account_id = self._register()
        self._scan(account_id, "First scan")
        for change in (self._stage.fleet.change, self._stage.fleet.change_again):
            with self._narrator.step("Machines are stopped, started, launched and terminated"):
                self._await_next_second()
                change()
            self._scan(account_id, "Scan after it")
        self._await_inspections(account_id)
        request, answer = self._report()
        self._narrator.say()
        self._narrator.show(runtime_table(request, answer))
        self._narrator.say()
        self._compare(request, answer)
        self._narrator.say(commands(self._stage, request))
        return answer

    def _register(self) -> int:
        with self._narrator.step("Registering the AWS account and its role") as detail:
            request = CreateCloudAccountRequest(
                name="demo", role_arn=self._stage.role_arn, request_id=str(uuid4())
            )
            with self._to.errors(self._to.config.accounts):
                account = self._to.accounts().CreateCloudAccount(request, timeout=CALL).account
            self._stage.make_role(account.external_id)
            with self._to.errors(self._to.config.scanner):
                verified = self._to.scanner().VerifyAccount(
                    VerifyAccountRequest(account_id=account.id), timeout=CALL
                )
            if not verified.verified or verified.missing_permissions:
                raise CommandError(f"the role does not work: {verified.detail}")
            detail(f"account {account.aws_account_id}, by {account.role_arn}")
        account_id: int = account.id
        return account_id

    def _scan(self, account_id: int, title: str) -> None:
        """Scan until a scan has ended that began after this call."""
        asked = self._to.clock.now()
        with self._narrator.step(title) as detail:
            while True:
                summary = self._one_scan(account_id, detail)
                if summary.start_time.ToDatetime(UTC) >= asked:
                    break
            failed = [each for each in summary.regions if each.state not in _FINE]
            if failed:
                raise CommandError(f"{failed[0].region}: {failed[0].detail}", Exit.PARTIAL)
            detail(f"{summary.instances} instances, {summary.events_stored} new events")

    def _one_scan(self, account_id: int, detail: Any) -> ScanSummary:
        regions: dict[str, RegionProgress] = {}
        with self._to.errors(self._to.config.scanner):
            for answer in self._to.scanner().ScanAccount(
                ScanAccountRequest(account_id=account_id), timeout=LONG_CALL
            ):
                if answer.WhichOneof("message") == "summary":
                    return answer.summary
                regions[answer.region.region] = answer.region
                found = sum(each.instances for each in regions.values())
                detail(f"{len(regions)} Regions, {found} instances")
        raise CommandError("the scan broke off", Exit.TRY_AGAIN)

    def _await_next_second(self) -> None:
        """Wait until it is certain that what happens now happens after what was seen before.

        EC2 tells times in whole seconds.
        """
        rest = 1_000_000 - self._to.clock.now().microsecond
        threading.Event().wait(rest / 1_000_000)

    def _await_inspections(self, account_id: int) -> None:
        """Wait until every image's inspection has ended, whatever came of it."""
        pause = threading.Event()
        deadline = self._to.clock.monotonic() + _INSPECTIONS_TAKE.total_seconds()
        with self._narrator.step("Reading the images' disks") as detail:
            while True:
                found = self._inspections(account_id)
                ended = sum(each.state in _ENDED for each in found)
                detail(f"{ended} of {len(found)} images")
                if found and ended == len(found):
                    return
                if self._to.clock.monotonic() > deadline:
                    raise CommandError("the images' disks are not read in time", Exit.TRY_AGAIN)
                pause.wait(_POLL_SECONDS)

    def _inspections(self, account_id: int) -> list[Inspection]:
        stub = self._to.inventory()
        with self._to.errors(self._to.config.accounts):
            return list(
                all_pages(
                    lambda token: stub.ListInspections(
                        ListInspectionsRequest(account_id=account_id, page_token=token),
                        timeout=CALL,
                    ),
                    lambda answer: answer.inspections,
                )
            )

    def _report(self) -> tuple[GetRuntimeRequest, GetRuntimeResponse]:
        """Ask for the runtime by distribution, from the window's start until this second."""
        start = self._stage.fleet.window_start
        end = self._to.clock.now().replace(microsecond=0)
        with self._narrator.step("The report") as detail:
            request = GetRuntimeRequest(
                start_time=start, end_time=end, group_by=[Dimension.DIMENSION_DISTRIBUTION]
            )
            with self._to.errors(self._to.config.reports):
                answer = self._to.reports().GetRuntime(request, timeout=CALL)
            detail(f"{start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC")
        return request, answer

    def _compare(self, request: GetRuntimeRequest, answer: GetRuntimeResponse) -> None:
        """Hold the report against what was really done to the fleet."""
        window = (request.start_time.ToDatetime(UTC), request.end_time.ToDatetime(UTC))
        fleet = self._stage.fleet
        runtime, vcpu_time = fleet.truth(*window), fleet.truth(*window, weight=_vcpus)
        truth = {name: (runtime[name], vcpu_time[name]) for name in runtime if runtime[name]}
        reported = {
            row.group[0].value: (span(row.measures.runtime), span(row.measures.vcpu_time))
            for row in answer.rows
            if row.measures.instances
        }
        wrong = sorted(
            name for name in {*truth, *reported} if truth.get(name) != reported.get(name)
        )
        if wrong:
            raise CommandError(f"the report is not what happened to: {', '.join(wrong)}")
        self._narrator.say(
            "To the second what was done to the fleet. Unknown is a vendor's image whose disk"
            " nobody but the vendor may read."
        )


def _vcpus(session: Session) -> int:
    return session.vcpus


def span(usage: UsageTime) -> timedelta:
    """Return a report's span."""
    return timedelta(seconds=usage.seconds, microseconds=usage.nanos // 1000)


def commands(stage: Stage, request: GetRuntimeRequest) -> str:
    """Return the commands that give the same report."""
    window = [
        f"{stamp.ToDatetime(UTC):%Y-%m-%dT%H:%M:%S}Z"
        for stamp in (request.start_time, request.end_time)
    ]
    state, targets = _relative(stage.state.path), stage.embedded.targets
    asked = MessageToJson(request, indent=None)
    method = "cloudigrade.reports.v1.ReportService/GetRuntime"
    return f"""
The same by the command line:
  export CLOUDIGRADE_STATE={shlex.quote(state)} CLOUDIGRADE_REPORTS_TARGET={targets["reports"]}
  {_program("cloudigrade")} report --start {window[0]} --end {window[1]} --by distribution

and with grpcurl, through reflection:
  export CLOUDIGRADE_TOKEN=$(cat {shlex.quote(f"{state}/admin.token")})
  {_program("grpcurl")} -plaintext -H "authorization: Bearer $CLOUDIGRADE_TOKEN" \\
    -d {shlex.quote(asked)} \\
    {targets["reports"]} {method}"""


def _program(name: str) -> str:
    """Return how to call a program that is installed beside this one."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    return name if found and Path(found) == beside else _relative(beside)


def _relative(path: Path) -> str:
    here = Path.cwd()
    path = here / path
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
