"""GetRuntime and GetConcurrency, through a real server and a real stream of runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from cloudigrade.reports.v1 import reports_pb2, reports_pb2_grpc
from libs.common.clock import ManualClock
from libs.common.errors import Unavailable
from libs.common.instants import Micros, to_micros
from services.reports.columns import Classification, Shape
from services.reports.snapshots import RegionStatus
from tests.reports.conftest import ADA, MAX, NOW, Reports
from tests.support.reports import Machine, Ran
from tests.support.statuses import told

HOUR = 3600
START, END = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
DEBIAN = Classification("debian", "12", "free")
ONE = Machine("i-00000001", tags=(("Name", "web-1"), ("team", "blue")))
TWO = Machine("i-00000002", region="us-east-1", image="ami-00000002", tags=(("Name", "db-1"),))


def at(day: int, hour: int) -> Micros:
    """Return an hour of November 2026."""
    return to_micros(datetime(2026, 11, day, hour, tzinfo=UTC))


RAN = [
    Ran(at(20, 10), at(20, 13), ONE),
    Ran(at(20, 12), at(21, 6), TWO, Shape("m5.xlarge", 4, 16384), DEBIAN),
]


def hours(rows: Any) -> list[list[float]]:
    """Return each row's group and runtime in hours."""
    return [
        [*(value.value for value in row.group), row.measures.runtime.seconds / HOUR] for row in rows
    ]


def test_runtime_by_day_and_distribution(reports: Reports) -> None:
    """Rows come by bucket, then by group, with a total for each bucket."""
    reports.hold(1, RAN)
    answer = reports.runtime(
        START, END, bucket=reports_pb2.BUCKET_DAY, group_by=[reports_pb2.DIMENSION_DISTRIBUTION]
    )
    assert hours(answer.rows) == [["debian", 12], ["rhel", 3], ["debian", 6], ["rhel", 0]]
    assert hours(answer.totals) == [[15], [6]]
    assert [row.start_time.ToDatetime(UTC).day for row in answer.rows] == [20, 20, 21, 21]
    assert answer.as_of.ToDatetime(UTC) == NOW


