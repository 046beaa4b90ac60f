"""Red Hat's product certificates: which product, by identifiers of its own, and until when."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from services.inspector.der import arcs, elements
from services.inspector.disk.errors import ContentError, DamagedError
from services.inspector.disk.folder import FolderFileSystem
from services.inspector.disk.tree import Tree
from services.inspector.evidence import Strength
from services.inspector.product_certificates import (
    PRODUCTS,
    RHEL_IDS,
    Product,
    evidence_of,
    parse,
    read_products,
)
from services.inspector.release_files import Unreadable

_KEY = ec.generate_private_key(ec.SECP256R1())
RED_HAT = "1.3.6.1.4.1.2312.9.1"


def utf8(text: str) -> bytes:
    """Encode a text as DER's UTF8String."""
    content = text.encode()
    length = bytes((len(content),)) if len(content) < 128 else bytes((0x81, len(content)))
    return b"\x0c" + length + content


def certificate(
    extensions: Mapping[str, bytes], *, until: datetime = datetime(2043, 7, 19, tzinfo=UTC)
) -> bytes:
    """Make a certificate in PEM with these extensions, by their identifiers."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Product ID")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_KEY.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    for identifier, value in extensions.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def product(number: int, name: str = "A product", version: str = "9.4") -> bytes:
    """Make the certificate of one product."""
    said = {1: name, 2: version, 3: "x86_64", 4: "rhel-9,rhel-9-x86_64"}
    return certificate({f"{RED_HAT}.{number}.{part}": utf8(text) for part, text in said.items()})


def read(root: Path, files: Mapping[str, bytes]) -> Sequence[Product | Unreadable]:
    """Read the certificates of a root that holds these files."""
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return read_products(Tree(FolderFileSystem(root)))


def test_products_of_both_folders_are_read(tmp_path: Path) -> None:
    """What an installation came with, and what was added; other files are passed over."""
    found = read(
        tmp_path,
        {
            "/etc/pki/product/83.pem": product(83, "High Availability"),
            "/etc/pki/product-default/479.pem": product(479),
            "/etc/pki/product/README": b"no certificate",
        },
    )
    assert found == [
        Product("/etc/pki/product/83.pem", 83, "High Availability", "9.4", "x86_64", "2043-07-19"),
        Product(
            "/etc/pki/product-default/479.pem", 479, "A product", "9.4", "x86_64", "2043-07-19"
        ),
    ]
    evidence = evidence_of(found[1])
    assert evidence.signal == "product certificate"
    assert evidence.value == "479: A product 9.4 x86_64, expires 2043-07-19"
    assert evidence.strength is Strength.SUPPORTING


def test_the_id_is_the_identifiers_and_not_the_files_name() -> None:
    """Anybody can rename a file; one certificate may hold several products, by their ids."""
    pem = certificate({f"{RED_HAT}.{number}.1": utf8(str(number)) for number in (90, 16_500, 5)})
    assert [(each.id, each.name) for each in parse("/69.pem", pem)] == [
        (5, "5"),
        (90, "90"),
        (16_500, "16500"),
    ]


def test_long_and_foreign_texts_come_out_fit_to_be_shown() -> None:
    """Lengths of two bytes, other kinds of string, control characters, and what is no text."""
    pem = certificate(
        {
            f"{RED_HAT}.69.1": utf8("n" * 200),
            f"{RED_HAT}.69.2": b"\x13\x07" + b"9.4\x1b[31",
            f"{RED_HAT}.69.3": b"\x02\x01\x05",
        }
    )
    (found,) = parse("/69.pem", pem)
    assert (found.name, found.version, found.architecture) == ("n" * 200, "9.4 [31", "")


def test_dates_beyond_2049_are_read() -> None:
    """They are written in another form."""
    pem = certificate({f"{RED_HAT}.69.1": utf8("")}, until=datetime(2051, 2, 3, tzinfo=UTC))
    assert parse("/69.pem", pem)[0].expires == "2051-02-03"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nQQ\n-----END CERTIFICATE-----", "no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----", "ends within"),
        (certificate({"1.3.6.1.4.1.2312.9.2.1": utf8("x")}), "names no product"),
        (certificate({"1.3.6.1.4.1.2312.9.11.1": utf8("x")}), "names no product"),
        (product(479)[:400] + b"\n-----END CERTIFICATE-----", ""),
    ],
)
def test_what_is_no_product_certificate_is_unreadable(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """An entitlement, a certificate cut off, another owner's identifier."""
    (found,) = read(tmp_path, {"/etc/pki/product/69.pem": content})
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert evidence_of(found).strength is Strength.UNREADABLE


def test_names_and_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    """They were looked for; nothing about them is known."""
    folder = tmp_path / "etc/pki/product"
    folder.mkdir(parents=True)
    (folder / "69.pem").symlink_to("/gone")
    (folder / "70.pem").mkdir()
    (folder / "71.pem").write_bytes(bytes(70_000))
    (tmp_path / "etc/pki/product-default").write_text("")
    reasons = {
        each.path: each.reason for each in read(tmp_path, {}) if isinstance(each, Unreadable)
    }
    assert reasons == {
        "/etc/pki/product/69.pem": "a link that leads nowhere",
        "/etc/pki/product/70.pem": "a directory where a file belongs",
        "/etc/pki/product/71.pem": "70,000 bytes, more than the 65,536 that are read",
        "/etc/pki/product-default": "not a directory",
    }


def test_only_so_many_files_are_read(tmp_path: Path) -> None:
    """A folder of thousands costs no more; that there were more is said."""
    found = read(tmp_path, {f"/etc/pki/product/{n:03}.pem": b"" for n in range(150)})
    assert len(found) == 101
    assert found[-1] == Unreadable("/etc/pki/product", "only 100 of its 150 files are read")


def test_rhel_and_what_is_sold_beside_it_are_not_mixed_up() -> None:
    """An add-on's certificate is none of the system, nor the other way round."""
    assert not RHEL_IDS & PRODUCTS.keys()


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_to_an_end(data: bytes) -> None:
    """DER of whatever kind: elements, or DamagedError."""
    try:
        assert sum(len(content) + 2 for _, content in elements(data)) <= len(data)
        arcs(data)
    except DamagedError:
        return


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_does_no_harm(place: int, value: int) -> None:
    """A certificate is read or refused, with ContentError."""
    pem = bytearray(_WHOLE)
    pem[place % len(pem)] = value
    try:
        parse("/479.pem", bytes(pem))
    except ContentError:
        return


_WHOLE = product(479)


def test_real_certificates_are_read(real_inputs: Path) -> None:
    """Of RHEL 7 to 10, betas included, each under the id that names its file."""
    found = {}
    for path in sorted((real_inputs / "product-certs").glob("*/**/*.pem")):
        (each,) = parse(str(path), path.read_bytes())
        assert each.id == int(path.stem)
        assert each.expires > "2035"
        found[f"{path.parent.name}/{path.stem}"] = (each.name, each.version, each.architecture)
    assert len(found) == 66
    assert found["9.4/479"] == ("Red Hat Enterprise Linux for x86_64", "9.4", "x86_64")
    assert found["8.4/72"] == ("Red Hat Enterprise Linux for IBM z Systems", "8.4", "s390x")
    assert found["9.4/363"][1] == "9.4 Beta"
    name = "Red Hat Enterprise Linux High Availability Beta"
    assert found["subscription-manager/487"] == (name, "10.1 Beta", "x86_64")
    # Every one is of RHEL itself, but for the one add-on.
    ids = {int(path.rpartition("/")[2]) for path in found}
    assert ids - RHEL_IDS == {487}
