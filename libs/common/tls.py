"""TLS credentials from PEM files, checked before anything listens or calls."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from libs.common.config import ConfigError, optional, path, setting
from libs.common.server_config import ServerConfig


def server_credentials(config: ServerConfig, name: str) -> grpc.ServerCredentials | None:
    """Return what a server shows and asks for; None when it is to speak plain text.

    Raises ConfigError when the settings do not go together or a file cannot be read.
    """
    prefix = f"CLOUDIGRADE_{name.upper()}_TLS_"
    if config.tls_certificate is None and config.tls_key is None:
        if config.tls_client_ca is not None:
            raise ConfigError(f"{prefix}CLIENT_CA needs {prefix}CERTIFICATE and {prefix}KEY")
        return None
    if config.tls_certificate is None or config.tls_key is None:
        raise ConfigError(f"{prefix}CERTIFICATE and {prefix}KEY go together: set both or neither")
    authorities = _pem_if(f"{prefix}CLIENT_CA", config.tls_client_ca)
    pair = _pair(prefix, config.tls_certificate, config.tls_key)
    return grpc.ssl_server_credentials(
        [pair],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


_CLIENT = "CLOUDIGRADE_TLS_CLIENT_"


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How this process calls servers that speak TLS."""

    ca: Path | None = setting(
        "CLOUDIGRADE_TLS_CA",
        default="",
        parse=optional(path),
        doc="PEM file with the authorities that servers' certificates come from; turns on TLS.",
        why="Servers speak plain text on 127.0.0.1 unless they are given a certificate.",
    )
    certificate: Path | None = setting(
        "CLOUDIGRADE_TLS_CLIENT_CERTIFICATE",
        default="",
        parse=optional(path),
        doc="PEM file with the certificate to show to servers that ask for one (mutual TLS).",
        why="Servers ask for one only when told.",
    )
    key: Path | None = setting(
        "CLOUDIGRADE_TLS_CLIENT_KEY",
        default="",
        parse=optional(path),
        doc="PEM file with that certificate's private key.",
        why="It goes with the certificate.",
    )

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what a channel needs; None for plain text. Raises ConfigError as on servers."""
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                f"{_CLIENT}CERTIFICATE and {_CLIENT}KEY go together: set both or neither"
            )
        if self.ca is None:
            if self.certificate is not None:
                raise ConfigError(f"{_CLIENT}CERTIFICATE needs CLOUDIGRADE_TLS_CA")
            return None
        key, chain = None, None
        if self.certificate is not None and self.key is not None:
            key, chain = _pair(_CLIENT, self.certificate, self.key)
        return grpc.ssl_channel_credentials(
            root_certificates=_pem("CLOUDIGRADE_TLS_CA", self.ca),
            private_key=key,
            certificate_chain=chain,
        )


def _pair(prefix: str, certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Return key and certificate chain, which gRPC would refuse without saying why."""
    contents = _pem(f"{prefix}KEY", key), _pem(f"{prefix}CERTIFICATE", certificate)
    try:
        # Without a password OpenSSL would ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise ConfigError(
            f"{prefix}CERTIFICATE and {prefix}KEY do not fit together: {error.reason}"
        ) from None
    return contents


def _pem_if(variable: str, file: Path | None) -> bytes | None:
    return None if file is None else _pem(variable, file)


def _pem(variable: str, file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{variable} is {file}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise ConfigError(f"{variable} is {file}: wants a PEM file")
    return content
