"""A request that comes twice gets one answer and does its work once."""

import pytest

from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.kit.idempotency import KEEP, IdempotencyKey, answer_once, purge_answered_requests

KEY = IdempotencyKey("b1", "/make/", "1")


def answer(database: Database, key: IdempotencyKey, body: str = "{}", says: str = "first") -> str:
    made = database.write_now(lambda tx: answer_once(tx, key, body, dict[str, str], lambda: {"says": says}))
    return made["says"]


def test_the_first_answer_is_given_again(database: Database) -> None:
    assert answer(database, KEY) == "first"
    assert answer(database, KEY, says="second") == "first"


def test_another_body_under_the_same_id_is_refused(database: Database) -> None:
    answer(database, KEY)
    with pytest.raises(Refused) as refused:
        answer(database, KEY, body='{"a":1}')
    assert refused.value.code is errors.REPEATED


@pytest.mark.parametrize(
    "key",
    [
        IdempotencyKey("b2", "/make/", "1"),
        IdempotencyKey("b1", "/other/", "1"),
        IdempotencyKey("b1", "/make/", "2"),
    ],
)
def test_another_business_door_or_id_is_another_request(database: Database, key: IdempotencyKey) -> None:
    answer(database, KEY)
    assert answer(database, key, says="second") == "second"


def test_without_an_id_the_work_is_always_done(database: Database) -> None:
    nameless = IdempotencyKey("b1", "/make/", "")
    assert [answer(database, nameless, says=says) for says in ("first", "second")] == ["first", "second"]


def test_work_that_fails_leaves_nothing_behind(database: Database) -> None:
    def fail() -> dict[str, str]:
        raise Refused(errors.INVALID)

    with pytest.raises(Refused):
        database.write_now(lambda tx: answer_once(tx, KEY, "{}", dict[str, str], fail))
    assert answer(database, KEY, body="other", says="second") == "second"


def test_answers_are_forgotten_after_their_time(database: Database, clock: FixedClock) -> None:
    answer(database, KEY)
    assert database.write_now(purge_answered_requests) == 0
    clock.advance(seconds=KEEP.total_seconds() + 1)
    assert database.write_now(purge_answered_requests) == 1
    assert answer(database, KEY, body="other", says="second") == "second"
