"""Requests of ReportService, checked and brought into the domain's terms."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cloudigrade.reports.v1 import reports_pb2
from libs.common.checks import Checks
from libs.common.errors import Unimplemented
from libs.common.instants import Micros
from libs.common.timestamps import from_timestamp
from services.reports.filters import Filter
from services.reports.groups import Dimension
from services.reports.reporter import Question
from services.reports.windows import EARLIEST, LATEST, Bucket, Window
from services.reports.zones import load_zone

_BUCKETS: Mapping[int, Bucket] = MappingProxyType(
    {
        reports_pb2.BUCKET_UNSPECIFIED: Bucket.NONE,
        reports_pb2.BUCKET_HOUR: Bucket.HOUR,
        reports_pb2.BUCKET_DAY: Bucket.DAY,
        reports_pb2.BUCKET_WEEK: Bucket.WEEK,
        reports_pb2.BUCKET_MONTH: Bucket.MONTH,
    }
)
_DIMENSIONS: Mapping[int, Dimension] = MappingProxyType(
    {reports_pb2.Dimension.Value(f"DIMENSION_{each.name}"): each for each in Dimension}
)
_MOST_NAMED = 1_000
_LONGEST_PATTERN = 1_000

WindowedRequest = reports_pb2.GetRuntimeRequest | reports_pb2.GetConcurrencyRequest


def question(request: WindowedRequest) -> Question:
    """Return what a request asks; InvalidRequest with everything that is wrong with it."""
    checks = Checks()
    start, end = (_instant(request, name, checks) for name in ("start_time", "end_time"))
    as_of = _instant(request, "as_of", checks)
    _check_window(request, start, end, checks)
    checks.parsed("time_zone", load_zone, request.time_zone)
    checks.that(request.bucket in _BUCKETS, "bucket", "is not one of the buckets")
    _check_dimensions(request.group_by, checks)
    _check_filter(request.filter, checks)
    checks.finish()
    if start is None or end is None:
        raise AssertionError("finish() has raised for these")
    return Question(
        window=Window(start, end),
        bucket=_BUCKETS[request.bucket],
        time_zone=request.time_zone,
        by=tuple(_DIMENSIONS[each] for each in request.group_by),
        filter=_filter(request.filter),
        as_of=as_of,
    )


def check_observed(view: int) -> None:
    """Return for the view as observed; InvalidRequest for what is none of the views."""
    checks = Checks()
    known = view in reports_pb2.LicensingView.values()
    checks.that(known, "licensing_view", "is not one of the views")
    checks.finish()
    if view != reports_pb2.LICENSING_VIEW_UNSPECIFIED:
        raise Unimplemented("Licensing views are not built yet: leave licensing_view unset.")


def _instant(request: WindowedRequest, name: str, checks: Checks) -> Micros | None:
    if not request.HasField(name):
        return None
    return checks.parsed(name, from_timestamp, getattr(request, name))


def _check_window(
    request: WindowedRequest, start: Micros | None, end: Micros | None, checks: Checks
) -> None:
    for name in ("start_time", "end_time"):
        checks.required(name, request.HasField(name))
    if start is not None:
        checks.that(start >= EARLIEST, "start_time", "must be in the year 1970 or later")
    if end is not None:
        checks.that(end <= LATEST, "end_time", "must be before the year 9999")
    if start is not None and end is not None:
        checks.that(start < end, "end_time", "must be after start_time")


def _check_dimensions(group_by: Sequence[int], checks: Checks) -> None:
    for place, each in enumerate(group_by):
        field = f"group_by[{place}]"
        if checks.that(each in _DIMENSIONS, field, "is not one of the dimensions"):
            checks.that(each not in group_by[:place], field, "is there already")


def _check_filter(wanted: reports_pb2.Filter, checks: Checks) -> None:
    for name in ("account_ids", "regions", "distributions", "image_ids", "instance_ids", "tags"):
        checks.at_most(f"filter.{name}", getattr(wanted, name), _MOST_NAMED)
    checks.at_most("filter.name_pattern", wanted.name_pattern, _LONGEST_PATTERN)
    for place, each in enumerate(wanted.account_ids):
        checks.that(each > 0, f"filter.account_ids[{place}]", "must be the id of an account")
    for name in ("regions", "distributions", "image_ids", "instance_ids"):
        for place, text in enumerate(getattr(wanted, name)):
            checks.that(text, f"filter.{name}[{place}]", "must not be empty")
    checks.that("" not in wanted.tags, "filter.tags", "must not have an empty key")


def _filter(wanted: reports_pb2.Filter) -> Filter:
    return Filter(
        account_ids=tuple(wanted.account_ids),
        regions=tuple(wanted.regions),
        distributions=tuple(wanted.distributions),
        image_ids=tuple(wanted.image_ids),
        instance_ids=tuple(wanted.instance_ids),
        tags=tuple(sorted(wanted.tags.items())),
        name_pattern=wanted.name_pattern,
    )
