"""Waits that an outside system asks for, and the circuit breaker of a destination."""

import pytest

from contatto.kit.outbound.model import (
    COOL_S,
    JITTER,
    OPENS_AFTER,
    Destination,
    HttpAnswer,
    retry_after_s,
    with_jitter,
)


def down(destination: Destination, now_s: float, tries: int = OPENS_AFTER) -> None:
    for _ in range(tries):
        destination.note(now_s, is_answered=False)


def test_so_many_are_on_their_way_at_once() -> None:
    destination = Destination(2, float)
    assert destination.room(0) == 2
    destination.in_flight += 1
    destination.in_flight += 1
    assert destination.room(0) == 0
    destination.in_flight -= 1
    assert destination.room(0) == 1
    destination.in_flight -= 1
    assert destination.is_idle


def test_failures_in_a_row_open_it_and_one_answer_in_between_does_not() -> None:
    destination = Destination(2, float)
    down(destination, 0, OPENS_AFTER - 1)
    destination.note(0, is_answered=True)
    down(destination, 0, OPENS_AFTER - 1)
    assert (destination.room(0), destination.is_open) == (2, False)
    down(destination, 0, 1)
    assert (destination.room(0), destination.is_open) == (0, True)


def test_after_a_while_one_is_let_through_and_its_answer_closes_it() -> None:
    destination = Destination(3, float)
    down(destination, 10)
    assert destination.room(10 + COOL_S[0] - 0.01) == 0
    assert destination.room(10 + COOL_S[0]) == 1
    destination.in_flight += 1
    assert destination.room(10 + COOL_S[0]) == 0
    destination.note(16, is_answered=True)
    destination.in_flight -= 1
    assert (destination.room(16), destination.is_open) == (3, False)


def test_each_probe_that_fails_makes_the_while_longer_up_to_the_longest() -> None:
    destination, now_s = Destination(3, float), 0.0
    down(destination, now_s)
    for cool_s in (*COOL_S, COOL_S[-1], COOL_S[-1])[:-1]:
        assert destination.room(now_s + cool_s - 0.01) == 0
        now_s += cool_s
        assert destination.room(now_s) == 1
        destination.note(now_s, is_answered=False)


def test_what_was_on_its_way_when_it_opened_makes_the_while_no_longer() -> None:
    destination = Destination(9, float)
    down(destination, 0, OPENS_AFTER + 4)
    assert destination.room(COOL_S[0]) == 1


def test_chance_adds_to_a_wait_and_takes_nothing_from_it() -> None:
    assert with_jitter(10, 0) == 10
    assert with_jitter(10, 1) == 10 * (1 + JITTER)
    destination = Destination(1, lambda: 1.0)
    down(destination, 0)
    assert destination.room(COOL_S[0]) == 0
    assert destination.room(COOL_S[0] * (1 + JITTER)) == 1


SAID = "Thu, 01 Jan 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("99999", 3_600.0),
        ("Thu, 01 Jan 2026 12:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Fri, 02 Jan 2026 12:00:00 GMT", 3_600.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),
        ("99999999999999999999", None),
        ("Thu, 99 Jan 2026 12:01:30 GMT", None),
        ("Thu, 01 Jan 2026 12:01:30", None),
    ],
)
def test_a_wait_is_read_in_seconds_or_as_a_date(asked: str, seconds: float | None) -> None:
    assert retry_after_s(HttpAnswer(429, {"retry-after": asked, "date": SAID}, b"")) == seconds


def test_a_date_says_nothing_without_the_date_of_the_answer() -> None:
    assert retry_after_s(HttpAnswer(429, {"retry-after": SAID}, b"")) is None
