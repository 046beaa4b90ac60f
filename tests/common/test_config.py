"""Settings from the environment."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from libs.common import config
from libs.common.config import ConfigError, ListenAddress, load, secrets_of, setting, settings_of
from libs.common.server_config import ServerConfig


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """A component's settings."""

    url: str = setting("CLOUDIGRADE_STORE_URL", doc="Where the store is.", why="-", secret=True)
    size: int = setting(
        "CLOUDIGRADE_STORE_SIZE",
        default="8",
        parse=config.integer(1, 64),
        doc="Connections.",
        why="Eight.",
    )


@dataclass(frozen=True, slots=True)
class ShopConfig:
    """A service's settings, made of its components'."""

    server: ServerConfig
    store: StoreConfig
    folder: Path | None = setting(
        "CLOUDIGRADE_SHOP_FOLDER",
        default="",
        parse=config.optional(config.path),
        doc="Where files go.",
        why="Nowhere unless told.",
    )


URL = {"CLOUDIGRADE_STORE_URL": "postgresql://me:hunter2@db/shop"}


def test_defaults_and_given_values_are_parsed_alike() -> None:
    """What is not set has its default, what is set its value, each in its type."""
    loaded = load(ShopConfig, {**URL, "CLOUDIGRADE_STORE_SIZE": "9"}, service="accounts")
    assert loaded.store == StoreConfig(url="postgresql://me:hunter2@db/shop", size=9)
    assert loaded.folder is None
    assert loaded.server.listen == ListenAddress("127.0.0.1", 50051)
    assert loaded.server.stop_grace == timedelta(seconds=10)


def test_a_shared_component_reads_its_services_variables() -> None:
    """The same class reads other names, with another default, for another service."""
    environ = {**URL, "CLOUDIGRADE_REPORTS_STREAMS": "5", "CLOUDIGRADE_ACCOUNTS_STREAMS": "6"}
    reports = load(ShopConfig, environ, service="reports").server
    assert (reports.streams, reports.listen.port) == (5, 50054)


def test_an_empty_variable_counts_as_not_set() -> None:
    """Compose files pass empty values for what nobody set."""
    assert load(StoreConfig, {**URL, "CLOUDIGRADE_STORE_SIZE": ""}).size == 8


def test_a_missing_value_is_one_line_with_its_variable() -> None:
    """The line names the variable and says what it is."""
    with pytest.raises(ConfigError) as caught:
        load(StoreConfig, {})
    assert str(caught.value) == "CLOUDIGRADE_STORE_URL must be set: Where the store is."


def test_a_bad_value_is_one_line_with_variable_value_and_wish() -> None:
    """The operator reads what was given and what is wanted."""
    with pytest.raises(ConfigError) as caught:
        load(StoreConfig, {**URL, "CLOUDIGRADE_STORE_SIZE": "many"})
    assert str(caught.value) == (
        "CLOUDIGRADE_STORE_SIZE is 'many': wants a whole number from 1 to 64"
    )


def test_all_bad_values_are_told_at_once() -> None:
    """Still one line, so that an operator corrects them in one go."""
    environ = {"CLOUDIGRADE_STORE_SIZE": "0", "CLOUDIGRADE_ACCOUNTS_LISTEN": "here"}
    with pytest.raises(ConfigError) as caught:
        load(ShopConfig, environ, service="accounts")
    text = str(caught.value)
    assert "\n" not in text
    for name in ("CLOUDIGRADE_ACCOUNTS_LISTEN", "CLOUDIGRADE_STORE_URL", "CLOUDIGRADE_STORE_SIZE"):
        assert name in text


