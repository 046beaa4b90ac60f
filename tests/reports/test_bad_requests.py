"""What is wrong with a request is said field by field, and nothing is computed for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.reports.v1 import reports_pb2
from libs.common.instants import to_micros
from tests.reports.conftest import NOW, Reports
from tests.support.reports import Machine, Ran
from tests.support.reports_source import REPORTS_TOKEN
from tests.support.statuses import told

START, END = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
WINDOW: dict[str, Any] = {"start_time": START, "end_time": END}


def refusal(reports: Reports, method: str = "GetRuntime", **asked: Any) -> Any:
    """Ask for what must be refused, and return what was said."""
    kind = getattr(reports_pb2, f"{method}Request")
    with pytest.raises(grpc.RpcError) as refused:
        getattr(reports.stub, method)(kind(**asked))
    return told(refused.value)


@pytest.mark.parametrize("method", ["GetRuntime", "GetConcurrency"])
@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ("start_time", "end_time")),
        ({"start_time": START}, ("end_time",)),
        ({"end_time": END}, ("start_time",)),
        ({"start_time": END, "end_time": START}, ("end_time",)),
        ({"start_time": START, "end_time": START}, ("end_time",)),
        ({"start_time": Timestamp(seconds=-1), "end_time": END}, ("start_time",)),
        ({"start_time": Timestamp(seconds=10**15), "end_time": END}, ("start_time",)),
        ({"start_time": START, "end_time": Timestamp(nanos=-5)}, ("end_time",)),
        (
            {"start_time": START, "end_time": datetime(9999, 6, 1, tzinfo=UTC)},
            ("end_time",),
        ),
        (WINDOW | {"time_zone": "Europe/Atlantis"}, ("time_zone",)),
        (WINDOW | {"time_zone": "../../etc/passwd"}, ("time_zone",)),
        (WINDOW | {"bucket": 99}, ("bucket",)),
        (WINDOW | {"group_by": [0]}, ("group_by[0]",)),
        (WINDOW | {"group_by": [1, 99]}, ("group_by[1]",)),
        (WINDOW | {"group_by": [1, 7, 1]}, ("group_by[2]",)),
        (WINDOW | {"filter": {"account_ids": [5, 0]}}, ("filter.account_ids[1]",)),
        (WINDOW | {"filter": {"regions": [""]}}, ("filter.regions[0]",)),
        (WINDOW | {"filter": {"distributions": ["rhel", ""]}}, ("filter.distributions[1]",)),
        (WINDOW | {"filter": {"image_ids": ["ami-1"] * 1001}}, ("filter.image_ids",)),
        (WINDOW | {"filter": {"tags": {"": "x"}}}, ("filter.tags",)),
        (WINDOW | {"filter": {"name_pattern": "x" * 1001}}, ("filter.name_pattern",)),
        (WINDOW | {"as_of": NOW + timedelta(seconds=1)}, ("as_of",)),
        (WINDOW | {"as_of": Timestamp(seconds=10**15)}, ("as_of",)),
        ({"bucket": 99, "time_zone": "x"}, ("start_time", "end_time", "time_zone", "bucket")),
    ],
)
def test_a_bad_request_names_every_field(
    reports: Reports, method: str, asked: dict[str, Any], fields: tuple[str, ...]
) -> None:
    """INVALID_ARGUMENT, with the path of each field that is wrong."""
    answer = refusal(reports, method, **asked)
    assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, fields)


def test_an_unknown_licensing_view_is_refused(reports: Reports) -> None:
    """The number is in none of the views."""
    answer = refusal(reports, **WINDOW, licensing_view=99)
    assert (answer.code, answer.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        ("licensing_view",),
    )


def test_more_buckets_than_rows_allowed_are_refused_before_anything_is_read(
    reports: Reports,
) -> None:
    """Every hour of 20 years."""
    answer = refusal(
        reports,
        start_time=START,
        end_time=START + timedelta(days=7300),
        bucket=reports_pb2.BUCKET_HOUR,
    )
    assert reports.source.streams == 0
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_ROWS")
    assert answer.fields == ("bucket",)


def test_more_rows_than_allowed_are_refused(reports: Reports) -> None:
    """1,440 hours of 14 instances are 20,160 rows."""
    start = to_micros(START)
    reports.hold(1, [Ran(start, None, Machine(f"i-{number:08x}")) for number in range(14)])
    answer = refusal(
        reports,
        start_time=START - timedelta(days=58),
        end_time=END,
        bucket=reports_pb2.BUCKET_HOUR,
        group_by=[reports_pb2.DIMENSION_INSTANCE],
    )
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_ROWS")
    assert answer.fields == ("group_by",)
    assert answer.metadata["rows"] == "20160"


def test_an_answer_too_large_for_a_message_is_refused(reports: Reports) -> None:
    """18,000 rows with long values would be more than 4 MiB."""
    start = to_micros(START)
    ran = [
        Ran(start, None, Machine(f"i-{number:08x}", image=f"ami-{number:0200x}"))
        for number in range(13)
    ]
    reports.hold(1, ran)
    answer = refusal(
        reports,
        start_time=START - timedelta(days=55),
        end_time=END,
        bucket=reports_pb2.BUCKET_HOUR,
        group_by=[reports_pb2.DIMENSION_IMAGE],
    )
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_ROWS")
    assert int(answer.metadata["bytes"]) > 4 * 2**20


@pytest.mark.parametrize("token", [None, "nobody-s-token", REPORTS_TOKEN])
def test_a_call_without_a_users_token_is_refused(reports: Reports, token: str | None) -> None:
    """Before its request is looked at; a service's token is no user's."""
    with pytest.raises(grpc.RpcError) as refused:
        reports.caller(token).GetRuntime(reports_pb2.GetRuntimeRequest())
    assert told(refused.value).code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("ListInstanceRuntimes", WINDOW),
        ("GetAccountOverview", WINDOW),
        ("GetFindings", WINDOW),
        ("GetRuntime", WINDOW | {"licensing_view": reports_pb2.LICENSING_VIEW_AWS_BILLED}),
    ],
)
def test_what_is_not_built_says_so(reports: Reports, method: str, asked: dict[str, Any]) -> None:
    """UNIMPLEMENTED, with what to do instead."""
    assert refusal(reports, method, **asked).code is grpc.StatusCode.UNIMPLEMENTED


def test_an_export_is_not_built(reports: Reports) -> None:
    """UNIMPLEMENTED once its stream is read."""
    with pytest.raises(grpc.RpcError) as refused:
        next(reports.stub.ExportRuntime(reports_pb2.ExportRuntimeRequest()))
    assert told(refused.value).code is grpc.StatusCode.UNIMPLEMENTED
