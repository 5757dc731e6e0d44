import time
import unicodedata

import phonenumbers
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from contatto.capture.fields.numbers import read_number
from contatto.capture.fields.text import fold
from contatto.capture.rules import MARKETS, detect_contacts, detect_contacts_batch, warm
from tests.examples import examples

CARRIERS = (
    "my phone number is {}",
    "Hola, mi teléfono es {} gracias",
    "رقم الجوال {} شكرا",
    "โทร {} ค่ะ",
    "電話は{}です",
    "电话：{}，谢谢",
    "telp {} ya kak",
    "({}) tel",
    "whatsapp {}",
    "hi\ncall {}\nthanks",
)
FORMATS = (
    phonenumbers.PhoneNumberFormat.E164,
    phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    phonenumbers.PhoneNumberFormat.NATIONAL,
)
PIECES = ("wa ", "ig ", "@a ", "0812345678 ", "order ", ": ", "a@b.co ", "no ", "/", "1")
DIGITS = ("0123456789", "０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "๐๑๒๓๔๕๖๗๘๙", "០១២៣៤៥៦៧៨៩")


@st.composite
def valid_numbers(draw: st.DrawFn) -> tuple[str, phonenumbers.PhoneNumber]:
    country = draw(st.sampled_from(MARKETS))
    kind = draw(
        st.sampled_from((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
    )
    example_number = phonenumbers.example_number_for_type(country, kind)
    plain = phonenumbers.national_significant_number(example_number)
    last = draw(st.text("0123456789", min_size=4, max_size=4))
    number = phonenumbers.PhoneNumber(
        country_code=example_number.country_code,
        national_number=int(plain[:-4] + last),
        italian_leading_zero=example_number.italian_leading_zero,
    )
    assume(phonenumbers.is_valid_number_for_region(number, country))
    return country, number


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str, str]:
    """A country, a number in one of its usual written forms, and its E.164."""
    country, number = draw(valid_numbers())
    text = phonenumbers.format_number(number, draw(st.sampled_from(FORMATS)))
    separator = draw(st.sampled_from((None, " ", "-", ".", "")))
    if separator is not None and "(" not in text:
        text = text[0] + text[1:].replace(" ", separator).replace("-", separator)
    digits = draw(st.sampled_from(DIGITS))
    text = "".join(digits[int(sign)] if sign.isdigit() else sign for sign in text)
    return country, text, phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@settings(max_examples=examples(300))
@given(written(), st.sampled_from(CARRIERS))
def test_any_valid_number_in_any_carrier_is_found(number: tuple[str, str, str], carrier: str) -> None:
    country, text, value = number
    assert value in {match.value for match in detect_contacts(carrier.format(text), country)}


@settings(max_examples=examples(200))
@given(valid_numbers())
def test_the_fast_reader_agrees_with_the_reference(number: tuple[str, phonenumbers.PhoneNumber]) -> None:
    country, parsed = number
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    reference = phonenumbers.parse(national, country)
    reading = read_number("".join(sign for sign in national if sign.isdigit()), country)
    wanted = phonenumbers.format_number(reference, phonenumbers.PhoneNumberFormat.E164)
    assert reading is not None
    assert reading.value == wanted


@settings(max_examples=examples(300))
@given(st.text(st.characters(exclude_categories=("Cs", "Nd", "Nl", "No")), max_size=200))
@example("is this on facebook?")
def test_a_text_without_digits_and_marks_gives_nothing(text: str) -> None:
    plain = fold(text).text
    assume(not any(sign in "@/.:_-=" or unicodedata.category(sign) == "Nd" for sign in plain))
    assert detect_contacts(text, "SG") == []


@settings(max_examples=examples(300))
@given(st.text(st.characters(exclude_categories=()), max_size=120))
def test_folding_never_moves_a_span(text: str) -> None:
    folded = fold(text)
    assert len(folded.low) == len(folded.text)
    places = [folded.span(place, place + 1) for place in range(len(folded.text))]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert [start for start, _ in places] == sorted(start for start, _ in places)
    for place, (start, end) in enumerate(places):
        assert folded.text[place] in fold(text[start:end]).text


@settings(max_examples=examples(300))
@given(st.text(st.characters(exclude_categories=()), max_size=300), st.sampled_from(MARKETS))
def test_no_text_raises_and_every_match_is_its_slice(text: str, country: str) -> None:
    matches = detect_contacts(text, country)
    assert all(text[match.start : match.end] == match.raw for match in matches)
    assert detect_contacts_batch([(text, country)]) == [matches]


@settings(max_examples=examples(100))
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=()), max_size=60)
            | st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
            st.sampled_from(MARKETS),
        ),
        max_size=12,
    )
)
def test_a_batch_finds_what_one_by_one_finds(messages: list[tuple[str, str]]) -> None:
    assert detect_contacts_batch(messages) == [detect_contacts(*message) for message in messages]


@settings(max_examples=examples(100))
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_pieces_of_contacts_never_raise(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert all(text[match.start : match.end] == match.raw for match in detect_contacts(text, "ID"))


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a.",
            "1-",
            "wa ",
            "a@",
            "a@b.",
            "+",
            "0 ",
            "0\u200b",
            "www.",
            "a.b/",
            "ig @",
            "line ",
            "0812345678 ",
        ),
        *("12 34 56 78 ", "at gmail dot ", "e\u0301", "\uff10", "微信 a_1 ", "@a on ig ", "instagram.com/a "),
    ],
)
def test_time_grows_no_faster_than_the_text(unit: str) -> None:
    warm()
    short, long = (unit * 2_000)[:2_000], (unit * 16_000)[:16_000]
    costs = {text: min(_cpu_s(text) for _ in range(4)) for text in (short, long)}
    assert costs[long] < 8 * 4 * costs[short] + 0.01


def _cpu_s(text: str) -> float:
    started = time.process_time()
    detect_contacts(text, "ID")
    return time.process_time() - started
