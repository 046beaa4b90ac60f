"""The rpm databases: every package and who signed it, or why that cannot be said."""

import random
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inspector.disk.errors import ContentError
from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.tree import Tree
from services.inspector.release_files import Unreadable
from services.inspector.rpm import berkeley, ndb
from services.inspector.rpm import sqlite as sqlite_format
from services.inspector.rpm.database import Signatures, read_rpm_database, summarise
from services.inspector.rpm.header import parse_header
from services.inspector.rpm.openpgp import issuers
from services.inspector.rpm.wal import apply_wal
from tests.inspector import rpm_databases as made
from tests.inspector.images import program

MOST = 1 << 27
OURS = made.v4_signature(made.RED_HAT)
THEIRS = made.v4_signature(made.EPEL)
# 40 packages: 38 by Red Hat, one of which also by the auxiliary key, one by EPEL, one by nobody.
PACKAGES = [
    *(made.package(f"package-{number}", OURS, padding=number * 300) for number in range(36)),
    made.package("both", OURS, made.v4_signature(made.RED_HAT_AUXILIARY)),
    made.package("redhat-release", OURS, version="9.4"),
    made.package("from-epel", THEIRS, vendor="Fedora Project"),
    made.package("home-made", vendor=""),
]
KEY = made.package("gpg-pubkey", version="fd431d51", vendor="")


def tree_of(root: Path) -> Tree:
    """Give a folder as a root file system."""
    return Tree(FolderFileSystem(root))


def place(root: Path, path: str, content: bytes = b"") -> Path:
    """Write a file at a path of a root."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def write_berkeley(root: Path) -> str:
    """Put the packages into a Berkeley DB, where RHEL 8 has it."""
    place(root, "/var/lib/rpm/Packages", made.berkeley([KEY, *PACKAGES]))
    return "/var/lib/rpm/Packages"


def write_big_endian(root: Path) -> str:
    """Put them into one of a big-endian machine, with other pages."""
    content = made.berkeley([KEY, *PACKAGES], order=">", page_size=8192)
    place(root, "/var/lib/rpm/Packages", content)
    return "/var/lib/rpm/Packages"


def write_ndb(root: Path) -> str:
    """Put them into rpm's own format, where SUSE has it."""
    place(root, "/usr/lib/sysimage/rpm/Packages.db", made.ndb([KEY, *PACKAGES]))
    return "/usr/lib/sysimage/rpm/Packages.db"


def write_sqlite(root: Path) -> str:
    """Put them into SQLite, where ostree has it."""
    made.sqlite(place(root, "/usr/share/rpm/rpmdb.sqlite"), [KEY, *PACKAGES])
    return "/usr/share/rpm/rpmdb.sqlite"


def write_logged(root: Path) -> str:
    """Put them into SQLite, the half of them into its log only."""
    path = place(root, "/var/lib/rpm/rpmdb.sqlite")
    made.sqlite(path, [KEY, *PACKAGES[:20]], PACKAGES[20:])
    return "/var/lib/rpm/rpmdb.sqlite"


FORMATS = [write_berkeley, write_big_endian, write_ndb, write_sqlite, write_logged]


@pytest.mark.parametrize("write", FORMATS)
def test_packages_are_counted_by_who_signed_them(
    tmp_path: Path, write: Callable[[Path], str]
) -> None:
    """The same in every format; an imported key is no package."""
    path = write(tmp_path)
    (found,) = read_rpm_database(tree_of(tmp_path))
    assert isinstance(found, Signatures)
    assert found.path == path
    assert (found.packages, found.by_red_hat, found.unsigned) == (40, 38, 1)
    # Of two keys with as many packages the smaller id comes first.
    assert found.by_key == ((made.RED_HAT, 38), (made.RED_HAT_AUXILIARY, 1), (made.EPEL, 1))
    (release,) = found.releases
    assert (release.name, release.version, release.vendor) == (
        "redhat-release",
        "9.4",
        "Red Hat, Inc.",
    )
    assert release.keys == {made.RED_HAT}


