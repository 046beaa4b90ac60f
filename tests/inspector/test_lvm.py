"""LVM: volumes of several segments, over several partitions, and what is said of the others."""

from pathlib import Path

import pytest

from services.inspector.disk.errors import ContentError, DamagedError
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.lvm import newest_groups, read_physical_volume
from services.inspector.disk.lvm_text import parse_sections
from services.inspector.disk.source import BlockSource, MemorySource
from services.inspector.disk.volumes import Volume, open_disk
from services.inspector.examination import examine_disk
from tests.inspector.images import (
    MIB,
    SECTOR,
    WITHOUT_LIMITS,
    Part,
    Truth,
    make_ext,
    make_gpt,
    opened,
    read_whole,
)
from tests.inspector.volume_groups import (
    AREA,
    AREA_SIZE,
    EXTENT,
    Segment,
    make_member,
    metadata,
    put_extents,
)


@pytest.fixture(scope="module")
def root(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give an ext4 of 24 extents that holds the tree."""
    image = tmp_path_factory.mktemp("root") / "ext4"
    make_ext(image, 24 * EXTENT, tree, "-t", "ext4")
    return image.read_bytes()


def disk_of(tmp_path: Path, *members: Path) -> Path:
    """Make a disk with a partition for each physical volume."""
    parts, start = [], 2048
    for member in members:
        parts.append(Part(start, member))
        start += parts[-1].count + 2048
    disk = tmp_path / "disk"
    make_gpt(disk, (start + 2048) * SECTOR, parts)
    return disk


def only(disk: Path, name: str = "root") -> Volume:
    """Open a disk's logical volume; its source is gone then, so only what is said of it is left."""
    with opened(disk) as (found, _):
        (volume,) = [each for each in found.volumes if each.where == f"LVM vg-a/{name}"]
        return volume


def test_a_volume_that_was_extended_after_a_neighbour_is_read_whole(
    tmp_path: Path, root: bytes, expected: Truth
) -> None:
    """Its two segments lie apart on one physical volume, with another volume between them."""
    member = tmp_path / "pv0"
    text = metadata(
        {"pv0": 40},
        {
            "root": [(9, "striped", [("pv0", 2)]), (15, "striped", [("pv0", 20)])],
            "swap": [(4, "striped", [("pv0", 11)])],
        },
    )
    make_member(member, "pv0", 40, text)
    put_extents(member, 2, root[: 9 * EXTENT])
    put_extents(member, 20, root[9 * EXTENT :])
    with opened(disk_of(tmp_path, member)) as (found, _):
        volume, swap = found.volumes
        assert (volume.where, volume.format) == ("LVM vg-a/root", "ext4")
        assert volume.devices == ("/dev/mapper/vg--a-root", "/dev/vg-a/root")
        assert volume.filesystem is not None
        assert read_whole(volume.filesystem) == expected
        assert (swap.where, swap.format, swap.may_hold_root) == ("LVM vg-a/swap", "nothing", False)


def test_a_volume_over_two_partitions_is_read_whole(
    tmp_path: Path, root: bytes, expected: Truth
) -> None:
    """A segment on each of two physical volumes of one disk."""
    text = metadata(
        {"pv0": 10, "pv1": 20},
        {"root": [(10, "striped", [("pv0", 0)]), (14, "striped", [("pv1", 3)])]},
    )
    members = tmp_path / "pv0", tmp_path / "pv1"
    make_member(members[0], "pv0", 10, text)
    make_member(members[1], "pv1", 20, text)
    put_extents(members[0], 0, root[: 10 * EXTENT])
    put_extents(members[1], 3, root[10 * EXTENT :])
    with opened(disk_of(tmp_path, *members)) as (found, _):
        (volume,) = found.volumes
        assert volume.filesystem is not None
        assert read_whole(volume.filesystem) == expected


def test_a_striped_volume_is_read_whole(tmp_path: Path, root: bytes, expected: Truth) -> None:
    """Stripes of 64 KiB are dealt out in turn over two physical volumes."""
    text = metadata(
        {"pv0": 13, "pv1": 12},
        {"root": [(24, "striped", [("pv0", 1), ("pv1", 0)])]},
        stripe_sectors=128,
    )
    stripes = [root[at : at + 65536] for at in range(0, len(root), 65536)]
    members = tmp_path / "pv0", tmp_path / "pv1"
    make_member(members[0], "pv0", 13, text)
    make_member(members[1], "pv1", 12, text)
    put_extents(members[0], 1, b"".join(stripes[0::2]))
    put_extents(members[1], 0, b"".join(stripes[1::2]))
    with opened(disk_of(tmp_path, *members)) as (found, _):
        (volume,) = found.volumes
        assert volume.filesystem is not None
        assert read_whole(volume.filesystem) == expected


@pytest.mark.parametrize("kind", ["thin", "raid1", "cache", "vdo", "snapshot"])
def test_other_kinds_of_volume_are_named_and_not_guessed(tmp_path: Path, kind: str) -> None:
    """A thin volume or a RAID is a reason; an operating system may lie there all the same."""
    member = tmp_path / "pv0"
    make_member(member, "pv0", 4, metadata({"pv0": 4}, {"root": [(4, kind, [("pv0", 0)])]}))
    volume = only(disk_of(tmp_path, member))
    assert volume.filesystem is None
    assert volume.may_hold_root
    assert volume.trouble == f"cannot read yet: LVM of type '{kind}'"


def test_a_physical_volume_on_another_disk_is_named(tmp_path: Path) -> None:
    """The group's metadata tell of a member that is not here: its id says which to look for."""
    member = tmp_path / "pv0"
    text = metadata({"pv0": 4, "pv1": 4}, {"root": [(4, "striped", [("pv1", 0)])]})
    make_member(member, "pv0", 4, text)
    volume = only(disk_of(tmp_path, member))
    assert volume.trouble == (
        f"lies on the physical volume {'pv1'.ljust(32, 'x')}, not on this disk"
    )


def test_the_newest_metadata_of_a_group_hold(tmp_path: Path) -> None:
    """One member missed the last change: the other's copy has the higher sequence number."""
    old = metadata({"pv0": 4, "pv1": 4}, {"root": [(1, "striped", [("pv0", 0)])]}, sequence=8)
    new = metadata({"pv0": 4, "pv1": 4}, {"root": [(2, "striped", [("pv0", 0)])]}, sequence=9)
    members = []
    for label, text in (("pv0", old), ("pv1", new)):
        make_member(tmp_path / label, label, 4, text)
        members.append(read_physical_volume(MemorySource((tmp_path / label).read_bytes())))
    (group,) = newest_groups(members)
    assert [volume.extents for volume in group.volumes] == [2]


def test_metadata_that_wrap_round_their_ring_are_read(tmp_path: Path) -> None:
    """The text begins 200 bytes before the ring's end and goes on behind the ring's header."""
    member = tmp_path / "pv0"
    text = metadata({"pv0": 4}, {"root": [(4, "striped", [("pv0", 0)])]})
    make_member(member, "pv0", 4, text, at=AREA_SIZE - 200)
    assert read_physical_volume(MemorySource(member.read_bytes())).group.name == "vg-a"


def test_parts_of_other_volumes_are_no_volumes(tmp_path: Path) -> None:
    """What is not visible belongs to another volume, such as a pool's data."""
    member = tmp_path / "pv0"
    volumes: dict[str, list[Segment]] = {
        "pool_tdata": [(4, "striped", [("pv0", 0)])],
        "pool": [(4, "thin-pool", [])],
    }
    make_member(member, "pv0", 4, metadata({"pv0": 4}, volumes, hidden=["pool_tdata"]))
    with opened(disk_of(tmp_path, member)) as (found, _):
        assert [volume.where for volume in found.volumes] == ["LVM vg-a/pool"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (SECTOR + 60, "the label of LVM is damaged"),
        (AREA + 100, "a metadata area of LVM is damaged"),
        (AREA + SECTOR + 100, "the metadata of LVM do not match their checksum"),
    ],
)
def test_damage_is_a_reason(tmp_path: Path, place: int, reason: str) -> None:
    """Label, header and text each have a checksum."""
    member = tmp_path / "pv0"
    make_member(member, "pv0", 4, metadata({"pv0": 4}, {"root": [(4, "striped", [("pv0", 0)])]}))
    with member.open("r+b") as file:
        file.seek(place)
        file.write(b"damage")
    with opened(disk_of(tmp_path, member)) as (found, _):
        (volume,) = found.volumes
        assert (volume.where, volume.format, volume.trouble) == ("partition 1", "LVM", reason)
        assert volume.may_hold_root


