"""The form of log lines, and what never stands in one."""

import logging

import structlog

from tests.support.logs import recorded_logs


def test_a_line_is_json_with_time_level_event_and_service() -> None:
    """And its own key-values, in one line whatever they hold."""
    with recorded_logs() as lines:
        structlog.get_logger().info("relay.published", job=7, note="two\nlines")
    assert lines.text.count("\n") == 1
    line = lines.one("relay.published")
    assert (line["level"], line["service"], line["job"]) == ("info", "test", 7)
    assert line["time"].endswith("Z")


def test_what_is_bound_stands_on_every_line() -> None:
    """The trace id above all; a bound service names the line's own."""
    with (
        recorded_logs() as lines,
        structlog.contextvars.bound_contextvars(request_id="r1", service="accounts"),
    ):
        structlog.get_logger().info("a.b")
    assert lines.one("a.b")["request_id"] == "r1"
    assert lines.one("a.b")["service"] == "accounts"


def test_lines_below_the_level_are_left_out() -> None:
    """At warning, info is silent."""
    with recorded_logs(level="warning") as lines:
        structlog.get_logger().info("quiet.one")
        structlog.get_logger().warning("loud.one")
    assert [line["event"] for line in lines.all()] == ["loud.one"]


def test_a_trace_stands_in_its_line() -> None:
    """As text under `exception`."""
    with recorded_logs() as lines:
        structlog.get_logger().error("it.failed", exc_info=RuntimeError("broken"))
    assert "RuntimeError: broken" in lines.one("it.failed")["exception"]


def test_known_secrets_are_taken_out_wherever_they_stand() -> None:
    """In a value, in a trace, in a key's text, escaped or not."""
    secret = 'pa"ss\\word-7'
    with recorded_logs(secrets=[secret, ""]) as lines:
        error = RuntimeError(f"cannot log in with {secret}")
        structlog.get_logger().error("login.failed", exc_info=error, tried=[secret])
    assert "word-7" not in lines.text
    assert lines.one("login.failed")["tried"] == ["(secret)"]


def test_values_under_secret_keys_are_taken_out() -> None:
    """Also when nobody said that they are secrets; a page token or a token's id is none."""
    with recorded_logs() as lines:
        structlog.get_logger().info("a.b", token="t0p", db_password="t0p", token_id=4, tokens=0)
    line = lines.one("a.b")
    assert "t0p" not in lines.text
    assert (line["token"], line["token_id"], line["tokens"]) == ("(secret)", 4, 0)


def test_urls_and_bearer_tokens_lose_their_secrets() -> None:
    """A driver's message may quote a URL; a trace, a header."""
    with recorded_logs() as lines:
        structlog.get_logger().info(
            "a.b",
            url="postgresql://ada:hunter2@db:5432/x",
            header="authorization: Bearer abcdefghijklmnopqrstuvwxyz",
            prose="the token is missing",
        )
    line = lines.one("a.b")
    assert line["url"] == "postgresql://ada:(secret)@db:5432/x"
    assert line["header"] == "authorization: Bearer (secret)"
    assert line["prose"] == "the token is missing"


def test_other_libraries_speak_in_the_same_form() -> None:
    """The standard library's warnings become lines; its chatter stays out at info."""
    with recorded_logs(level="info") as lines:
        logging.getLogger("urllib3.connectionpool").info("connected")
        logging.getLogger("urllib3.connectionpool").warning("lost %s", "it")
    line = lines.one("library.said")
    assert (line["logger"], line["message"], line["level"]) == (
        "urllib3.connectionpool",
        "lost it",
        "warning",
    )
