"""Handlers of many events: told of all at once, in their order, and of the good ones though one is bad."""

from collections.abc import Sequence

from sqlalchemy import Table, func, select

from contatto.accounts.store import businesses
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.kit.outbound.queue import jobs, list_failed_jobs
from contatto.kit.outbox import RETRY_AFTER, After, BatchHandler, TenantHandler, interest
from tests.kit.test_outbox import CupFilled, Listener, fill, run


class Tray:
    """Notes what it was told of at once, and notes a row first; a cup that is named so breaks it."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.heard: list[list[str]] = []

    def __call__(self, tx: Tx, events: Sequence[CupFilled]) -> None:
        cups = [event.cup for event in events]
        tx.insert(businesses, {"id": new_id(), "name": "tray", "created_at": tx.now})
        if self.broken in cups:
            raise ValueError("spilled")
        self.heard.append(cups)


def table(tray: Tray, *, beside: Listener | None = None) -> After:
    alone = {"beside": beside} if beside else {}
    return {CupFilled: {"tray": BatchHandler(tray), **alone}}


def count(db: Database, table: Table) -> int:
    return int(db.read_now(lambda tx: tx.scalar(select(func.count()).select_from(table))))


def test_all_new_events_are_told_at_once_and_in_their_order_without_a_job(database: Database) -> None:
    tray, beside = Tray("none"), Listener("beside")
    for cup in "abc":
        fill(database, cup)
    assert run(database, table(tray, beside=beside)) == 6
    assert tray.heard == [["a", "b", "c"]]
    assert [event.cup for event in beside.heard] == ["a", "b", "c"]
    assert count(database, jobs) == 3
    assert run(database, table(tray, beside=beside)) == 0


def test_one_bad_event_is_tried_again_alone_and_the_others_are_told_once(
    database: Database, clock: FixedClock
) -> None:
    tray = Tray("b")
    for cup in "abc":
        fill(database, cup)
    run(database, table(tray))
    assert sorted(tray.heard) == [["a"], ["c"]]
    assert count(database, businesses) == 2  # what was done for all together left no trace
    [failed] = database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9))
    assert (failed.kind, failed.attempts) == ("tray", 1)
    tray.broken = ""
    clock.advance(seconds=RETRY_AFTER[0])
    run(database, table(tray))
    assert tray.heard[-1] == ["b"]


def test_a_business_that_nobody_asked_for_is_left_out(database: Database) -> None:
    tray = Tray("none")
    fill(database, "a", "b1")
    fill(database, "b", "b2")
    only = TenantHandler(lambda _tx: {"b2"}, None, BatchHandler(tray))
    run(database, {CupFilled: {"tray": only}})
    assert tray.heard == [["b"]]


def test_what_tells_the_businesses_of_several_handlers_is_asked_once(database: Database) -> None:
    asked: list[Tx] = []

    def ask(tx: Tx) -> dict[str, set[str]]:
        asked.append(tx)
        return {"cups": {"b1"}, "plates": {"b2"}}

    cups, plates, forks = (TenantHandler(ask, kind, Tray(kind)) for kind in ("cups", "plates", "forks"))

    def look(tx: Tx) -> list[list[bool]]:
        is_interested = interest(tx)
        return [[is_interested(each, of) for each in (cups, plates, forks)] for of in ("b1", "b2")]

    assert database.read_now(look) == [[True, False, False], [False, True, False]]
    assert len(asked) == 1
