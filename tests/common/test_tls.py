"""TLS and mutual TLS, by settings."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.common.channels import open_channel
from libs.common.config import ConfigError, ListenAddress
from libs.common.server_config import ServerConfig
from libs.common.tls import ClientTls
from tests.support.certificates import Authority, Pair
from tests.support.probe import SERVICE, Probe, ProbeStub, probe_config, probe_server

pytestmark = pytest.mark.usefixtures("lines")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority."""
    return Authority(tmp_path)


@pytest.fixture
def server_pair(authority: Authority) -> Pair:
    """Make a server's certificate."""
    return authority.issue("server")


def settings_of(pair: Pair, **more: Any) -> ServerConfig:
    """Return the settings of a server with a certificate."""
    return probe_config(tls_certificate=pair.certificate, tls_key=pair.key, **more)


def asked(port: int, tls: ClientTls | None) -> str:
    """Return what a probe answers over a channel; RpcError when there is no getting through."""
    with open_channel(f"127.0.0.1:{port}", token="ada-token", tls=tls) as channel:
        answer: str = ProbeStub(channel).GetProbe(Probe(text="safe"), timeout=5).text
        return answer


def test_a_server_with_a_certificate_speaks_tls_only(
    authority: Authority, server_pair: Pair
) -> None:
    """Clients who trust its authority get through, plain text does not."""
    with probe_server(config=settings_of(server_pair)) as server:
        assert asked(server.port, ClientTls(ca=authority.certificate)) == "safe"
        with pytest.raises(grpc.RpcError) as caught:
            asked(server.port, None)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_refuses_a_server_of_another_authority(tmp_path: Path, server_pair: Pair) -> None:
    """Its token is not sent to whoever answers."""
    stranger = Authority(tmp_path, "stranger")
    with probe_server(config=settings_of(server_pair)) as server:
        with pytest.raises(grpc.RpcError) as caught:
            asked(server.port, ClientTls(ca=stranger.certificate))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_with_tls_a_server_may_listen_everywhere(authority: Authority, server_pair: Pair) -> None:
    """No further words are needed."""
    everywhere = ServerConfig(
        listen=ListenAddress("0.0.0.0", 0),
        tls_certificate=server_pair.certificate,
        tls_key=server_pair.key,
    )
    with probe_server(config=everywhere) as server:
        assert asked(server.port, ClientTls(ca=authority.certificate)) == "safe"


def test_mutual_tls_asks_clients_for_a_certificate(
    tmp_path: Path, authority: Authority, server_pair: Pair
) -> None:
    """One of the right authority; without one, or with a stranger's, nobody gets through."""
    ours, theirs = authority.issue("client"), Authority(tmp_path, "stranger").issue("thief")
    ca = authority.certificate
    with probe_server(config=settings_of(server_pair, tls_client_ca=ca)) as server:
        good = ClientTls(ca=ca, certificate=ours.certificate, key=ours.key)
        assert asked(server.port, good) == "safe"
        bad = ClientTls(ca=ca, certificate=theirs.certificate, key=theirs.key)
        for tls in (ClientTls(ca=ca), bad):
            with pytest.raises(grpc.RpcError) as caught:
                asked(server.port, tls)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_grpcurl_gets_through_mutual_tls(authority: Authority, server_pair: Pair) -> None:
    """With the same files."""
    grpcurl = Path(sys.executable).with_name("grpcurl")
    if not grpcurl.exists():
        pytest.skip("NOT RUN: grpcurl comes for Linux on x86-64 only")
    client, ca = authority.issue("client"), authority.certificate
    with probe_server(config=settings_of(server_pair, tls_client_ca=ca)) as server:
        done = subprocess.run(
            [
                *(grpcurl, "-cacert", ca, "-cert", client.certificate, "-key", client.key),
                *("-H", "authorization: Bearer ada-token", "-d", '{"text": "hi"}'),
                *(f"127.0.0.1:{server.port}", f"{SERVICE}/GetProbe"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert '"text": "hi"' in done.stdout, done.stderr


def test_settings_that_do_not_go_together_stop_the_start(tmp_path: Path, server_pair: Pair) -> None:
    """One line names the variables."""
    nothing = tmp_path / "nothing.pem"
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    prefix = "CLOUDIGRADE_PROBE_TLS_"
    for settings, expected in (
        ({"tls_key": server_pair.key}, f"{prefix}CERTIFICATE and {prefix}KEY go together"),
        ({"tls_client_ca": server_pair.certificate}, f"{prefix}CLIENT_CA needs"),
        (
            {"tls_certificate": nothing, "tls_key": server_pair.key},
            f"{prefix}CERTIFICATE is {nothing}: No such file",
        ),
        (
            {"tls_certificate": server_pair.certificate, "tls_key": rubbish},
            f"{prefix}KEY is {rubbish}: wants a PEM file",
        ),
        (
            {
                "tls_certificate": server_pair.certificate,
                "tls_key": server_pair.key,
                "tls_client_ca": rubbish,
            },
            f"{prefix}CLIENT_CA is {rubbish}: wants a PEM file",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            probe_server(config=probe_config(**settings))
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate_stops_the_start(
    authority: Authority, server_pair: Pair
) -> None:
    """Before anything listens."""
    other = authority.issue("other")
    config = probe_config(tls_certificate=server_pair.certificate, tls_key=other.key)
    with pytest.raises(ConfigError) as caught:
        probe_server(config=config)
    prefix = "CLOUDIGRADE_PROBE_TLS_"
    assert str(caught.value).startswith(f"{prefix}CERTIFICATE and {prefix}KEY do not fit")


def test_a_clients_settings_that_do_not_go_together_are_refused(server_pair: Pair) -> None:
    """Likewise in one line."""
    for tls, expected in (
        (ClientTls(certificate=server_pair.certificate), "go together"),
        (
            ClientTls(certificate=server_pair.certificate, key=server_pair.key),
            "needs CLOUDIGRADE_TLS_CA",
        ),
        (ClientTls(ca=Path("/no/such/file")), "CLOUDIGRADE_TLS_CA is /no/such/file: No such file"),
    ):
        with pytest.raises(ConfigError, match=expected):
            open_channel("127.0.0.1:1", tls=tls)