@pytest.mark.parametrize(
    ("tag", "signature"),
    [
        (made.SIGPGP, made.v3_signature(made.RED_HAT)),
        (made.SIGGPG, made.v3_signature(made.RED_HAT)),
        (made.DSAHEADER, made.v3_signature(made.RED_HAT)),
        (made.RSAHEADER, made.v4_signature(made.RED_HAT)),
        (made.RSAHEADER, made.v4_signature(made.RED_HAT, fingerprint=True)),
        (made.OPENPGP, made.v4_signature(made.RED_HAT)),
        (made.OPENPGP, made.v6_signature(made.RED_HAT)),
    ],
)
def test_the_signer_is_found_under_every_tag_and_version(tag: int, signature: bytes) -> None:
    """RHEL 5's version 3, today's version 4, and rpm 6's array of base64 with version 6."""
    parsed = parse_header(made.package("bash", signature, tag=tag))
    assert parsed.keys == {made.RED_HAT}


def test_a_package_signed_twice_has_both_signers() -> None:
    """RHEL 10's packages bear a signature of an older kind beside the new one."""
    both = made.package(
        "bash", made.v6_signature(made.EPEL), made.v4_signature(made.RED_HAT), tag=made.OPENPGP
    )
    assert parse_header(both).keys == {made.EPEL, made.RED_HAT}


@pytest.mark.parametrize(
    ("name", "provides", "is_release"),
    [
        ("redhat-release-server", (), True),
        ("centos-stream-release", ("redhat-release", "system-release"), True),
        ("sles-release", ("distribution-release",), True),
        ("epel-release", ("epel-release",), False),
        ("bash", (), False),
    ],
)
def test_release_packages_are_known_by_what_they_provide(
    name: str, provides: tuple[str, ...], *, is_release: bool
) -> None:
    """Not by the end of their name, which repositories' packages share."""
    assert parse_header(made.package(name, provides=provides)).is_release is is_release


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "cut off"),
        (struct.pack(">II", 0, 0), "of 0 entries"),
        (struct.pack(">II", 70_000, 0) + bytes(70_000 * 16), "of 70,000 entries"),
        (made.package("bash")[:-1], "entries and"),
        (made.header([(made.NAME, made.INT32, bytes(4), 1)]), "without a name"),
        (struct.pack(">IIIIII", 1, 0, made.NAME, made.STRING, 9_999, 1), "without a name"),
    ],
)
def test_a_header_that_is_none_is_damage(blob: bytes, reason: str) -> None:
    """It is never taken for a package without a signature."""
    with pytest.raises(ContentError, match=reason):
        parse_header(blob)


@given(st.binary(max_size=400))
def test_whatever_stands_for_a_signature_is_survived(data: bytes) -> None:
    """Key ids are 16 digits, and nothing but ids comes out."""
    for start in (b"", b"\x88", b"\xc2\xff", b"\x04\x00\x01\x08", b"\xc2\x30\x06\x00\x01\x08"):
        assert all(len(each) == 16 for each in issuers(start + data))


def reason_of(root: Path) -> str:
    """Return why the one database cannot be read."""
    (found,) = read_rpm_database(tree_of(root))
    assert isinstance(found, Unreadable)
    return found.reason


