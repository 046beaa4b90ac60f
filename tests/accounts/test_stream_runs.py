"""StreamRuns: a snapshot of runs as columns."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, inventory_pb2, runs_pb2, runs_pb2_grpc
from libs.common.channels import on_behalf_of
from tests.support.accounts import Accounts, Caller, refusal

HOUR = 3_600_000_000
Chunk = runs_pb2.StreamRunsResponse.Chunk


@dataclass
class Streamed:
    """A stream put together again."""

    header: runs_pb2.StreamRunsResponse.Header
    instances: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    types: list[tuple[str, int]] = field(default_factory=list)
    classifications: list[inventory_pb2.Classification] = field(default_factory=list)
    runs: list[tuple[int, ...]] = field(default_factory=list)
    """start, end, session start, vCPUs, codes of instance, type and classification."""


def stream(accounts: Accounts, user: Caller, **request: object) -> Streamed:
    """Ask for runs as reports does for a user."""
    stub = runs_pb2_grpc.RunServiceStub(accounts.service("reports").channel)
    first, *rest = stub.StreamRuns(
        runs_pb2.StreamRunsRequest(**request),  # type: ignore[arg-type]  # fields by their names
        metadata=on_behalf_of(user.token),
    )
    streamed = Streamed(first.header)
    for message in rest:
        add(streamed, message.chunk)
    return streamed


def add(streamed: Streamed, chunk: Chunk) -> None:
    """Take a chunk as a client of any language would."""
    streamed.instances += (each.instance_id for each in chunk.instances)
    streamed.images += (each.image_id for each in chunk.images)
    streamed.types += ((each.instance_type, each.vcpus) for each in chunk.instance_types)
    streamed.classifications += chunk.classifications
    times = [
        struct.unpack(f"<{chunk.runs}q", column)
        for column in (chunk.start, chunk.end, chunk.session_start)
    ]
    codes = [
        struct.unpack(f"<{chunk.runs}i", column)
        for column in (chunk.vcpus, chunk.instance, chunk.instance_type, chunk.classification)
    ]
    rows = list(zip(*times, *codes, strict=True))
    # A chunk brings what it uses before it uses it.
    assert all(row[4] < len(streamed.instances) for row in rows)
    streamed.runs += rows


def put_instance(accounts: Accounts, account_id: int, ec2_id: str, image: str = "") -> int:
    """Store an instance, and its image if one is named; return the instance's number."""
    with accounts.database.transaction() as cursor:
        image_id = 0
        if image:
            cursor.execute(
                "INSERT INTO image (account_id, ami_id, recorded_at) VALUES (%s, %s, 1)"
                " ON CONFLICT (account_id, ami_id) DO UPDATE SET recorded_at = 1"
                " RETURNING image_id",
                (account_id, image),
            )
            image_id = cursor.fetchone()[0]  # type: ignore[index]  # RETURNING gives a row
        cursor.execute(
            "INSERT INTO instance (account_id, ec2_id, region, image_id, recorded_at)"
            " VALUES (%s, %s, 'eu-west-1', %s, 1) RETURNING instance_id",
            (account_id, ec2_id, image_id),
        )
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def put_runs(accounts: Accounts, account_id: int, runs: Sequence[tuple[object, ...]]) -> None:
    """Store runs: instance number, start, end, type, usage operation."""
    with accounts.database.transaction() as cursor:
        for instance, start, end, kind, operation in runs:
            cursor.execute(
                "INSERT INTO label (text) SELECT unnest(%s) ON CONFLICT DO NOTHING",
                ([kind, operation],),
            )
            cursor.execute(
                "INSERT INTO run SELECT %s, %s, %s, %s, %s, 0, 0, 0,"
                " (SELECT label_id FROM label WHERE text = %s),"
                " (SELECT label_id FROM label WHERE text = %s), 0, 0, 1",
                (account_id, instance, start, end, start, kind, operation),
            )


def test_runs_come_as_columns_with_their_dictionaries(accounts: Accounts) -> None:
    """Two instances of one image and three runs come with every code explained."""
    account = accounts.verified(accounts.admin)
    one = put_instance(accounts, account.id, "i-0000000000000000a", "ami-0000000000000000a")
    two = put_instance(accounts, account.id, "i-0000000000000000b", "ami-0000000000000000a")
    put_runs(
        accounts,
        account.id,
        [
            (two, 5 * HOUR, 0, "m5.large", "RunInstances:0010"),
            (one, 3 * HOUR, 4 * HOUR, "m5.large", "RunInstances:0010"),
            (one, 1 * HOUR, 2 * HOUR, "t3.nano", "RunInstances"),
        ],
    )
    found = stream(accounts, accounts.admin)
    assert found.instances == ["i-0000000000000000a", "i-0000000000000000b"]
    assert found.images == ["ami-0000000000000000a"]
    kinds = [name for name, _ in found.types]
    told = [
        (
            start // HOUR,
            end // HOUR,
            found.instances[instance][-1],
            kinds[kind],
            found.classifications[what].billed_distribution,
        )
        for start, end, _, _, instance, kind, what in found.runs
    ]
    assert told == [
        (1, 2, "a", "t3.nano", ""),
        (3, 4, "a", "m5.large", "rhel"),
        (5, 0, "b", "m5.large", "rhel"),
    ]


