"""When the worker does what is done by the clock."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from contatto import worker
from contatto.inbox.model import NoticePosted
from contatto.kit.background import MANY, SEVERAL, PeriodicJob, QueuedWork
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit
from contatto.kit.settings import Settings
from contatto.wiring import install


async def run_until(
    db: Database, jobs: tuple[PeriodicJob, ...], is_enough: Callable[[], bool], seconds: float = 60.0
) -> None:
    """Run a worker that has this work alone, until it has done enough of it."""
    nothing = replace(install(Settings()), queued_work=lambda _: (), exports={}, periodic_jobs=lambda: jobs)
    running = asyncio.create_task(worker.Worker(db, nothing).run())
    async with asyncio.timeout(seconds):
        while not is_enough():
            await asyncio.sleep(0.001)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def noted(done: list[str], name: str, every_s: float) -> PeriodicJob:
    def run(_: Tx) -> int:
        done.append(name)
        return 0

    return PeriodicJob(every_s, run)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_done_seldom_does_not_hold_up_the_start(database: Database) -> None:
    done: list[str] = []
    jobs = (noted(done, "hourly", 3600.0), noted(done, "seldom", 60.0), noted(done, "often", 0.001))
    asyncio.run(run_until(database, jobs, lambda: done.count("often") > 20))
    assert set(done) == {"often"}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_done_once_an_hour_is_done_after_a_rest_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REST_S", 0.01)
    done: list[str] = []
    asyncio.run(run_until(database, (noted(done, "hourly", 3600.0),), lambda: bool(done)))
    assert done == ["hourly"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_commit_wakes_the_work_that_it_concerns_and_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL_S", 3600.0)
    asked: list[str] = []

    def waits_for(table: str) -> QueuedWork:
        def is_due(_: Tx) -> bool:
            asked.append(table)
            return False

        return QueuedWork(table, is_due, lambda _: 0, gather_s=0.0, tables={table})

    async def work() -> None:
        queued = tuple(map(waits_for, ("events", "receipts")))
        house = replace(
            install(Settings()), queued_work=lambda _: queued, exports={}, periodic_jobs=lambda: ()
        )
        running = asyncio.create_task(worker.Worker(database, house).run())
        async with asyncio.timeout(60):
            while len(asked) < 2:
                await asyncio.sleep(0.001)
            event = NoticePosted("b1", "conversation-1", "lead-1")
            await database.write(lambda tx: emit(tx, "b1", event))
            while len(asked) < 3:
                await asyncio.sleep(0.001)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(work())
    assert asked.count("receipts") == 1


def test_where_several_come_at_once_more_are_let_gather() -> None:
    one_by_one, together = (
        QueuedWork("work", lambda _: True, lambda _: 0, gather_s=0.1, busy_s=busy_s) for busy_s in (0.0, 0.5)
    )
    assert [one_by_one.gather_after(count) for count in (0, SEVERAL, 1_000)] == [0.1] * 3
    assert [together.gather_after(count) for count in (0, 1, SEVERAL, 1_000)] == [0.1, 0.1, 0.5, 0.5]
    crowd = replace(together, has_many=lambda _: False)
    assert [crowd.gather_after(count) for count in (0, 1, SEVERAL, MANY)] == [0.1, 0.1, 0.5, 1.25]


def test_more_gather_no_longer_than_the_last_batch_took_where_that_is_enough() -> None:
    brief = QueuedWork("work", lambda _: True, lambda _: 0, gather_s=0.1, busy_s=0.5, is_brief=True)
    waits = [replace(brief, took_s=took_s).gather_after(SEVERAL) for took_s in (0.0, 0.3, 0.9)]
    assert waits == [0.1, 0.3, 0.5]
    assert replace(brief, took_s=0.9).gather_after(1) == 0.1, "what comes alone is not let wait"
    plain = replace(brief, is_brief=False, took_s=0.3)
    assert plain.gather_after(SEVERAL) == 0.5


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_how_long_a_batch_took_is_known_when_the_next_one_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested, moments, waiting = list[float](), iter([10.0, 10.25, 20.0, 20.125]), [SEVERAL, SEVERAL]

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    monkeypatch.setattr("contatto.kit.background.asyncio.sleep", rest)
    monkeypatch.setattr("contatto.kit.background.perf_counter", lambda: next(moments))
    queued = QueuedWork("work", lambda _: bool(waiting), lambda _: waiting.pop(0), busy_s=0.5, is_brief=True)
    assert asyncio.run(queued.run(database)) == 2 * SEVERAL
    assert rested == [0.25]
    assert queued.gather_after(2 * SEVERAL) == 0.125


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_between_batches_of_several_it_waits_and_after_a_full_one_it_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, waiting = list[str](), [1, SEVERAL, MANY, SEVERAL]

    async def rest(_: float) -> None:
        steps.append("rests")

    def run_batch(_: Tx) -> int:
        steps.append(str(waiting[0]))
        return waiting.pop(0)

    monkeypatch.setattr("contatto.kit.background.asyncio.sleep", rest)
    queued = QueuedWork("work", lambda _: bool(waiting), run_batch, busy_s=0.5)
    assert asyncio.run(queued.run(database)) == 1 + SEVERAL + MANY + SEVERAL
    assert steps == ["1", str(SEVERAL), "rests", str(MANY), str(SEVERAL)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("has_many", "rests"), [(True, []), (False, [0.5, 1.25])])
def test_where_it_is_known_how_much_waits_that_alone_tells_whether_it_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, has_many: bool, rests: list[float]
) -> None:
    rested, waiting = list[float](), [SEVERAL, MANY, 1]

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    monkeypatch.setattr("contatto.kit.background.asyncio.sleep", rest)
    queued = QueuedWork(
        "work", lambda _: bool(waiting), lambda _: waiting.pop(0), busy_s=0.5, has_many=lambda _: has_many
    )
    assert asyncio.run(queued.run(database)) == SEVERAL + MANY + 1
    assert rested == rests