def test_every_measure_of_a_row_is_given(reports: Reports) -> None:
    """One instance of 2 vCPUs and 8 GiB for three hours, half an hour of them unconfirmed."""
    confirmed = (at(20, 10), at(20, 13) - 1800 * 1_000_000)
    ran = Ran(at(20, 10), at(20, 13), ONE, confirmed=confirmed, possible_end=at(20, 14))
    reports.hold(1, [ran])
    measures = reports.runtime(START, END).totals[0].measures
    assert measures.runtime == reports_pb2.UsageTime(seconds=3 * HOUR)
    assert measures.unconfirmed == reports_pb2.UsageTime(seconds=HOUR // 2)
    assert measures.possible == reports_pb2.UsageTime(seconds=HOUR)
    assert measures.vcpu_time == reports_pb2.UsageTime(seconds=6 * HOUR)
    assert measures.memory_gib_time == reports_pb2.UsageTime(seconds=24 * HOUR)
    assert (measures.instances, measures.images) == (1, 1)
    assert (measures.peak_instances, measures.peak_vcpus) == (1, 2)
    assert measures.peak_instances_time.ToDatetime(UTC) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert measures.peak_vcpus_time == measures.peak_instances_time


def test_a_peak_of_nothing_has_no_instant(reports: Reports) -> None:
    """A day on which nothing was on."""
    reports.hold(1, RAN)
    measures = reports.runtime(NOW - timedelta(hours=2), NOW).totals[0].measures
    assert measures.peak_instances == 0
    assert not measures.HasField("peak_instances_time")
    assert not measures.HasField("peak_vcpus_time")


def test_parts_of_seconds_arrive_as_nanoseconds(reports: Reports) -> None:
    """A run of 1.000001 s; its 8 GiB for a microsecond more than a second."""
    reports.hold(1, [Ran(at(20, 10), at(20, 10) + 1_000_001, ONE)])
    measures = reports.runtime(START, END).totals[0].measures
    assert measures.runtime == reports_pb2.UsageTime(seconds=1, nanos=1_000)
    assert measures.memory_gib_time == reports_pb2.UsageTime(seconds=8, nanos=8_000)


@pytest.mark.parametrize(
    ("dimension", "groups"),
    [
        (reports_pb2.DIMENSION_DISTRIBUTION, ["debian", "rhel"]),
        (reports_pb2.DIMENSION_VERSION, ["12", "9.4"]),
        (reports_pb2.DIMENSION_LICENSE_MODEL, ["free", "unknown"]),
        (reports_pb2.DIMENSION_PRODUCT, [""]),
        (reports_pb2.DIMENSION_ARCHITECTURE, ["x86_64"]),
        (reports_pb2.DIMENSION_INSTANCE_TYPE, ["m5.large", "m5.xlarge"]),
        (reports_pb2.DIMENSION_REGION, ["eu-west-1", "us-east-1"]),
        (reports_pb2.DIMENSION_ACCOUNT, ["7"]),
        (reports_pb2.DIMENSION_IMAGE, ["ami-00000001", "ami-00000002"]),
        (reports_pb2.DIMENSION_INSTANCE, ["i-00000001", "i-00000002"]),
        (reports_pb2.DIMENSION_SYSPURPOSE_ROLE, [""]),
        (reports_pb2.DIMENSION_SYSPURPOSE_SLA, [""]),
        (reports_pb2.DIMENSION_SYSPURPOSE_USAGE, [""]),
    ],
)
def test_runtime_is_grouped_by_any_dimension(
    reports: Reports, dimension: Any, groups: list[str]
) -> None:
    """Each row names its dimension and value, and the rows add up to the total."""
    reports.hold(7, RAN)
    answer = reports.runtime(START, END, group_by=[dimension])
    assert [[value.value for value in row.group] for row in answer.rows] == [[it] for it in groups]
    assert {value.dimension for row in answer.rows for value in row.group} == {dimension}
    assert sum(row.measures.runtime.seconds for row in answer.rows) == 21 * HOUR


def test_days_are_those_of_the_asked_zone(reports: Reports) -> None:
    """In Auckland, 13 hours ahead, the 21st begins at 11:00 of UTC on the 20th."""
    reports.hold(1, [RAN[0]])
    answer = reports.runtime(
        START, END, bucket=reports_pb2.BUCKET_DAY, time_zone="Pacific/Auckland"
    )
    assert hours(answer.totals) == [[1], [2], [0]]


def test_an_open_run_counts_to_now(reports: Reports, clock: ManualClock) -> None:
    """And a minute later for a minute more."""
    reports.hold(1, [Ran(at(22, 11), None, ONE)])
    asked = (START, NOW + timedelta(days=1))
    assert hours(reports.runtime(*asked).totals) == [[1]]
    clock.advance(timedelta(minutes=30))
    assert hours(reports.runtime(*asked).totals) == [[1.5]]


def test_several_accounts_are_added_up(reports: Reports) -> None:
    """Each under its own id, with the same instance id in both."""
    reports.hold(1, [RAN[0]])
    reports.hold(2, [RAN[0], RAN[1]])
    answer = reports.runtime(START, END, group_by=[reports_pb2.DIMENSION_ACCOUNT])
    assert hours(answer.rows) == [["1", 3], ["2", 21]]
    assert answer.totals[0].measures.instances == 3
    assert answer.totals[0].measures.images == 2


def test_nothing_visible_is_a_report_of_zeros(reports: Reports) -> None:
    """A user without accounts gets every bucket, and no group."""
    answer = reports.runtime(START, END, bucket=reports_pb2.BUCKET_DAY)
    assert (hours(answer.rows), hours(answer.totals)) == ([], [[0], [0]])


def test_a_member_sees_what_is_theirs_only(reports: Reports) -> None:
    """Max gets his account, ada as an admin both, in whatever order they ask."""
    reports.hold(1, [RAN[0]], owner=ADA)
    reports.hold(2, [RAN[1]], owner=MAX)
    request = reports_pb2.GetRuntimeRequest(start_time=START, end_time=END)
    max_ = reports.caller("max-token")
    for _ in range(2):
        assert hours(reports.stub.GetRuntime(request).totals) == [[21]]
        assert hours(max_.GetRuntime(request).totals) == [[18]]


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"regions": ["us-east-1"]}, 18),
        ({"regions": ["eu-west-1", "us-east-1"]}, 21),
        ({"regions": ["af-south-1"]}, 0),
        ({"distributions": ["rhel"]}, 3),
        ({"image_ids": ["ami-00000002"]}, 18),
        ({"instance_ids": ["i-00000001"]}, 3),
        ({"tags": {"team": "blue"}}, 3),
        ({"tags": {"team": ""}}, 3),
        ({"tags": {"team": "red"}}, 0),
        ({"name_pattern": "WEB"}, 3),
        ({"name_pattern": "nothing -1"}, 21),
        ({"name_pattern": "   "}, 21),
        ({"regions": ["us-east-1"], "distributions": ["rhel"]}, 0),
    ],
)
def test_a_filter_says_which_runs_count(
    reports: Reports, filter_: dict[str, Any], expected: float
) -> None:
    """Fields are joined by and, values of one field by or."""
    reports.hold(1, RAN)
    answer = reports.runtime(START, END, filter=reports_pb2.Filter(**filter_))
    assert hours(answer.totals) == [[expected]]


