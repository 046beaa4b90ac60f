"""What InventoryService shows, to whom."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudigrade.accounts.v1 import accounts_pb2, events_pb2
from cloudigrade.accounts.v1 import inventory_pb2 as pb
from libs.common.instants import to_micros
from libs.common.timestamps import timestamp
from tests.support.accounts import Accounts, Caller, Refusal, refusal

NO_ACCOUNT = Refusal("NOT_FOUND", "ACCOUNT_NOT_FOUND", ())
NO_INSTANCE = Refusal("NOT_FOUND", "INSTANCE_NOT_FOUND", ())
FIRST = "i-00000000000000001"
SECOND = "i-00000000000000002"
IMAGE = "ami-00000000000000001"


def at(hour: int, minute: int = 0) -> int:
    """Give an instant of the day that the tests are about."""
    return to_micros(datetime(2026, 3, 1, hour, minute, tzinfo=UTC))


def insert(accounts: Accounts, table: str, **values: Any) -> int:
    """Write a row, and give the number that the database has made for it."""
    columns = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    with accounts.database.transaction() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks}) RETURNING *",  # noqa: S608  # the test's own words
            list(values.values()),
        )
        names = [column.name for column in cursor.description or ()]
        row = dict(zip(names, cursor.fetchone() or (), strict=True))
    number = row.get(f"{table}_id")
    return number if isinstance(number, int) else 0


def add_instance(accounts: Accounts, account_id: int, ec2_id: str, image: int = 0) -> int:
    """Write an instance with every field set, and give accounts' number for it."""
    return insert(
        accounts,
        "instance",
        account_id=account_id,
        ec2_id=ec2_id,
        region="eu-west-1",
        image_id=image,
        tags='{"Name": "web", "team": "a"}',
        architecture="x86_64",
        lifecycle="spot",
        instance_type="m5.large",
        usage_operation="RunInstances:0010",
        platform_details="Red Hat Enterprise Linux",
        state="running",
        state_at=at(10),
        recorded_at=at(11),
    )


def add_event(accounts: Accounts, account_id: int, instance: int, **values: Any) -> None:
    """Write an event; what is not given is empty."""
    row: dict[str, Any] = {
        "event_id": "e1",
        "kind": 1,
        "occurred_at": at(9),
        "source": 1,
        "fresh": False,
        "termination": False,
        "state": "",
        "previous_state": "",
        "instance_type": "",
        "vcpu": 0,
        "usage_operation": "",
        "usage_operation_at": 0,
        "image": "",
        "raw_id": "",
        "recorded_at": at(11),
        **values,
    }
    insert(accounts, "event", account_id=account_id, instance_id=instance, **row)


def add_run(accounts: Accounts, account_id: int, instance: int, start: int, **values: int) -> None:
    """Write a run; what is not given is 0."""
    names = ("end_at", "confirmed_start", "confirmed_end", "end_latest")
    more = ("instance_type", "usage_operation", "vcpu", "basis")
    row = {**dict.fromkeys((*names, *more), 0), "session_start": start, "recorded_at": at(11)}
    insert(
        accounts,
        "run",
        account_id=account_id,
        instance_id=instance,
        start_at=start,
        **{**row, **values},
    )


def test_instances_are_shown_as_last_known(accounts: Accounts) -> None:
    """Every field of an instance is given, in the list and by itself."""
    account = accounts.verified(accounts.admin)
    image = insert(
        accounts, "image", account_id=account.id, ami_id=IMAGE, region="eu-west-1", recorded_at=1
    )
    add_instance(accounts, account.id, FIRST, image)
    expected = pb.Instance(
        account_id=account.id,
        instance_id=FIRST,
        region="eu-west-1",
        image_id=IMAGE,
        tags={"Name": "web", "team": "a"},
        instance_type="m5.large",
        architecture="x86_64",
        lifecycle="spot",
        state="running",
        create_time=datetime(2026, 3, 1, 11, tzinfo=UTC),
        platform_details="Red Hat Enterprise Linux",
        usage_operation="RunInstances:0010",
    )
    api = accounts.admin.inventory
    (listed,) = api.ListInstances(pb.ListInstancesRequest(account_id=account.id)).instances
    get = pb.GetInstanceRequest(account_id=account.id, instance_id=FIRST)
    assert listed == api.GetInstance(get).instance == expected


