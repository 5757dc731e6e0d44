"""Turns: businesses with work that waits are served one after another, on both engines."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, in_time
from contatto.kit.fair_queue import Turns, in_turn
from contatto.kit.outbound.model import RequestState
from contatto.kit.outbound.queue import jobs
from contatto.kit.outbox import JOBS

QUEUE = JOBS


def add(
    tx: Tx, business_id: str, count: int = 1, due_in_s: float = 0, state: RequestState = RequestState.DUE
) -> None:
    row = {
        "business_id": business_id,
        "state": state,
        "attempts": 0,
        **dict.fromkeys(("subject", "destination", "line", "reason"), ""),
        "is_unsure": False,
        "created_at": tx.now,
        "due_at": tx.now + timedelta(0, due_in_s),
    }
    for number in range(count):
        tx.insert(jobs, row | {"event_seq": number, "kind": f"{business_id} {due_in_s} {state}"})


def rows(tx: Tx, turns: Turns, most: int) -> list[str]:
    def list_of(business_id: str, limit: int) -> list[str]:
        values = turns.queue.values(tx, business_id, limit)
        found = tx.execute(turns.queue.locked, values).mappings()
        return [row["business_id"] + str(row["event_seq"]) for row in found]

    return turns.list_rows(tx, most, list_of)


def test_lists_are_taken_from_in_turn() -> None:
    assert "".join(in_turn(["abc", "", "x", "12"])) == "ax1b2c"
    assert list(in_turn([])) == []


def test_a_batch_ends_when_its_time_is_up_but_never_before_its_first_thing() -> None:
    assert list(in_time(range(5), seconds=60)) == [0, 1, 2, 3, 4]
    assert list(in_time(range(5), seconds=0)) == [0]
    assert list(in_time([], seconds=0)) == []


def test_a_batch_may_count_the_time_that_it_has_the_processor_alone() -> None:
    moments = iter([0.0, 1.0, 2.0, 3.0])
    assert list(in_time(range(5), seconds=3, clock=lambda: next(moments))) == [0, 1, 2]


def test_a_batch_may_be_told_while_it_goes_on_that_its_time_is_shorter() -> None:
    moments, allowed = iter(range(9)), iter([9.0, 9.0, 9.0, 3.0])
    assert list(in_time(range(9), lambda: next(allowed), lambda: next(moments))) == [0, 1, 2, 3]


def test_it_is_known_whether_many_rows_wait_due_or_not(database: Database) -> None:
    def work(tx: Tx) -> None:
        assert not QUEUE.has_many(tx, 1)
        add(tx, "a", 2)
        add(tx, "b", due_in_s=60)
        add(tx, "b", state=RequestState.DONE)
        assert [QUEUE.has_many(tx, count) for count in (1, 3, 4)] == [True, True, False]

    database.write_now(work)


def test_each_business_has_its_turn_however_much_another_has(database: Database) -> None:
    def work(tx: Tx) -> None:
        add(tx, "a", 100)
        add(tx, "b", 2)
        add(tx, "c")
        assert rows(tx, Turns(QUEUE), 12) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]
        assert rows(tx, Turns(QUEUE), 2) == ["a0", "b0", "c0"]

    database.write_now(work)


def test_the_next_batch_begins_with_the_business_after_the_last(database: Database) -> None:
    def work(tx: Tx) -> None:
        for business_id in "abcd":
            add(tx, business_id)
        turns = Turns(QUEUE)
        assert turns.list_businesses(tx, 3) == ["a", "b", "c"]
        turns.last = "b"
        assert turns.list_businesses(tx, 3) == ["c", "d", "a"]
        assert turns.list_businesses(tx) == ["c", "d", "a", "b"]
        turns.last = "d"
        assert turns.list_businesses(tx, 3) == ["a", "b", "c"]

    database.write_now(work)


def test_what_is_not_due_or_is_done_takes_no_turn(database: Database) -> None:
    def work(tx: Tx) -> None:
        add(tx, "done", state=RequestState.DONE)
        add(tx, "later", 3, due_in_s=60)
        assert not QUEUE.is_due(tx)
        add(tx, "now", due_in_s=-60)
        add(tx, "now", due_in_s=60)
        assert QUEUE.is_due(tx)
        assert Turns(QUEUE).list_businesses(tx) == ["now"]
        assert rows(tx, Turns(QUEUE), 9) == ["now0"]

    database.write_now(work)


def test_a_row_is_late_when_it_has_been_due_for_so_long(database: Database) -> None:
    def work(tx: Tx) -> None:
        add(tx, "a", due_in_s=-2)
        assert QUEUE.is_due(tx, timedelta(seconds=2))
        assert not QUEUE.is_due(tx, timedelta(seconds=2.1))

    database.write_now(work)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_rows_of_a_business_are_passed_over_and_not_read(database: Database) -> None:
    asked: list[str] = []

    def work(tx: Tx) -> list[str]:
        event.listen(tx.connection, "before_cursor_execute", lambda *told: asked.append(told[2]))
        Turns(QUEUE).list_businesses(tx)
        rows(tx, Turns(QUEUE), 9)
        plans = [
            tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (1,) * sql.count("?"))
            for sql in asked[:2]
        ]
        return [row[3] for plan in plans for row in plan if "jobs" in row[3]]

    database.write_now(lambda tx: add(tx, "a", 9))
    steps = database.write_now(work)
    assert steps
    assert {step.partition(" (")[0] for step in steps} <= {
        "SEARCH jobs USING COVERING INDEX ix_jobs_due",
        "SEARCH jobs USING INDEX ix_jobs_due",
    }
