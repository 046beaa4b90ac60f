"""From what a disk says to what is installed on it: the rules of who is believed."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.inspector.evidence import Evidence, Strength
from services.inspector.release_files import OsRelease, Release, Unreadable, named

UNKNOWN = "unknown"
_ID = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
# os-release(5): what an absent ID= may be taken for, which names no distribution.
_NO_ID = "linux"
_RHEL = "rhel"
# Says on whose product a rebuild is modelled, never what it is.
_SUPPORTING = ("ID_LIKE", "VARIANT_ID", "CPE_NAME", "REDHAT_SUPPORT_PRODUCT")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is installed: `distribution` is os-release's ID or "unknown", and then why."""

    distribution: str
    version: str
    pretty_name: str
    evidence: tuple[Evidence, ...]
    unknown_reason: str = ""


def decide(
    os_releases: Sequence[OsRelease | Unreadable], releases: Sequence[Release | Unreadable]
) -> Verdict:
    """Judge one root file system by its release files, each in the order in which they count.

    `ID=` of os-release decides; without an os-release, the first release file does. The words "Red
    Hat" elsewhere (ID_LIKE, CentOS Stream's REDHAT_SUPPORT_PRODUCT, the redhat-release of Oracle
    Linux) support, and never make a rebuild RHEL; nor does a redhat-release below an os-release
    whose NAME is another's. What could not be read might have said otherwise: nothing that ranks
    below it decides.
    """
    evidence: list[Evidence] = []
    chosen = _by_os_release(os_releases, evidence)
    blocked = chosen is None and any(isinstance(each, Unreadable) for each in os_releases)
    otherwise = _other_name(os_releases)
    for each in releases:
        if isinstance(each, Unreadable):
            blocked = True
            evidence.append(_unreadable("release file", each))
            continue
        decides = chosen is None and not blocked and bool(each.distribution)
        if decides and each.distribution == _RHEL and otherwise:
            decides, blocked = False, True
        if decides:
            chosen = each
        strength = Strength.DECISIVE if decides else Strength.SUPPORTING
        evidence.append(Evidence("release file", each.path, each.name, strength))
    ranked = tuple(sorted(evidence, key=lambda each: RANK[each.strength]))
    if chosen is None:
        return Verdict(UNKNOWN, "", "", ranked, _why_unknown(ranked, otherwise))
    return Verdict(chosen.distribution, chosen.version, chosen.name, ranked)


# The order in which evidence is told.
RANK = {Strength.DECISIVE: 0, Strength.SUPPORTING: 1, Strength.UNREADABLE: 2}


def _by_os_release(
    os_releases: Sequence[OsRelease | Unreadable], evidence: list[Evidence]
) -> Release | None:
    """Find the first os-release with a usable ID.

    One that could not be read stops nothing here: both are of the same distribution.
    """
    chosen: Release | None = None
    for each in os_releases:
        if isinstance(each, Unreadable):
            evidence.append(_unreadable("os-release", each))
            continue
        distribution = _identified(each)
        decides = chosen is None and bool(distribution)
        if decides:
            version = each.values.get("VERSION_ID", "")
            name = each.values.get("PRETTY_NAME") or each.values.get("NAME", "")
            chosen = Release(each.path, distribution, version, name)
        strength = Strength.DECISIVE if decides else Strength.SUPPORTING
        said = distribution or each.values.get("ID") or "(none)"
        evidence.append(Evidence("os-release.ID", each.path, said, strength))
        if decides:
            evidence += _supporting(each)
    return chosen


def _identified(os_release: OsRelease) -> str:
    """Take ID= as the specification has it; some distributions write capitals into it.

    A rebuild that kept ID="rhel" and wrote its own NAME (Scientific Linux 7.0 and 7.1 did) is what
    its name says.
    """
    distribution = os_release.values.get("ID", "").lower()
    if distribution == _RHEL and (name := os_release.values.get("NAME")):
        return named(name)
    return distribution if distribution != _NO_ID and set(distribution) <= _ID else ""


def _supporting(os_release: OsRelease) -> list[Evidence]:
    return [
        Evidence(f"os-release.{name}", os_release.path, value, Strength.SUPPORTING)
        for name in _SUPPORTING
        if (value := os_release.values.get(name))
    ]


def _other_name(os_releases: Sequence[OsRelease | Unreadable]) -> str:
    """Give the NAME of an os-release that does not begin as Red Hat's do; "" for none."""
    names = [each.values.get("NAME", "") for each in os_releases if isinstance(each, OsRelease)]
    return next((name for name in names if name and named(name) != _RHEL), "")


def _unreadable(signal: str, what: Unreadable) -> Evidence:
    return Evidence(signal, what.path, what.reason, Strength.UNREADABLE)


def _why_unknown(evidence: Sequence[Evidence], other_name: str) -> str:
    unreadable = [each for each in evidence if each.strength is Strength.UNREADABLE]
    if unreadable:
        return "; ".join(f"{each.path}: {each.value}" for each in unreadable)
    if evidence:
        paths = ", ".join(each.path for each in evidence)
        if other_name and any(named(each.value) == _RHEL for each in evidence):
            return f"{other_name!r} calls itself Red Hat Enterprise Linux elsewhere: {paths}"
        return f"its release files name no distribution: {paths}"
    return "no release file"