@pytest.mark.parametrize("write", FORMATS[:4])
def test_a_database_that_is_cut_off_is_unreadable(
    tmp_path: Path, write: Callable[[Path], str]
) -> None:
    """At any place: never fewer packages, never none."""
    file = tmp_path / write(tmp_path).lstrip("/")
    whole = file.read_bytes()
    for length in (0, 1, 40, 100, 2000, 4096, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert reason_of(tmp_path).startswith("the rpm database "), length


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    """As a copy under a running system may have one, without its journal."""
    place(tmp_path, "/var/lib/rpm/Packages", bytes(4096))
    assert reason_of(tmp_path) == "the rpm database is empty"
    place(tmp_path, "/var/lib/rpm/Packages", b"something else" * 10)
    assert reason_of(tmp_path) == "the rpm database is of no known format"


def test_a_database_without_packages_has_none(tmp_path: Path) -> None:
    """Debian with rpm installed has one: whole, and empty."""
    made.sqlite(place(tmp_path, "/var/lib/rpm/rpmdb.sqlite"), [])
    (found,) = read_rpm_database(tree_of(tmp_path))
    assert isinstance(found, Signatures)
    assert (found.packages, found.by_key) == (0, ())


def test_a_database_that_lost_its_pages_is_not_empty(tmp_path: Path) -> None:
    """Zeros in place of every page of a Berkeley DB but the first, which counts its entries."""
    content = made.berkeley(PACKAGES)
    place(tmp_path, "/var/lib/rpm/Packages", content[:4096] + bytes(len(content) - 4096))
    assert reason_of(tmp_path) == "the rpm database holds 0 of its 41 entries"


def test_chains_of_pages_that_lead_round_in_circles_end() -> None:
    """A value's page that follows itself, and two values that share pages."""
    content = bytearray(made.berkeley([made.package("large", padding=20_000)] * 2))
    struct.pack_into("<I", content, 3 * 4096 + 16, 3)
    with pytest.raises(ContentError, match="no page of its own"):
        list(berkeley.blobs(bytes(content)))
    # The entries of the second package point at the pages of the first.
    shared = bytearray(made.berkeley([made.package("large", padding=20_000)] * 2))
    second = shared.index(struct.pack("<B3xI", 3, 6))
    struct.pack_into("<I", shared, second + 4, 1)
    with pytest.raises(ContentError, match="no page of its own"):
        list(berkeley.blobs(bytes(shared)))


def test_packages_of_an_ndb_may_not_lie_over_one_another() -> None:
    """Many slots that point at one large blob would cost a reader its square."""
    content = bytearray(made.ndb([made.package("large", padding=100_000)]))
    for slot in range(3, 200):
        content[slot * 16 : slot * 16 + 16] = content[32:48]
    with pytest.raises(ContentError, match="lie over one another"):
        list(ndb.blobs(bytes(content)))


def test_more_packages_than_can_be_are_damage() -> None:
    """Millions of tiny headers fit into a file; counting them all would take minutes."""
    one = parse_header(made.package("tiny"))
    assert summarise("/Packages", repeat(one, 200_000)).packages == 200_000
    with pytest.raises(ContentError, match="holds more than 200,000 packages"):
        summarise("/Packages", repeat(one))


def test_a_changed_byte_of_an_ndb_is_noticed() -> None:
    """Each of its packages has a checksum."""
    content = bytearray(made.ndb(PACKAGES))
    content[6000] ^= 1
    with pytest.raises(ContentError, match="is damaged"):
        list(ndb.blobs(bytes(content)))


COMPUTED = "CREATE TABLE Packages (number, blob AS (zeroblob(number)));INSERT INTO Packages VALUES "
ENDLESS = (
    "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS"
    " (SELECT x'00' UNION ALL SELECT blob FROM n) SELECT blob FROM n"
)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("CREATE TABLE Other (blob)", "no such table"),
        (ENDLESS, "not authorized"),
        ("CREATE VIEW Packages AS SELECT zeroblob(100000000) AS blob", "not authorized"),
        (COMPUTED + "(99999999)", "too big"),
        ("CREATE TABLE Packages (blob); INSERT INTO Packages VALUES (7)", "a package that is none"),
    ],
    ids=["none", "endless", "large", "computed", "number"],
)
def test_a_schema_that_is_not_rpms_is_refused(tmp_path: Path, schema: str, reason: str) -> None:
    """A database can hold queries that never end, or that make memory out of nothing."""
    path = place(tmp_path, "/var/lib/rpm/rpmdb.sqlite")
    connection = sqlite3.connect(path)
    connection.executescript(schema + ";")
    connection.close()
    assert reason in reason_of(tmp_path)


def test_what_a_schema_computes_adds_up_to_no_more_than_the_database(tmp_path: Path) -> None:
    """Each of these rows is small, and a file has room for very many of them."""
    path = tmp_path / "rpmdb.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(COMPUTED + "(5000), (5000);")
    connection.close()
    with pytest.raises(ContentError, match="larger than it is"):
        list(sqlite_format.blobs(path.read_bytes(), b"", MOST))


def test_a_tree_of_pages_that_repeats_itself_is_damage(tmp_path: Path) -> None:
    """SQLite would give the same packages twice: its own check comes first."""
    path = tmp_path / "rpmdb.sqlite"
    made.sqlite(path, [made.package(f"small-{number}", padding=100) for number in range(40)])
    content = bytearray(path.read_bytes())
    # The table's root, on page 2: an inner page with a list of cells, each a child and a key.
    root = 1024
    assert content[root] == 0x05
    first, second = struct.unpack_from(">HH", content, root + 12)
    content[root + second : root + second + 4] = content[root + first : root + first + 4]
    with pytest.raises(ContentError, match="finds it damaged"):
        list(sqlite_format.blobs(bytes(content), b"", MOST))


