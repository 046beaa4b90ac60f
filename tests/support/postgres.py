"""PostgreSQL for tests: one server for the session, a fresh migrated database for each test."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql

from libs.common.embedded_postgres import UNSAFE_SETTINGS, EmbeddedPostgres
from services.accounts.database import Database

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Run a server for all tests, with one migrated database to copy from."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), UNSAFE_SETTINGS) as server:
        _migrate(server.url(_TEMPLATE))
        yield server


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Give the URL of a migrated database that is this test's own."""
    name = f"test_{next(_numbers)}"
    admin = postgres_server.url()
    _execute(admin, "CREATE DATABASE {} TEMPLATE {}", name, _TEMPLATE)
    yield postgres_server.url(name)
    _execute(admin, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Give the URL of a database of this test's own, without any table."""
    name = f"test_{next(_numbers)}"
    yield postgres_server.url(name)
    _execute(postgres_server.url(), "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Open a pool on a migrated database that is this test's own."""
    with contextlib.closing(Database(database_url, pool_size=10)) as pool:
        yield pool


@pytest.fixture
def private_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Run a server of this test's own, which may be killed and started again under the same URL."""
    with EmbeddedPostgres(tmp_path / "postgres", UNSAFE_SETTINGS) as server:
        yield server


def _migrate(url: str) -> None:
    # A template may have no connection while it is copied, so none is left open.
    with contextlib.closing(Database(url)) as database:
        database.migrate()


def _execute(url: str, statement: str, *names: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
