"""Reflection, as tools use it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.logs import Lines
from tests.support.probe import SERVICE, probe_server

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.usefixtures("lines")


@pytest.fixture
def address() -> Iterator[str]:
    """Run a probe server, and give its address."""
    with probe_server() as server:
        yield f"127.0.0.1:{server.port}"


def grpcurl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run grpcurl without TLS."""
    if not (BIN / "grpcurl").exists():
        pytest.skip("NOT RUN: grpcurl comes for Linux on x86-64 only")
    return subprocess.run(
        [BIN / "grpcurl", "-plaintext", *arguments], capture_output=True, text=True, check=False
    )


def buf_curl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run buf curl without TLS."""
    return subprocess.run(
        [BIN / "buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_grpcurl_lists_services_and_methods(address: str) -> None:
    """Ours, health and reflection."""
    assert grpcurl(address, "list").stdout.split() == [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    assert f"{SERVICE}.GetProbe" in grpcurl(address, "list", SERVICE).stdout.split()


def test_grpcurl_describes_everything(address: str) -> None:
    """Services, methods, messages, fields and error details; what is not there it says."""
    described = {
        SERVICE: "rpc WatchProbe",
        f"{SERVICE}.GetProbe": "rpc GetProbe ( .cloudigrade.probe.v1.Probe )",
        "cloudigrade.probe.v1.Probe": "int32 page_size = 2",
        "cloudigrade.probe.v1.Probe.text": "string text = 1",
        "google.rpc.BadRequest": "repeated .google.rpc.BadRequest.FieldViolation",
    }
    for symbol, text in described.items():
        assert text in grpcurl(address, "describe", symbol).stdout, symbol
    assert grpcurl(address, "describe").returncode == 0
    missing = grpcurl(address, "describe", f"{SERVICE}.NoSuch")
    assert missing.returncode != 0
    assert "not found" in missing.stderr.lower()


def test_grpcurl_calls_with_a_token(address: str) -> None:
    """Either word before the token will do."""
    for word in ("Bearer", "Token", "bearer"):
        done = grpcurl(
            *("-H", f"authorization: {word} max-token"),
            *("-d", '{"text": "hi"}'),
            *(address, f"{SERVICE}/GetProbe"),
        )
        assert done.stdout.split() == ["{", '"text":', '"hi"', "}"], done.stderr


def test_grpcurl_prints_error_details_as_text(address: str) -> None:
    """Since the server can describe them."""
    done = grpcurl(address, f"{SERVICE}/GetProbe")
    assert done.returncode == 64 + 16
    assert "Unauthenticated" in done.stderr
    assert '"reason":"TOKEN_MISSING"' in done.stderr.replace(" ", "")


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
def test_buf_curl_finds_methods_by_either_protocol(address: str, protocol: str) -> None:
    """The name of the finished protocol is served as well as that of its draft."""
    done = buf_curl("--reflect-protocol", protocol, f"http://{address}", "--list-methods")
    assert f"{SERVICE}/GetProbe" in done.stdout.split(), done.stderr


def test_buf_curl_calls_a_stream(address: str, lines: Lines) -> None:
    """With no more than reflection, the address and a token."""
    done = buf_curl(
        *("-H", "authorization: Bearer ada-token"),
        *("-d", '{"text": "hi"}'),
        f"http://{address}/{SERVICE}/WatchProbe",
    )
    assert done.stdout.count('"text": "hi"') == 3, done.stderr
    assert "ada-token" not in lines.text
