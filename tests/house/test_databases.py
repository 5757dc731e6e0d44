"""The two databases that the store tests run on are real and empty."""

import sqlalchemy
from sqlalchemy import func, select

from contatto.kit.db.database import Database
from contatto.kit.db.types import metadata
from contatto.migrations.steps import schema_differences


def test_every_test_gets_an_empty_database(engine_url: str) -> None:
    engine = sqlalchemy.create_engine(engine_url)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.exec_driver_sql("CREATE TABLE planted (id INTEGER)")
    engine.dispose()


def test_what_one_test_writes_no_other_test_sees(engine_url: str) -> None:
    test_every_test_gets_an_empty_database(engine_url)


def test_our_storage_has_its_tables_and_no_rows(database: Database) -> None:
    tables = metadata.sorted_tables
    assert {"businesses", "events"} <= {table.name for table in tables}
    counts = database.read_now(
        lambda tx: [tx.scalar(select(func.count()).select_from(each)) for each in tables]
    )
    assert set(counts) == {0}


def test_the_schema_steps_lead_to_the_tables_in_the_code(database: Database) -> None:
    assert schema_differences(database.engine) == [], 'run `make migration m="what changes"`'
