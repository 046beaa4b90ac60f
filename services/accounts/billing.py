"""What AWS's billing codes say about an image: which distribution is paid for, and how.

`UsageOperation` is `RunInstances`, alone or with a suffix of four digits of five bits each (0-9,
a-v). AWS publishes 19 of them with their `PlatformDetails` (EC2 user guide, "AMI billing
information fields", 2023 and newer). That the suffix is a bit mask is inferred: all published rows
decode so.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

_OPERATION = "RunInstances"
_SUFFIX = re.compile(r"[0-9a-v]{4}")


class LicenseModel(IntEnum):
    """How a distribution is paid for; the numbers are the proto's."""

    INCLUDED = 1
    BYOS = 2
    FREE = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Billing:
    """What is paid for; `distribution` is empty and `license_model` None when nothing says so.

    `unknown` is set when the code has bits or a form that nobody has published.
    """

    distribution: str = ""
    license_model: LicenseModel | None = None
    products: tuple[str, ...] = ()
    unknown: bool = False


# By the suffix that stands for each alone.
_SYSTEMS = {
    "000g": ("sles", LicenseModel.INCLUDED),
    "0010": ("rhel", LicenseModel.INCLUDED),
    "00g0": ("rhel", LicenseModel.BYOS),
    "0g00": ("ubuntu", LicenseModel.INCLUDED),
    "0002": ("windows", LicenseModel.INCLUDED),
    "0800": ("windows", LicenseModel.BYOS),
}
_PRODUCTS = {
    "1000": "rhel-ha",
    "0g00": "ubuntu-pro",
    "0100": "sql-server-enterprise",
    "0004": "sql-server-standard",
    "0200": "sql-server-web",
}


def decode(usage_operation: str) -> Billing:
    """Return what a usage operation says; nothing for an empty one or a plain `RunInstances`."""
    if usage_operation in {"", _OPERATION}:
        return Billing()
    operation, _, suffix = usage_operation.partition(":")
    if operation != _OPERATION or not _SUFFIX.fullmatch(suffix):
        return Billing(unknown=True)
    bits = _bit(suffix)
    systems = [system for key, system in _SYSTEMS.items() if bits & _bit(key)]
    products = tuple(product for key, product in _PRODUCTS.items() if bits & _bit(key))
    if len(systems) > 1 or bits & ~sum(map(_bit, {*_SYSTEMS, *_PRODUCTS})):
        return Billing(products=products, unknown=True)
    distribution, license_model = systems[0] if systems else ("", None)
    return Billing(distribution, license_model, products)


def _bit(key: str) -> int:
    return int(key, 32)
