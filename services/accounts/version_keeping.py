"""Keeps what rows said before they are changed in place, so that a past answer can be given again.

A version was known from its changed_at until its replaced_at. What was made or changed in the very
transaction that changes it was never known to anybody, and is not kept.
"""

INSTANCE = (
    *("account_id", "instance_id", "ec2_id", "region", "image_id", "image_rank", "image_at"),
    *("tags", "architecture", "lifecycle", "instance_type", "usage_operation"),
    *("platform_details", "product_codes", "root_volume_id", "reservation_id", "state", "state_at"),
    *("recorded_at", "changed_at"),
)
"""The columns of `instance` and `instance_was`."""

IMAGE = (
    *("account_id", "image_id", "ami_id", "region", "name", "description", "owner_id"),
    *("owner_alias", "architecture", "platform", "platform_details", "usage_operation"),
    *("product_codes", "root_snapshot_id", "root_device_type", "root_device_name", "public"),
    *("made_at", "state", "recorded_at", "changed_at"),
)
"""The columns that `image` and `image_was` have in common."""


def keep_version(table: str, columns: tuple[str, ...], news: str) -> str:
    """Give the statement that keeps the versions of rows which `news` names, before they change.

    `columns` begins with the key. `news` is a FROM item that gives, under the name n, the same key
    and since when the next version is known, as recorded_at. Use it as part of the statement that
    changes the rows, which then still sees them as they were.
    """
    account, key = columns[:2]
    return (
        f"INSERT INTO {table}_was ({', '.join(columns)}, replaced_at)"  # noqa: S608 # of constants
        f" SELECT {', '.join(f'i.{name}' for name in columns)}, n.recorded_at"
        f" FROM {news} JOIN {table} i ON i.{account} = n.{account} AND i.{key} = n.{key}"
        " WHERE i.changed_at < n.recorded_at"
    )
