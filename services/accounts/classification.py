"""What an image is, and why that is said: authority is by field.

Distribution and version: the disk as inspected (what is installed), else AWS's billing codes (what
is paid for), else unknown. License model: the billing codes, else unknown. Installed and billed are
both kept, since their disagreement is a finding.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from services.accounts.billing import LicenseModel, decode

UNKNOWN = "unknown"

# Distributions that nobody owes anything for, unless a product code says so.
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


class Strength(IntEnum):
    """How much a signal is worth; the numbers are the proto's."""

    DECISIVE = 1
    SUPPORTING = 2
    UNREADABLE = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for or against a distribution, and where it stands."""

    signal: str
    path: str
    value: str
    strength: Strength


@dataclass(frozen=True, slots=True)
class Syspurpose:
    """What RHEL's syspurpose says an installation is for."""

    role: str = ""
    sla: str = ""
    usage: str = ""


@dataclass(frozen=True, slots=True)
class ImageCodes:
    """What AWS says about an image; each may be empty."""

    platform_details: str = ""
    usage_operation: str = ""
    product_codes: tuple[str, ...] = ()
    owner_id: str = ""
    owner_alias: str = ""
    name: str = ""
    platform: str = ""


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
    """What an image is. `installed_distribution` is empty when the disk was not read."""

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


def classify(codes: ImageCodes, installed: Installed | None) -> Classification:
    """Return what an image is by its disk, if it was read, and AWS's billing codes."""
    billing = decode(codes.usage_operation)
    on_disk = installed.distribution if installed else ""
    distribution, version, decided = UNKNOWN, "", Authority.NONE
    if installed and on_disk != UNKNOWN:
        distribution, version, decided = on_disk, installed.version, Authority.DISK
    elif billing.distribution:
        distribution, decided = billing.distribution, Authority.BILLING
    license_model = billing.license_model
    if license_model is None and _is_plain(codes) and distribution in _FREE:
        license_model = LicenseModel.FREE
    return Classification(
        distribution=distribution,
        version=version,
        license_model=license_model or LicenseModel.UNKNOWN,
        products=tuple(sorted({*billing.products, *(installed.products if installed else ())})),
        distribution_authority=decided,
        license_authority=Authority.BILLING if license_model else Authority.NONE,
        billed_distribution=billing.distribution,
        installed_distribution=on_disk,
        syspurpose=installed.syspurpose if installed else Syspurpose(),
        evidence=(*(installed.evidence if installed else ()), *_billing_evidence(codes)),
    )


def classify_run(
    codes: ImageCodes, installed: Installed | None, usage_operation: str
) -> Classification:
    """Return what a run of an image is; its own usage operation, if known, over the image's."""
    if usage_operation:
        codes = replace(codes, usage_operation=usage_operation)
    return classify(codes, installed)


def _is_plain(codes: ImageCodes) -> bool:
    """Say whether AWS bills for the machine alone."""
    return codes.usage_operation == "RunInstances" and not codes.product_codes


def _billing_evidence(codes: ImageCodes) -> tuple[Evidence, ...]:
    decisive = decode(codes.usage_operation).distribution != ""
    strength = Strength.DECISIVE if decisive else Strength.SUPPORTING
    signals = {
        "usage-operation": codes.usage_operation,
        "platform-details": codes.platform_details,
        "product-codes": " ".join(codes.product_codes),
    }
    return tuple(
        Evidence(
            signal,
            "",
            value,
            strength if signal == "usage-operation" else Strength.SUPPORTING,
        )
        for signal, value in signals.items()
        if value
    )
