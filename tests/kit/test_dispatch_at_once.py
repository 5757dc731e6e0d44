"""Events that a batch of work hands out in its own transaction, and those that it leaves to the drain."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from sqlalchemy import func, select

from contatto.accounts.store import businesses
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, savepoint
from contatto.kit.outbound.queue import jobs
from contatto.kit.outbox import After, BatchHandler, dispatch_events, emit, emit_all, events
from tests.kit.test_dispatch_batches import Tray, count, table
from tests.kit.test_outbox import CupFilled, Listener, run


def serve(db: Database, after: After, *cups: str) -> int:
    """Fill cups in one batch, and let it hand out what happened."""

    def work(tx: Tx) -> int:
        emit_all(tx, [("b1", CupFilled("b1", cup)) for cup in cups])
        return len(cups)

    return db.write_now(partial(dispatch_events, after, work), in_background=True)


def count_fresh(db: Database) -> int:
    fresh = select(func.count()).select_from(events).where(~events.c.fanned_out)
    return int(db.read_now(lambda tx: tx.scalar(fresh)))


def test_every_event_is_told_once_and_in_its_order_whoever_hands_it_out(database: Database) -> None:
    tray = Tray("none")
    assert serve(database, table(tray), "a", "b", "c") == 3
    run(database, table(tray))
    assert tray.heard == [["a", "b", "c"]]
    assert count(database, jobs) == 0


def test_nothing_is_left_to_the_drain(database: Database) -> None:
    tray = Tray("none")
    serve(database, table(tray), "a", "b")
    assert (tray.heard, count_fresh(database)) == ([["a", "b"]], 0)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_batch_does_not_wait_for_what_somebody_else_holds(database: Database) -> None:
    tray = Tray("none")

    def wipe(tx: Tx, some: Sequence[CupFilled]) -> None:
        tx.hold_key("the cloth")
        tray(tx, some)

    def serve_beside(tx: Tx) -> int:
        tx.hold_key("the cloth")
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(serve, database, after, "a", "b").result()

    after: After = {CupFilled: {"tray": BatchHandler(wipe)}}
    assert database.write_now(serve_beside) == 2
    assert (tray.heard, count_fresh(database)) == ([], 2)
    run(database, after)
    assert tray.heard == [["a", "b"]]


def test_what_another_handler_wants_too_is_left_to_the_drain(database: Database) -> None:
    tray, beside = Tray("none"), Listener("beside")
    after = table(tray, beside=beside)
    serve(database, after, "a", "b")
    assert tray.heard == []
    assert run(database, after) == 4
    assert tray.heard == [["a", "b"]]
    assert [event.cup for event in beside.heard] == ["a", "b"]


def test_where_a_handler_fails_its_batch_stands_and_the_drain_finds_the_event_at_fault(
    database: Database,
) -> None:
    tray = Tray("b")
    assert serve(database, table(tray), "a", "b", "c") == 3
    assert count_fresh(database) == 3
    assert count(database, businesses) == 0
    run(database, table(tray))
    assert sorted(tray.heard) == [["a"], ["c"]]


def test_what_is_undone_did_not_happen(database: Database) -> None:
    tray = Tray("none")

    def work(tx: Tx) -> int:
        emit(tx, "b1", CupFilled("b1", "a"))
        with suppress(ValueError), savepoint(tx):
            emit(tx, "b1", CupFilled("b1", "b"))
            raise ValueError("spilled")
        emit(tx, "b1", CupFilled("b1", "c"))
        return 1

    database.write_now(partial(dispatch_events, table(tray), work))
    run(database, table(tray))
    assert tray.heard == [["a", "c"]]
    assert count(database, events) == 2


def test_work_that_fails_leaves_no_event_and_none_to_the_next(database: Database) -> None:
    tray = Tray("none")

    def work(tx: Tx) -> int:
        emit(tx, "b1", CupFilled("b1", "a"))
        raise ValueError("spilled")

    with pytest.raises(ValueError, match="spilled"):
        database.write_now(partial(dispatch_events, table(tray), work))
    serve(database, table(tray), "b")
    run(database, table(tray))
    assert tray.heard == [["b"]]
    assert count(database, events) == 1


def test_what_handlers_lead_to_is_told_too(database: Database) -> None:
    tray = Tray("none")

    def pour(tx: Tx, some: Sequence[CupFilled]) -> None:
        emit_all(tx, [("b1", CupFilled("b1", f"{each.cup}+")) for each in some if len(each.cup) < 6])
        tray(tx, some)

    after: After = {CupFilled: {"tray": BatchHandler(pour)}}
    serve(database, after, "a")
    run(database, after)
    assert tray.heard == [["a"], ["a+"], ["a++"], ["a+++"], ["a++++"], ["a+++++"]]
