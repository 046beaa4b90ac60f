"""Reads the runs of accounts in bulk, all of them in one snapshot of the database.

Rows come by COPY in binary form, whose columns here are all of fixed width and never NULL, so that
NumPy reads them without looking at a single one: a million in about half a second, where fetching
them as Python objects takes several.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts.account_store import regions_of
from services.accounts.callers import EVERYBODY
from services.accounts.classification_store import Grounds, grounds
from services.accounts.cloud_accounts import RegionStatus, State
from services.accounts.database import Cursor, Database
from services.accounts.label_store import LabelStore

_RUN_COLUMNS = (
    *(("start_at", "i8"), ("end_at", "i8"), ("session_start", "i8")),
    *(("confirmed_start", "i8"), ("confirmed_end", "i8"), ("end_latest", "i8")),
    *(("instance_id", "i8"), ("instance_type", "i4"), ("usage_operation", "i4"), ("vcpu", "i4")),
)
RunRows = NDArray[np.void]
"""Runs as read: a structured array with the columns above."""

# https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format", read 2026-11-22: a header of
# 19 bytes, rows of a field count and length-prefixed big-endian fields, and a trailer of 2 bytes.
_HEADER, _TRAILER = 19, 2
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(
            part
            for name, form in _RUN_COLUMNS
            for part in ((f"{name} length", ">i4"), (name, f">{form}"))
        ),
    ]
)
_RUNS = (  # COPY takes no parameters.
    f"COPY (SELECT {', '.join(name for name, _ in _RUN_COLUMNS)} FROM run"  # noqa: S608 # constants
    " WHERE account_id = {} ORDER BY instance_id, start_at) TO STDOUT (FORMAT binary)"
)

_ACCOUNTS = """
SELECT id, name, aws_account_id, state, last_recorded_at FROM cloud_account
WHERE (owner_id = %(owner)s OR %(owner)s = 0)
  AND (id = ANY(%(ids)s) OR cardinality(%(ids)s::bigint[]) = 0 AND verified_at <> 0)
ORDER BY id
"""
_TYPES = """
SELECT DISTINCT ON (name) name, vcpu, memory_mib FROM instance_type
ORDER BY name, recorded_at DESC
"""
_INSTANCES = """
SELECT instance_id, ec2_id, region, image_id, tags::text, architecture
FROM instance WHERE account_id = %s
  AND EXISTS (SELECT FROM run WHERE run.account_id = instance.account_id
              AND run.instance_id = instance.instance_id)
ORDER BY instance_id
"""
_IMAGES = "SELECT image_id, ami_id, name FROM image WHERE account_id = %s ORDER BY image_id"


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """One account in the snapshot. Its revision changes with all that its runs' report rests on."""

    id: int
    revision: int
    name: str
    aws_account_id: str
    state: State
    regions: tuple[RegionStatus, ...]


@dataclass(frozen=True, slots=True)
class InstanceType:
    """An instance type; 0 for what is not known of it."""

    name: str
    vcpu: int = 0
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class ReadInstance:
    """An instance that has runs; `image_id` is 0 when its image is not known."""

    instance_id: int
    ec2_id: str
    region: str
    image_id: int
    tags: Mapping[str, str]
    tags_bytes: int
    """About what the tags take in a message."""
    architecture: str


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image's names."""

    image_id: int
    ami_id: str
    name: str


@dataclass(frozen=True, slots=True)
class AccountRuns:
    """The runs of one account, by instance and start, and what they refer to."""

    rows: RunRows
    instances: tuple[ReadInstance, ...]
    """By `instance_id`."""
    images: tuple[ReadImage, ...]
    """By `image_id`."""
    grounds: Mapping[int, Grounds]
    """What each image's classification rests on, by `image_id`."""
    types: Mapping[str, InstanceType]
    labels: Mapping[int, str]
    """What the numbers of instance types and usage operations stand for."""


