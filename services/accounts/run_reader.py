"""Reads the runs of accounts in bulk, all of them as known at one instant."""

import hashlib
import json
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from libs.common.instants import Micros
from services.accounts.classification_store import Grounds, grounds
from services.accounts.cloud_accounts import RegionStatus, State
from services.accounts.database import Cursor, Database
from services.accounts.label_store import LabelStore
from services.accounts.override_store import overrides_at
from services.accounts.overrides import NO_OVERRIDES, Overrides
from services.accounts.past_accounts import PastAccount, accounts_at, regions_at, visible_ids
from services.accounts.run_columns import RunRows, runs_at, runs_now
from services.accounts.versions import rows_at

R = TypeVar("R")

_TYPES = """
SELECT DISTINCT ON (name) name, vcpu, memory_mib FROM instance_type WHERE recorded_at <= %s
ORDER BY name, recorded_at DESC
"""
_INSTANCE_COLUMNS = (
    "instance_id, ec2_id, region, image_id, tags::text, architecture, usage_operation,"
    " to_json(product_codes)::text"
)
_IMAGE_COLUMNS = "image_id, ami_id, name"


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
    usage_operation: str = ""
    product_codes: tuple[str, ...] = ()
    """Those that belong to the usage operation beside them."""


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
    overrides: Overrides = NO_OVERRIDES


class RunReader:
    """Reads runs for callers who may see them."""

    def __init__(self, database: Database, labels: LabelStore) -> None:
        self._database = database
        self._labels = labels

    @contextmanager
    def snapshot(
        self, owner: int, account_ids: Collection[int], now: Micros, asked: Micros | None = None
    ) -> Iterator["Snapshot"]:
        """Open a snapshot of the accounts that an owner may see, or of some of them.

        It speaks of what was known at `asked`, or now. Raises InvalidRequest on as_of when `asked`
        lies ahead of the clock, and NotFound when an account is asked for that the owner may not
        see. Without `account_ids` accounts that nobody had proved are left out; asked for, they
        have no runs.
        """
        visible: list[int] = []

        def look_up(cursor: Cursor) -> list[int]:
            visible.extend(visible_ids(cursor, owner, account_ids))
            return visible

        with self._database.fenced_snapshot(look_up, now, asked) as (cursor, at):
            accounts = accounts_at(cursor, visible, at)
            if not account_ids:
                accounts = [each for each in accounts if each.proved]
            yield Snapshot(cursor, self._labels, at, accounts)


class Snapshot:
    """What an owner may see, as known at the instant `at`."""

    def __init__(
        self, cursor: Cursor, labels: LabelStore, at: Micros, accounts: Sequence[PastAccount]
    ) -> None:
        self._cursor = cursor
        self._labels = labels
        self._types = _types(cursor, at)
        self._changed = {each.id for each in accounts if each.changed_since(at)}
        self.at = at
        self.accounts = self._read_accounts(accounts)

    def runs(self, account: ReadAccount) -> AccountRuns:
        """Return an account's runs; DeadlineExceeded when the caller no longer waits."""
        cursor, at = self._cursor, self.at
        changed = account.id in self._changed
        rows = (
            runs_at(cursor, account.id, at, self._labels)
            if changed
            else runs_now(cursor, account.id)
        )
        numbers = np.unique(np.concatenate([rows["instance_type"], rows["usage_operation"]]))
        used = set(np.unique(rows["instance_id"]).tolist())
        asked = {"account": account.id, "at": at}
        rows_of = rows_at("instance", _INSTANCE_COLUMNS, changed=changed)
        cursor.execute(f"SELECT * FROM {rows_of} i ORDER BY instance_id", asked)  # noqa: S608 # constants
        instances = _instances(cursor, used)
        rows_of = rows_at("image", _IMAGE_COLUMNS, changed=changed)
        cursor.execute(f"SELECT * FROM {rows_of} i ORDER BY image_id", asked)  # noqa: S608 # constants
        return AccountRuns(
            rows=rows,
            instances=instances,
            images=tuple(ReadImage(*row) for row in cursor.fetchall()),
            grounds=grounds(cursor, account.id, as_of=at),
            types=self._types,
            labels=self._labels.texts(cursor, numbers.tolist()),
            overrides=overrides_at(cursor, account.id, at),
        )

    def _read_accounts(self, accounts: Sequence[PastAccount]) -> tuple[ReadAccount, ...]:
        types = repr(
            sorted((each.name, each.vcpu, each.memory_mib) for each in self._types.values())
        )
        return tuple(
            ReadAccount(
                each.id,
                self._revision(each, types),
                each.name,
                each.aws_account_id,
                each.state,
                regions_at(self._cursor, each, self.at),
            )
            for each in accounts
        )

    def _revision(self, account: PastAccount, types: str) -> int:
        # Instance types are the same for all accounts, and what is learnt of one changes reports of
        # every account that uses it. An account that is to be proved again shows nothing meanwhile.
        # What was known at a past instant is told from what was known at any other.
        known_by = f"at {self.at}" if account.id in self._changed else f"by {account.recorded_at}"
        content = f"{known_by} {types} {account.state is State.PENDING}"
        return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest()) >> 1


def _instances(cursor: Cursor, used: Container[int]) -> tuple[ReadInstance, ...]:
    # Few instances have tags or codes that no other has, and most of the time would go into reading
    # them.
    read, tags, codes = [], _Read(_tags), _Read(_codes)
    for row in cursor.fetchall():
        instance_id, ec2_id, region, image_id, tagged, architecture, operation, listed = row
        if instance_id in used:
            read.append(
                ReadInstance(
                    instance_id,
                    ec2_id,
                    region,
                    image_id,
                    tags[tagged],
                    4 * len(tagged),
                    architecture,
                    operation,
                    codes[listed],
                )
            )
    return tuple(read)


class _Read(dict[str, R]):
    """What texts of JSON stand for, each read once."""

    def __init__(self, parse: Callable[[str], R]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> R:
        found = self[text] = self._parse(text)
        return found


def _tags(text: str) -> dict[str, str]:
    return dict(json.loads(text))


def _codes(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _types(cursor: Cursor, at: Micros) -> dict[str, InstanceType]:
    cursor.execute(_TYPES, (at,))
    return {row[0]: InstanceType(*row) for row in cursor.fetchall()}
