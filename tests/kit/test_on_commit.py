"""Who waits for commits is told of every change, and of nothing else."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from contatto.inbox.model import NoticePosted
from contatto.kit.db.database import Database
from contatto.kit.db.postgres import PostgresDatabase
from contatto.kit.db.statements import insert_all, names_of, table_of
from contatto.kit.db.tx import Clock, Tx
from contatto.kit.outbox import emit, list_events
from contatto.measurement.store import dropped_views
from contatto.wiring import AFTER
from tests.kit.test_outbox import drain


def change_something(tx: Tx) -> None:
    emit(tx, "b1", NoticePosted("b1", "conversation-1", "lead-1"))


def test_a_change_is_told_once_it_is_committed(database: Database) -> None:
    told: list[int] = []
    database.on_commit(lambda: told.append(len(database.read_now(lambda tx: list_events(tx, 0)))))
    database.write_now(change_something)
    asyncio.run(asyncio.wait_for(_wait_for(told), 60))
    assert told == [1]


def test_a_write_that_changes_nothing_tells_nobody_so_the_worker_does_not_wake_itself(
    database: Database,
) -> None:
    told: list[bool] = []
    database.on_commit(lambda: told.append(True))
    asyncio.run(_drain_twice(database))
    assert told == []


async def _drain_twice(database: Database) -> None:
    assert await drain(database, AFTER) == 0
    assert await drain(database, AFTER) == 0


def test_who_waits_for_one_table_is_not_told_of_another(database: Database) -> None:
    told: list[str] = []
    database.on_commit(lambda: told.append("events"), {"events"})
    database.on_commit(lambda: told.append("receipts"), {"receipts"})
    database.on_commit(lambda: told.append("any"))
    database.write_now(change_something)
    asyncio.run(asyncio.wait_for(_wait_for(told), 60))
    database.write_now(change_something)  # its commit comes after all that was told of the first
    assert "receipts" not in told
    assert {"events", "any"} <= set(told)


def test_rows_that_go_past_the_query_builder_are_told_of_too(database: Database) -> None:
    told: list[str] = []
    database.on_commit(lambda: told.append("views"), {"dropped_views"})
    row = {
        "business_id": "b1", "ad_group_id": "g", "day": "d", "ad_account_id": "a", "views": 1,
        "cost_micros": 0,
    }  # fmt: skip
    database.write_now(lambda tx: insert_all(tx, dropped_views, [row]))
    asyncio.run(asyncio.wait_for(_wait_for(told), 60))
    assert told == ["views"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_another_process_wakes_only_whom_its_change_concerns(database: Database) -> None:
    async def listen() -> list[str]:
        told: list[str] = []
        url = database.engine.url.render_as_string(hide_password=False)
        other = PostgresDatabase(url, Clock(), database.vault, database.ports)
        for table in ("receipts", "events"):
            other.on_commit(partial(told.append, table), {table})
        watching = asyncio.create_task(other.watch())
        while not told:  # until it listens, it is told of nothing
            await database.write(change_something)
            await asyncio.sleep(0.05)
        watching.cancel()
        other.close()
        return told

    assert set(asyncio.run(asyncio.wait_for(listen(), 60))) == {"events"}


def test_what_a_process_has_seen_to_alone_and_what_is_not_known_wakes_all_others() -> None:
    assert names_of({"leads", "events"}) == "events,leads"
    for unsure in (None, {"", "leads"}):
        assert names_of(unsure) == ""


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("INSERT INTO leads (id) VALUES (?)", "leads"),
        ('INSERT OR IGNORE INTO "leads" (id) VALUES (?)', "leads"),
        ("UPDATE leads SET name=?", "leads"),
        ("DELETE FROM leads WHERE id=?", "leads"),
        ("WITH some AS (SELECT 1) DELETE FROM leads", "*"),
        ("WITH some AS (SELECT 1)\nUPDATE leads AS l SET name=?", "*"),
        ("WITH some AS (INSERT INTO leads DEFAULT VALUES RETURNING id) SELECT id FROM some", "*"),
        ("WITH RECURSIVE turn(id) AS (SELECT 1) SELECT id FROM turn", ""),
        ("WITH some AS (SELECT 1) SELECT id FROM leads FOR UPDATE SKIP LOCKED", ""),
        ("SELECT 1", ""),
        ("SAVEPOINT sa_savepoint_1", ""),
    ],
)
def test_the_table_of_a_statement_is_read_off_its_text(sql: str, table: str) -> None:
    assert table_of(sql) == table


async def _wait_for(told: Sequence[object]) -> None:
    while not told:
        await asyncio.sleep(0.01)