def test_a_secret_is_never_shown() -> None:
    """Not in an error, not in the settings, not in the configuration's repr."""

    def refuse(_text: str) -> str:
        raise ValueError("hunter2 is short")

    @dataclass(frozen=True, slots=True)
    class Guarded:
        token: str = setting("CLOUDIGRADE_X", parse=refuse, doc="d", why="w", secret=True)

    with pytest.raises(ConfigError) as caught:
        load(Guarded, {"CLOUDIGRADE_X": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert settings_of(StoreConfig)[0].shown(URL) == "(secret, set)"
    assert "hunter2" not in repr(load(StoreConfig, URL))
    assert secrets_of(StoreConfig, URL) == ["postgresql://me:hunter2@db/shop"]


def test_every_setting_tells_what_config_prints() -> None:
    """Name, value, default, doc and why, components first as declared."""
    settings = {each.env: each for each in settings_of(ShopConfig, service="scanner")}
    size = settings["CLOUDIGRADE_STORE_SIZE"]
    assert (size.default, size.doc, size.why) == ("8", "Connections.", "Eight.")
    assert size.shown({"CLOUDIGRADE_STORE_SIZE": "9"}) == "9"
    assert settings["CLOUDIGRADE_STORE_URL"].shown({}) == "(not set, required)"
    assert settings["CLOUDIGRADE_SHOP_FOLDER"].shown({}) == "(not set)"
    assert settings["CLOUDIGRADE_SCANNER_LISTEN"].shown({}) == "127.0.0.1:50052"


def test_every_server_setting_says_what_it_is_and_why() -> None:
    """No setting is left undocumented, and each default can be parsed."""
    for each in settings_of(ServerConfig, service="accounts"):
        assert each.doc.endswith("."), each.env
        assert each.why.endswith("."), each.env
        each.value({})


def test_misspelt_variables_are_found_with_what_was_meant() -> None:
    """Only our own prefix is looked at."""
    environ = {"CLOUDIGRADE_STORE_SIZ": "9", "CLOUDIGRADE_QQ": "1", "HOME": "/", **URL}
    known = [each.env for each in settings_of(StoreConfig)]
    assert config.unknown(environ, known) == {
        "CLOUDIGRADE_QQ": "",
        "CLOUDIGRADE_STORE_SIZ": "CLOUDIGRADE_STORE_SIZE",
    }


def test_a_field_that_is_no_setting_is_a_defect() -> None:
    """A plain field would silently never be read."""

    @dataclass(frozen=True)
    class Plain:
        size: int = 3

    with pytest.raises(TypeError, match=r"Plain\.size"):
        load(Plain, {})


def test_a_start_error_ends_the_process_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, status 2, no trace."""
    with pytest.raises(SystemExit) as caught, config.one_line_failures():
        raise ConfigError("CLOUDIGRADE_X must be set: it.")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "cloudigrade: CLOUDIGRADE_X must be set: it.\n"


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (config.integer(0, 10), "10", 10),
        (config.integer(-5, 5), "-5", -5),
        (config.seconds, "500ms", timedelta(milliseconds=500)),
        (config.seconds, "1.5s", timedelta(seconds=1, milliseconds=500)),
        (config.seconds, "2h", timedelta(hours=2)),
        (config.seconds, "1d", timedelta(days=1)),
        (config.flag, "Yes", True),
        (config.flag, "0", False),
        (config.path, "/tmp/x", Path("/tmp/x")),
        (config.one_of("a", "b"), "b", "b"),
        (config.optional(config.flag), "", None),
        (config.optional(config.flag), "no", False),
        (config.listen_address, "0.0.0.0:1", ListenAddress("0.0.0.0", 1)),
        (config.listen_address, "[::1]:65535", ListenAddress("::1", 65535)),
    ],
)
def test_a_parser_takes_what_it_should(parse: Any, text: str, value: object) -> None:
    """Each form gives its value."""
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (config.integer(0, 10), "11"),
        (config.integer(0, 10), "-1"),
        (config.integer(0, 10), "1.0"),
        (config.integer(0, 10), "٣"),
        (config.integer(0, 10), "1" * 5000),
        (config.seconds, "30"),
        (config.seconds, "-1s"),
        (config.seconds, "s"),
        (config.flag, "maybe"),
        (config.one_of("a", "b"), "c"),
        (config.listen_address, "127.0.0.1"),
        (config.listen_address, ":50051"),
        (config.listen_address, "::1:50051"),
        (config.listen_address, "host:65536"),
        (config.listen_address, "host:-1"),
        (config.listen_address, "host:²"),
    ],
)
def test_a_parser_refuses_what_it_should(parse: Any, text: str) -> None:
    """Each raises ValueError with what is wanted."""
    with pytest.raises(ValueError, match="wants"):
        parse(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, *, loopback: bool) -> None:
    """Everything else may be reached from outside."""
    assert ListenAddress(host, 1).loopback is loopback


def test_a_listen_address_reads_back() -> None:
    """Brackets come back around IPv6."""
    for text in ("127.0.0.1:0", "[::1]:50051"):
        assert str(config.listen_address(text)) == text
