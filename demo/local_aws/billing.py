"""Billing codes of images and instances: PlatformDetails and UsageOperation.

EC2 user guide, "AMI billing information fields" (read 2026-11): the pairs are published there. The
billing products that RegisterImage takes, and that stand for them, are seen in identity documents.
"""

from typing import NamedTuple


class Billing(NamedTuple):
    """What AWS says that an image or instance is billed as."""

    platform_details: str
    usage_operation: str


LINUX = Billing("Linux/UNIX", "RunInstances")
BY_PRODUCT = {
    "bp-6fa54006": Billing("Red Hat Enterprise Linux", "RunInstances:0010"),
    "bp-63a5400a": Billing("Red Hat BYOL Linux", "RunInstances:00g0"),
    "bp-6ca54005": Billing("SUSE Linux", "RunInstances:000g"),
    "bp-6ba54002": Billing("Windows", "RunInstances:0002"),
}


def billing(products: list[str]) -> Billing:
    """Return what an image registered with these billing products is billed as."""
    return next((BY_PRODUCT[each] for each in products if each in BY_PRODUCT), LINUX)
