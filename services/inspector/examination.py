"""From a disk to a finding: which of its volumes is the root, and what that says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.inspector.corroboration import Corroboration, corroborate
from services.inspector.disk.errors import ContentError
from services.inspector.disk.filesystem import FileSystem
from services.inspector.disk.partitions import Scheme
from services.inspector.disk.source import Source
from services.inspector.disk.tree import Tree
from services.inspector.disk.volumes import DiskContents, Volume, open_disk
from services.inspector.evidence import Evidence, Strength, printable
from services.inspector.finding import JOURNAL_STATES, Finding, JournalState, Syspurpose
from services.inspector.release_files import (
    OsRelease,
    Unreadable,
    read_os_release,
    read_releases,
)
from services.inspector.verdict import RANK, UNKNOWN, Verdict, decide

_FSTAB = "/etc/fstab"
_ROOT_DIRECTORY = "root directory"
_FSTAB_LIMIT = 64 * 1024

# Told what is being done, for a person who waits.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A volume that can be read, and what its release files say."""

    volume: Volume
    tree: Tree
    verdict: Verdict
    os_releases: tuple[OsRelease | Unreadable, ...] = ()


def examine_disk(source: Source, progress: Progress, *, packages: bool = False) -> Finding:
    """Find out what is installed on a disk. Damage and unknown formats are part of the answer.

    With `packages` the package database is read also where nothing makes it necessary.
    Raises SourceError when a block cannot be had, and LimitError when a limit is reached.
    """
    progress("reading the partition table")
    disk = open_disk(source)
    candidates = []
    for volume in disk.volumes:
        if volume.filesystem is not None:
            progress(f"reading {volume.format} on {volume.where}")
            candidates.append(_candidate(volume, volume.filesystem))
    roots = _plausible(disk, [each for each in candidates if each.verdict.distribution != UNKNOWN])
    root = _choose(roots)
    if root is None:
        return _unknown(disk, candidates, roots)
    progress("reading what else the root says")
    more = _more(root, packages=packages)
    others = _others(disk, [each for each in candidates if each is not root])
    progress(f"reading the journal of {root.volume.where}")
    return Finding(
        root.verdict.distribution,
        root.verdict.version,
        root.verdict.pretty_name,
        _ranked(root.verdict.evidence + more.evidence) + others,
        _layout(disk, root.volume),
        _journal(root.volume),
        products=more.products,
        syspurpose=more.syspurpose,
    )


def examine_folder(filesystem: FileSystem, *, packages: bool = False) -> Finding:
    """Find out what is installed in a file system at hand, such as a folder."""
    volume = Volume("folder", filesystem.name, filesystem)
    root = _candidate(volume, filesystem)
    verdict, more = root.verdict, _more(root, packages=packages)
    return Finding(
        verdict.distribution,
        verdict.version,
        verdict.pretty_name,
        _ranked(verdict.evidence + more.evidence),
        filesystem.name,
        JournalState.NONE,
        verdict.unknown_reason,
        more.products,
        more.syspurpose,
    )


def _candidate(volume: Volume, filesystem: FileSystem) -> _Candidate:
    tree = Tree(filesystem)
    try:
        filesystem.root()
        os_releases = tuple(read_os_release(tree))
        verdict = decide(os_releases, read_releases(tree))
    except ContentError as error:
        unreadable = Evidence(_ROOT_DIRECTORY, "/", str(error), Strength.UNREADABLE)
        return _Candidate(volume, tree, Verdict(UNKNOWN, "", "", (unreadable,), str(error)))
    return _Candidate(volume, tree, verdict, os_releases)


def _more(candidate: _Candidate, *, packages: bool) -> Corroboration:
    """Collect what else a root says; nothing of one whose root directory cannot be read."""
    if _rootless(candidate):
        return Corroboration((), (), Syspurpose())
    return corroborate(candidate.tree, candidate.os_releases, candidate.verdict, packages=packages)


def _rootless(candidate: _Candidate) -> bool:
    return any(each.signal == _ROOT_DIRECTORY for each in candidate.verdict.evidence)


