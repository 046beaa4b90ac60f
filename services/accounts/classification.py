"""What an image is, and why that is said: authority is by field.

Distribution and version: the disk as inspected (what is installed), else AWS's billing codes (what
is paid for), else the publisher, else unknown. License model: the run's own codes, else the
image's, else the publisher's pattern, else unknown. Installed and billed are both kept, since their
disagreement is a finding. An operator's override comes before all of these (`overrides`).
"""

from dataclasses import dataclass
from enum import IntEnum

from services.accounts.billing import LicenseModel
from services.accounts.charges import Charges, ImageCodes, charges
from services.accounts.evidence import Evidence, Strength, said
from services.accounts.publishers import Published, published

# With what makes it up: who classifies needs them too.
__all__ = [
    "Authority",
    "Classification",
    "Evidence",
    "ImageCodes",
    "Installed",
    "Strength",
    "Syspurpose",
    "classify",
    "classify_run",
    "owes_nothing",
]

UNKNOWN = "unknown"

# Distributions that nobody owes anything for, unless a code says so: for Amazon Linux, AlmaLinux,
# Rocky, CentOS and Debian AWS's pages say so (2026-11); of the others no licence is sold at all.
_FREE = frozenset(
    {"almalinux", "alpine", "amzn", "arch", "centos", "debian", "fedora", "opensuse-leap", "rocky"}
)


class Authority(IntEnum):
    """Which authority decided a field, strongest first; the numbers are the proto's."""

    OVERRIDE = 1
    DISK = 2
    BILLING = 3
    PUBLISHER = 4
    NONE = 5


@dataclass(frozen=True, slots=True)
class Syspurpose:
    """What RHEL's syspurpose says an installation is for."""

    role: str = ""
    sla: str = ""
    usage: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """What an image's disk says; `distribution` is "unknown" for `unknown_reason`."""

    distribution: str
    version: str = ""
    pretty_name: str = ""
    products: tuple[str, ...] = ()
    architecture: str = ""
    layout: str = ""
    journal: int = 0
    syspurpose: Syspurpose = Syspurpose()
    unknown_reason: str = ""
    snapshot_id: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """What an image is. `installed_distribution` is empty when the disk was not read.

    `published_distribution` is what the publisher says, empty when nobody known published it.
    """

    distribution: str
    version: str
    license_model: LicenseModel
    products: tuple[str, ...]
    distribution_authority: Authority
    license_authority: Authority
    billed_distribution: str
    installed_distribution: str
    syspurpose: Syspurpose
    evidence: tuple[Evidence, ...]
    published_distribution: str = ""
    override_ids: tuple[int, ...] = ()
    """The overrides that decided, strongest first."""


def classify(codes: ImageCodes, installed: Installed | None) -> Classification:
    """Return what an image is by its disk, if it was read, by AWS's codes and its publisher."""
    return _classification(codes, installed, charges(codes))


def classify_run(
    codes: ImageCodes,
    installed: Installed | None,
    usage_operation: str,
    product_codes: tuple[str, ...] | None = None,
) -> Classification:
    """Return what a run of an image is; its own codes, where known, before the image's."""
    return _classification(codes, installed, charges(codes, usage_operation, product_codes))


def owes_nothing(distribution: str) -> bool:
    """Say whether a distribution is free of charge, unless some code says otherwise."""
    return distribution in _FREE


def _classification(
    codes: ImageCodes, installed: Installed | None, charged: Charges
) -> Classification:
    publisher = published(codes.partition, codes.owner_id, codes.owner_alias, codes.name)
    distribution, version, decided = _distribution(installed, charged, publisher)
    products = tuple(
        sorted(
            {
                *charged.products,
                *publisher.products,
                *(installed.products if installed else ()),
            }
        )
    )
    license_model, license_decided = _license(distribution, products, charged, publisher)
    return Classification(
        distribution=distribution,
        version=version,
        license_model=license_model,
        products=products,
        distribution_authority=decided,
        license_authority=license_decided,
        billed_distribution=charged.paid,
        installed_distribution=installed.distribution if installed else "",
        syspurpose=installed.syspurpose if installed else Syspurpose(),
        evidence=(
            *(installed.evidence if installed else ()),
            *charged.evidence,
            *_publisher_evidence(codes, publisher),
        ),
        published_distribution=publisher.distribution,
    )


def _distribution(
    installed: Installed | None, charged: Charges, publisher: Published
) -> tuple[str, str, Authority]:
    """Return distribution, version and who decided; codes state no version, so a publisher may."""
    if installed and installed.distribution not in {"", UNKNOWN}:
        return installed.distribution, installed.version, Authority.DISK
    if charged.distribution:
        agree = publisher.distribution == charged.distribution
        return charged.distribution, publisher.version if agree else "", Authority.BILLING
    if publisher.distribution:
        return publisher.distribution, publisher.version, Authority.PUBLISHER
    return UNKNOWN, "", Authority.NONE


def _license(
    distribution: str, products: tuple[str, ...], charged: Charges, publisher: Published
) -> tuple[LicenseModel, Authority]:
    if charged.license_model is not None:
        return charged.license_model, Authority.BILLING
    if charged.nothing_owed and owes_nothing(distribution) and not products:
        return LicenseModel.FREE, Authority.BILLING
    by_publisher = publisher.license_model
    if by_publisher is not None and publisher.distribution == distribution:
        # What is on AWS's bill cannot be missing from the codes that stand for it.
        contradicted = by_publisher is LicenseModel.INCLUDED and charged.stated
        if not contradicted:
            return by_publisher, Authority.PUBLISHER
    return LicenseModel.UNKNOWN, Authority.NONE


def _publisher_evidence(codes: ImageCodes, publisher: Published) -> list[Evidence]:
    if not publisher.claimed:
        return []
    if publisher.trouble:
        signal = "publisher-mismatch" if publisher.is_false else "publisher"
        text = f"a name of {publisher.claimed}'s form, but {publisher.trouble}: {codes.name}"
        return [said(signal, text, Strength.SUPPORTING)]
    owner = codes.owner_id or codes.owner_alias
    text = f"{publisher.claimed}'s account {owner} of {codes.partition}: {codes.name}"
    return [said("publisher", text, Strength.DECISIVE)]
