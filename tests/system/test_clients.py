"""What other people's clients can do: grpcurl, buf curl, and code made by grpcio-tools alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from cloudigrade.accounts.v1 import (
    accounts_pb2,
    events_pb2,
    identity_pb2,
    inventory_pb2,
    runs_pb2,
    schedule_pb2,
)
from cloudigrade.inspector.v1 import inspector_pb2
from cloudigrade.reports.v1 import reports_pb2
from cloudigrade.scanner.v1 import scanner_pb2
from tests.support.embedded import SERVICE_TOKENS, System, embedded_system

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVICES: dict[str, list[ServiceDescriptor]] = {
    "accounts": [
        service
        for file in (
            *(identity_pb2, accounts_pb2, inventory_pb2, events_pb2, runs_pb2, schedule_pb2),
        )
        for service in file.DESCRIPTOR.services_by_name.values()
    ],
    "scanner": list(scanner_pb2.DESCRIPTOR.services_by_name.values()),
    "inspector": list(inspector_pb2.DESCRIPTOR.services_by_name.values()),
    "reports": list(reports_pb2.DESCRIPTOR.services_by_name.values()),
}
WINDOW = {"startTime": "2026-03-01T00:00:00Z", "endTime": "2026-03-02T00:00:00Z"}
# One call of each gRPC service: target, caller, method, request, exit status of grpcurl, a text in
# its answer. 69 is NOT_FOUND: there is no such account, and saying so takes a call to accounts.
CALLS = [
    ("accounts", "admin", "accounts.v1.IdentityService/GetCaller", {}, 0, '"ROLE_ADMIN"'),
    ("accounts", "admin", "accounts.v1.AccountService/ListCloudAccounts", {}, 0, "{"),
    (
        *("accounts", "admin", "accounts.v1.InventoryService/ListInstances"),
        *({"accountId": "77"}, 69, "NotFound"),
    ),
    (
        *("accounts", "scanner", "accounts.v1.EventService/RecordEvents"),
        *({"sequence": "1", "events": []}, 67, "events"),
    ),
    ("accounts", "reports for admin", "accounts.v1.RunService/StreamRuns", {}, 0, '"asOf"'),
    (
        *("accounts", "scanner", "accounts.v1.ScanScheduleService/AcquireDueLeases"),
        *({"holder": "test", "maxLeases": 1}, 0, "{"),
    ),
    (
        *("scanner", "admin", "scanner.v1.ScannerService/VerifyAccount"),
        *({"accountId": "77"}, 69, "NotFound"),
    ),
    (
        *("inspector", "admin", "inspector.v1.InspectorService/InspectImage"),
        {"accountId": "77", "region": "eu-west-1", "imageId": "ami-0123456789abcdef0"},
        *(69, "NotFound"),
    ),
    ("reports", "admin", "reports.v1.ReportService/GetRuntime", WINDOW, 0, '"totals"'),
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run all four services for this module's tests; none of them changes anything."""
    with embedded_system(tmp_path_factory.mktemp("state"), {}) as running:
        yield running


