"""Audits what is learnt of instance types, which counts for runs of long ago in every account."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from libs.common.instants import Micros
from services.accounts import audit
from services.accounts.audit import Author
from services.accounts.database import Cursor
from services.accounts.listing import ListedType

LEARNT = "instance_type.learnt"
"""The action of the entries."""

_MOST_NAMED = 5
# CPU options, where an instance has them, count in place of the type's vCPUs.
_RAN = """
SELECT r.account_id, t.text, min(r.start_at)
FROM label t
JOIN run r ON r.instance_type = t.label_id
JOIN cloud_account a ON a.id = r.account_id
WHERE (t.text = ANY(%(memory)s) OR t.text = ANY(%(vcpu)s) AND r.vcpu = 0) AND r.start_at < %(day)s
GROUP BY r.account_id, t.text ORDER BY r.account_id, t.text
"""


class Ran(NamedTuple):
    """An account's use of a type in the past."""

    account_id: int
    name: str
    since: Micros


def ran_before(
    cursor: Cursor, news: Iterable[ListedType], stored: Mapping[str, ListedType], day: Micros
) -> list[Ran]:
    """Return who used the types, of which this is news, before a day, as far as reports change."""
    told = list(news)
    asked = {
        "vcpu": [t.name for t in told if t.vcpu != _stored(stored, t.name).vcpu],
        "memory": [t.name for t in told if t.memory_mib != _stored(stored, t.name).memory_mib],
        "day": day,
    }
    if not (asked["vcpu"] or asked["memory"]):
        return []
    cursor.execute(_RAN, asked)
    return [Ran(*row) for row in cursor.fetchall()]


def tell_learnt(
    cursor: Cursor,
    ran: Iterable[Ran],
    news: Mapping[str, ListedType],
    stored: Mapping[str, ListedType],
    recorded_at: Micros,
) -> None:
    """Write into the audit log of each account that used types what is known of them now."""
    author = Author("service:scanner", recorded_at)
    concerned = (each for each in ran if each.name in news)
    for account_id, uses in groupby(concerned, lambda each: each.account_id):
        every = list(uses)
        changes = [_change(news[each.name], stored.get(each.name)) for each in every]
        subject = every[0].name if len(every) == 1 else f"{len(every):,} instance types"
        span = (min(each.since for each in every), recorded_at)
        audit.record(cursor, author, account_id, LEARNT, subject, _detail(changes), span)


def _detail(changes: Sequence[str]) -> str:
    more = len(changes) - _MOST_NAMED
    named = "; ".join(changes[:_MOST_NAMED])
    return f"{named}; and {more:,} more" if more > 0 else named


def _change(now: ListedType, was: ListedType | None) -> str:
    before = "nothing" if was is None else _words(was)
    return f"{now.name} has {_words(now)}; before that {before} was known"


def _words(each: ListedType) -> str:
    return f"{each.vcpu} vCPU and {each.memory_mib:,} MiB"


def _stored(stored: Mapping[str, ListedType], name: str) -> ListedType:
    return stored.get(name) or ListedType(name, 0, 0, ())
