"""The two databases that the store tests run on are real and empty."""

import sqlalchemy


def test_every_test_gets_an_empty_database(engine_url: str) -> None:
    engine = sqlalchemy.create_engine(engine_url)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.exec_driver_sql("CREATE TABLE planted (id INTEGER)")
    engine.dispose()


def test_what_one_test_writes_no_other_test_sees(engine_url: str) -> None:
    test_every_test_gets_an_empty_database(engine_url)