def test_what_was_not_committed_to_the_log_does_not_count(tmp_path: Path) -> None:
    """A log whose end is cut off or changed counts up to its last whole commit."""
    path = tmp_path / "rpmdb.sqlite"
    made.sqlite(path, PACKAGES[:1], PACKAGES[1:3])
    data, log = path.read_bytes(), (tmp_path / "rpmdb.sqlite-wal").read_bytes()

    def count(log: bytes) -> int:
        return len(list(sqlite_format.blobs(data, log, MOST)))

    assert count(log) == 3
    for damaged in (b"", log[:-1], log[:20], bytes(len(log)), log[:-5] + b"\xff" + log[-4:]):
        assert count(damaged) == 1
    # Frames of an earlier round of the log have another salt, which no checksum covers.
    assert count(log[:40] + b"\0\0\0\0" + log[44:]) == 1


def test_a_log_may_not_let_the_database_grow_beyond_measure(tmp_path: Path) -> None:
    """The size in a commit is believed only up to the limit."""
    path = tmp_path / "rpmdb.sqlite"
    made.sqlite(path, PACKAGES[:1], PACKAGES[1:3])
    log = (tmp_path / "rpmdb.sqlite-wal").read_bytes()
    with pytest.raises(ContentError, match="more than are read"):
        apply_wal(bytearray(path.read_bytes()), log, 2048)


def test_a_log_that_cannot_be_read_makes_the_database_unreadable(tmp_path: Path) -> None:
    """Without it the database tells of the past."""
    write_logged(tmp_path)
    log = tmp_path / "var/lib/rpm/rpmdb.sqlite-wal"
    log.unlink()
    log.mkdir()
    assert "a log that cannot be read: a directory where a file belongs" in reason_of(tmp_path)


def test_the_next_place_is_tried_when_one_cannot_be_read(tmp_path: Path) -> None:
    """Both are told: the one that failed and the one that was read."""
    place(tmp_path, "/usr/lib/sysimage/rpm/rpmdb.sqlite", b"SQLite format 3\0" + bytes(100))
    write_berkeley(tmp_path)
    failed, read = read_rpm_database(tree_of(tmp_path))
    assert isinstance(failed, Unreadable)
    assert isinstance(read, Signatures)


def test_a_folder_that_is_a_link_is_followed(tmp_path: Path) -> None:
    """/var/lib/rpm is a link to rpm's new folder where both are known; it is read once."""
    write_ndb(tmp_path)
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/rpm").symlink_to("/usr/lib/sysimage/rpm")
    (found,) = read_rpm_database(tree_of(tmp_path))
    assert found.path == "/usr/lib/sysimage/rpm/Packages.db"


def test_no_database_is_nothing(tmp_path: Path) -> None:
    """Absent, which is not unreadable."""
    assert read_rpm_database(tree_of(tmp_path)) == []


def test_names_that_are_no_text_are_survived(tmp_path: Path) -> None:
    """A damaged schema comes back in SQLite's own words."""
    path = tmp_path / "rpmdb.sqlite"
    made.sqlite(path, PACKAGES[:12])
    for at in (839, 840, 851):
        damaged = bytearray(path.read_bytes())
        damaged[at : at + 4] = b"\xff" * 4
        with pytest.raises(ContentError):
            list(sqlite_format.blobs(bytes(damaged), b"", MOST))


def _read_all(data: bytes) -> None:
    for blobs in (
        berkeley.blobs(data) if berkeley.recognises(data) else (),
        ndb.blobs(data) if ndb.recognises(data) else (),
        sqlite_format.blobs(data, b"", MOST) if sqlite_format.recognises(data) else (),
    ):
        for blob in blobs:
            parse_header(blob)


class Databases:
    """One database of each format; hypothesis shows a failure without their bytes."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Give one database of each format."""
    path = tmp_path_factory.mktemp("databases") / "rpmdb.sqlite"
    made.sqlite(path, PACKAGES[:12])
    return Databases(
        [
            made.berkeley(PACKAGES[:12]),
            made.berkeley(PACKAGES[:12], order=">"),
            made.ndb(PACKAGES[:12]),
            path.read_bytes(),
        ]
    )


