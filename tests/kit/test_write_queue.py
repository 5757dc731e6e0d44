"""SQLite's writer: long work gives way, and no business or process waits behind all writes of another."""

import asyncio
import itertools
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from contatto.kit.db import database as kit_database
from contatto.kit.db.database import Database, Write, WriteQueue, act_for, open_database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.outbox import emit
from contatto.kit.vault import Vault
from tests.kit.feeds import PATIENCE_S, Rang

NOBODY: Any = None
"""Who waits for a write that is never made."""
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def waiting(names: str) -> WriteQueue:
    """Lanes with writes that are named by their business; capitals are background work, digits unhurried."""
    made = WriteQueue()
    for name in names:
        made.put(Write(NOBODY, name.lower(), str, name.isupper(), is_hurried=not name.isdigit()))
    return made


def commits(made: WriteQueue, most: int = 20) -> list[str]:
    """The writes of each commit that follows, by their names."""
    found: list[Any] = []
    while len(found) < most and (
        made._arrived.qsize() or made._unhurried or made._requests or made._background
    ):
        made.wait()
        taken = list(made.next_commit())
        found.append(
            "".join(each.business_id.upper() if each.in_background else each.business_id for each in taken)
        )
    return found


def test_unhurried_writes_and_requests_come_before_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit_database, "GROUP_S", 0)
    assert commits(waiting("XYab12c")) == ["12a", "X", "b", "Y", "c"]


def test_requests_are_taken_in_turn_by_business_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert commits(waiting("aaaabbc")) == ["abcabaa"]
    monkeypatch.setattr(kit_database, "GROUP_S", 0)
    assert commits(waiting("aaabbc")) == ["a", "b", "c", "a", "b", "a"]


def test_what_comes_meanwhile_goes_before_background_work_that_waited_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit_database, "GROUP_S", 0)
    made = waiting("XY")
    assert commits(made, 1) == ["X"]
    made.put(Write(NOBODY, "a", work=str))
    assert commits(made) == ["a", "Y"]


@pytest.mark.parametrize(("comes", "is_awaited"), [("", False), ("X", False), ("1", False), ("a", True)])
def test_a_commit_on_its_way_is_awaited_by_requests_alone(comes: str, is_awaited: bool) -> None:
    made = waiting("b")
    made.wait()
    assert next(made.next_commit()).business_id == "b"
    for name in comes:
        made.put(Write(NOBODY, name.lower(), str, name.isupper(), is_hurried=not name.isdigit()))
    assert made.is_awaited() is is_awaited


def test_a_request_that_is_left_to_the_next_commit_awaits_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit_database, "GROUP_S", 0)
    made = waiting("ab")
    made.wait()
    assert [each.business_id for each in made.next_commit()] == ["a"]
    assert made.is_awaited()


@ON_SQLITE
def test_work_can_ask_whether_a_request_waits_for_it(database: Database) -> None:
    seen = [database.read_now(lambda tx: tx.is_awaited())]

    async def ask() -> None:
        begun, has_come = threading.Event(), threading.Event()

        def work(tx: Tx) -> None:
            seen.append(tx.is_awaited())
            begun.set()
            assert has_come.wait(PATIENCE_S)
            seen.append(tx.is_awaited())

        batch = asyncio.create_task(database.write(work, in_background=True))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        request = asyncio.create_task(database.write(lambda _: None))
        await asyncio.sleep(0)
        has_come.set()
        await asyncio.gather(batch, request)

    asyncio.run(ask())
    assert seen == [False, False, True]


@ON_SQLITE
def test_a_request_waits_for_one_batch_of_background_work_and_not_for_all(database: Database) -> None:
    done: list[str] = []
    is_begun, may_go_on = threading.Event(), threading.Event()

    def batch(_tx: Tx) -> None:
        is_begun.set()
        assert may_go_on.wait(PATIENCE_S)
        time.sleep(0.03)
        done.append("batch")

    async def go() -> None:
        act_for("a")
        long = [asyncio.create_task(database.write(batch, in_background=True)) for _ in range(20)]
        await asyncio.to_thread(is_begun.wait, PATIENCE_S)
        asked = asyncio.create_task(database.write(lambda _tx: done.append("request")))
        await asyncio.sleep(0)  # it is in the queue
        may_go_on.set()
        await asyncio.gather(asked, *long)

    asyncio.run(go())
    assert len(done) == 21
    assert done.index("request") <= 2


def test_another_process_writes_between_the_commits_of_a_busy_one(
    sqlite_template: Path, tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contatto.kit.db.database._WAIT_S", PATIENCE_S)
    path = tmp_path / "shared.db"
    path.write_bytes(sqlite_template.read_bytes())
    vault = Vault({"test": bytes(32)})
    busy, other = (open_database(f"sqlite:///{path}", clock, vault) for _ in range(2))
    over = threading.Event()
    made = itertools.count()

    def one_batch(tx: Tx) -> None:
        one_event(tx)
        time.sleep(0.03)
        next(made)

    def batches_meanwhile() -> int:
        before = next(made)
        other.write_now(one_event)
        return next(made) - before

    def keep_busy() -> None:
        async def go() -> None:
            while not over.is_set():  # three lanes, so that a write always waits
                await asyncio.gather(*(busy.write(one_batch, in_background=True) for _ in range(3)))

        asyncio.run(go())

    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        waits = [batches_meanwhile() for _ in range(10)]
    finally:
        over.set()
        thread.join()
        busy.close()
        other.close()
    assert sorted(waits)[5] < 20  # with SQLite's own way of waiting it is hundreds, and then it gives up


def one_event(tx: Tx) -> None:
    emit(tx, "b1", Rang("b1", 1))


@ON_SQLITE
def test_who_holds_the_file_too_long_is_told_of_and_nothing_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contatto.kit.db.database._WAIT_S", 0.1)
    with closing(sqlite3.connect(str(database.engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Exception, match="database is locked"):
            database.write_now(one_event)
        other.execute("ROLLBACK")
    database.write_now(one_event)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_commits_of_another_process_are_told_of(database: Database) -> None:
    other = open_database(
        database.engine.url.render_as_string(hide_password=False), database.clock, database.vault
    )
    told = threading.Event()
    database.on_commit(told.set)

    async def go() -> None:
        watching = asyncio.create_task(database.watch())
        for _ in range(1_500):  # until it listens
            await asyncio.to_thread(other.write_now, one_event)
            if told.wait(0.02):
                break
            await asyncio.sleep(0.02)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    asyncio.run(go())
    other.close()
    assert told.is_set()


def test_long_reads_run_beside_the_event_loop_one_for_each_business(database: Database) -> None:
    at_once: list[int] = []
    inside = 0
    lock = threading.Lock()

    def read(_tx: Tx) -> str:
        nonlocal inside
        with lock:
            inside += 1
            at_once.append(inside)
        ticked.clear()
        assert ticked.wait(PATIENCE_S), "the loop stands still"
        time.sleep(0.05)
        with lock:
            inside -= 1
        return threading.current_thread().name

    async def go() -> list[str]:
        ticks = asyncio.create_task(tick())
        names = await asyncio.gather(*(database.read_long(read, "a") for _ in range(4)))
        assert max(at_once) == 1
        await asyncio.gather(*(database.read_long(read, name) for name in "abcd"))
        assert max(at_once) == 2
        ticks.cancel()
        return names

    ticked = threading.Event()

    async def tick() -> None:
        while True:
            ticked.set()
            await asyncio.sleep(0.01)

    assert all(name.startswith("aside") for name in asyncio.run(go()))
