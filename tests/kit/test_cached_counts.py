"""Counts of many rows are remembered while they are right, and for a moment where they cannot stay so."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from contatto.kit.db.database import MOST_AGE, MOST_CHANGED, CachedCounts, Database
from contatto.kit.db.tx import FixedClock
from tests import make

MANY = 100_000
AGE = timedelta(seconds=0.5)
"""How old a count of so many may be."""


class Counting:
    """Counts that say how often they were made."""

    def __init__(self, db: Database, rows: int = MANY) -> None:
        self.remembered = CachedCounts(db, {"businesses"})
        self.rows, self.times = rows, 0

    def ask(self, key: str = "mine") -> int:
        """How often it was counted by now."""
        self.remembered.begin().find(key, self.count)
        return self.times

    def count(self) -> dict[str, int]:
        self.times += 1
        return {"all": self.rows}


@pytest.fixture
def counting(database: Database) -> Counting:
    return Counting(database)


def change(database: Database) -> None:
    database.write_now(lambda tx: make.business(tx))


def test_what_nothing_changed_is_counted_once_up_to_an_age(counting: Counting, clock: FixedClock) -> None:
    assert [counting.ask(), counting.ask(), counting.ask("another's"), counting.ask()] == [1, 1, 2, 2]
    clock.advance(seconds=MOST_AGE.total_seconds())
    assert counting.ask() == 3


def test_after_a_change_a_count_is_used_for_a_moment_that_grows_with_it(
    database: Database, counting: Counting, clock: FixedClock
) -> None:
    counting.ask()
    change(database)
    assert counting.ask() == 1
    clock.advance(seconds=AGE.total_seconds())
    assert counting.ask() == 2
    counting.rows = 100 * MANY
    change(database)
    clock.advance(seconds=AGE.total_seconds())
    assert counting.ask() == 3
    change(database)
    clock.advance(seconds=MOST_CHANGED.total_seconds())
    assert counting.ask() == 4


def test_few_rows_are_counted_each_time(database: Database) -> None:
    counting = Counting(database, rows=1_999)
    assert [counting.ask(), counting.ask()] == [1, 2]


def test_what_was_counted_before_a_change_is_not_taken_for_newer(
    database: Database, counting: Counting, clock: FixedClock
) -> None:
    recall = counting.remembered.begin()
    change(database)
    recall.find("mine", counting.count)
    clock.advance(seconds=AGE.total_seconds())
    assert counting.ask() == 2


def test_another_table_changes_nothing(database: Database, counting: Counting, clock: FixedClock) -> None:
    counting.ask()
    database.write_now(lambda tx: tx.execute(text("DELETE FROM labels WHERE id = 'x'")))
    clock.advance(seconds=AGE.total_seconds())
    assert counting.ask() == 1


def test_a_clock_that_was_set_back_makes_nothing_young(counting: Counting, clock: FixedClock) -> None:
    counting.ask()
    clock.advance(hours=-1)
    assert counting.ask() == 2
