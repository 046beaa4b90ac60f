"""Builds demo/disk_images: small, real disks of ten distributions, without root and without mounts.

Needs Debian's e2fsprogs, xfsprogs, gdisk and fdisk. The root trees are of our own writing: release
files with the values that the distributions use, and some filler, so that directories grow beyond
an inode. Run it from the checkout when a disk must change, and commit what it writes:

    .venv/bin/python tools/build_demo_disks.py [NAME ...]
"""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from demo.disks import BLOCK_BYTES, IMAGES, Disk

MIB = 1024 * 1024
GIB = 1024 * MIB
WRITTEN_AT = 1_716_000_000  # 2024-05-18, when every file was last changed
FILLER = 40


@dataclass(frozen=True, slots=True)
class Release:
    """What a distribution says of itself on its disk."""

    os_release: str
    release_file: tuple[str, str] | None = None


def os_release(**values: str) -> str:
    """os-release's text; quoted throughout, as the format allows."""
    return "".join(f'{key}="{value}"\n' for key, value in values.items())


def red_hat(version: str, codename: str) -> Release:
    """Red Hat Enterprise Linux: os-release and the older redhat-release."""
    major, name = version.partition(".")[0], f"Red Hat Enterprise Linux {version} ({codename})"
    words = "Red Hat Enterprise Linux" + (" Server" if major == "7" else "")
    text = os_release(
        NAME=words,
        VERSION=f"{version} ({codename})",
        ID="rhel",
        ID_LIKE="fedora",
        VERSION_ID=version,
        PLATFORM_ID=f"platform:el{major}",
        PRETTY_NAME=name,
        CPE_NAME=f"cpe:/o:redhat:enterprise_linux:{major}::baseos",
    )
    return Release(text, ("redhat-release", f"{words} release {version} ({codename})\n"))


CENTOS_STREAM_9 = Release(
    os_release(
        NAME="CentOS Stream",
        VERSION="9",
        ID="centos",
        ID_LIKE="rhel fedora",
        VERSION_ID="9",
        PLATFORM_ID="platform:el9",
        PRETTY_NAME="CentOS Stream 9",
        REDHAT_SUPPORT_PRODUCT="Red Hat Enterprise Linux 9",
    ),
    ("centos-release", "CentOS Stream release 9\n"),
)
ROCKY_9 = Release(
    os_release(
        NAME="Rocky Linux",
        VERSION="9.4 (Blue Onyx)",
        ID="rocky",
        ID_LIKE="rhel centos fedora",
        VERSION_ID="9.4",
        PLATFORM_ID="platform:el9",
        PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)",
    ),
    ("rocky-release", "Rocky Linux release 9.4 (Blue Onyx)\n"),
)
ALMA_8 = Release(
    os_release(
        NAME="AlmaLinux",
        VERSION="8.10 (Cerulean Leopard)",
        ID="almalinux",
        ID_LIKE="rhel centos fedora",
        VERSION_ID="8.10",
        PLATFORM_ID="platform:el8",
        PRETTY_NAME="AlmaLinux 8.10 (Cerulean Leopard)",
    ),
    ("almalinux-release", "AlmaLinux release 8.10 (Cerulean Leopard)\n"),
)
# Oracle ships a redhat-release that names Red Hat: a reader that believes it is wrong.
ORACLE_9 = Release(
    os_release(
        NAME="Oracle Linux Server",
        VERSION="9.4",
        ID="ol",
        ID_LIKE="fedora",
        VERSION_ID="9.4",
        PRETTY_NAME="Oracle Linux Server 9.4",
    ),
    ("redhat-release", "Red Hat Enterprise Linux release 9.4 (Plow)\n"),
)
AMAZON_2023 = Release(
    os_release(
        NAME="Amazon Linux",
        VERSION="2023",
        ID="amzn",
        ID_LIKE="fedora",
        VERSION_ID="2023",
        PLATFORM_ID="platform:al2023",
        PRETTY_NAME="Amazon Linux 2023.4.20240513",
    ),
    ("amazon-linux-release", "Amazon Linux release 2023.4.20240513 (Amazon Linux)\n"),
)
UBUNTU_22 = Release(
    os_release(
        PRETTY_NAME="Ubuntu 22.04.4 LTS",
        NAME="Ubuntu",
        VERSION_ID="22.04",
        VERSION="22.04.4 LTS (Jammy Jellyfish)",
        ID="ubuntu",
        ID_LIKE="debian",
    )
)
DEBIAN_12 = Release(
    os_release(
        PRETTY_NAME="Debian GNU/Linux 12 (bookworm)",
        NAME="Debian GNU/Linux",
        VERSION_ID="12",
        VERSION="12 (bookworm)",
        ID="debian",
    ),
    ("debian_version", "12.5\n"),
)


