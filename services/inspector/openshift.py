"""Whether a system is a node of OpenShift: Red Hat CoreOS, and RHEL that was made one.

`OPENSHIFT_VERSION` is written into os-release when a node's image is built
(github.com/openshift/os, read 2026-11-22); CoreOS of OpenShift 4 has been ID=rhcos, and is ID=rhel
where it is built in layers on RHEL. Fedora CoreOS and OKD, which carry the same variant or variable
under another ID, are not Red Hat's OpenShift.
"""

from collections.abc import Sequence

from services.inspector.disk.tree import Tree
from services.inspector.evidence import Evidence, Strength
from services.inspector.reading import exists, supporting, unreadable
from services.inspector.release_files import OsRelease, Unreadable

OPENSHIFT = "openshift"
RHCOS = "rhcos"
PRODUCT_SIGNAL = "product"
_SIGNAL = "OpenShift"
_SIGNS = (
    # Of the operator that configures OpenShift's and OKD's nodes, and of the nodes of OpenShift 3.
    ("/etc/machine-config-daemon/currentconfig", "configured by the machine config operator"),
    ("/etc/origin/node/node-config.yaml", "the configuration of a node of OpenShift 3"),
)


def openshift_evidence(
    tree: Tree, os_releases: Sequence[OsRelease | Unreadable], distribution: str
) -> list[Evidence]:
    """Collect the signs of OpenShift; a decisive one names the product."""
    found = [
        evidence
        for each in os_releases
        if isinstance(each, OsRelease)
        for evidence in _by_os_release(each, distribution)
    ]
    for path, meaning in _SIGNS:
        there = exists(tree, path)
        if isinstance(there, Unreadable):
            found.append(unreadable(_SIGNAL, there))
        elif there:
            found.append(supporting(_SIGNAL, path, meaning))
    return found


def _by_os_release(os_release: OsRelease, distribution: str) -> list[Evidence]:
    version = os_release.values.get("OPENSHIFT_VERSION", "")
    if distribution == RHCOS or (distribution == "rhel" and version):
        said = f"{OPENSHIFT}: Red Hat CoreOS of OpenShift {version}".rstrip()
        return [Evidence(PRODUCT_SIGNAL, os_release.path, said, Strength.DECISIVE)]
    return [supporting(_SIGNAL, os_release.path, f"OPENSHIFT_VERSION={version}")] if version else []
