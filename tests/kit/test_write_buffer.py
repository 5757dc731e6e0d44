"""Rows that come while another process holds SQLite's file: answered at once, and in their tables later."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, String, Table, select

from contatto.kit.db.sqlite import ENDING, SqliteDatabase
from contatto.kit.db.tx import Parts, SystemClock, insert_for
from contatto.kit.vault import Vault
from tests.journeys.running import until

things = Table(
    "things",
    sqlalchemy.MetaData(),
    Column("number", Integer, primary_key=True),
    Column("name", String, unique=True),
    Column("n", Integer),
)
COUNTING = insert_for("sqlite", things).on_conflict_do_update(
    index_elements=["name"], set_={"n": things.c.n + 1}
)
PLAIN = things.insert()


@contextmanager
def opened(folder: Path) -> Iterator[SqliteDatabase]:
    url = f"sqlite:///{folder / 'test.db'}"
    db = SqliteDatabase(url, SystemClock(), Vault({"test": bytes(32)}), Parts())
    try:
        yield db
    finally:
        db.close()


@contextmanager
def another_writes(folder: Path) -> Iterator[sqlite3.Connection]:
    """Hold the file as the transaction of another process does."""
    with closing(sqlite3.connect(folder / "test.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        other.execute("COMMIT")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with opened(tmp_path) as db:
        things.create(db.engine)
        yield db


def append(db: SqliteDatabase, *names: str, statement: object = COUNTING) -> None:
    """Append one after the other; each is durable then."""

    async def all_of_them() -> None:
        async with asyncio.timeout(8):  # less than the time after which a held file is an error
            for name in names:
                await db.append(statement, {"name": name, "n": 1})

    asyncio.run(all_of_them())


def rows(db: SqliteDatabase) -> list[tuple[str, int]]:
    """Names and numbers, in the order in which they came into the table."""
    return [
        (row.name, row.n)
        for row in db.read_now(lambda tx: tx.execute(select(things).order_by(things.c.number)).all())
    ]


def spooled(folder: Path) -> int:
    """How many groups of rows lie in the spool that was left by a writer."""
    with closing(sqlite3.connect(folder / f"test.db{ENDING}")) as file:
        return int(file.execute("SELECT count(*) FROM spooled").fetchone()[0])


def test_a_row_is_kept_at_once_while_another_process_writes_and_is_in_its_table_after_that(
    db: SqliteDatabase, tmp_path: Path
) -> None:
    with another_writes(tmp_path):
        append(db, "a", "b", "a")
        assert rows(db) == []
    assert until(lambda: rows(db) == [("a", 2), ("b", 1)])


def test_nothing_is_kept_apart_where_nobody_else_writes(db: SqliteDatabase, tmp_path: Path) -> None:
    append(db, "a", "b")
    assert rows(db) == [("a", 1), ("b", 1)]
    assert not (tmp_path / f"test.db{ENDING}").exists()


def test_what_was_kept_apart_comes_before_what_is_written_later(db: SqliteDatabase, tmp_path: Path) -> None:
    with another_writes(tmp_path):
        append(db, "first", "second")
    append(db, "third")
    assert [name for name, _ in rows(db)] == ["first", "second", "third"]


def test_a_write_sees_all_rows_that_were_answered_before(db: SqliteDatabase, tmp_path: Path) -> None:
    with another_writes(tmp_path):
        append(db, "a")
    assert db.write_now(lambda tx: tx.execute(select(things.c.name)).scalars().all()) == ["a"]


def test_rows_that_a_crash_left_behind_are_in_their_table_after_the_next_start(
    db: SqliteDatabase, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed"
    with another_writes(tmp_path):
        append(db, "a", "b")
        shutil.copytree(tmp_path, crashed, ignore=shutil.ignore_patterns("*-shm", "crashed"))
    with opened(crashed) as again:
        assert until(lambda: rows(again) == [("a", 1), ("b", 1)])
    assert spooled(crashed) == 0


def test_rows_are_crossed_out_once_they_are_in_their_table(db: SqliteDatabase, tmp_path: Path) -> None:
    with another_writes(tmp_path):
        append(db, "a")
    append(db, "b")
    db.close()
    assert spooled(tmp_path) == 0
    with opened(tmp_path) as again:
        append(again, "c")
        assert rows(again) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_row_that_its_table_refuses_keeps_no_other_out(db: SqliteDatabase, tmp_path: Path) -> None:
    append(db, "taken")
    with another_writes(tmp_path):
        append(db, "a", "taken", "b", statement=PLAIN)
    assert until(lambda: rows(db) == [("taken", 1), ("a", 1), ("b", 1)])


def test_rows_stay_kept_while_their_table_cannot_be_written(db: SqliteDatabase, tmp_path: Path) -> None:
    with another_writes(tmp_path) as other:
        append(db, "a")
        other.execute("ALTER TABLE things RENAME TO hidden")
    assert db.write_now(lambda _: "others write") == "others write"
    with another_writes(tmp_path) as other:
        other.execute("ALTER TABLE hidden RENAME TO things")
    assert until(lambda: rows(db) == [("a", 1)])


def test_where_another_process_keeps_rows_apart_one_waits_for_the_file(
    db: SqliteDatabase, tmp_path: Path
) -> None:
    with opened(tmp_path) as other:
        with another_writes(tmp_path):
            append(other, "theirs")
            with pytest.raises(TimeoutError):
                asyncio.run(asyncio.wait_for(db.append(COUNTING, {"name": "ours", "n": 1}), 0.2))
        assert until(lambda: sorted(rows(db)) == [("ours", 1), ("theirs", 1)])


def test_no_more_rows_are_kept_apart_than_are_soon_poured(
    db: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contatto.kit.db.sqlite.MOST", 2)
    with another_writes(tmp_path):
        append(db, "a", "b")
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(db.append(COUNTING, {"name": "c", "n": 1}), 0.2))
    assert until(lambda: [name for name, _ in rows(db)] == ["a", "b", "c"])


def test_where_rows_cannot_be_kept_apart_they_wait_in_their_order(db: SqliteDatabase, tmp_path: Path) -> None:
    (tmp_path / f"test.db{ENDING}").mkdir()

    async def both() -> None:
        rows = (db.append(COUNTING, {"name": name, "n": 1}) for name in ("a", "b"))
        await asyncio.wait_for(asyncio.gather(*rows), 0.2)

    with another_writes(tmp_path), pytest.raises(TimeoutError):
        asyncio.run(both())
    append(db, "c")
    assert [name for name, _ in rows(db)] == ["a", "b", "c"]


def test_a_row_that_nobody_can_insert_is_refused_once_the_file_is_free_and_takes_no_other_with_it(
    db: SqliteDatabase, tmp_path: Path
) -> None:
    async def both() -> list[object]:
        good = db.append(COUNTING, {"name": "a", "n": 1})
        bad = db.append(COUNTING, {"name": object(), "n": 1})
        held = asyncio.gather(good, bad, return_exceptions=True)
        await asyncio.sleep(0.05)
        other.execute("COMMIT")
        return list(await held)

    with another_writes(tmp_path) as other:
        first, second = asyncio.run(both())
        other.execute("BEGIN IMMEDIATE")
    assert first is None
    assert isinstance(second, sqlalchemy.exc.StatementError)
    assert rows(db) == [("a", 1)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(turns=st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("abc"), max_size=3)), max_size=5))
def test_whoever_writes_meanwhile_each_row_counts_once_and_in_its_order(
    db: SqliteDatabase, tmp_path: Path, turns: list[tuple[bool, list[str]]]
) -> None:
    db.write_now(lambda tx: tx.execute(things.delete()))
    for is_held, names in turns:
        if is_held:
            with another_writes(tmp_path):
                append(db, *names)
        else:
            append(db, *names)
    came = [name for _, names in turns for name in names]
    expected = [(name, came.count(name)) for name in dict.fromkeys(came)]
    db.write_now(lambda _: None)
    assert rows(db) == expected


@pytest.mark.parametrize("content", [b"no database at all " * 200, b"SQLite format 3\0" + bytes(4_000), None])
def test_a_spool_that_cannot_be_read_is_set_aside_and_the_start_goes_on(
    tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    spool = tmp_path / f"test.db{ENDING}"
    if content is None:  # a database whose rows something else wrote
        with closing(sqlite3.connect(spool, isolation_level=None)) as file:
            file.execute("CREATE TABLE spooled (id INTEGER PRIMARY KEY, rows BLOB NOT NULL)")
            file.execute("INSERT INTO spooled (rows) VALUES (x'00ff')")
    else:
        spool.write_bytes(content)
    with opened(tmp_path) as db:
        things.create(db.engine)
        db.write_now(lambda tx: tx.insert(things, {"number": 1, "name": "a", "n": 1}))
        with another_writes(tmp_path):
            asyncio.run(db.append(PLAIN, {"number": 2, "name": "b", "n": 1}))
    (aside,) = tmp_path.glob(f"test.db{ENDING}-unreadable-*")
    if content is not None:
        assert aside.read_bytes() == content
    assert aside.name in capfd.readouterr().out
