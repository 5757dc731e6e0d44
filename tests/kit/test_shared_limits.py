"""Limits that the database keeps: a burst, then evenly, each key for itself."""

from datetime import timedelta

import pytest

from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import SharedLimit, purge_limits, rate_limits

LIMIT = SharedLimit("test", 3, timedelta(minutes=3))


def passes(database: Database, key: str = "a", limit: SharedLimit = LIMIT) -> bool:
    try:
        database.write_now(lambda tx: limit.take(tx, key))
    except Refused:
        return False
    return True


def test_tries_come_back_one_after_the_other(database: Database, clock: FixedClock) -> None:
    assert [passes(database) for _ in range(5)] == [True, True, True, False, False]
    clock.advance(seconds=59)
    assert not passes(database)
    clock.advance(seconds=1)
    assert [passes(database) for _ in range(2)] == [True, False]
    clock.advance(minutes=3)
    assert [passes(database) for _ in range(4)] == [True, True, True, False]


def test_after_the_wait_that_was_told_the_next_try_passes(database: Database, clock: FixedClock) -> None:
    while passes(database):
        pass
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: LIMIT.take(tx, "a"))
    assert refused.value.code is errors.TOO_MANY
    wait_s = refused.value.retry_after_s or 0
    assert 0 < wait_s <= 61
    clock.advance(seconds=wait_s)
    assert passes(database)


def test_a_try_that_is_given_back_was_none(database: Database) -> None:
    for _ in range(10):
        assert passes(database)
        database.write_now(lambda tx: LIMIT.give_back(tx, "a"))
        assert database.read_now(lambda tx: tx.execute(rate_limits.select()).all()) == []
    assert [passes(database) for _ in range(4)] == [True, True, True, False]


def test_several_tries_pass_together_or_none_is_counted(database: Database) -> None:
    database.write_now(lambda tx: LIMIT.take(tx, "a", 2))
    for tries in (2, 4):
        with pytest.raises(Refused) as refused:
            database.write_now(lambda tx, of=tries: LIMIT.take(tx, "a", of))  # type: ignore[misc]
        assert refused.value.code is errors.TOO_MANY
    assert [passes(database) for _ in range(2)] == [True, False]


def test_keys_and_limits_do_not_count_for_each_other(database: Database) -> None:
    other = SharedLimit("other", 1, timedelta(minutes=3))
    while passes(database):
        pass
    assert passes(database, "b")
    assert passes(database, "a", other)
    assert not passes(database, "a", other)


def test_keys_lie_as_fingerprints_and_go_when_all_tries_are_back(
    database: Database, clock: FixedClock
) -> None:
    passes(database, "owner@example.com")
    rows = database.read_now(lambda tx: tx.execute(rate_limits.select()).all())
    assert len(rows) == 1
    assert "owner" not in str(rows)
    assert database.write_now(purge_limits) == 0
    clock.advance(minutes=1)
    assert database.write_now(purge_limits) == 1
