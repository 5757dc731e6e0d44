"""SQLite's one writer: commits in groups, and each write for itself."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Column, Integer, String, Table, event, func, select

from contatto.accounts.store import businesses
from contatto.kit.db import database as kit_database
from contatto.kit.db.database import ANALYZES_AFTER, SqliteDatabase
from contatto.kit.db.statements import WorkBatcher, write_rows
from contatto.kit.db.tx import FixedClock, Parts, Tx, driver_of, insert_for
from contatto.kit.vault import Vault
from contatto.migrations.steps import migrate_schema

things = Table(
    "things", sqlalchemy.MetaData(), Column("name", String, primary_key=True), Column("n", Integer)
)
COUNTING = insert_for("sqlite", things).on_conflict_do_update(
    index_elements=["name"], set_={"n": things.c.n + 1}
)


@pytest.fixture
def db(
    sqlite_template: Path, tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqliteDatabase]:
    monkeypatch.setattr(kit_database, "GROUP_S", 10.0)  # on a busy machine the usual time is soon over
    shutil.copy(sqlite_template, tmp_path / "test.db")
    opened = SqliteDatabase(f"sqlite:///{tmp_path / 'test.db'}", clock, Vault({"test": bytes(32)}), Parts())
    things.create(opened.engine)
    yield opened
    opened.close()


def test_a_migration_is_not_refused_when_another_process_writes_meanwhile(
    tmp_path: Path, clock: FixedClock
) -> None:
    path = tmp_path / "new.db"
    database = SqliteDatabase(f"sqlite:///{path}", clock, Vault({"test": bytes(32)}), Parts())
    turned_away = []

    def write_between(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if "CREATE TABLE alembic_version" in statement:
            other = sqlite3.connect(path, timeout=0)
            with closing(other), pytest.raises(sqlite3.OperationalError) as refused:
                other.execute("CREATE TABLE theirs (id INTEGER)")
            turned_away.append(refused.value)

    event.listen(database.engine, "before_cursor_execute", write_between)
    migrate_schema(database.engine)
    database.close()
    assert len(turned_away) == 1


@pytest.fixture
def commits(db: SqliteDatabase) -> list[str]:
    """Grows by one with each commit."""
    seen: list[str] = []
    event.listen(db.engine, "commit", lambda _: seen.append("commit"))
    return seen


def add(name: str) -> Any:
    def work(tx: Tx) -> str:
        tx.insert(things, {"name": name, "n": 1})
        return name

    return work


def rows(db: SqliteDatabase) -> dict[str, int]:
    return {row.name: row.n for row in db.read_now(lambda tx: tx.execute(select(things)).all())}


def held(db: SqliteDatabase, release: threading.Event) -> Any:
    """A write that keeps the writer busy, so that what follows queues up behind it."""
    started = threading.Event()

    def work(_tx: Tx) -> None:
        started.set()
        release.wait(60)

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(db.write_now, work)
        started.wait(60)
        yield
        release.set()
        future.result()


def run_group(db: SqliteDatabase, *waiting: Any) -> list[Any]:
    """Run writes so that they share one commit; give their results and errors."""
    release = threading.Event()
    holding = held(db, release)
    next(holding)

    async def all_of_them() -> list[Any]:
        tasks = [asyncio.ensure_future(each) for each in waiting]
        await asyncio.sleep(0.02)  # let each of them queue up
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(all_of_them())
    next(holding, None)
    return results


def test_writes_that_wait_together_share_one_commit(db: SqliteDatabase, commits: list[str]) -> None:
    names = [f"n{i}" for i in range(50)]
    assert run_group(db, *(db.write(add(name)) for name in names)) == names
    assert set(rows(db)) == set(names)
    assert len(commits) == 2  # of the write that held the writer, and of all the others


def test_one_failing_write_takes_nothing_from_the_others(db: SqliteDatabase) -> None:
    def fail_late(tx: Tx) -> None:
        tx.insert(things, {"name": "half done", "n": 1})
        raise LookupError("no")

    first, failed, last = run_group(db, db.write(add("a")), db.write(fail_late), db.write(add("b")))
    assert (first, last) == ("a", "b")
    assert isinstance(failed, LookupError)
    assert rows(db) == {"a": 1, "b": 1}


def test_even_an_error_that_no_future_may_carry_holds_up_nobody(db: SqliteDatabase) -> None:
    def stop(_tx: Tx) -> None:
        raise StopIteration

    stopped, added = run_group(db, db.write(stop), db.write(add("a")))
    assert isinstance(stopped, RuntimeError)
    assert added == "a"


def batcher_of(db: SqliteDatabase, statement: Any) -> WorkBatcher[dict[str, Any], None]:
    def write(tx: Tx, some: Sequence[dict[str, Any]]) -> list[None]:
        write_rows(tx, statement, some)
        return [None] * len(some)

    return WorkBatcher(partial(db.write, is_hurried=False), write)


async def put(batcher: WorkBatcher[dict[str, Any], None], name: Any, n: int = 1) -> None:
    await batcher.submit({"name": name, "n": n})


def test_rows_of_a_batcher_are_stored_once_each(db: SqliteDatabase) -> None:
    batcher = batcher_of(db, COUNTING)
    again = [put(batcher, name) for name in ("a", "b", "a")]
    asked: list[str] = []
    db.write_now(lambda tx: driver_of(tx).set_trace_callback(asked.append))
    assert run_group(db, *again) == [None, None, None]
    assert rows(db) == {"a": 2, "b": 1}
    savepoints = [each for each in asked if each.startswith("SAVEPOINT")]
    assert len(savepoints) == 2  # of the write that held the writer, and of all rows together


def test_one_bad_row_of_a_batcher_fails_alone_and_the_others_are_stored_once(db: SqliteDatabase) -> None:
    counting, plain = batcher_of(db, COUNTING), batcher_of(db, things.insert())
    good, bad, more = run_group(db, put(counting, "a"), put(counting, object()), put(counting, "b"))
    assert (good, more) == (None, None)
    assert isinstance(bad, sqlite3.Error)
    assert rows(db) == {"a": 1, "b": 1}
    first, twice = run_group(db, put(plain, "c"), put(plain, "c", 2))
    assert first is None
    assert isinstance(twice, sqlite3.IntegrityError)
    assert rows(db)["c"] == 1


def test_rows_and_writes_of_one_group_are_all_there(db: SqliteDatabase) -> None:
    run_group(db, db.write(add("w")), db.write(add("r"), is_hurried=False), db.write(add("v")))
    assert set(rows(db)) == {"w", "r", "v"}


def test_an_error_in_the_commit_reaches_every_caller_and_keeps_nothing(db: SqliteDatabase) -> None:
    def full(_connection: object) -> None:
        raise OSError("the disk is full")

    event.listen(db.engine, "commit", full)

    async def three() -> list[Any]:
        together = (db.write(add("a")), db.write(add("b"), is_hurried=False), db.write(add("c")))
        return await asyncio.gather(*together, return_exceptions=True)

    failed = asyncio.run(three())
    assert [type(error) for error in failed] == [OSError] * 3
    event.remove(db.engine, "commit", full)
    assert rows(db) == {}
    assert db.write_now(add("after")) == "after"


def test_writes_of_many_threads_and_a_loop_all_arrive(db: SqliteDatabase) -> None:
    def many(thread: int) -> None:
        for number in range(25):
            db.write_now(add(f"{thread}-{number}"))

    async def loop() -> None:
        await asyncio.gather(*(db.write(add(f"loop-{number}")) for number in range(100)))

    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(many, thread) for thread in range(6)]
        asyncio.run(loop())
        for future in futures:
            future.result()
    assert len(rows(db)) == 6 * 25 + 100


def test_a_caller_who_gave_up_does_not_hold_up_the_rest(db: SqliteDatabase) -> None:
    async def give_up() -> str:
        task = asyncio.ensure_future(db.write(add("a")))
        await asyncio.sleep(0)
        task.cancel()
        return await db.write(add("b"))

    assert asyncio.run(give_up()) == "b"
    assert rows(db) == {"a": 1, "b": 1}


def test_a_loop_that_is_gone_does_not_stop_the_writer(db: SqliteDatabase) -> None:
    async def leave() -> None:
        task = asyncio.ensure_future(db.write(add("a")))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert db.write_now(add("b")) == "b"


def test_a_listener_whose_loop_is_gone_does_not_stop_the_writer(db: SqliteDatabase) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    db.on_commit(lambda: loop.call_soon_threadsafe(print))
    assert db.write_now(add("a")) == "a"
    assert db.write_now(add("b")) == "b"


def test_writes_after_the_end_are_refused_instead_of_waiting_for_ever(
    sqlite_template: Path, tmp_path: Path, clock: FixedClock
) -> None:
    shutil.copy(sqlite_template, tmp_path / "other.db")
    db = SqliteDatabase(f"sqlite:///{tmp_path / 'other.db'}", clock, Vault({"test": bytes(32)}), Parts())
    assert db.read_now(lambda tx: tx.scalar(select(func.count()).select_from(businesses))) == 0
    db.close()
    with pytest.raises(RuntimeError, match="closed"):
        db.write_now(lambda _: None)


def test_the_file_finds_out_what_its_tables_hold_once_many_rows_have_changed(db: SqliteDatabase) -> None:
    def figures(tx: Tx) -> int:
        known = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'"
        return int(tx.connection.exec_driver_sql(known).scalar_one())

    def fill(tx: Tx) -> None:
        tx.execute(things.insert(), [{"name": f"thing {n}", "n": n} for n in range(ANALYZES_AFTER + 1)])

    db.write_now(lambda tx: tx.execute(things.insert(), {"name": "one", "n": 1}))
    assert db.write_now(figures) == 0
    db.write_now(fill)
    assert db.write_now(figures) == 1


def test_who_reads_hears_of_new_figures_by_a_new_connection(db: SqliteDatabase) -> None:
    def opened(tx: Tx) -> object:
        return tx.connection.connection.dbapi_connection

    def fill(tx: Tx) -> None:
        tx.execute(things.insert(), [{"name": f"thing {n}", "n": n} for n in range(ANALYZES_AFTER + 1)])

    def change(tx: Tx) -> None:
        tx.execute(things.update().values(n=things.c.n + 1))

    first = db.read_now(opened)
    db.write_now(fill)
    db.write_now(lambda tx: None)  # the writer learns between two writes
    second = db.read_now(opened)
    assert second is not first
    db.write_now(change)
    db.write_now(lambda tx: None)
    assert db.read_now(opened) is second, "nothing grew tenfold, so there was nothing to hear"
