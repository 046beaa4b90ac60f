"""The numbers of instance types and usage operations."""

import contextlib

import psycopg2
import pytest

from libs.common.errors import CloudigradeError
from services.accounts.database import Database
from services.accounts.label_store import LabelStore

_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'not now'; END $$;
CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON label
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def _labels(database: Database) -> dict[str, int]:
    with database.transaction() as cursor:
        cursor.execute("SELECT text, label_id FROM label")
        return dict(cursor.fetchall())


def test_a_number_that_was_not_committed_is_not_remembered(database: Database) -> None:
    """The commit fails once: the text gets its number with the next try, and runs may hold it."""
    labels = LabelStore(database)
    with database.transaction() as cursor:
        cursor.execute(_REFUSE)
    with pytest.raises((psycopg2.Error, CloudigradeError)):
        labels.learn({"m5.large"})
    with database.transaction() as cursor:
        cursor.execute("DROP TRIGGER refused ON label")
    labels.learn({"m5.large"})
    with database.transaction() as cursor:
        numbers = labels.numbers(cursor, {"m5.large"})
    assert numbers["m5.large"] == _labels(database)["m5.large"]


def test_two_processes_give_a_text_one_number(database: Database, database_url: str) -> None:
    """Whoever comes second takes the number that is there."""
    with contextlib.closing(Database(database_url, pool_size=2)) as other:
        LabelStore(database).learn({"a", "b"})
        theirs = LabelStore(other)
        theirs.learn({"b", "c"})
        with other.transaction() as cursor:
            numbers = theirs.numbers(cursor, {"a", "b", "c"})
    stored = _labels(database)
    assert {text: numbers[text] for text in "abc"} == stored