def run(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a client to its end."""
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


def grpcurl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run grpcurl, or skip where its wheel has no program for this machine."""
    if not (BIN / "grpcurl").exists():
        pytest.skip("grpcurl is not installed: its package has x86-64 Linux programs only")
    return run([str(BIN / "grpcurl"), "-plaintext", *arguments])


def metadata(system: System, caller: str) -> list[str]:
    """Return the headers that a caller sends."""
    service, _, behalf = caller.partition(" for ")
    token = (
        system.token
        if service == "admin"
        else SERVICE_TOKENS[f"CLOUDIGRADE_{service.upper()}_TOKEN"]
    )
    headers = [f"authorization: Bearer {token}"]
    return [*headers, f"x-on-behalf-of: Bearer {system.token}"] if behalf else headers


@pytest.mark.parametrize("name", SERVICES)
def test_grpcurl_lists_and_describes_every_service_and_method(system: System, name: str) -> None:
    """Reflection shows each service, and describes each method and message by its name."""
    target = system.targets[name]
    listed = grpcurl(target, "list").stdout.split()
    for service in SERVICES[name]:
        assert service.full_name in listed
        for method in service.methods:
            described = grpcurl(target, "describe", f"{service.full_name}.{method.name}")
            assert described.returncode == 0, described.stderr
            assert f"rpc {method.name}" in described.stdout
        first = service.methods[0].input_type.full_name
        assert f"message {first.rpartition('.')[2]}" in grpcurl(target, "describe", first).stdout


@pytest.mark.parametrize(
    ("name", "caller", "method", "request_json", "status", "text"),
    CALLS,
    ids=[call[2].split("/")[0] for call in CALLS],
)
def test_grpcurl_calls_every_service(
    system: System,
    name: str,
    caller: str,
    method: str,
    request_json: dict[str, object],
    status: int,
    text: str,
) -> None:
    """A call through reflection alone is answered, or refused with details in clear."""
    headers = [part for header in metadata(system, caller) for part in ("-H", header)]
    called = grpcurl(
        *headers,
        *("-emit-defaults", "-d", json.dumps(request_json)),
        *(system.targets[name], f"cloudigrade.{method}"),
    )
    assert called.returncode == status, called.stderr
    assert text in called.stdout + called.stderr


@pytest.mark.parametrize(
    ("name", "caller", "method", "request_json", "status", "text"),
    CALLS,
    ids=[call[2].split("/")[0] for call in CALLS],
)
def test_buf_curl_calls_every_service(
    system: System,
    name: str,
    caller: str,
    method: str,
    request_json: dict[str, object],
    status: int,
    text: str,
) -> None:
    """Another implementation of gRPC, with reflection too, gets the same answers."""
    headers = [part for header in metadata(system, caller) for part in ("--header", header)]
    called = run(
        [
            *(str(BIN / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
            *("--emit-defaults", *headers, "--data", json.dumps(request_json)),
            f"http://{system.targets[name]}/cloudigrade.{method}",
        ]
    )
    # buf's exit status is 8 times the code, grpcurl's 64 more than it.
    assert called.returncode == (8 * (status - 64) if status else 0), called.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_buf_curl_lists_every_service(system: System, name: str) -> None:
    """The list that buf gets by reflection has every service of the server."""
    url = f"http://{system.targets[name]}"
    listed = run(
        [
            *(str(BIN / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
            *("--list-services", url),
        ]
    )
    assert listed.returncode == 0, listed.stderr
    assert {service.full_name for service in SERVICES[name]} <= set(listed.stdout.split())


def test_health_needs_no_token(system: System) -> None:
    """Every server answers the health service's Check to whoever asks."""
    for target in system.targets.values():
        checked = grpcurl(target, "grpc.health.v1.Health/Check")
        assert '"SERVING"' in checked.stdout, checked.stderr


def test_a_client_made_by_grpcio_tools_alone_works(system: System, tmp_path: Path) -> None:
    """Somebody who has protos/ and grpcio-tools, and nothing of ours, can ask for a report."""
    protos = ROOT / "protos"
    files = [str(path.relative_to(protos)) for path in protos.rglob("*.proto")]
    made = run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}"),
            *(f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", *files),
        ]
    )
    assert made.returncode == 0, made.stderr
    script = tmp_path / "client.py"
    script.write_text(
        "import sys, grpc\n"
        "from google.protobuf.timestamp_pb2 import Timestamp\n"
        "from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc\n"
        "assert reports_pb2.__file__.startswith(sys.argv[3]), reports_pb2.__file__\n"
        "with grpc.insecure_channel(sys.argv[1]) as channel:\n"
        "    stub = reports_pb2_grpc.ReportServiceStub(channel)\n"
        "    request = reports_pb2.GetRuntimeRequest(\n"
        "        start_time=Timestamp(seconds=0), end_time=Timestamp(seconds=60))\n"
        "    answer = stub.GetRuntime(\n"
        "        request, metadata=[('authorization', 'Bearer ' + sys.argv[2])], timeout=30)\n"
        "    print(len(answer.totals), 'total')\n"
    )
    called = subprocess.run(
        [sys.executable, script, system.targets["reports"], system.token, tmp_path],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (called.returncode, called.stdout) == (0, "1 total\n"), called.stderr
