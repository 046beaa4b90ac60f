"""Our numbers for EC2's instance ids, which rows of facts and runs hold."""

from collections.abc import Mapping
from typing import TypeAlias

from libs.common.instants import Micros
from services.accounts.copying import array
from services.accounts.database import Cursor

Named: TypeAlias = tuple[int, str]
"""An account's id and EC2's id of an instance in it."""

_MOST_REMEMBERED = 200_000  # about 60 MB
# OFFSET 0 has each looked up by index, where joining would read every instance there is.
_FIND = """
SELECT w.account_id, w.ec2_id, i.instance_id
FROM unnest(%s::bigint[], %s::text[]) AS w(account_id, ec2_id)
CROSS JOIN LATERAL (
    SELECT instance_id FROM instance WHERE account_id = w.account_id AND ec2_id = w.ec2_id OFFSET 0
) i
"""
_MAKE = """
INSERT INTO instance (account_id, ec2_id, region, recorded_at, changed_at)
SELECT n.*, n.recorded_at FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[])
     AS n(account_id, ec2_id, region, recorded_at)
RETURNING account_id, ec2_id, instance_id
"""


class InstanceIds:
    """Finds instances, makes those never heard of, and remembers many.

    A number once given stays with its instance for ever, so what is remembered never turns wrong.
    """

    def __init__(self) -> None:
        self._remembered: dict[Named, int] = {}

    def find(
        self, cursor: Cursor, regions: Mapping[Named, str], recorded_at: Mapping[int, Micros]
    ) -> dict[Named, int]:
        """Return the number of each instance named, making it in its Region if need be.

        The caller holds the accounts' locks.
        """
        remembered = self._remembered
        found = {named: remembered[named] for named in regions if named in remembered}
        if len(found) == len(regions):
            return found
        wanted = [named for named in regions if named not in found]
        cursor.execute(_FIND, (array(n[0] for n in wanted), [n[1] for n in wanted]))
        found.update({(account, ec2): number for account, ec2, number in cursor.fetchall()})
        new = [named for named in wanted if named not in found]
        if new:
            cursor.execute(
                _MAKE,
                (
                    array(n[0] for n in new),
                    [n[1] for n in new],
                    [regions[n] for n in new],
                    array(recorded_at[n[0]] for n in new),
                ),
            )
            found.update({(account, ec2): number for account, ec2, number in cursor.fetchall()})
        return found

    def remember(self, found: Mapping[Named, int]) -> None:
        """Keep what `find` returned, once the transaction is committed."""
        if len(self._remembered) + len(found) > _MOST_REMEMBERED:
            self._remembered = {}
        self._remembered.update(found)