def write_tree(root: Path, release: Release) -> None:
    """Lay out a root as the distribution does: os-release is a link from /etc into /usr/lib."""
    for folder in (
        "boot",
        "dev",
        "etc/pki",
        "home",
        "proc",
        "tmp",
        "usr/bin",
        "usr/lib",
        "var/lib",
    ):
        (root / folder).mkdir(parents=True)
    (root / "usr/lib/os-release").write_text(release.os_release)
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    if release.release_file:
        name, text = release.release_file
        (root / "etc" / name).write_text(text)
        if name not in {"redhat-release", "debian_version", "amazon-linux-release"}:
            (root / "etc/redhat-release").symlink_to(name)
    (root / "etc/hostname").write_text("localhost\n")
    (root / "etc/fstab").write_text("LABEL=root / auto defaults 0 1\n")
    for folder in ("etc", "usr/bin", "usr/lib"):
        for number in range(FILLER):
            (root / folder / f"filler-{number:03}.conf").write_text(f"# {folder} {number}\n")
    for path in [root, *root.rglob("*")]:
        os.utime(path, (WRITTEN_AT, WRITTEN_AT), follow_symlinks=False)


def run(*command: str | Path, **environment: str) -> None:
    """Run a program quietly; its own words are shown when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def ext4(tree: Path, image: Path, name: str) -> None:
    """Make an ext4 file system that holds `tree`."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", identity),
        *("-E", f"hash_seed={identity},root_owner=0:0", "-d", tree, image),
        E2FSPROGS_FAKE_TIME=str(WRITTEN_AT),
    )


def xfs(tree: Path, image: Path, name: str, *options: str) -> None:
    """Make an XFS file system that holds `tree`, which mkfs takes from a prototype file."""
    prototype = image.with_suffix(".proto")
    prototype.write_text("/\n0 0\n" + "\n".join(prototype_lines(tree)) + "\n")
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    uuid_option = ("-m", f"uuid={identity}")
    run("mkfs.xfs", "-q", "-L", "root", *uuid_option, *options, "-p", prototype, image)


def prototype_lines(tree: Path) -> Iterator[str]:
    """Yield `tree` in the language of mkfs.xfs prototype files."""
    yield "d--755 0 0"
    for path in sorted(tree.iterdir()):
        if path.is_symlink():
            yield f"{path.name} l--777 0 0 {path.readlink()}"
        elif path.is_dir():
            first, *rest = prototype_lines(path)
            yield f"{path.name} {first}"
            yield from rest
        else:
            yield f"{path.name} ---644 0 0 {path}"
    yield "$"


Table = tuple[tuple[str, ...], int]
FileSystem = Callable[[Path, Path, str], None]

# The partition tables, as commands on the disk; the number is the root's partition.
GPT_CLOUD: Table = (
    (
        *("sgdisk", "-n", "1:2048:+1M", "-t", "1:ef02", "-c", "1:bios"),
        *("-n", "2:0:+200M", "-t", "2:ef00", "-c", "2:efi"),
        *("-n", "3:0:0", "-t", "3:8300", "-c", "3:root"),
    ),
    3,
)
# Ubuntu numbers its boot partitions last, though they lie first.
GPT_UBUNTU: Table = (
    (
        *("sgdisk", "-n", "14:2048:+4M", "-t", "14:ef02"),
        *("-n", "15:0:+106M", "-t", "15:ef00", "-n", "1:0:0", "-t", "1:8300"),
    ),
    1,
)
_ONE_PARTITION = "label: dos\nlabel-id: 0x0c10d1f7\nstart=2048, type=83, bootable\n"
MBR: Table = (("sfdisk", "-q", _ONE_PARTITION), 1)
_BOOT_AND_LOGICAL = """label: dos
label-id: 0x0c10d1f8
start=2048, size=1048576, type=83, bootable
type=5
start=1054720, type=83
"""
MBR_LOGICAL: Table = (("sfdisk", "-q", _BOOT_AND_LOGICAL), 5)

