"""What can go wrong with a disk: one family, each member with a reason a person can read."""


class DiskError(Exception):
    """The disk, or a part of it, does not give what was asked of it.

    The text is a reason to show to people; it never holds the disk's content beyond names.
    """


class ContentError(DiskError):
    """What is on the disk is the reason: a part of the answer, while other parts may be read."""


class DamagedError(ContentError):
    """A structure on the disk contradicts itself, is beyond all measure, or lies outside."""


class UnsupportedError(ContentError):
    """Recognised, but not readable yet: what lies there is unknown, not absent."""


class MissingError(ContentError):
    """No file of that name: its directory was read whole and does not hold it."""


class WrongKindError(ContentError):
    """A path leads to something else than what was asked for: a directory for a file, say."""


class DeniedError(ContentError):
    """This process may not read it."""


class LimitError(DiskError):
    """The inspection reached one of its limits, blocks or time, and is over."""


class SourceError(DiskError):
    """The blocks cannot be had: the file or the service behind them failed. It is over."""
