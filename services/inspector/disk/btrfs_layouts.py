"""Which subvolume of a btrfs is the system's root, by the layouts that installers make."""

from services.inspector.disk.btrfs import TOP, BtrfsFileSystem
from services.inspector.disk.errors import ContentError

# Where installers put the root when the default subvolume is the top: Fedora; Ubuntu and Arch;
# Debian; SUSE's snapper without a default (fstab or the kernel's command line names it then).
_NAMES = ("root", "@", "@rootfs", "@/.snapshots/1/snapshot", ".snapshots/1/snapshot")
_OF_A_ROOT = {b"etc", b"usr"}


def system_root(filesystem: BtrfsFileSystem) -> tuple[str, BtrfsFileSystem]:
    """Return the subvolume that looks like a root, and its path from the top; "" for the default.

    The default subvolume when it looks like one, or when none does.
    """
    if filesystem.subvolume != TOP or _looks_like_a_root(filesystem):
        return "", filesystem
    for name in _NAMES:
        try:
            found = filesystem.at(filesystem.subvolume_at(name))
            if _looks_like_a_root(found):
                return name, found
        except ContentError:
            continue
    return "", filesystem


def _looks_like_a_root(filesystem: BtrfsFileSystem) -> bool:
    return any(name in _OF_A_ROOT for name, _ in filesystem.entries(filesystem.root()))
