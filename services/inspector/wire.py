"""How an inspection and its child process speak: frames of bytes over one socket.

The child asks and tells in JSON; the parent answers each block that was asked for with one frame,
an empty one for a hole. Nothing that the child sends is believed without a check: it has read
whatever is on the disk.
"""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from services.inspector.evidence import Evidence, Strength
from services.inspector.finding import Finding, JournalState, Syspurpose

_LENGTH = struct.Struct(">I")
_MAX_FRAME = 4 * 1024 * 1024


class WireError(Exception):
    """The other side ended, or sent what it must not."""


def send_frame(peer: socket.socket, payload: bytes) -> None:
    """Send one frame; WireError when nobody is there to take it."""
    try:
        peer.sendall(_LENGTH.pack(len(payload)) + payload)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise WireError("the other side is gone") from error


def receive_frame(peer: socket.socket) -> bytes:
    """Receive one frame; TimeoutError by the socket's own timeout, WireError at the end."""
    (length,) = _LENGTH.unpack(_receive(peer, _LENGTH.size))
    if length > _MAX_FRAME:
        raise WireError(f"a frame of {length:,} bytes")
    return _receive(peer, length)


def _receive(peer: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        try:
            part = peer.recv(length - len(parts))
        except ConnectionResetError:
            part = b""
        if not part:
            raise WireError("the other side is gone")
        parts += part
    return bytes(parts)


def send_message(peer: socket.socket, **fields: Any) -> None:
    """Send one JSON object."""
    send_frame(peer, json.dumps(fields).encode())


def receive_message(peer: socket.socket) -> dict[str, Any]:
    """Receive one JSON object; WireError when it is something else."""
    try:
        message = json.loads(receive_frame(peer))
    except ValueError as error:
        raise WireError("not JSON") from error
    if not isinstance(message, dict):
        raise WireError("not a JSON object")
    return message


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """Put a finding into JSON's terms."""
    return {
        "distribution": finding.distribution,
        "version": finding.version,
        "pretty_name": finding.pretty_name,
        "evidence": [
            [each.signal, each.path, each.value, each.strength.value] for each in finding.evidence
        ],
        "layout": finding.layout,
        "journal": finding.journal.value,
        "unknown_reason": finding.unknown_reason,
        "products": list(finding.products),
        "syspurpose": [
            finding.syspurpose.role,
            finding.syspurpose.sla,
            finding.syspurpose.usage,
        ],
    }


def finding_from_json(fields: Mapping[str, Any]) -> Finding:
    """Take a finding out of JSON's terms; WireError when they are not a finding's."""
    try:
        return Finding(
            distribution=_text(fields["distribution"]),
            version=_text(fields["version"]),
            pretty_name=_text(fields["pretty_name"]),
            evidence=tuple(
                Evidence(_text(signal), _text(path), _text(value), Strength(strength))
                for signal, path, value, strength in fields["evidence"]
            ),
            layout=_text(fields["layout"]),
            journal=JournalState(fields["journal"]),
            unknown_reason=_text(fields["unknown_reason"]),
            products=tuple(_text(each) for each in fields["products"]),
            syspurpose=_syspurpose(*fields["syspurpose"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WireError("not a finding") from error


def _syspurpose(role: object, sla: object, usage: object) -> Syspurpose:
    return Syspurpose(_text(role), _text(sla), _text(usage))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
