"""What an answer says about when to come again."""

import pytest

from contatto.kit.outbound.model import HttpAnswer, retry_after_s

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
