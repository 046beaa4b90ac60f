"""The keys with which Red Hat signs packages.

Sources: the RPM-GPG-KEY files of RHEL 8, 9 and 10 as Red Hat's leapp ships them, and the list that
its insights-core keeps by https://access.redhat.com/security/team/key/ (PRODUCT_SIGNING_KEYS of
insights/parsers/installed_rpms.py), both read 2026-11-22. Left out of that list: keys for
development, for other products and for certificates.
"""

from collections.abc import Mapping
from types import MappingProxyType

RED_HAT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "199e2f91fd431d51": "release key 2, RHEL 6 and later",
        "5054e4a45a6340b3": "auxiliary key 3, RHEL 9 and later",
        "f76f66c3d4082792": "auxiliary key 2, RHEL 8",
        "5326810137017186": "release key, RHEL 5",
        "219180cddb42a60e": "release key, RHEL 4 and before",
        "1ac4971355a34a82": "release",
        "e1a4bd708a828aad": "release",
        "45689c882fa658e0": "release",
        "7514f77d8366b0d9": "release",
        "08dd962c1c711042": "release",
        "938a80caf21541eb": "beta key 2",
        "fd372689897da07a": "beta",
    }
)