def test_instances_come_by_id_in_pages_and_by_image(accounts: Accounts) -> None:
    """Three instances come in pages of two; asked by image only that image's come."""
    account = accounts.verified(accounts.admin)
    other = insert(accounts, "image", account_id=account.id, ami_id=IMAGE, recorded_at=1)
    ids = [f"i-{number:017x}" for number in (3, 1, 2)]
    for ec2_id in ids:
        add_instance(accounts, account.id, ec2_id, other if ec2_id == ids[1] else 0)
    api = accounts.admin.inventory
    request = pb.ListInstancesRequest(account_id=account.id, page_size=2)
    first = api.ListInstances(request)
    request.page_token = first.next_page_token
    second = api.ListInstances(request)
    got = [each.instance_id for page in (first, second) for each in page.instances]
    assert got == sorted(ids)
    assert (len(first.instances), second.next_page_token) == (2, "")
    of_image = api.ListInstances(pb.ListInstancesRequest(account_id=account.id, image_id=IMAGE))
    assert [each.instance_id for each in of_image.instances] == [ids[1]]


def test_a_page_never_grows_too_large_to_send(accounts: Accounts) -> None:
    """Sixty items of 100 kB are given in pages below 4 MiB, all of them and once each."""
    account = accounts.verified(accounts.admin)
    for number in range(60):
        insert(
            accounts,
            "quarantine",
            account_id=account.id,
            source=2,
            origin=f"bucket/key{number}",
            reason="not JSON",
            content=bytes(100_000),
            digest=str(number).encode(),
            recorded_at=at(11),
        )
    request = pb.ListQuarantineRequest(account_id=account.id, page_size=1000)
    origins: list[str] = []
    sizes: list[int] = []
    while True:
        answer = accounts.admin.inventory.ListQuarantine(request)
        origins += [item.origin for item in answer.items]
        sizes.append(answer.ByteSize())
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            break
    assert origins == [f"bucket/key{number}" for number in range(60)]
    assert max(sizes) < 4 * 1024 * 1024
    assert len(sizes) == 2


def test_events_are_shown_by_time_with_what_they_state(accounts: Accounts) -> None:
    """Events come by time, a superseded one beside what took its place."""
    account = accounts.verified(accounts.admin)
    instance = add_instance(accounts, account.id, FIRST)
    add_event(accounts, account.id, instance, event_id="off", kind=2, occurred_at=at(10))
    add_event(
        accounts,
        account.id,
        instance,
        event_id="on",
        fresh=True,
        raw_id="LaunchTime",
        instance_type="m5.large",
        vcpu=2,
        usage_operation="RunInstances:0010",
        usage_operation_at=at(9),
        image=IMAGE,
        superseded_at=at(12),
    )
    add_event(accounts, account.id, instance, event_id="on", fresh=True, recorded_at=at(12))
    add_event(
        accounts,
        account.id,
        add_instance(accounts, account.id, SECOND),
        event_id="other",
    )
    request = pb.ListEventsRequest(account_id=account.id, instance_id=FIRST, page_size=2)
    first = accounts.admin.inventory.ListEvents(request)
    request.page_token = first.next_page_token
    second = accounts.admin.inventory.ListEvents(request)
    events = [*first.events, *second.events]
    assert [(each.event.event_id, each.superseded) for each in events] == [
        ("on", True),
        ("on", False),
        ("off", False),
    ]
    assert events[0].event == events_pb2.Event(
        account_id=account.id,
        region="eu-west-1",
        instance_id=FIRST,
        event_id="on",
        kind=events_pb2.Event.KIND_POWER_ON,
        occur_time=datetime(2026, 3, 1, 9, tzinfo=UTC),
        source=events_pb2.SOURCE_DESCRIBE,
        fresh=True,
        raw_id="LaunchTime",
        image_id=IMAGE,
        attributes=events_pb2.Attributes(
            instance_type="m5.large",
            vcpus=2,
            usage_operation="RunInstances:0010",
            usage_operation_time=datetime(2026, 3, 1, 9, tzinfo=UTC),
        ),
    )
    assert not events[1].event.HasField("attributes")