def test_one_account_of_several_can_be_asked_for(reports: Reports) -> None:
    """By cloudigrade's id."""
    reports.hold(1, [RAN[0]])
    reports.hold(2, [RAN[1]])
    answer = reports.runtime(START, END, filter=reports_pb2.Filter(account_ids=[2]))
    assert hours(answer.totals) == [[18]]


@pytest.mark.parametrize(
    "filter_",
    [{"account_ids": [2]}, {"image_ids": ["ami-00000002"]}, {"instance_ids": ["i-00000002"]}],
)
def test_a_filter_that_names_what_is_not_visible_is_not_found(
    reports: Reports, filter_: dict[str, Any]
) -> None:
    """Max's account, image and instance do not exist for somebody else, though they are kept."""
    reports.hold(1, [RAN[0]], owner=ADA)
    reports.hold(2, [RAN[1]], owner=MAX)
    reports.hold(3, [RAN[0]], owner=3)
    reports.stub.GetRuntime(reports_pb2.GetRuntimeRequest(start_time=START, end_time=END))
    request = reports_pb2.GetRuntimeRequest(
        start_time=START, end_time=END, filter=reports_pb2.Filter(**filter_)
    )
    reports.source.held[2].owner, reports.source.held[1].owner = ADA, MAX
    with pytest.raises(grpc.RpcError) as refused:
        reports.caller("max-token").GetRuntime(request)
    assert told(refused.value).code is grpc.StatusCode.NOT_FOUND


def test_a_report_says_what_was_not_confirmed(reports: Reports) -> None:
    """One Region is known beyond the window, one only into it, one not at all."""
    regions = (
        RegionStatus("eu-west-1", at(22, 11)),
        RegionStatus("us-east-1", at(21, 11), "AccessDenied"),
        RegionStatus("ap-south-1", None),
    )
    reports.hold(1, RAN, name="production", regions=regions)
    found = reports.runtime(START, END).unconfirmed
    assert [(each.region, each.trouble, each.HasField("confirmed_through")) for each in found] == [
        ("us-east-1", "AccessDenied", True),
        ("ap-south-1", "", False),
    ]
    assert found[0].confirmed_through.ToDatetime(UTC) == datetime(2026, 11, 21, 11, tzinfo=UTC)
    assert {(each.account_id, each.account_name) for each in found} == {(1, "production")}