def _ranked(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Put the decisive first and the unreadable last, each in the order in which they came."""
    return tuple(sorted(evidence, key=lambda each: RANK[each.strength]))


def _plausible(disk: DiskContents, roots: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """Leave out copies, whose own fstab puts / elsewhere: on another root, or on one unreadable."""
    unreadable = any(each.filesystem is None and each.may_hold_root for each in disk.volumes)
    if len(roots) == 1 and not unreadable:
        return roots
    plausible = [each for each in roots if not _mounts_another(each)]
    return plausible if plausible or unreadable else roots


def _choose(roots: Sequence[_Candidate]) -> _Candidate | None:
    """Choose the one root; None when there is none, or several that tell of different systems."""
    systems = {(each.verdict.distribution, each.verdict.version) for each in roots}
    return roots[0] if len(systems) == 1 else None


def _mounts_another(candidate: _Candidate) -> bool:
    """Say whether /etc/fstab mounts another file system as /: then this is a copy."""
    try:
        text = candidate.tree.read(_FSTAB, _FSTAB_LIMIT).decode(errors="replace")
    except ContentError:
        return False
    for line in text.splitlines():
        fields = line.split()
        if fields[1:2] == ["/"]:
            return _names_another(fields[0], candidate.volume)
    return False


def _names_another(device: str, volume: Volume) -> bool:
    """Say whether fstab's first field surely means another file system than this one."""
    if device in volume.devices:
        return False
    # Of its own group, whose volumes stand side by side, or of some mapping that is not its own.
    siblings = tuple(f"{path.rpartition('/')[0]}/" for path in volume.devices)
    if device.startswith(("/dev/mapper/", *siblings)):
        return True
    for prefix in ("UUID=", "/dev/disk/by-uuid/"):
        if device.startswith(prefix) and volume.filesystem is not None:
            return device.removeprefix(prefix).strip('"').lower() != volume.filesystem.uuid
    return False


def _journal(volume: Volume) -> JournalState:
    try:
        state = volume.filesystem.log_state() if volume.filesystem else None
    except ContentError:
        # A journal that cannot be read may hold anything.
        return JournalState.DIRTY
    return JOURNAL_STATES[state] if state else JournalState.NONE


def _others(disk: DiskContents, candidates: Sequence[_Candidate]) -> tuple[Evidence, ...]:
    """Say what else is there: other systems, and what could not be read."""
    found = [
        Evidence("other system", each.volume.where, _named(each.verdict), Strength.SUPPORTING)
        for each in candidates
        if each.verdict.distribution != UNKNOWN
    ]
    return tuple(found) + _unreadable(disk)


def _unreadable(disk: DiskContents) -> tuple[Evidence, ...]:
    troubles = [
        Evidence("volume", volume.where, volume.trouble, Strength.UNREADABLE)
        for volume in disk.volumes
        if volume.trouble
    ]
    table = [
        Evidence("partition table", disk.table.scheme.value, trouble, Strength.UNREADABLE)
        for trouble in disk.table.troubles
    ]
    return tuple(troubles + table)


def _unknown(
    disk: DiskContents, candidates: Sequence[_Candidate], roots: Sequence[_Candidate]
) -> Finding:
    evidence = tuple(
        Evidence(each.signal, f"{candidate.volume.where}: {each.path}", each.value, strength)
        for candidate in candidates
        for each in _of_unknown(candidate, several=bool(roots))
        # Of several systems none decides.
        for strength in [_weakened(each.strength)]
    )
    if roots:
        named = ", ".join(f"{_named(each.verdict)} on {each.volume.where}" for each in roots)
        reason = f"several systems on one disk, and none says it is the one that starts: {named}"
    else:
        reason = _nothing_found(disk, candidates)
    return Finding(
        UNKNOWN,
        "",
        "",
        evidence + _unreadable(disk),
        _layout(disk, None),
        JournalState.NONE,
        printable(reason),
    )


def _of_unknown(candidate: _Candidate, *, several: bool) -> tuple[Evidence, ...]:
    """Give a candidate's evidence: with what else it says, where no release file says anything."""
    evidence = candidate.verdict.evidence
    return evidence if several else evidence + _more(candidate, packages=False).evidence


def _weakened(strength: Strength) -> Strength:
    return Strength.SUPPORTING if strength is Strength.DECISIVE else strength


def _nothing_found(disk: DiskContents, candidates: Sequence[_Candidate]) -> str:
    read = {
        each.volume.where: each.verdict.unknown_reason
        or f"{_named(each.verdict)}, which mounts another file system as its root"
        for each in candidates
    }
    said = [
        f"{volume.where} ({volume.format}): {read.get(volume.where) or volume.trouble or 'no root'}"
        for volume in disk.volumes
    ]
    return "no installed system was found: " + "; ".join([*said, *disk.table.troubles])


def _named(verdict: Verdict) -> str:
    return verdict.pretty_name or f"{verdict.distribution} {verdict.version}".strip()


def _layout(disk: DiskContents, root: Volume | None) -> str:
    count = len(disk.table.partitions)
    layout = disk.table.scheme.value
    if disk.table.scheme is not Scheme.NONE:
        layout += f", {count} partition{'' if count == 1 else 's'}"
    if root is not None:
        layout += f"; root: {root.format} on {root.where}"
    return layout
