"""Money in micros: exact, and refused when it is no amount."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.money import decimal_places, to_micros, to_units


@given(st.integers(-(10**15), 10**15))
def test_micros_come_back_from_units_exactly(amount: int) -> None:
    assert to_micros(to_units(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "micros"),
    [(12.5, 12_500_000), ("0.1", 100_000), (0.1, 100_000), (7, 7_000_000), (Decimal("-1.25"), -1_250_000)],
)
def test_an_amount_in_units_becomes_micros(amount: Decimal | float | str, micros: int) -> None:
    assert to_micros(amount) == micros


@pytest.mark.parametrize(("amount", "micros"), [("0.0000005", 0), ("0.0000015", 2), ("0.0000025", 2)])
def test_half_a_micro_goes_to_the_even_neighbour(amount: str, micros: int) -> None:
    assert to_micros(amount) == micros


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1,5", "1e999999999", "1e400000", "-1e20"])
def test_what_is_no_amount_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        to_micros(text)


def test_the_greatest_amount_fits_a_64_bit_column() -> None:
    assert to_micros(10**12) < 2**63


def test_amounts_have_the_decimals_of_their_currency() -> None:
    assert decimal_places("SGD") == 2
    assert decimal_places("IDR") == 0
