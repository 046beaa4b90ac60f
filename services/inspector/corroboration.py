"""What a root file system says beside its release files: what supports them or contradicts.

Nothing here changes which distribution is installed: that is for the release files (verdict.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.inspector.disk.tree import Tree
from services.inspector.evidence import Evidence, Strength, printable
from services.inspector.finding import Syspurpose
from services.inspector.openshift import OPENSHIFT, PRODUCT_SIGNAL, RHCOS, openshift_evidence
from services.inspector.other_packages import other_packages
from services.inspector.product_certificates import (
    PRODUCTS,
    RHEL_IDS,
    Product,
    read_products,
)
from services.inspector.product_certificates import evidence_of as evidence_of_product
from services.inspector.reading import read_text, supporting, unreadable
from services.inspector.release_files import OsRelease, Unreadable, named
from services.inspector.repositories import RepositoryFile, read_repositories
from services.inspector.repositories import evidence_of as evidence_of_repositories
from services.inspector.rpm.database import FOLDERS, Signatures, read_rpm_database
from services.inspector.rpm.keys import RED_HAT_KEYS
from services.inspector.subscription import read_subscription
from services.inspector.verdict import UNKNOWN, Verdict

_RHEL = "rhel"
_RPM = "rpm database"
_SIGNATURES = "rpm signatures"
_RELEASE_PACKAGE = "release package"
_KEYS_SHOWN = 6
_FSTAB = "/etc/fstab"
_FSTAB_LIMIT = 64 * 1024
# Whose redhat-release says Red Hat Enterprise Linux, as is known (verdict.py): no contradiction.
_SAYS_RHEL_TOO = frozenset({"ol", RHCOS})


@dataclass(frozen=True, slots=True)
class Corroboration:
    """Evidence, and what it says beside the distribution."""

    evidence: tuple[Evidence, ...]
    products: tuple[str, ...]
    syspurpose: Syspurpose


def corroborate(
    tree: Tree,
    os_releases: Sequence[OsRelease | Unreadable],
    verdict: Verdict,
    *,
    packages: bool = False,
) -> Corroboration:
    """Collect what small files say; ask the packages too if those disagree, or if asked to.

    A package database costs some 30 to 60 blocks, ten times the rest. It is read when `packages`
    says so, when no release file names a distribution or two name different ones, when RHEL is
    named and neither a certificate nor a repository of Red Hat's speaks for it, and when one does
    though something else is named.
    """
    products = read_products(tree)
    repositories = read_repositories(tree)
    subscription = read_subscription(tree)
    openshift = openshift_evidence(tree, os_releases, verdict.distribution)
    evidence = [
        *openshift,
        *_decided(products),
        *map(evidence_of_product, products),
        *map(evidence_of_repositories, repositories),
        *subscription.evidence,
    ]
    if packages or _disagree(verdict, products, repositories):
        evidence += _rpm(tree) + other_packages(tree)
    return Corroboration(tuple(evidence), _products(products, openshift), subscription.syspurpose)


def _decided(products: Sequence[Product | Unreadable]) -> list[Evidence]:
    return [
        Evidence(
            PRODUCT_SIGNAL,
            printable(each.path),
            printable(f"{PRODUCTS[each.id]}: product certificate {each.id}, {each.name}"),
            Strength.DECISIVE,
        )
        for each in products
        if isinstance(each, Product) and each.id in PRODUCTS
    ]


def _products(
    products: Sequence[Product | Unreadable], openshift: Sequence[Evidence]
) -> tuple[str, ...]:
    certified = {
        PRODUCTS[each.id] for each in products if isinstance(each, Product) and each.id in PRODUCTS
    }
    node = {OPENSHIFT for each in openshift if each.strength is Strength.DECISIVE}
    return tuple(sorted(certified | node))


def _disagree(
    verdict: Verdict,
    products: Sequence[Product | Unreadable],
    repositories: Sequence[RepositoryFile | Unreadable],
) -> bool:
    """Say whether the packages should be asked: something contradicts, or nothing agrees."""
    certified = any(isinstance(each, Product) and each.id in RHEL_IDS for each in products)
    subscribed = any(
        repository.red_hats
        for each in repositories
        if isinstance(each, RepositoryFile)
        for repository in each.enabled
    )
    distribution = verdict.distribution
    if distribution in {UNKNOWN, ""} or _contradicted(verdict):
        return True
    if distribution == _RHEL:
        return not (certified or subscribed)
    return distribution != RHCOS and (certified or subscribed)


def _contradicted(verdict: Verdict) -> bool:
    """Say whether a release file names another distribution than the one that was chosen."""
    names = {named(each.value) for each in verdict.evidence if each.signal == "release file"}
    if verdict.distribution in _SAYS_RHEL_TOO:
        names.discard(_RHEL)
    return any(name and not verdict.distribution.startswith(name) for name in names)


def _rpm(tree: Tree) -> list[Evidence]:
    found: list[Evidence] = []
    for each in read_rpm_database(tree):
        if isinstance(each, Unreadable):
            found.append(unreadable(_RPM, each))
        else:
            found += _of_database(each)
    return found or _elsewhere(tree)


def _elsewhere(tree: Tree) -> list[Evidence]:
    """Say that a database that was not found may lie on a volume of its own, where fstab has one.

    Nothing where there is none: then it is absent.
    """
    fstab = read_text(tree, _FSTAB, _FSTAB_LIMIT)
    if not isinstance(fstab, str):
        return [] if fstab is None else [unreadable(_RPM, fstab)]
    mounted = {line.split()[1] for line in fstab.splitlines() if len(line.split()) > 1}
    return [
        unreadable(_RPM, Unreadable(folder, f"not found; {point} is a volume of its own"))
        for folder in FOLDERS
        for point in sorted(mounted)
        if point != "/" and f"{folder}/".startswith(f"{point.rstrip('/')}/")
    ]


def _of_database(found: Signatures) -> list[Evidence]:
    said = [supporting(_RPM, found.path, f"{found.packages:,} packages")]
    if found.packages:
        said.append(supporting(_SIGNATURES, found.path, _signatures(found)))
    for package in found.releases:
        keys = ", ".join(_key(each) for each in sorted(package.keys)) or "nobody"
        vendor = package.vendor or "(none)"
        text = f"{package.name} {package.version}, vendor {vendor}, signed by {keys}"
        said.append(supporting(_RELEASE_PACKAGE, found.path, text))
    return said


def _signatures(found: Signatures) -> str:
    """Say the share of Red Hat's keys, and the packages by key: "415 of 420 (98.8 %) by ..."."""
    share = 100 * found.by_red_hat / found.packages
    parts = [f"{found.by_red_hat:,} of {found.packages:,} ({share:.1f} %) by Red Hat's keys"]
    parts += [f"{count:,} by {_key(key)}" for key, count in found.by_key[:_KEYS_SHOWN]]
    if len(found.by_key) > _KEYS_SHOWN:
        parts.append(f"and {len(found.by_key) - _KEYS_SHOWN:,} keys more")
    if found.unsigned:
        parts.append(f"{found.unsigned:,} unsigned")
    return "; ".join(parts)


def _key(key: str) -> str:
    return f"{key} (Red Hat, {RED_HAT_KEYS[key]})" if key in RED_HAT_KEYS else key
