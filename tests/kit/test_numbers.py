"""Numbers that come as text from outside."""

import pytest

from contatto.kit.numbers import LARGEST, read_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("25", 25), ("007", 7), (str(LARGEST), LARGEST)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1.0", "²", "١", "x", str(LARGEST + 1), "9" * 20, "9" * 5_000]
)
def test_what_fits_no_column_or_is_no_number_is_none(text: str) -> None:
    assert read_number(text) is None
