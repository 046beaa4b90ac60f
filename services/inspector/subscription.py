"""What RHEL keeps about its subscription: what the machine is for, and whether it is registered."""

import json
from dataclasses import dataclass

from services.inspector.disk.tree import Tree
from services.inspector.evidence import Evidence, printable
from services.inspector.finding import Syspurpose
from services.inspector.reading import exists, read_bytes, supporting, unreadable
from services.inspector.release_files import Unreadable

# syspurpose(8) and subscription-manager(8), RHEL 8 and later, read 2026-11.
SYSPURPOSE_PATH = "/etc/rhsm/syspurpose/syspurpose.json"
# Only whether it is there: the certificate and its key are the machine's identity.
CONSUMER_PATH = "/etc/pki/consumer/cert.pem"
_LIMIT = 64 * 1024
_SYSPURPOSE = "syspurpose"
_REGISTRATION = "registration"


@dataclass(frozen=True, slots=True)
class Subscription:
    """What was found, and the evidence for it."""

    syspurpose: Syspurpose
    evidence: tuple[Evidence, ...]


def read_subscription(tree: Tree) -> Subscription:
    """Read what an installation is for, and whether it is registered with Red Hat."""
    content = read_bytes(tree, SYSPURPOSE_PATH, _LIMIT)
    purpose = _purpose(content) if isinstance(content, bytes) else content
    evidence = []
    if isinstance(purpose, Unreadable):
        evidence.append(unreadable(_SYSPURPOSE, purpose))
    elif purpose is not None:
        parts = {"role": purpose.role, "SLA": purpose.sla, "usage": purpose.usage}
        said = ", ".join(f"{name}: {text}" for name, text in parts.items() if text)
        evidence.append(supporting(_SYSPURPOSE, SYSPURPOSE_PATH, said or "nothing is set"))
    there = exists(tree, CONSUMER_PATH)
    if isinstance(there, Unreadable):
        evidence.append(unreadable(_REGISTRATION, there))
    elif there:
        said = "registered with Red Hat, or with a Satellite: a consumer certificate is there"
        evidence.append(supporting(_REGISTRATION, CONSUMER_PATH, said))
    found = purpose if isinstance(purpose, Syspurpose) else Syspurpose()
    return Subscription(found, tuple(evidence))


def _purpose(content: bytes) -> Syspurpose | Unreadable:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return Unreadable(SYSPURPOSE_PATH, "it is not JSON")
    if not isinstance(values, dict):
        return Unreadable(SYSPURPOSE_PATH, "it is no JSON object")

    def text(name: str) -> str:
        value = values.get(name)
        return printable(value) if isinstance(value, str) else ""

    return Syspurpose(text("role"), text("service_level_agreement"), text("usage"))
