"""A fleet for the benchmark of reports, made by the database itself: the same each time."""

from datetime import datetime

from libs.common.instants import to_micros
from services.accounts.audit import Author
from services.accounts.classification import Installed
from services.accounts.classification_store import reclassify
from services.accounts.database import Database

DATABASE = "cloudigrade"
DISTRIBUTIONS = (
    ("rhel", "9.4"),
    ("rhel", "8.10"),
    ("centos", "7"),
    ("rocky", "9.3"),
    ("almalinux", "9.4"),
    ("ol", "9.4"),
    ("fedora", "40"),
    ("amzn", "2023"),
    ("ubuntu", "24.04"),
    ("debian", "12"),
    ("sles", "15.5"),
    ("opensuse-leap", "15.6"),
)
IMAGES = 600
_ENABLED = 2  # CloudAccount.State

_FLEET = """
SELECT setseed(0.5);
INSERT INTO cloud_account (owner_id, name, partition, aws_account_id, role_arn, external_id, state,
                           created_at, verified_at, last_recorded_at)
SELECT id, 'bench', 'aws', '123456789012', 'arn:aws:iam::123456789012:role/bench', 'x',
       %(enabled)s, %(start)s, %(start)s, %(end)s FROM app_user LIMIT 1;
INSERT INTO label (text)
SELECT '' UNION ALL SELECT 'RunInstances' UNION ALL
SELECT 'm5.size' || n FROM generate_series(1, 60) n;
INSERT INTO instance_type (name, vcpu, memory_mib, recorded_at)
SELECT 'm5.size' || n, 2 ^ (n %% 7), 2 ^ (9 + n %% 10), %(start)s FROM generate_series(1, 60) n;
INSERT INTO image (account_id, ami_id, name, usage_operation, recorded_at)
SELECT 1, 'ami-' || lpad(to_hex(n), 17, '0'), 'image ' || n, 'RunInstances', %(start)s
FROM generate_series(1, %(images)s) n;
INSERT INTO instance (account_id, ec2_id, region, image_id, tags, architecture, recorded_at)
SELECT 1, 'i-' || lpad(to_hex(n), 17, '0'), 'region-' || n %% 17, 1 + n %% %(images)s,
       jsonb_build_object('Name', 'web-' || n %% 1000), 'x86_64', %(start)s
FROM generate_series(1, %(instances)s) n;
"""

# Ten runs of each instance, one in each tenth of the window: ten hours long on average, one in
# twenty of the last ones still going on, some unconfirmed, some possibly longer than counted.
_RUNS = """
INSERT INTO run (account_id, instance_id, start_at, end_at, session_start, confirmed_start,
    confirmed_end, end_latest, instance_type, usage_operation, vcpu, basis, recorded_at)
SELECT 1, instance_id, start_at,
       CASE WHEN nth = 9 AND instance_id %% 20 = 0 THEN 0 ELSE end_at END, start_at,
       CASE WHEN instance_id %% 20 = 1 THEN 0 ELSE start_at END,
       CASE WHEN instance_id %% 20 = 1 THEN 0 ELSE end_at END,
       CASE WHEN instance_id %% 50 = 2 THEN end_at + 3600000000 ELSE 0 END,
       3 + instance_id %% 60, 2, 0, 0, %(end)s
FROM (
    SELECT instance_id, nth, start_at, start_at
           + 1000000 * least(-ln(1 - random()) * 36000, %(part)s / 2000000)::bigint AS end_at
    FROM (
        SELECT instance_id, nth, %(start)s + nth * %(part)s
               + 1000000 * (random() * %(part)s / 2000000)::bigint AS start_at
        FROM instance CROSS JOIN generate_series(0, 9) nth
        WHERE instance_id <= %(instances)s
        ORDER BY instance_id, nth
    ) AS begun
) AS ended
"""


def fill(database: Database, runs: int, start: datetime, end: datetime) -> None:
    """Store one account with so many runs between two instants, ten for each instance."""
    first, last = to_micros(start), to_micros(end)
    values = {
        "enabled": _ENABLED,
        "images": IMAGES,
        "instances": runs // 10,
        "start": first,
        "end": last,
        "part": (last - first) // 10,
    }
    with database.transaction() as cursor:
        cursor.execute(_FLEET, values)
        for number, (distribution, version) in enumerate(DISTRIBUTIONS):
            images = range(number + 1, IMAGES + 1, len(DISTRIBUTIONS))
            author = Author("service:inspector", first)
            reclassify(cursor, 1, images, author, Installed(distribution, version))
        cursor.execute(_RUNS, values)
    with database.transaction() as cursor:
        cursor.execute("ANALYZE")
