"""Schema steps: each leads on from the one before, and what another version wrote is left as it is."""

import importlib.util
import re
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from typer.testing import CliRunner

from contatto import migrations
from contatto.cli.main import app
from contatto.kit.db.database import Database
from contatto.kit.db.tx import metadata
from contatto.migrations.steps import UnknownSchema, migrate_schema
from tests import schema

STEPS = sorted((Path(migrations.__file__).parent / "versions").glob("[0-9]*.py"))


def test_each_step_follows_the_one_before() -> None:
    assert [path.name[:4] for path in STEPS] == [f"{number:04d}" for number in range(1, len(STEPS) + 1)]
    for number, path in enumerate(STEPS, start=1):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        step = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(step)
        assert step.down_revision == (f"{number - 1:04d}" if number > 1 else None)


def test_every_index_of_the_code_is_in_the_database(database: Database) -> None:
    """The comparison of schemas does not see indexes of expressions, so their names are compared."""
    wanted = {index.name for table in metadata.tables.values() for index in table.indexes}
    statement = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index'",
        "postgresql": "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'",
    }[database.engine.dialect.name]
    there = database.read_now(lambda tx: set(tx.execute(text(statement)).scalars()))
    assert wanted - there == set()


def test_steps_that_ran_are_not_run_again(database: Database) -> None:
    before = inspect(database.engine).get_table_names()
    migrate_schema(database.engine)
    assert inspect(database.engine).get_table_names() == before


def test_a_database_of_another_version_is_refused_and_left_alone(database: Database) -> None:
    database.write_now(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '0999'")))
    with pytest.raises(UnknownSchema, match="Another version"):
        migrate_schema(database.engine)
    assert database.read_now(lambda tx: tx.scalar(text("SELECT version_num FROM alembic_version"))) == "0999"


def test_the_command_says_that_another_version_wrote_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    file = tmp_path / "contatto.sqlite3"
    schema.copy_schema(file)
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    answer = CliRunner().invoke(app, ["member", "list"])
    assert answer.exit_code == 2
    assert re.search(r"Another\s+version", answer.output)