DISKS: dict[str, tuple[Release, Table | None, FileSystem]] = {
    "rhel-10": (
        red_hat("10.1", "Coughlan"),
        GPT_CLOUD,
        lambda tree, image, name: xfs(tree, image, name, "-i", "nrext64=1", "-m", "rmapbt=1"),
    ),
    "rhel-9": (red_hat("9.4", "Plow"), GPT_CLOUD, xfs),
    "rhel-8": (red_hat("8.10", "Ootpa"), MBR, xfs),
    "rhel-7": (
        red_hat("7.9", "Maipo"),
        MBR,
        lambda tree, image, name: xfs(
            tree, image, name, "-m", "crc=0,finobt=0,reflink=0", "-n", "ftype=0"
        ),
    ),
    "centos-stream-9": (CENTOS_STREAM_9, GPT_CLOUD, xfs),
    "rocky-9": (ROCKY_9, GPT_CLOUD, xfs),
    "almalinux-8": (ALMA_8, GPT_CLOUD, xfs),
    "oracle-9": (ORACLE_9, MBR_LOGICAL, ext4),
    "amazon-2023": (AMAZON_2023, GPT_CLOUD, xfs),
    "ubuntu-22.04": (UBUNTU_22, GPT_UBUNTU, ext4),
    "debian-12": (DEBIAN_12, None, ext4),
}
VOLUME_GIB = 10


def build(name: str, scratch: Path) -> Disk:
    """Make one disk in `scratch` and take up the blocks that hold anything."""
    release, table, file_system = DISKS[name]
    tree, whole = scratch / "tree", scratch / "disk"
    write_tree(tree, release)
    with whole.open("wb") as disk:
        disk.truncate(VOLUME_GIB * GIB)
    if table is None:
        file_system(tree, whole, name)
    else:
        start, length = partition(whole, table, name)
        part = scratch / "part"
        with part.open("wb") as disk:
            disk.truncate(length)
        file_system(tree, part, name)
        copy_data(part, whole, start)
    return Disk(VOLUME_GIB, dict(written_blocks(whole)))


def partition(disk: Path, table: Table, name: str) -> tuple[int, int]:
    """Write the partition table; where its root partition starts, and how long it is, in bytes."""
    command, root = table
    if command[0] == "sgdisk":
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name} disk"))
        run(*command, "-U", identity, disk)
    else:
        subprocess.run([*command[:2], disk], input=command[2], text=True, check=True)
    listing = subprocess.run(
        ["sfdisk", "--dump", disk], capture_output=True, text=True, check=True
    ).stdout
    line = next(text for text in listing.splitlines() if text.startswith(f"{disk}{root} :"))
    fields = dict(field.split("=") for field in line.split(":")[1].replace(" ", "").split(",")[:2])
    return int(fields["start"]) * 512, int(fields["size"]) * 512


def copy_data(source: Path, target: Path, at: int) -> None:
    """Copy what is not a hole."""
    with source.open("rb") as read, target.open("r+b") as write:
        for start, end in extents(read.fileno()):
            write.seek(at + start)
            read.seek(start)
            write.write(read.read(end - start))


def extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that are not holes, as (start, end)."""
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def written_blocks(disk: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the 512 KiB blocks with anything but zeros in them."""
    with disk.open("rb") as read:
        indexes = {
            index
            for start, end in extents(read.fileno())
            for index in range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES))
        }
        for index in sorted(indexes):
            read.seek(index * BLOCK_BYTES)
            if any(block := read.read(BLOCK_BYTES)):
                yield index, block


def main(names: list[str]) -> None:
    """Build the named disks, or all of them, and say how large each became."""
    for name in names or DISKS:
        with tempfile.TemporaryDirectory() as scratch:
            disk = build(name, Path(scratch))
        path = IMAGES / f"{name}.disk.xz"
        disk.save(path)
        print(f"{name:18} {len(disk.blocks):4} blocks {path.stat().st_size:8} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