@pytest.mark.parametrize(
    "text",
    [
        "a {",
        "a = ",
        "a = [1, ",
        "a }",
        "a { b }",
        "= 1",
        "a = {",
        "a ? 1",
        "a {" * 20,
        '"a" = 1',
        "a = 1 }",
    ],
)
def test_text_of_another_form_is_damage(text: str) -> None:
    """A text that does not follow the form is an error with a reason, not a guess."""
    with pytest.raises(DamagedError, match="the metadata of LVM has"):
        parse_sections(text)


def test_segments_that_contradict_themselves_are_damage(tmp_path: Path) -> None:
    """A segment beyond its physical volume's last extent."""
    member = tmp_path / "pv0"
    make_member(member, "pv0", 4, metadata({"pv0": 4}, {"root": [(4, "striped", [("pv0", 1)])]}))
    assert only(disk_of(tmp_path, member)).trouble == (
        "a logical volume reaches beyond its physical volume"
    )


@pytest.mark.parametrize("device", ["/dev/mapper/vg--a-root", "/dev/vg-a/root"])
def test_a_root_on_lvm_is_known_by_its_fstab(tmp_path: Path, device: str) -> None:
    """A copy of the root on another volume of the group names the root in its own fstab."""
    images = {}
    for name, distribution in (("root", "rhel"), ("copy", "centos")):
        folder = tmp_path / f"{name}-tree"
        (folder / "etc").mkdir(parents=True)
        (folder / "etc/os-release").write_text(f'ID="{distribution}"\nVERSION_ID="9"\n')
        (folder / "etc/fstab").write_text(f"{device} / xfs defaults 0 0\n")
        images[name] = tmp_path / f"{name}.ext4"
        make_ext(images[name], 4 * MIB, folder, "-t", "ext4")
    text = metadata(
        {"pv0": 8},
        {"copy": [(4, "striped", [("pv0", 4)])], "root": [(4, "striped", [("pv0", 0)])]},
    )
    member = tmp_path / "pv0"
    make_member(member, "pv0", 8, text)
    put_extents(member, 0, images["root"].read_bytes())
    put_extents(member, 4, images["copy"].read_bytes())
    with ImageFile(disk_of(tmp_path, member)) as blocks:
        finding = examine_disk(BlockSource(blocks, WITHOUT_LIMITS), lambda _: None)
    assert (finding.distribution, finding.version) == ("rhel", "9")
    assert finding.layout == "GPT, 1 partition; root: ext4 on LVM vg-a/root"


def test_a_physical_volume_over_the_whole_disk_is_opened(tmp_path: Path, root: bytes) -> None:
    """Data disks often have no partition table."""
    member = tmp_path / "pv0"
    make_member(member, "pv0", 24, metadata({"pv0": 24}, {"data": [(24, "striped", [("pv0", 0)])]}))
    put_extents(member, 0, root)
    with opened(member) as (found, _):
        assert [(each.where, each.format) for each in found.volumes] == [("LVM vg-a/data", "ext4")]


def test_any_damage_is_an_answer(tmp_path: Path) -> None:
    """Every byte of label, header and text, turned over one at a time, gives no other error."""
    member = tmp_path / "pv0"
    make_member(member, "pv0", 1, metadata({"pv0": 1}, {"root": [(1, "striped", [("pv0", 0)])]}))
    data = bytearray(member.read_bytes())
    places = [*range(SECTOR, SECTOR + 150), *range(AREA, AREA + 80)]
    for place in places:
        data[place] ^= 0xFF
        source = MemorySource(bytes(data))
        try:
            found = open_disk(source)
        except ContentError:
            found = None
        assert found is None or found.volumes
        data[place] ^= 0xFF