_PLACES = st.one_of(st.integers(0, 200), st.integers(0, 1 << 20))
_DAMAGE = st.lists(
    st.tuples(_PLACES, st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 4))),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), _DAMAGE)
def test_damage_does_no_harm(
    databases: Databases, which: int, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever is overwritten: packages, or ContentError, and nothing else."""
    data = bytearray(databases.contents[which])
    for at, written in changes:
        start = at % len(data)
        data[start : start + len(written)] = written
    try:
        _read_all(bytes(data[: len(databases.contents[which])]))
    except ContentError:
        return


def test_a_flipped_bit_does_no_harm(databases: Databases) -> None:
    """Each of 64 bits in the first kilobyte, where the structures are, and 64 elsewhere."""
    numbers = random.Random(5)  # noqa: S311  # places of damage
    for data in databases.contents:
        for limit in (1024, len(data)):
            for _ in range(64):
                damaged = bytearray(data)
                damaged[numbers.randrange(limit)] ^= 1 << numbers.randrange(8)
                try:
                    _read_all(bytes(damaged))
                except ContentError:
                    continue


def _real(real_inputs: Path, tmp_path: Path) -> Iterator[tuple[str, str, Signatures]]:
    for name, file, backend in (
        ("libuuid__Packages", "Packages", "bdb_ro"),
        ("sle15-bci__Packages.db", "Packages.db", "ndb"),
        ("cbl-mariner-2.0__rpmdb.sqlite", "rpmdb.sqlite", "sqlite"),
    ):
        root = tmp_path / name
        content = (real_inputs / "rpmdb/go-rpmdb" / name).read_bytes()
        place(root, f"/var/lib/rpm/{file}", content)
        (found,) = read_rpm_database(tree_of(root))
        assert isinstance(found, Signatures)
        yield str(root / "var/lib/rpm"), backend, found


def test_real_databases_are_read(real_inputs: Path, tmp_path: Path) -> None:
    """One of each format: a RHEL package, SUSE's base container, CBL-Mariner."""
    found = [each for _, _, each in _real(real_inputs, tmp_path)]
    assert [(each.packages, each.by_red_hat, each.by_key) for each in found] == [
        (1, 1, ((made.RED_HAT, 1),)),
        (35, 0, (("70af9e8139db7c82", 35),)),
        (129, 0, (("0cd9fed33135ce90", 129),)),
    ]
    (sles,) = found[1].releases
    assert (sles.name, sles.version) == ("sles-release", "15.3")


def test_real_databases_have_as_many_packages_as_rpm_says(
    real_inputs: Path, tmp_path: Path
) -> None:
    """Counted by rpm itself, for the formats that Debian's rpm can read."""
    rpm = program("rpm")
    for folder, backend, found in _real(real_inputs, tmp_path):
        if backend == "ndb":
            continue
        done = subprocess.run(
            (
                *(rpm, "-qa", "--dbpath", folder, "--define", f"_db_backend {backend}"),
                *("--qf", "%{RSAHEADER:pgpsig}\n"),
            ),
            capture_output=True,
            check=True,
            text=True,
        )
        signatures = done.stdout.splitlines()
        assert len(signatures) == found.packages
        assert {line[-16:] for line in signatures} == {key for key, _ in found.by_key}


def test_a_database_without_its_table_is_unreadable(real_inputs: Path, tmp_path: Path) -> None:
    """Not "0 packages"."""
    content = (real_inputs / "rpmdb/claircore/no_packages.sqlite").read_bytes()
    place(tmp_path, "/var/lib/rpm/rpmdb.sqlite", content)
    assert reason_of(tmp_path) == "the rpm database SQLite says: no such table: Packages"


def test_real_headers_are_parsed(real_inputs: Path) -> None:
    """As they lie in a database, one with some hundred files."""
    for path, name in (
        ("claircore/package.header", "crypto-policies"),
        ("go-rpmdb/blob.bin", "publicsuffix-list-dafsa"),
    ):
        assert parse_header((real_inputs / "rpmdb" / path).read_bytes()).name == name
