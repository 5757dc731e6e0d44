"""Numbers as people type them in nine languages: read back exactly, or refused."""

from decimal import Decimal

import pytest
from babel import Locale
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.errors import Refused
from contatto.kit.form_fields import (
    Leap,
    Typist,
    check_leap,
    read_amount,
    read_decimal,
    read_whole,
    typed_amount,
    typed_number,
)
from contatto.kit.languages import LANGUAGES, translator_for
from contatto.kit.values import decimal_places, to_units

COMMA = ("it", "es", "pt-BR", "id", "vi")
"""Languages whose decimals follow a comma."""
languages = st.sampled_from(sorted(LANGUAGES))
currencies = st.sampled_from(["SGD", "EUR", "IDR", "JPY", "VND", "BRL", "KWD"])
hundredths = st.integers(1, 10**14)
ARABIC = str.maketrans("0123456789.,", "٠١٢٣٤٥٦٧٨٩٫٬")
WIDE = str.maketrans("0123456789.,", "０１２３４５６７８９．，")


def amount_of(hundredth: int, currency: str) -> int:
    """An amount in micros that the currency can be written with."""
    return hundredth * 10 ** (6 - decimal_places(currency)) % 10**18


def written(micros: int, lang: str, currency: str) -> str:
    """The amount as a book of this language has it: thousands set apart, all decimals there."""
    places = decimal_places(currency)
    pattern = "#,##0." + "0" * places if places else "#,##0"
    return format_decimal(to_units(micros), pattern, Locale.parse(lang, sep="-"))


@given(languages, currencies, hundredths)
def test_every_amount_that_stands_in_a_field_is_read_back_as_it_is(
    lang: str, currency: str, hundredth: int
) -> None:
    micros = amount_of(hundredth, currency)
    assert read_amount("budget", typed_amount(micros, currency, lang), currency, lang) == micros


@given(languages, currencies, hundredths)
def test_every_amount_as_its_language_writes_it_is_read_back_as_it_is(
    lang: str, currency: str, hundredth: int
) -> None:
    micros = amount_of(hundredth, currency)
    text = written(micros, lang, currency)
    assert read_amount("budget", text, currency, lang) == micros
    assert read_amount("budget", f"  \u200e{text} ", currency, lang) == micros


@given(st.integers(1, 10**12))
def test_digits_of_other_scripts_are_digits(hundredth: int) -> None:
    text = format_decimal(Decimal(hundredth) / 100, "#,##0.00", Locale("en"))
    assert read_amount("bid", text.translate(ARABIC), "SAR", "ar") == hundredth * 10_000
    assert read_amount("bid", text.translate(WIDE), "USD", "ja") == hundredth * 10_000
    thai = "".join(chr(0x0E50 + int(sign)) if sign.isdigit() else sign for sign in text)
    assert read_amount("bid", thai, "THB", "th") == hundredth * 10_000


@given(languages, st.integers(-(10**9), 10**9))
def test_every_whole_number_is_read_back_as_it_is(lang: str, number: int) -> None:
    assert read_whole("minutes", typed_number(number, lang), lang) == number
    assert read_whole("minutes", translator_for(lang).number(number), lang) == number


@given(languages, st.text("0123456789.,٫٬ '-eE+x", max_size=12))
def test_whatever_is_typed_is_read_in_one_way_or_refused(lang: str, text: str) -> None:
    """What is taken is what this language writes for the number, at most with other signs for thousands."""
    try:
        number = read_decimal("budget", text, lang, 2)
    except Refused as refused:
        number, says = None, refused.said.in_language(translator_for(lang))
    else:
        says = "budget: "
    assert says.startswith("budget: ")
    if number is not None:
        again = format_decimal(number, "0.##", Locale.parse(lang, sep="-"))
        assert read_decimal("budget", again, lang, 2) == number


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_a_comma_and_a_point_are_what_the_language_takes_them_for(lang: str) -> None:
    mine, other = ("12,50", "12.50") if lang in COMMA else ("12.50", "12,50")
    assert read_amount("budget", mine, "SGD", lang) == 12_500_000
    with pytest.raises(Refused, match="can be read as"):
        read_amount("budget", other, "SGD", lang)
    whole = "1.250" if lang in COMMA else "1,250"
    assert read_amount("budget", whole, "SGD", lang) == 1_250_000_000


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", "12,50"), ("en", "99,90"), ("en", "1.234"), ("en", "1.500"), ("en", "0,5"), ("en", "01,50"),
        ("it", "1.50"), ("it", "99.90"), ("it", "1,234"), ("it", "0.500"), ("ar", "1.234"), ("ja", "12,3456"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused_and_both_are_named(lang: str, text: str) -> None:
    with pytest.raises(Refused, match="can be read as") as caught:
        read_amount("bid", text, "EUR", lang)
    assert {"one", "other"} <= set(caught.value.values)


@pytest.mark.parametrize(
    "text",
    ["1e5", "NaN", "Infinity", "12 50", "1.234.56", "--1", "€ 5", "½", "²", "5,", ".", "9" * 41, "1_000"],
)
@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_what_is_no_number_is_refused(lang: str, text: str) -> None:
    with pytest.raises(Refused, match="budget: "):
        read_amount("budget", text, "SGD", lang)


def test_thousands_may_be_set_apart_by_spaces_and_apostrophes() -> None:
    assert read_amount("budget", "1 234,50", "EUR", "it") == 1_234_500_000
    assert read_amount("budget", "1\u202f234\u202f567,5", "EUR", "es") == 1_234_567_500_000
    assert read_amount("budget", "1'234", "CHF", "en") == 1_234_000_000


def test_a_refusal_shows_a_number_as_the_language_writes_it() -> None:
    with pytest.raises(Refused, match=r"such as 12,50"):
        read_amount("budget", "dieci", "EUR", "it")
    with pytest.raises(Refused, match=r"such as 1\.234,56"):
        read_amount("budget", "1,234.56", "EUR", "it")
    with pytest.raises(Refused, match="whole number"):
        read_amount("budget", "10.5", "JPY", "ja")
    with pytest.raises(Refused, match="at most 2 decimals"):
        read_amount("budget", "10.5555", "USD", "en")
    with pytest.raises(Refused, match="too large"):
        read_amount("budget", "9" * 20, "USD", "en")


def test_a_change_of_more_than_tenfold_is_asked_about_unless_it_was_confirmed() -> None:
    words = translator_for("it")
    for before, after in ((12_500_000, 1_250_000_000), (1_250_000_000, 12_500_000)):
        with pytest.raises(Leap) as caught:
            check_leap("budget", before, after, "EUR", Typist(words))
        assert "12,50" in caught.value.detail
        assert check_leap("budget", before, after, "EUR", Typist(words, {caught.value.key})) == after
        further = after + (10_000 if after > before else -10_000)
        with pytest.raises(Leap):  # another amount is another question
            check_leap("budget", before, further, "EUR", Typist(words, {caught.value.key}))
    steps: list[tuple[int | None, int | None]]
    steps = [(10, 100), (100, 10), (None, 10**9), (10**9, None), (0, 10**9)]
    for was, will_be in steps:
        assert check_leap("budget", was, will_be, "EUR", Typist(words)) == will_be