def test_an_account_without_any_region_is_unconfirmed_as_a_whole(reports: Reports) -> None:
    """It stands there once, without a Region."""
    reports.hold(1, RAN)
    found = reports.runtime(START, END).unconfirmed
    assert [(each.account_id, each.region) for each in found] == [(1, "")]


def test_peaks_alone_can_be_asked_for(reports: Reports) -> None:
    """Both instances are on from 12:00 to 13:00 of the first day."""
    reports.hold(1, RAN)
    answer = reports.stub.GetConcurrency(
        reports_pb2.GetConcurrencyRequest(
            start_time=START,
            end_time=END,
            bucket=reports_pb2.BUCKET_DAY,
            group_by=[reports_pb2.DIMENSION_DISTRIBUTION],
        )
    )
    totals = [(row.peak_instances, row.peak_vcpus) for row in answer.totals]
    assert totals == [(2, 6), (1, 4)]
    assert answer.totals[0].peak_vcpus_time.ToDatetime(UTC).hour == 12
    assert [row.peak_instances for row in answer.rows] == [1, 1, 1, 0]
    assert not answer.rows[3].HasField("peak_instances_time")


def test_what_is_warm_is_never_stale(reports: Reports) -> None:
    """The same question gives the same answer without runs crossing again, until a fact changes."""
    reports.hold(1, [RAN[0]])
    assert hours(reports.runtime(START, END).totals) == [[3]]
    sent = reports.source.chunks
    assert hours(reports.runtime(START, END).totals) == [[3]]
    assert reports.source.chunks == sent
    reports.hold(1, RAN)
    reports.source.held[1].revision = 2
    assert hours(reports.runtime(START, END).totals) == [[21]]
    assert reports.source.chunks > sent


def test_only_the_account_that_changed_crosses_again(reports: Reports) -> None:
    """Of two accounts one is read once, the other twice."""
    reports.hold(1, [RAN[0]])
    reports.hold(2, [RAN[1]])
    reports.runtime(START, END)
    sent = reports.source.chunks
    reports.source.held[2].revision = 2
    assert hours(reports.runtime(START, END).totals) == [[21]]
    assert reports.source.chunks == sent * 3 // 2


def test_more_runs_than_one_chunk_arrive_whole(reports: Reports) -> None:
    """70,000 runs of one second."""
    first = at(20, 0)
    ran = [Ran(first + each * 10**6, first + (each + 1) * 10**6, ONE) for each in range(70_000)]
    reports.hold(1, ran)
    assert reports.runtime(START, END).totals[0].measures.runtime.seconds == 70_000


def test_a_stream_that_breaks_is_no_report(reports: Reports) -> None:
    """Half of the runs are not a smaller answer but UNAVAILABLE, and nothing of them is kept."""
    reports.hold(1, RAN)
    reports.source.fault = Unavailable("The database is away.")
    with pytest.raises(grpc.RpcError) as refused:
        reports.runtime(START, END)
    assert told(refused.value).code is grpc.StatusCode.UNAVAILABLE
    reports.source.fault = None
    assert hours(reports.runtime(START, END).totals) == [[21]]


def test_without_accounts_a_report_is_unavailable(reports: Reports) -> None:
    """And says when to try again."""
    reports.source_server.stop(timedelta(0))
    request = reports_pb2.GetRuntimeRequest(start_time=START, end_time=END)
    # A channel of our own would try again, for six seconds.
    with grpc.insecure_channel(reports.target) as channel:
        stub = reports_pb2_grpc.ReportServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetRuntime(request, metadata=(("authorization", "Bearer ada-token"),))
    answer = told(refused.value)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert answer.retry_seconds is not None
