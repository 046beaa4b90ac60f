"""How the schema comes to be."""

import contextlib
import threading
from typing import Any

import psycopg2
import pytest
from playhouse.db_url import connect
from playhouse.migrations import Runner

from libs.common.embedded_postgres import EmbeddedPostgres
from services.accounts.database import MIGRATIONS, Database, SchemaTooNewError


def tables(url: str) -> set[str]:
    """Name the tables of a database."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in cursor.fetchall()}


def test_an_empty_database_gets_the_whole_schema_once(empty_database_url: str) -> None:
    """The first start applies every migration, the second none."""
    with contextlib.closing(Database(empty_database_url)) as database:
        assert database.migrate() == [
            "0001_initial",
            "0002_dated",
            "0003_described",
            "0004_erasing",
            "0005_authors",
        ]
        assert {"app_user", "cloud_account", "event", "run"} <= tables(empty_database_url)
        assert database.migrate() == []


def test_of_two_starters_one_migrates_and_the_other_waits(empty_database_url: str) -> None:
    """While somebody holds the lock a starter waits; then exactly one of three migrates."""
    with contextlib.closing(Database(empty_database_url)) as database:
        applied: list[list[str]] = []
        starters = [
            threading.Thread(target=lambda: applied.append(database.migrate())) for _ in range(3)
        ]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join(30)
        assert sorted(applied) == [
            [],
            [],
            ["0001_initial", "0002_dated", "0003_described", "0004_erasing", "0005_authors"],
        ]


def test_a_schema_of_a_later_version_is_refused(database_url: str) -> None:
    """A database that knows a migration which this version lacks is left alone, with a reason."""
    with contextlib.closing(Database(database_url)) as database:
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO schema_migration (name, applied) VALUES ('9999_x', now())")
        with pytest.raises(SchemaTooNewError, match="later version \\(9999_x\\)"):
            database.migrate()


def test_down_undoes_up(empty_database_url: str) -> None:
    """Every migration can be taken back, down to an empty database."""
    with contextlib.closing(Database(empty_database_url)) as database:
        names = database.migrate()
    pool: Any = connect(empty_database_url)  # type: ignore[no-untyped-call] # peewee's
    runner: Any = Runner(pool, str(MIGRATIONS))  # type: ignore[no-untyped-call] # peewee's
    with contextlib.closing(pool):
        assert runner.down(names[0]) == names[::-1]
    assert tables(empty_database_url) == {"schema_migration"}


def test_keys_and_indexes_of_what_grows_begin_with_the_account(database_url: str) -> None:
    """So that tables can be partitioned by account; the exceptions are named here with reason."""
    small = {"app_user", "token", "answered_request", "cloud_account", "schema_migration"}
    for_everybody = {"instance_type", "label"}
    # The relay asks for due jobs of all accounts; the index is partial, and holds live jobs only.
    of_the_relay = {"inspection_job_due"}
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        )
        others = {
            index
            for table, index, definition in cursor.fetchall()
            if table not in small | for_everybody and "(account_id" not in definition
        }
    assert others <= of_the_relay


def test_facts_have_no_null(database_url: str) -> None:
    """Every column but the last scan's summary is NOT NULL: 0 and '' say "none"."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT table_name || '.' || column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND is_nullable = 'YES'"
        )
        assert {name for (name,) in cursor.fetchall()} == {"scan_lease.last_scan"}


def test_a_database_per_test_is_a_copy(
    postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    """Tests get databases of their own on the session's server, migrated already."""
    assert postgres_server.running
    assert "cloud_account" in tables(database_url)
