"""The table between errors and statuses."""

from datetime import timedelta

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from libs.common import errors
from libs.common.statuses import CODES, code_of, from_rpc_error, to_status


def unpacked(status: Status) -> dict[str, ErrorInfo | BadRequest | RetryInfo]:
    """Return a status's details by their message's name."""
    found: dict[str, ErrorInfo | BadRequest | RetryInfo] = {}
    for detail in status.details:
        for kind in (ErrorInfo, BadRequest, RetryInfo):
            message = kind()
            if detail.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    return found


def test_every_error_of_the_family_has_a_code_and_a_reason() -> None:
    """Whoever adds one must add it to the table, with a reason in UPPER_SNAKE."""
    family = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.CloudigradeError)
        and not kind.__name__.startswith("_")
        and kind is not errors.CloudigradeError
    }
    assert family == set(CODES)
    assert len(set(CODES.values())) == len(CODES)
    for kind in family:
        assert kind.default_reason.replace("_", "").isalpha()
        assert kind.default_reason.isupper()


def test_a_subclass_has_its_parents_code() -> None:
    """A domain may name its own errors."""

    class NoSuchRun(errors.NotFound):
        """Made for this test."""

    assert code_of(NoSuchRun("no")) is grpc.StatusCode.NOT_FOUND
    assert code_of(errors.CloudigradeError("no")) is grpc.StatusCode.INTERNAL


def test_a_status_carries_reason_domain_and_metadata() -> None:
    """As AIP-193 has it, with what the call adds."""
    error = errors.NotFound("No such account.", reason="NO_ACCOUNT", metadata={"account": "7"})
    status = to_status(error, {"request_id": "r1"})
    assert (status.code, status.message) == (5, "No such account.")
    (info,) = unpacked(status).values()
    assert isinstance(info, ErrorInfo)
    assert (info.reason, info.domain) == ("NO_ACCOUNT", "cloudigrade")
    assert dict(info.metadata) == {"account": "7", "request_id": "r1"}


def test_a_bad_request_names_its_fields() -> None:
    """One violation for each, with its path."""
    violations = [errors.Violation("a.b[1]", "is bad"), errors.Violation("c", "is worse")]
    bad = unpacked(to_status(errors.InvalidRequest.many(violations)))["BadRequest"]
    assert isinstance(bad, BadRequest)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("a.b[1]", "is bad"),
        ("c", "is worse"),
    ]


def test_one_field_is_enough_for_a_bad_request() -> None:
    """The short form: whoever reads the message alone learns which field it is about."""
    error = errors.InvalidRequest("must be positive", field="size")
    assert to_status(error).message == "size: must be positive"
    assert error.violations == (errors.Violation("size", "must be positive"),)
    assert "BadRequest" not in unpacked(to_status(errors.InvalidRequest("no field at all")))


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.ResourceExhausted])
def test_what_may_be_tried_again_says_when(
    kind: type[errors.Unavailable | errors.ResourceExhausted],
) -> None:
    """After what was stated, else after a second."""
    for error, seconds in ((kind("x", retry_after=timedelta(seconds=7)), 7), (kind("x"), 1)):
        retry = unpacked(to_status(error))["RetryInfo"]
        assert isinstance(retry, RetryInfo)
        assert retry.retry_delay.seconds == seconds


def test_a_status_always_fits_its_header() -> None:
    """Ten thousand violations and a megabyte of text are cut below gRPC's 8 KiB."""
    violations = [errors.Violation(f"events[{i}]." + "x" * 500, "y" * 500) for i in range(10_000)]
    assert to_status(errors.InvalidRequest.many(violations)).ByteSize() < 7_000
    assert to_status(errors.InvalidRequest.many(violations[:8])).ByteSize() < 7_000
    assert to_status(errors.NotFound("z" * 1_000_000)).ByteSize() < 7_000


def test_few_violations_are_told_whole() -> None:
    """A sentence of 200 characters that says what is wrong and what to do instead."""
    bad = unpacked(to_status(errors.InvalidRequest("y" * 200, field="size")))["BadRequest"]
    assert isinstance(bad, BadRequest)
    assert bad.field_violations[0].description == "y" * 200


def test_what_is_no_call_comes_back_as_nothing() -> None:
    """An RpcError without a status means nothing to a caller."""
    assert from_rpc_error(grpc.RpcError()) is None
    assert from_rpc_error(RuntimeError("x")) is None