class RunReader:
    """Reads runs for callers who may see them."""

    def __init__(self, database: Database, labels: LabelStore) -> None:
        self._database = database
        self._labels = labels

    @contextmanager
    def snapshot(self, owner: int, account_ids: Collection[int]) -> Iterator["Snapshot"]:
        """Open a snapshot of the accounts that an owner may see, or of some of them.

        Raises NotFound when one is asked for that the owner may not see. Without `account_ids`
        accounts that nobody has proved are left out; asked for, they have no runs.
        """
        with self._database.transaction(snapshot=True) as cursor:
            yield Snapshot(cursor, self._labels, owner, account_ids)


class Snapshot:
    """What an owner may see at one instant."""

    def __init__(
        self, cursor: Cursor, labels: LabelStore, owner: int, account_ids: Collection[int]
    ) -> None:
        self._cursor = cursor
        self._labels = labels
        self._types = _types(cursor)
        self.accounts = self._read_accounts(owner, account_ids)

    def runs(self, account: ReadAccount) -> AccountRuns:
        """Return an account's runs."""
        cursor = self._cursor
        rows = _copy(cursor, _RUNS.format(int(account.id)))
        numbers = np.unique(np.concatenate([rows["instance_type"], rows["usage_operation"]]))
        instances = _instances(cursor, account.id)
        cursor.execute(_IMAGES, (account.id,))
        return AccountRuns(
            rows=rows,
            instances=instances,
            images=tuple(ReadImage(*row) for row in cursor.fetchall()),
            grounds=grounds(cursor, account.id),
            types=self._types,
            labels=self._labels.texts(cursor, numbers.tolist()),
        )

    def _read_accounts(self, owner: int, asked: Collection[int]) -> tuple[ReadAccount, ...]:
        cursor = self._cursor
        cursor.execute(_ACCOUNTS, {"owner": owner or EVERYBODY, "ids": list(asked)})
        rows = cursor.fetchall()
        if missing := sorted(set(asked) - {row[0] for row in rows}):
            raise NotFound(
                f"There is no cloud account {missing[0]} that you may see.",
                reason="ACCOUNT_NOT_FOUND",
            )
        types = repr(
            sorted((each.name, each.vcpu, each.memory_mib) for each in self._types.values())
        )
        return tuple(
            ReadAccount(
                account_id,
                _revision(recorded_at, types, pending=state == State.PENDING),
                name,
                aws_account_id,
                State(state),
                regions_of(cursor, account_id),
            )
            for account_id, name, aws_account_id, state, recorded_at in rows
        )


def _instances(cursor: Cursor, account_id: int) -> tuple[ReadInstance, ...]:
    cursor.execute(_INSTANCES, (account_id,))
    # Few instances have tags that no other has, and most of the time would go into reading them.
    known: dict[str, dict[str, str]] = {}
    read = []
    for instance_id, ec2_id, region, image_id, tags, architecture in cursor.fetchall():
        if tags not in known:
            known[tags] = json.loads(tags)
        size = 4 * len(tags)
        read.append(
            ReadInstance(instance_id, ec2_id, region, image_id, known[tags], size, architecture)
        )
    return tuple(read)


def _types(cursor: Cursor) -> dict[str, InstanceType]:
    cursor.execute(_TYPES)
    return {row[0]: InstanceType(*row) for row in cursor.fetchall()}


def _revision(recorded_at: Micros, types: str, *, pending: bool) -> int:
    # Instance types are the same for all accounts, and what is learnt of one changes reports of
    # every account that uses it. An account that is to be proved again shows nothing meanwhile.
    digest = hashlib.blake2b(f"{recorded_at} {types} {pending}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def _copy(cursor: Cursor, query: str) -> RunRows:
    read = BytesIO()
    cursor.copy_expert(query, read)
    content = read.getbuffer()
    count, rest = divmod(len(content) - _HEADER - _TRAILER, _ROW.itemsize)
    if rest:
        raise ValueError("rows of COPY are not of the width that they were made for")
    return np.frombuffer(content, _ROW, count, _HEADER)