def test_a_run_is_classified_by_its_own_usage_operation(accounts: Accounts) -> None:
    """The same instance was RHEL on the bill, then brought its own subscription."""
    account = accounts.verified(accounts.admin)
    one = put_instance(accounts, account.id, "i-0000000000000000a")
    put_runs(
        accounts,
        account.id,
        [
            (one, 1 * HOUR, 2 * HOUR, "m5.large", "RunInstances:0010"),
            (one, 2 * HOUR, 3 * HOUR, "m5.large", "RunInstances:00g0"),
        ],
    )
    found = stream(accounts, accounts.admin)
    models = [found.classifications[run[6]].license_model for run in found.runs]
    assert models == [inventory_pb2.LICENSE_MODEL_INCLUDED, inventory_pb2.LICENSE_MODEL_BYOS]


def test_an_account_that_has_not_changed_sends_no_columns(accounts: Accounts) -> None:
    """Who names the revision of a header gets the header alone, until something changes."""
    account = accounts.verified(accounts.admin)
    one = put_instance(accounts, account.id, "i-0000000000000000a")
    put_runs(accounts, account.id, [(one, HOUR, 2 * HOUR, "m5.large", "RunInstances")])
    first = stream(accounts, accounts.admin)
    known = [
        runs_pb2.StreamRunsRequest.Known(
            account_id=account.id, revision=first.header.accounts[0].revision
        )
    ]
    again = stream(accounts, accounts.admin, known=known)
    assert (again.header.accounts[0].unchanged, again.runs) == (True, [])
    with accounts.database.transaction() as cursor:
        cursor.execute("INSERT INTO instance_type VALUES ('m5.large', 2, 8192, '{}', 1)")
    changed = stream(accounts, accounts.admin, known=known)
    assert not changed.header.accounts[0].unchanged
    assert changed.types == [("m5.large", 2)]


def test_a_member_gets_their_own_accounts_and_no_other(accounts: Accounts) -> None:
    """Another's account is neither in the stream nor to be had by its id."""
    mine = accounts.member("mine")
    own = accounts.verified(mine, "111111111111")
    other = accounts.verified(accounts.admin, "222222222222")
    assert [each.account_id for each in stream(accounts, mine).header.accounts] == [own.id]
    assert refusal(lambda: stream(accounts, mine, account_ids=[other.id])).code == "NOT_FOUND"


def test_an_account_that_nobody_proved_shows_nothing(accounts: Accounts) -> None:
    """A pending account is left out, and asked for by its id it has no runs."""
    account = accounts.account(accounts.admin)
    assert stream(accounts, accounts.admin).header.accounts == []
    asked = stream(accounts, accounts.admin, account_ids=[account.id])
    (shown,) = asked.header.accounts
    assert (shown.state, shown.runs) == (accounts_pb2.CloudAccount.STATE_PENDING, 0)


def test_an_account_whose_role_changed_shows_nothing_until_it_is_proved(accounts: Accounts) -> None:
    """Neither to those who hold its runs, nor does anybody keep the emptiness afterwards."""
    account = accounts.verified(accounts.admin)
    one = put_instance(accounts, account.id, "i-0000000000000000a")
    put_runs(accounts, account.id, [(one, HOUR, 2 * HOUR, "m5.large", "RunInstances")])

    def known(streamed: Streamed) -> list[runs_pb2.StreamRunsRequest.Known]:
        revision = streamed.header.accounts[0].revision
        return [runs_pb2.StreamRunsRequest.Known(account_id=account.id, revision=revision)]

    first = stream(accounts, accounts.admin)
    account.role_arn += "-2"
    accounts.admin.accounts.UpdateCloudAccount(
        accounts_pb2.UpdateCloudAccountRequest(
            account=accounts_pb2.CloudAccount(id=account.id, role_arn=account.role_arn)
        )
    )
    pending = stream(accounts, accounts.admin, known=known(first))
    assert (pending.header.accounts[0].unchanged, pending.runs) == (False, [])
    accounts.verify(account)
    proved = stream(accounts, accounts.admin, known=known(pending))
    assert (proved.header.accounts[0].unchanged, proved.runs) == (False, first.runs)


def test_many_runs_come_in_chunks_that_fit_a_message(accounts: Accounts) -> None:
    """70,000 runs come in order, complete, and no message is larger than gRPC's 4 MiB."""
    account = accounts.verified(accounts.admin)
    one = put_instance(accounts, account.id, "i-0000000000000000a")
    put_runs(accounts, account.id, [(one, 1, 2, "m5.large", "RunInstances")])
    with accounts.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO run SELECT account_id, instance_id, n * 10, n * 10 + 5, n * 10, 0, 0, 0,"
            " instance_type, usage_operation, 0, 0, 1 FROM run, generate_series(1, 69999) n"
        )
    found = stream(accounts, accounts.admin)
    assert [run[0] for run in found.runs] == [1, *range(10, 700_000, 10)]
    assert found.header.accounts[0].runs == 70_000


@pytest.mark.parametrize(
    "wrong", [datetime(2030, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)]
)
def test_a_time_that_nothing_can_be_known_of_is_refused(
    accounts: Accounts, wrong: datetime
) -> None:
    """An instant ahead of the clock, or before there were any, is an error on as_of."""
    said = refusal(lambda: stream(accounts, accounts.admin, as_of=wrong))
    assert (said.code, said.fields) == ("INVALID_ARGUMENT", ("as_of",))


def test_only_reports_for_a_user_may_ask(accounts: Accounts) -> None:
    """A user's token alone, another service, and reports without a user are refused."""

    def ask(caller: Caller) -> str:
        stub = runs_pb2_grpc.RunServiceStub(caller.channel)
        return refusal(lambda: list(stub.StreamRuns(runs_pb2.StreamRunsRequest()))).code

    assert ask(accounts.admin) == "PERMISSION_DENIED"
    assert ask(accounts.service("scanner")) == "PERMISSION_DENIED"
    assert ask(accounts.service("reports")) == "UNAUTHENTICATED"
