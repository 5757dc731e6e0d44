"""The two databases that the store tests run on are real and empty."""

from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, update

from contatto.accounts.store import businesses
from contatto.kit.db.database import Database
from contatto.kit.db.postgres import POLICY
from contatto.kit.db.tx import metadata
from tests import left_open, make, postgres
from tests.emptied import EmptiedDatabases
from tests.journeys.running import running_house, until
from tests.unchanged import has_worker, nothing_changes, wait_until_quiet

FILL = (
    "INSERT INTO jobs"
    " (business_id, kind, subject, destination, line, state, attempts, due_at, is_unsure, reason, created_at)"
    " VALUES ('one', 'planted', '', '', '', 'waiting', 0, 0, FALSE, '', 0) RETURNING id"
)


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


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLite cannot tell of them; PostgreSQL does
def test_the_schema_steps_lead_to_the_tables_in_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        differences = list(compare_metadata(MigrationContext.configure(connection), metadata))
    assert differences == [], 'run `make migration m="what changes"`'


def test_a_database_is_emptied_for_the_next_test_and_counts_from_the_start(
    emptied_databases: EmptiedDatabases,
) -> None:
    taken = emptied_databases.take()
    for _ in range(2):
        engine = sqlalchemy.create_engine(postgres.url_of(taken.name))
        with engine.begin() as connection:
            assert connection.exec_driver_sql(FILL).scalar() == 1
        open_still = engine.connect()  # a test may fail before it closes what it opened
        open_still.exec_driver_sql("LOCK TABLE jobs")
        emptied_databases.give_back(taken)
        open_still.invalidate()
        engine.dispose()
        assert emptied_databases.take() is taken
        with postgres.admin(taken.name) as admin:
            assert admin.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    emptied_databases.give_back(taken)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE planted (id INTEGER)",
        "ALTER TABLE jobs ALTER COLUMN kind DROP NOT NULL",
        "ALTER TABLE leads DISABLE ROW LEVEL SECURITY",
        f"DROP POLICY {POLICY} ON leads",
        "DROP INDEX ix_jobs_due",
        "UPDATE alembic_version SET version_num = version_num",
    ],
)
def test_a_database_with_another_schema_is_not_used_again(
    emptied_databases: EmptiedDatabases, change: str
) -> None:
    taken = emptied_databases.take()
    with postgres.admin(taken.name) as admin:
        admin.execute(change)
    emptied_databases.give_back(taken)
    following = emptied_databases.take()
    assert following.name != taken.name
    emptied_databases.give_back(following)


def test_a_row_that_changed_is_noticed_and_one_that_did_not_is_not(database: Database) -> None:
    database.write_now(make.business)
    with nothing_changes(database):
        pass
    with pytest.raises(AssertionError, match="businesses"), nothing_changes(database):
        database.write_now(lambda tx: tx.execute(update(businesses).values(name="Renamed")))


def test_who_waits_for_a_background_that_is_not_there_is_told(database: Database) -> None:
    with pytest.raises(AssertionError, match="no worker"):
        wait_until_quiet(database)


def test_the_background_of_a_house_is_recognized(tmp_path: Path) -> None:
    with running_house(tmp_path) as house:
        assert until(lambda: has_worker(house.context.db))
        wait_until_quiet(house.context.db)


def test_a_connection_that_nobody_closed_is_told_of_with_the_place_where_it_was_made(
    postgres_url: str,
) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    engine.connect().close()  # it stays open in the pool, which nobody ends
    del engine
    before = set(left_open._lines)
    (line,) = set(left_open.lines_of_left_open()) - before
    left_open._lines.remove(line)
    assert (
        f"{test_a_connection_that_nobody_closed_is_told_of_with_the_place_where_it_was_made.__name__} "
        in line
    )
