"""AWS Marketplace's product codes: what is known to be sold under one, on AWS's bill.

An image or instance from Marketplace carries them beside its usage operation, which may then say
no more than Linux/UNIX: RHEL that Red Hat itself sells is billed under `RunInstances` or
`RunInstances:00g0`. Sources, read 2026-11-22:

- License Manager user guide, "Convert a license type for Linux": RHEL sold by Red Hat ("RHEL for
  AWS"), and its RHEL for SAP with HA and Update Services, two codes each.
- Public code that many share, for what costs nothing: CentOS and AlmaLinux.

RHEL for SAP as AWS sells it has many codes, which depend on the subscription, and for SLES for SAP
and RHEL Workstation no code is published where we could read it: none is invented. An unknown code
may be anything, and may cost anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.accounts.billing import LicenseModel


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold under a code: its name for people, the distribution in it, and how it is paid.

    `products` are those beside the distribution.
    """

    name: str
    distribution: str
    license_model: LicenseModel
    products: tuple[str, ...] = ()


_RHEL = Product("RHEL sold by Red Hat", "rhel", LicenseModel.INCLUDED)
_RHEL_FOR_SAP = Product(
    "RHEL for SAP with HA sold by Red Hat", "rhel", LicenseModel.INCLUDED, ("rhel-ha", "sap")
)
_ALMALINUX = Product("AlmaLinux", "almalinux", LicenseModel.FREE)

BY_CODE: Mapping[str, Product] = MappingProxyType(
    {
        # North America and worldwide; Europe, the Middle East and Africa.
        "6cd5fxzrad0cu2j23p692xytz": _RHEL,
        "6t1yup6mik9ng3ge36n33xqhw": _RHEL,
        "du6111oq9lwrc996awt04qyql": _RHEL_FOR_SAP,
        "952qwcsxkm430zxhpy32i7w8g": _RHEL_FOR_SAP,
        "aw0evgkw8e5c1q413zgy5pjce": Product("CentOS", "centos", LicenseModel.FREE),
        # x86-64; Arm.
        "be714bpjscoj5uvqz0of5mscl": _ALMALINUX,
        "6vto7uou7jjh4um1mwoy8ov0s": _ALMALINUX,
    }
)
