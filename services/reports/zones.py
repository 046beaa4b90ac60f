"""Time zones from the pinned tzdata package, never from the machine's own files."""

from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo


class UnknownZone(ValueError):
    """The IANA database, as pinned, has no zone of this name."""


def load_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name, spelled as there; an empty name means UTC.

    Every machine cuts the same days, whatever database its system carries. Raises UnknownZone.
    """
    known = name or "UTC"
    if known not in _names():
        raise UnknownZone(
            f"{name!r} is no time zone of the IANA database; write it as in 'Europe/Berlin'"
        )
    return _load(known)


@cache
def _names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("ascii").split())


@cache
def _load(name: str) -> ZoneInfo:
    folder = resources.files("tzdata").joinpath("zoneinfo")
    with folder.joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
