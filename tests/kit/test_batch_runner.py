"""One runner for batches of all kinds: tenants have turns, and a row that fails stops no other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from contatto.kit import fair_queue
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.fair_queue import Turns, run_batch


@dataclass(frozen=True)
class Job:
    business_id: str
    number: int


class FixedTurns(Turns):
    """Turns over rows in memory."""

    def __init__(self, rows: Sequence[Job]) -> None:
        self.rows = list(rows)
        self.last = ""

    def list_businesses(self, tx: Tx, most: int = 50) -> list[str]:
        return sorted({row.business_id for row in self.rows})


def jobs(names: str) -> list[Job]:
    return [Job(name, number) for number, name in enumerate(names)]


def run(
    database: Database,
    turns: FixedTurns,
    work: Callable[[Sequence[Job]], list[Job]],
    failures: list[tuple[Job, str]] | None = None,
) -> int:
    noted = [] if failures is None else failures

    def list_rows(business_id: str, limit: int) -> list[Job]:
        return [row for row in turns.rows if row.business_id == business_id][:limit]

    def attempt(tx: Tx) -> int:
        return run_batch(tx, turns, 100, list_rows, work, lambda row, error: noted.append((row, str(error))))

    return database.write_now(attempt)


def breaking_on(
    numbers: set[int], calls: list[list[int]], finished: list[int]
) -> Callable[[Sequence[Job]], list[Job]]:
    def work(rows: Sequence[Job]) -> list[Job]:
        calls.append([row.number for row in rows])
        if broken := [row.number for row in rows if row.number in numbers]:
            raise ValueError(f"row {broken[0]}")
        finished.extend(row.number for row in rows)
        return list(rows)

    return work


def test_rows_of_all_tenants_are_worked_on_together_and_in_turn(database: Database) -> None:
    calls: list[list[int]] = []
    turns = FixedTurns(jobs("aaabb"))
    assert run(database, turns, breaking_on(set(), calls, [])) == 5
    assert calls == [[0, 3, 1, 4, 2]]
    assert turns.last == "a"


def test_nothing_is_done_for_no_rows(database: Database) -> None:
    calls: list[list[int]] = []
    assert run(database, FixedTurns([]), breaking_on(set(), calls, [])) == 0
    assert calls == []


def test_a_batch_is_halved_until_the_row_that_fails_is_alone(database: Database) -> None:
    finished: list[int] = []
    failures: list[tuple[Job, str]] = []
    rows = jobs("aaaaaaab")
    assert run(database, FixedTurns(rows), breaking_on({5}, [], finished), failures) == 8
    assert sorted(finished) == [0, 1, 2, 3, 4, 6, 7]
    assert failures == [(rows[5], "row 5")]
    assert [number for number in finished if number < 7] == [0, 1, 2, 3, 4, 6]


def test_a_tenant_that_had_its_time_waits_while_the_next_has_its_turn(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "batch_seconds", lambda _tx: -1.0)
    finished: list[int] = []
    failures: list[tuple[Job, str]] = []
    run(database, FixedTurns(jobs("aaaab")), breaking_on({0, 1, 2, 3}, [], finished), failures)
    assert [row.number for row, _ in failures] == [0]
    assert finished == [4]


def test_rows_behind_unfinished_ones_of_their_tenant_wait(database: Database) -> None:
    calls: list[list[int]] = []

    def first_only(rows: Sequence[Job]) -> list[Job]:
        calls.append([row.number for row in rows])
        if len(rows) > 2:
            raise ValueError("too many")
        return list(rows[:1])

    assert run(database, FixedTurns(jobs("aaaa")), first_only) == 1
    assert calls == [[0, 1, 2, 3], [0, 1]]
