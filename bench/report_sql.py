"""The same report in SQL, but for its peaks: the usual join of days and runs, and a better way."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2

from libs.common.instants import to_micros

# All that a report needs stands in one narrow table, so that only the adding up is measured.
_TABLE = """
CREATE TABLE narrow AS
SELECT run.start_at, CASE WHEN run.end_at = 0 THEN %(end)s ELSE run.end_at END AS end_at,
       run.confirmed_end, instance_id, image_id, instance_type.vcpu, instance_type.memory_mib,
       classification.installed ->> 'distribution' AS distribution
FROM run JOIN instance USING (account_id, instance_id)
JOIN classification USING (account_id, image_id)
JOIN label ON label_id = run.instance_type
JOIN instance_type ON instance_type.name = label.text;
CREATE INDEX ON narrow (start_at, end_at);
ANALYZE narrow;
"""
_MEASURES = """
SELECT day, distribution, sum(last - first)::bigint,
       sum(greatest(last - greatest(first, confirmed_end), 0))::bigint,
       sum((last - first) * vcpu)::bigint, sum((last - first)::numeric * memory_mib),
       count(DISTINCT instance_id), count(DISTINCT image_id)
FROM (
    SELECT *, greatest(start_at, day) AS first, least(end_at, day + %(day)s) AS last FROM {}
) AS parts
GROUP BY day, distribution ORDER BY day, distribution
"""
_JOIN = _MEASURES.format("""
    generate_series(%(start)s, %(end)s - 1, %(day)s) AS day
    JOIN narrow ON start_at < day + %(day)s AND end_at > day
""")
_LATERAL = _MEASURES.format("""
    narrow CROSS JOIN LATERAL generate_series(
        start_at - (start_at - %(start)s) %% %(day)s, least(end_at, %(end)s) - 1, %(day)s) AS day
""")
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked of PostgreSQL, the seconds that it took, and its rows."""

    name: str
    seconds: float
    rows: Sequence[tuple[Any, ...]]


def baselines(url: str, start: datetime, end: datetime) -> Iterator[Answered]:
    """Yield each way to the report."""
    values = {"start": to_micros(start), "end": to_micros(end), "day": _DAY}
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(_TABLE, values)
        connection.commit()
        for name, query in (
            ("SQL without peaks: days JOIN runs", _JOIN),
            ("SQL without peaks: days of each run", _LATERAL),
        ):
            began = time.perf_counter()
            cursor.execute(query, values)
            rows = cursor.fetchall()
            yield Answered(name, time.perf_counter() - began, rows)
