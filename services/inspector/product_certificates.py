"""Red Hat's product certificates: which of its products are installed.

Each says so by extensions of its own: 1.3.6.1.4.1.2312.9.1.<product id>.<1: name, 2: version,
3: architecture>. They are not verified here: anybody can make a file, so they support, and never
decide a distribution. Source: candlepin's OIDs, as in certificates of RHEL 7 to 10, read 2026-11.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.inspector.der import INTEGER, OCTETS, OID, SEQUENCE, TEXTS, arcs, element, elements
from services.inspector.disk.errors import DamagedError
from services.inspector.disk.tree import Tree
from services.inspector.evidence import Evidence, printable
from services.inspector.reading import files_in, read_bytes, supporting, unreadable
from services.inspector.release_files import Unreadable

FOLDERS = ("/etc/pki/product", "/etc/pki/product-default")
SIGNAL = "product certificate"
_LIMIT = 64 * 1024
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
# 1.3.6.1.4.1.2312.9.1, encoded.
_PRODUCTS = bytes.fromhex("2b060104019208 0901")
_EXTENSIONS = 0xA3
_VERSION = 0xA0
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_NAME, _VERSION_OF_PRODUCT, _ARCHITECTURE = 1, 2, 3
_UTC_CENTURY = 50

# The ids of RHEL itself, by architecture and kind: Red Hat's subscription service, which counts by
# them (github.com/RedHatInsights/rhsm-subscriptions, subscription_configs/RHEL, read 2026-11-22);
# 68, RHEL Desktop, by an older version of it; the betas 362, 363, 433, 486 by their certificates.
RHEL_IDS = frozenset({68, 69, 71, 72, 74, 76, 279, 362, 363, 419, 420, 433, 479, 486})

# What else is a product: the same source (RHEL_for_x86_ha, rhel_for_x86_rs, rhel_for_sap_x86,
# OpenShift_Container_Platform), and 487, High Availability Beta, by its certificate.
PRODUCTS: Mapping[int, str] = MappingProxyType(
    {
        83: "rhel-ha",
        90: "rhel-resilient-storage",
        146: "sap",
        241: "sap",
        290: "openshift",
        388: "sap",
        389: "sap",
        487: "rhel-ha",
    }
)


@dataclass(frozen=True, slots=True)
class Product:
    """One product of one certificate; texts are empty where it does not say.

    `expires` is a day, such as "2043-07-19".
    """

    path: str
    id: int
    name: str
    version: str
    architecture: str
    expires: str


def read_products(tree: Tree) -> list[Product | Unreadable]:
    """Read every product certificate; one that cannot be read is among them with its reason."""
    found: list[Product | Unreadable] = []
    for folder in FOLDERS:
        for path in files_in(tree, folder, ".pem"):
            found += [path] if isinstance(path, Unreadable) else _read(tree, path)
    return found


def evidence_of(product: Product | Unreadable) -> Evidence:
    """Say what a certificate says: "479: Red Hat Enterprise Linux for x86_64 9.4 ..."."""
    if isinstance(product, Unreadable):
        return unreadable(SIGNAL, product)
    texts = (product.name, product.version, product.architecture)
    said = " ".join(text for text in texts if text) or "(no name)"
    return supporting(SIGNAL, product.path, f"{product.id}: {said}, expires {product.expires}")


def _read(tree: Tree, path: str) -> list[Product | Unreadable]:
    content = read_bytes(tree, path, _LIMIT)
    if content is None:
        return [Unreadable(path, "a link that leads nowhere")]
    if isinstance(content, Unreadable):
        return [content]
    try:
        return [*parse(path, content)]
    except DamagedError as error:
        return [Unreadable(path, str(error))]


def parse(path: str, pem: bytes) -> list[Product]:
    """Parse a certificate in PEM; DamagedError when it is none, or is of no product."""
    match = _PEM.search(pem)
    if match is None:
        raise DamagedError("no certificate in PEM")
    try:
        der = binascii.a2b_base64(match[1])
    except binascii.Error as error:
        raise DamagedError("no certificate in PEM") from error
    expires, extensions = _certificate(der)
    texts: dict[int, dict[int, str]] = {}
    for identifier, value in extensions:
        if identifier.startswith(_PRODUCTS):
            rest = arcs(identifier.removeprefix(_PRODUCTS))
            if rest:
                texts.setdefault(rest[0], {})[rest[1] if len(rest) > 1 else 0] = _text(value)
    if not texts:
        raise DamagedError("a certificate that names no product of Red Hat's")
    return [
        Product(
            path,
            number,
            said.get(_NAME, ""),
            said.get(_VERSION_OF_PRODUCT, ""),
            said.get(_ARCHITECTURE, ""),
            expires,
        )
        for number, said in sorted(texts.items())
    ]


def _certificate(der: bytes) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Walk a Certificate (RFC 5280, 4.1) to its notAfter and its extensions."""
    fields = list(elements(_content(_first(_content(element(der), SEQUENCE)), SEQUENCE)))
    # version, which may be left out, serialNumber, signature, issuer, validity, ...
    if fields and fields[0][0] == _VERSION:
        fields = fields[1:]
    if len(fields) < 6 or fields[0][0] != INTEGER:  # noqa: PLR2004  # those above, and two more
        raise DamagedError("not a certificate")
    times = list(elements(_content(fields[3], SEQUENCE)))
    if len(times) != 2:  # noqa: PLR2004  # notBefore and notAfter
        raise DamagedError("a certificate without its validity")
    listed = [content for tag, content in fields if tag == _EXTENSIONS]
    extensions = _content(element(listed[0]), SEQUENCE) if listed else b""
    return _day(times[1]), [_extension(each) for each in elements(extensions)]


def _first(data: bytes) -> tuple[int, bytes]:
    for each in elements(data):
        return each
    raise DamagedError("not a certificate")


def _content(found: tuple[int, bytes], expected: int) -> bytes:
    tag, content = found
    if tag != expected:
        raise DamagedError("not a certificate")
    return content


def _extension(found: tuple[int, bytes]) -> tuple[bytes, bytes]:
    """Take an extension's identifier and value; whether it is critical may stand between them."""
    parts = list(elements(_content(found, SEQUENCE)))
    if len(parts) < 2:  # noqa: PLR2004  # the two
        raise DamagedError("a certificate with half an extension")
    return _content(parts[0], OID), _content(parts[-1], OCTETS)


def _text(value: bytes) -> str:
    for tag, content in _lenient(value):
        if tag in TEXTS:
            return printable(content.decode(errors="replace"))
    return ""


def _lenient(value: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the element in an extension's value; nothing when it holds something else."""
    try:
        yield element(value)
    except DamagedError:
        return


def _day(time: tuple[int, bytes]) -> str:
    """Show UTCTime and GeneralizedTime as RFC 5280, 4.1.2.5, has them; "(unknown)" for neither."""
    tag, content = time
    digits = content.removesuffix(b"Z").decode(errors="replace")
    if not digits.isascii() or not digits.isdecimal():
        return "(unknown)"
    if tag == _UTC_TIME and len(digits) == len("yymmddhhmmss"):
        digits = ("19" if int(digits[:2]) >= _UTC_CENTURY else "20") + digits
    elif tag != _GENERALIZED_TIME or len(digits) != len("yyyymmddhhmmss"):
        return "(unknown)"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