def test_runs_are_shown_with_what_they_rest_on(accounts: Accounts) -> None:
    """A run names its type and its vCPUs, by its CPU options or else by its type."""
    account = accounts.verified(accounts.admin)
    instance = add_instance(accounts, account.id, FIRST)
    type_ = insert(accounts, "label", text="m5.large")
    insert(accounts, "instance_type", name="m5.large", vcpu=2, memory_mib=8192, recorded_at=1)
    rhel = insert(accounts, "label", text="RunInstances:0010")
    add_run(
        accounts,
        account.id,
        instance,
        at(9),
        end_at=at(10),
        confirmed_start=at(9),
        confirmed_end=at(9, 55),
        end_latest=at(10, 15),
        instance_type=type_,
        usage_operation=rhel,
    )
    add_run(accounts, account.id, instance, at(12), vcpu=1, instance_type=type_)
    request = pb.ListRunsRequest(account_id=account.id, instance_id=FIRST)
    closed, going_on = accounts.admin.inventory.ListRuns(request).runs
    assert closed.classification.distribution == "rhel"
    assert closed.classification.license_model == pb.LICENSE_MODEL_INCLUDED
    assert going_on.classification.distribution == "unknown"
    closed.ClearField("classification")
    assert closed == pb.Run(
        instance_id=FIRST,
        start_time=datetime(2026, 3, 1, 9, tzinfo=UTC),
        end_time=datetime(2026, 3, 1, 10, tzinfo=UTC),
        session_start_time=datetime(2026, 3, 1, 9, tzinfo=UTC),
        confirmed_start_time=datetime(2026, 3, 1, 9, tzinfo=UTC),
        confirmed_end_time=datetime(2026, 3, 1, 9, 55, tzinfo=UTC),
        end_latest_time=datetime(2026, 3, 1, 10, 15, tzinfo=UTC),
        instance_type="m5.large",
        vcpus=2,
        usage_operation="RunInstances:0010",
    )
    assert going_on.vcpus == 1
    assert not going_on.HasField("end_time")
    assert not going_on.HasField("confirmed_start_time")


def test_anomalies_say_in_words_what_did_not_fit(accounts: Accounts) -> None:
    """Anomalies of an account or of one instance come with their kind and a sentence."""
    account = accounts.verified(accounts.admin)
    for ec2_id, event_id in ((FIRST, "off-1"), (SECOND, "off-2")):
        instance = add_instance(accounts, account.id, ec2_id)
        insert(
            accounts,
            "anomaly",
            account_id=account.id,
            instance_id=instance,
            occurred_at=at(9),
            kind=2,
            event_id=event_id,
            recorded_at=at(11),
        )
    api = accounts.admin.inventory
    everything = api.ListAnomalies(pb.ListAnomaliesRequest(account_id=account.id)).anomalies
    assert [each.event_id for each in everything] == ["off-1", "off-2"]
    (one,) = api.ListAnomalies(
        pb.ListAnomaliesRequest(account_id=account.id, instance_id=SECOND)
    ).anomalies
    assert (one.kind, one.event_id) == ("OFF_WITHOUT_ON", "off-2")
    assert "start is unknown" in one.description


def test_changes_are_signed_and_newest_first(accounts: Accounts) -> None:
    """The audit of an account names who registered, verified and paused it."""
    owner = accounts.member("max")
    account = accounts.verified(owner)
    accounts.admin.accounts.PauseCloudAccount(accounts_pb2.PauseCloudAccountRequest(id=account.id))
    entries = owner.inventory.ListAuditEntries(
        pb.ListAuditEntriesRequest(account_id=account.id)
    ).entries
    assert [(each.actor, each.action) for each in entries] == [
        ("ada", "account.paused"),
        ("service:scanner", "account.verified"),
        ("max", "account.created"),
    ]


def calls(caller: Caller, account_id: int, ec2_id: str) -> list[Callable[[], object]]:
    """Give a call of every method, for one account and instance."""
    api = caller.inventory
    return [
        lambda: api.ListInstances(pb.ListInstancesRequest(account_id=account_id)),
        lambda: api.GetInstance(pb.GetInstanceRequest(account_id=account_id, instance_id=ec2_id)),
        lambda: api.ListEvents(pb.ListEventsRequest(account_id=account_id, instance_id=ec2_id)),
        lambda: api.ListRuns(pb.ListRunsRequest(account_id=account_id, instance_id=ec2_id)),
        lambda: api.ListAnomalies(pb.ListAnomaliesRequest(account_id=account_id)),
        lambda: api.ListQuarantine(pb.ListQuarantineRequest(account_id=account_id)),
        lambda: api.ListAuditEntries(pb.ListAuditEntriesRequest(account_id=account_id)),
    ]


def test_strangers_find_nothing(accounts: Accounts) -> None:
    """For another member every method is NOT_FOUND, as for an account that does not exist."""
    owner, stranger = accounts.member("max"), accounts.member("mia")
    account = accounts.verified(owner)
    add_instance(accounts, account.id, FIRST)
    for call in calls(owner, account.id, FIRST):
        call()
    for call in (*calls(stranger, account.id, FIRST), *calls(accounts.admin, 999, FIRST)):
        assert refusal(call) == NO_ACCOUNT


def test_another_accounts_instance_is_not_found(accounts: Accounts) -> None:
    """An instance is found in its own account only, also by an admin."""
    account = accounts.verified(accounts.admin, "111111111111")
    other = accounts.verified(accounts.admin, "222222222222")
    add_instance(accounts, account.id, FIRST)
    for call in calls(accounts.admin, other.id, FIRST)[1:4]:
        assert refusal(call) == NO_INSTANCE


