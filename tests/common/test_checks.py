"""Checks of requests."""

import pytest

from libs.common.checks import Checks
from libs.common.errors import InvalidRequest, Violation
from libs.common.identifiers import instance_id


def test_every_wrong_field_is_reported() -> None:
    """One error holds them all, in order."""
    checks = Checks()
    assert not checks.required("name", "")
    assert not checks.that(False, "end_time", "must be after start_time")
    assert not checks.at_most("events", [1, 2, 3], 2)
    assert not checks.at_most("size", 11, 10)
    with pytest.raises(InvalidRequest) as caught:
        checks.finish()
    assert caught.value.violations == (
        Violation("name", "is required"),
        Violation("end_time", "must be after start_time"),
        Violation("events", "is 3; at most 2 is allowed"),
        Violation("size", "is 11; at most 10 is allowed"),
    )
    assert caught.value.message.startswith("name: is required; end_time: must be")


def test_nothing_wrong_raises_nothing() -> None:
    """Every check says that it holds, and finish returns."""
    checks = Checks()
    assert checks.required("name", "x")
    assert checks.at_most("events", [1], 1)
    assert checks.that(True, "f", "d")
    assert checks.parsed("instance_id", instance_id, "i-12345678") == "i-12345678"
    checks.finish()


def test_a_parsers_complaint_is_the_fields_description() -> None:
    """ValueError's text stands under the field."""
    checks = Checks()
    checks.parsed("events[3].instance_id", instance_id, "i-xyz")
    assert [each.field for each in checks.violations] == ["events[3].instance_id"]
    assert "'i-xyz' is not an instance id" in checks.violations[0].description


def test_a_nested_requests_complaints_keep_their_paths() -> None:
    """InvalidRequest raised by a parser is put under the outer field, field by field."""

    def parse(_value: str) -> str:
        raise InvalidRequest.many([Violation("start_time", "is required"), Violation("", "is odd")])

    def parse_plainly(_value: str) -> str:
        raise InvalidRequest("is not for you")

    checks = Checks()
    checks.parsed("window", parse, "")
    checks.parsed("owner", parse_plainly, "")
    assert checks.violations == [
        Violation("window.start_time", "is required"),
        Violation("window", "is odd"),
        Violation("owner", "is not for you"),
    ]


@pytest.mark.parametrize("text", ["x", "Ünï cödé", "x" * 10, "日本"])
def test_good_text_passes(text: str) -> None:
    """Of any script."""
    assert Checks().text("name", text, 10)


@pytest.mark.parametrize("text", ["", " ", "x" * 11, " x", "x\n", "a\0b", "a\tb", "\u202ex"])
def test_text_that_cannot_be_stored_or_shown_is_refused(text: str) -> None:
    """Empty, too long, padded, or with what terminals and databases choke on: one violation."""
    checks = Checks()
    assert not checks.text("name", text, 10)
    assert [each.field for each in checks.violations] == ["name"]
