"""Rows of hot paths that come together are kept together, and a bad one takes nothing from the others."""

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import BigInteger, Column, MetaData, String, Table, event, select
from sqlalchemy.exc import OperationalError

from contatto.kit.db.database import Database
from contatto.kit.db.postgres import PostgresDatabase
from contatto.kit.db.statements import WorkBatcher, write_rows
from contatto.kit.db.tx import Tx, insert_for

THINGS = Table(
    "gathered_things",
    MetaData(),
    Column("name", String(20), primary_key=True),
    Column("n", BigInteger, nullable=False),
)


def put_all(db: Database, *rows: dict[str, Any]) -> list[Any]:
    """Put rows at once; a repeated name counts up. Gives what each caller was told."""
    again = {"n": THINGS.c.n + 1}
    insert = insert_for(db.engine.dialect.name, THINGS)
    counting = insert.on_conflict_do_update(index_elements=["name"], set_=again)

    def count_rows(tx: Tx, some: Sequence[dict[str, Any]]) -> list[None]:
        write_rows(tx, counting, some)
        return [None] * len(some)

    batcher = WorkBatcher(partial(db.write, is_hurried=False), count_rows)

    async def together() -> list[Any]:
        return await asyncio.gather(*(batcher.submit(row) for row in rows), return_exceptions=True)

    return asyncio.run(together())


def kept(db: Database) -> dict[str, int]:
    return {row.name: row.n for row in db.read_now(lambda tx: tx.execute(select(THINGS)).all())}


def test_rows_that_come_together_share_commits_though_one_is_there_twice(database: Database) -> None:
    THINGS.create(database.engine)
    commits: list[str] = []
    event.listen(database.engine, "commit", lambda _: commits.append("commit"))
    assert (
        put_all(database, {"name": "a", "n": 1}, {"name": "b", "n": 1}, {"name": "a", "n": 1}) == [None] * 3
    )
    assert kept(database) == {"a": 2, "b": 1}
    assert len(commits) <= 2, "the first may be alone; the others wait for its commit"


def test_a_bad_row_is_refused_alone(database: Database) -> None:
    THINGS.create(database.engine)
    told = put_all(database, {"name": "a", "n": 1}, {"name": "bad", "n": None}, {"name": "b", "n": 1})
    assert isinstance(told.pop(1), sqlite3.IntegrityError | sqlalchemy.exc.IntegrityError)
    assert told == [None, None]
    assert kept(database) == {"a": 1, "b": 1}


def test_whoever_went_away_keeps_nobody_waiting(database: Database) -> None:
    THINGS.create(database.engine)

    async def one_goes() -> None:
        rows = [{"name": name, "n": 1} for name in ("gone", "stays")]
        gone, stays = (
            asyncio.ensure_future(database.write(partial(Tx.insert, table=THINGS, row=row), is_hurried=False))
            for row in rows
        )
        await asyncio.sleep(0)
        gone.cancel()
        await stays

    asyncio.run(one_goes())
    names = set(kept(database))
    # On PostgreSQL a thread of its own writes for who went away: perhaps later, perhaps never.
    assert names == {"gone", "stays"} or (isinstance(database, PostgresDatabase) and names == {"stays"})


def count_up(tx: Tx, numbers: Sequence[int]) -> list[int | Exception]:
    """Keep numbers; 7 is refused, and with 13 our own code fails after it has written."""
    tx.execute(THINGS.insert(), [{"name": str(n), "n": len(numbers)} for n in numbers if n != 7])
    if 13 in numbers:
        raise RuntimeError("broken")
    return [ValueError("refused") if n == 7 else n * 2 for n in numbers]


def test_works_that_come_together_share_a_transaction_and_each_has_its_own_answer(database: Database) -> None:
    THINGS.create(database.engine)
    work = WorkBatcher(database.write, count_up, most=3)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(work.submit(n) for n in (1, 7, 2, 3)), return_exceptions=True)

    one, refused, *others = asyncio.run(all_at_once())
    assert isinstance(refused, ValueError)
    assert [one, *others] == [2, 4, 6]
    assert kept(database) == {"1": 3, "2": 3, "3": 1}


def test_a_broken_work_is_found_and_leaves_the_others_alone(database: Database) -> None:
    THINGS.create(database.engine)
    work = WorkBatcher(database.write, count_up)

    async def all_at_once() -> list[Any]:
        told = await asyncio.gather(*(work.submit(n) for n in (1, 13, 2)), return_exceptions=True)
        return [*told, await work.submit(3)]

    one, broken, *others = asyncio.run(all_at_once())
    assert isinstance(broken, RuntimeError)
    assert [one, *others] == [2, 4, 6]
    assert kept(database) == {"1": 1, "2": 1, "3": 1}


@pytest.mark.parametrize("failing", [1, 2])
def test_works_stay_together_when_none_is_at_fault_and_are_tried_once_more(
    database: Database, failing: int
) -> None:
    tried: list[int] = []

    def count(_tx: Tx, numbers: Sequence[int]) -> list[int | Exception]:
        tried.append(len(numbers))
        if len(tried) <= failing:
            raise OperationalError("select", {}, RuntimeError("the database is away"))
        return list(numbers)

    work = WorkBatcher(database.write, count)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(work.submit(n) for n in (1, 2)), return_exceptions=True)

    told = asyncio.run(all_at_once())
    assert tried == [2, 2]
    assert [isinstance(each, OperationalError) for each in told] == [failing == 2] * 2


def test_whoever_stops_waiting_for_a_work_keeps_nobody_waiting(database: Database) -> None:
    THINGS.create(database.engine)
    work = WorkBatcher(database.write, count_up)

    async def one_goes() -> int:
        gone, stays = (asyncio.ensure_future(work.submit(n)) for n in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(one_goes()) == 4