@pytest.mark.parametrize("wrong", ["", "i-1", "web", "i-0000000000000000g"])
def test_a_malformed_instance_id_is_named(accounts: Accounts, wrong: str) -> None:
    """A bad id is INVALID_ARGUMENT on its field; where it is optional an empty one is none."""
    account = accounts.verified(accounts.admin)
    for call in calls(accounts.admin, account.id, wrong)[1:4]:
        assert refusal(call) == Refusal("INVALID_ARGUMENT", "INVALID_REQUEST", ("instance_id",))
    image = pb.ListInstancesRequest(account_id=account.id, image_id=wrong or "x")
    assert refusal(lambda: accounts.admin.inventory.ListInstances(image)).fields == ("image_id",)


def test_history_of_a_removed_account_stays(accounts: Accounts) -> None:
    """After DeleteCloudAccount with HISTORY_KEEP its instances are still shown to its owner."""
    owner = accounts.member("max")
    account = accounts.verified(owner)
    add_instance(accounts, account.id, FIRST)
    owner.accounts.DeleteCloudAccount(
        accounts_pb2.DeleteCloudAccountRequest(id=account.id, history=accounts_pb2.HISTORY_KEEP)
    )
    answer = owner.inventory.ListInstances(pb.ListInstancesRequest(account_id=account.id))
    assert [each.instance_id for each in answer.instances] == [FIRST]


def add_audit(accounts: Accounts, account_id: int, action: str, start: int, until: int) -> None:
    """Write an entry of a change that altered reports of a part of the past; 0 and 0: of none."""
    insert(
        accounts,
        "audit",
        account_id=account_id,
        at=at(12),
        actor="service:scanner",
        action=action,
        subject="runs",
        detail="",
        affected_from=start,
        affected_until=until,
    )


def test_why_a_part_of_the_past_changed_can_be_asked(accounts: Accounts) -> None:
    """Of three changes, of 8 to 10, of 10 to 11 and of no report, from 10 on the second counts."""
    account = accounts.verified(accounts.admin)
    add_audit(accounts, account.id, "first", at(8), at(10))
    add_audit(accounts, account.id, "second", at(10), at(11))
    add_audit(accounts, account.id, "third", 0, 0)

    def found(start: int, end: int) -> list[str]:
        request = pb.ListAuditEntriesRequest(
            account_id=account.id,
            affecting_start_time=timestamp(start),
            affecting_end_time=timestamp(end),
        )
        return [each.action for each in accounts.admin.inventory.ListAuditEntries(request).entries]

    assert found(at(10), at(12)) == ["second"]
    assert found(at(9, 59), at(12)) == ["second", "first"]
    assert found(at(9), at(10)) == ["first"]
    assert found(at(11), at(12)) == []
    newest = accounts.admin.inventory.ListAuditEntries(
        pb.ListAuditEntriesRequest(account_id=account.id, page_size=2)
    ).entries
    assert not newest[0].HasField("affected_start_time")
    assert newest[1].affected_start_time == timestamp(at(10))
    assert newest[1].affected_end_time == timestamp(at(11))


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (at(10), None, "affecting_end_time"),
        (None, at(10), "affecting_start_time"),
        (at(10), at(10), "affecting_end_time"),
        (at(11), at(10), "affecting_end_time"),
    ],
)
def test_half_a_span_or_a_reversed_one_is_refused(
    accounts: Accounts, start: int | None, end: int | None, field: str
) -> None:
    """Both ends are given or neither, and the second is the later one."""
    request = pb.ListAuditEntriesRequest(
        account_id=accounts.verified(accounts.admin).id,
        affecting_start_time=None if start is None else timestamp(start),
        affecting_end_time=None if end is None else timestamp(end),
    )
    said = refusal(lambda: accounts.admin.inventory.ListAuditEntries(request))
    assert (said.code, said.fields) == ("INVALID_ARGUMENT", (field,))


def test_what_belongs_to_no_account_is_shown_to_admins(accounts: Accounts) -> None:
    """Its account is 0; for a member there is no such account."""
    insert(
        accounts,
        "quarantine",
        account_id=0,
        source=2,
        origin="bucket/key",
        reason="no account",
        content=b"{}",
        digest=b"1",
        recorded_at=at(11),
    )
    request = pb.ListQuarantineRequest()
    (item,) = accounts.admin.inventory.ListQuarantine(request).items
    assert item.origin == "bucket/key"
    member = accounts.member()
    assert refusal(lambda: member.inventory.ListQuarantine(request)) == NO_ACCOUNT
