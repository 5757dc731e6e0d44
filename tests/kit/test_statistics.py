"""Tables of PostgreSQL that grew are looked at again, before the server itself would."""

import pytest
from sqlalchemy import text

from contatto.kit.db import postgres
from contatto.kit.db.database import Database
from contatto.kit.db.postgres import GROWN_ROWS, analyze_grown_tables
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.outbox import events

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def nobody_looks_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the database would look by itself where a test takes longer than that."""
    monkeypatch.setattr(postgres, "LOOKS_AFTER_S", float("inf"))


def append_events(database: Database, count: int) -> None:
    def append(tx: Tx) -> None:
        row = {"business_id": new_id(), "name": "happened", "payload": "{}", "at": tx.now, "fanned_out": True}
        tx.execute(events.insert(), [row] * count)
        tx.execute(text("SELECT pg_stat_force_next_flush()"))

    database.write_now(append)


def learn(database: Database) -> list[str]:
    """Whether it is learnt about our table; tests before this one have left others that shrank."""
    with database.engine.connect() as connection:
        learnt = analyze_grown_tables(connection.execution_options(isolation_level="AUTOCOMMIT"))
    return [name for name in learnt if name == events.name]


def test_a_table_is_learnt_about_when_it_has_doubled_and_not_before(database: Database) -> None:
    database.write_now(lambda tx: tx.execute(text("ANALYZE events")))  # others have written before
    append_events(database, GROWN_ROWS)
    assert learn(database) == [], "so few rows tell little"
    append_events(database, 1)
    assert learn(database) == [events.name]
    append_events(database, GROWN_ROWS + 1)
    assert learn(database) == []
    append_events(database, 1)
    assert learn(database) == [events.name]


def test_what_was_made_ready_while_a_table_was_empty_is_planned_anew(database: Database) -> None:
    """Else it would go through all rows for as long as the server itself does not look."""
    append_events(database, 1)
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        run = connection.exec_driver_sql

        def plan() -> str:
            return "\n".join(row[0] for row in run("EXPLAIN EXECUTE find_events('{1,2,3}')"))

        run("SET plan_cache_mode = force_generic_plan")
        run("PREPARE find_events (bigint[]) AS SELECT * FROM events WHERE seq = ANY($1)")
        assert "Index" not in plan()
        append_events(database, 5 * GROWN_ROWS)
        assert "Index" not in plan()
        assert learn(database) == [events.name]
        assert "Index" in plan()
        connection.invalidate()  # no other test shall have what is set here
