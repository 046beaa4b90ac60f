"""What AWS's billing fields say about an image: which distribution is paid for, and how.

`UsageOperation` is `RunInstances`, alone or with a suffix of four digits of five bits each (0-9,
a-v). AWS publishes 19 of them with their `PlatformDetails` (EC2 user guide, "AMI billing
information fields", 2023 and newer copies, read 2026-11). That the suffix is a bit mask is
inferred: all published rows decode so. Bits that nobody published are never guessed: such a code
says nothing, and says so. Neither is another case or a stray space taken for what it resembles.

A cost and usage report writes the code of a Spot instance with a third part: `RunInstances:SV001`,
`RunInstances:0010:SV006` (seen in public reports, 2026-11). It says nothing about the system.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

_OPERATION = re.compile(r"RunInstances(?::(?P<suffix>[0-9a-v]{4}))?(?::SV[0-9]{3})?")
_BITS = 20


class LicenseModel(IntEnum):
    """How a distribution is paid for; the numbers are the proto's."""

    INCLUDED = 1
    BYOS = 2
    FREE = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Billing:
    """What a field says is paid for; `distribution` is empty when it names none.

    `stated` says that it was there and could be read: a plain `RunInstances` states that nothing is
    paid for but the machine. `trouble` says in words why it could not be read.
    """

    distribution: str = ""
    license_model: LicenseModel | None = None
    products: tuple[str, ...] = ()
    stated: bool = False
    trouble: str = ""


# By the suffix that stands for each alone.
_SYSTEMS = {
    "000g": ("sles", LicenseModel.INCLUDED),
    "0010": ("rhel", LicenseModel.INCLUDED),
    "00g0": ("rhel", LicenseModel.BYOS),
    "0g00": ("ubuntu", LicenseModel.INCLUDED),
    "0002": ("windows", LicenseModel.INCLUDED),
    "0800": ("windows", LicenseModel.BYOS),
}
_HIGH_AVAILABILITY = "rhel-ha"
_PRODUCTS = {
    "1000": _HIGH_AVAILABILITY,
    "0g00": "ubuntu-pro",
    "0100": "sql-server-enterprise",
    "0004": "sql-server-standard",
    "0200": "sql-server-web",
}

PUBLISHED: Mapping[str, str] = MappingProxyType(
    {
        "Linux/UNIX": "RunInstances",
        "Red Hat BYOL Linux": "RunInstances:00g0",
        "Red Hat Enterprise Linux": "RunInstances:0010",
        "Red Hat Enterprise Linux with HA": "RunInstances:1010",
        "Red Hat Enterprise Linux with SQL Server Standard and HA": "RunInstances:1014",
        "Red Hat Enterprise Linux with SQL Server Enterprise and HA": "RunInstances:1110",
        "Red Hat Enterprise Linux with SQL Server Standard": "RunInstances:0014",
        "Red Hat Enterprise Linux with SQL Server Web": "RunInstances:0210",
        "Red Hat Enterprise Linux with SQL Server Enterprise": "RunInstances:0110",
        "SQL Server Enterprise": "RunInstances:0100",
        "SQL Server Standard": "RunInstances:0004",
        "SQL Server Web": "RunInstances:0200",
        "SUSE Linux": "RunInstances:000g",
        "Ubuntu Pro": "RunInstances:0g00",
        "Windows": "RunInstances:0002",
        "Windows BYOL": "RunInstances:0800",
        "Windows with SQL Server Enterprise": "RunInstances:0102",
        "Windows with SQL Server Standard": "RunInstances:0006",
        "Windows with SQL Server Web": "RunInstances:0202",
    }
)
"""The usage operation that stands for each `PlatformDetails`: the whole published table."""
# "High Availability" in full is in the EC2 API reference (DescribeInstances, the filter
# platform-details, 2026-11); RHEL for its full name is in copies of the guide's table.
_ALSO = {
    "Red Hat Enterprise Linux with High Availability": "RunInstances:1010",
    **{
        name.replace("Red Hat Enterprise Linux", "RHEL"): operation
        for name, operation in PUBLISHED.items()
        if "SQL Server" in name
    },
}


def decode(usage_operation: str) -> Billing:
    """Return what a usage operation says; nothing for an empty one.

    Several systems in one code, or Red Hat's high availability without RHEL, contradict themselves.
    """
    if not usage_operation:
        return Billing()
    match = _OPERATION.fullmatch(usage_operation)
    if match is None:
        return Billing(trouble="it has no form that AWS has published")
    bits = _bits(match["suffix"] or "0000")
    unknown = bits & ~_KNOWN
    if unknown:
        return Billing(trouble=f"nobody has published the bits {_suffix(unknown)} in it")
    systems = [system for key, system in _SYSTEMS.items() if bits & _bits(key)]
    products = tuple(product for key, product in _PRODUCTS.items() if bits & _bits(key))
    distribution, license_model = systems[0] if systems else ("", None)
    if len(systems) > 1:
        return Billing(trouble="it names several systems at once")
    if _HIGH_AVAILABILITY in products and distribution != "rhel":
        return Billing(trouble="it names Red Hat's high availability without RHEL")
    return Billing(distribution, license_model, products, stated=True)


def decode_platform(platform_details: str) -> Billing:
    """Return what `PlatformDetails` says, by the same table; nothing for an empty one."""
    if not platform_details:
        return Billing()
    operation = PUBLISHED.get(platform_details) or _ALSO.get(platform_details)
    if operation is None:
        return Billing(trouble="it is not among those that AWS has published")
    return decode(operation)


def _bits(suffix: str) -> int:
    return int(suffix, 32)


def _suffix(bits: int) -> str:
    """Write bits as AWS writes them: four digits of five bits each."""
    digits = "0123456789abcdefghijklmnopqrstuv"
    return "".join(digits[bits >> shift & 31] for shift in range(_BITS - 5, -1, -5))


_KNOWN = sum(map(_bits, {*_SYSTEMS, *_PRODUCTS}))
