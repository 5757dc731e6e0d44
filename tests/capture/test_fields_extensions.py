import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.capture.model import Field
from contatto.capture.rules import detect_contacts

#: A number of each kind of writing, and the country that reads it.
NUMBERS = (
    ("(650) 253-0000", "US"),
    ("1-650-253-0000", "US"),
    ("1 809 555 1234", "DO"),
    ("1-246-430-1234", "BB"),
    ("03-331 6005", "NZ"),
    ("+64 3 331 6005", "NZ"),
    ("020 7031 3000", "GB"),
    ("0812-3456-7890", "ID"),
    ("06 12 34 56 78", "FR"),
    ("011 15 8765-4321", "AR"),
)
EXTENSIONS = (
    "x{}",
    " x{}",
    " x {}",
    "ext{}",
    " ext. {}",
    " #{}",
    ", ext {}",
    ";ext={}",
    " ramal {}",
    " 내선 {}",
)


def phones(text: str, country: str) -> set[str]:
    kinds = {Field.PHONE, Field.WHATSAPP}
    return {match.value for match in detect_contacts(text, country) if match.field in kinds}


def e164(number: str, country: str) -> str:
    parsed = phonenumbers.parse(number, country)
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@given(
    number=st.sampled_from(NUMBERS),
    extension=st.from_regex(r"[1-9][0-9]{0,5}", fullmatch=True),
    form=st.sampled_from(EXTENSIONS),
    before=st.sampled_from(["", "call ", "Office: ", "my desk is "]),
    after=st.sampled_from(["", ".", " thanks", ", bye"]),
)
def test_an_extension_is_an_attribute_of_its_number(
    number: tuple[str, str], extension: str, form: str, before: str, after: str
) -> None:
    written, country = number
    text = f"{before}{written}{form.format(extension)}{after}"
    (match,) = detect_contacts(text, country)
    assert (match.value, match.extension) == (e164(written, country), extension)
    assert text[match.start : match.end] == match.raw
    assert match.raw.endswith(extension)


@pytest.mark.parametrize(("number", "country"), NUMBERS)
@pytest.mark.parametrize(
    "around",
    [
        *("$20 {}", "$20.50 {}", "pay $20 {}", "20 USD {}", "€5 {}", "P.{}"),
        *("OFFICE - {}", "off-{}", "#{}", "@ {}", "Room 12, {}", "1) {}", "{} 24/7", "{} 20"),
    ],
)
def test_a_number_in_the_groups_of_its_country_is_found_beside_prices_words_and_figures(
    around: str, number: str, country: str
) -> None:
    assert phones(around.format(number), country) == {e164(number, country)}


@pytest.mark.parametrize("before", ["b", "abc", "é", "É", "M"])
@pytest.mark.parametrize(("number", "country"), [("+64 3 331 6005", "NZ"), ("(650) 253-0000", "US")])
def test_a_plus_or_a_bracket_parts_a_number_from_the_letter_before_it(
    before: str, number: str, country: str
) -> None:
    assert phones(before + number, country) == {e164(number, country)}


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("DO", "18095551234"),
        ("DO", "1 (809) 555-1234"),
        ("BZ", "1 650 253 0000"),
        ("US", "OFFICE - 1(516)733-3989"),
    ],
)
def test_the_one_that_is_dialled_first_in_north_america_is_read_where_it_is_dialled(
    country: str, text: str
) -> None:
    at_home = country != "BZ"
    assert bool(phones(text, country)) is at_home


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("US", "-2208960000"),
        ("US", "80.585 ((79.964)"),
        ("US", "80.585 (79.964)"),
        ("US", "x = -4156667777"),
        ("ID", "VA BCA 8808 0812 3456 7890"),
        ("NZ", "SKU-033316005"),
        ("US", "$6502530000"),
        ("US", "budget $650 253 000"),
    ],
)
def test_negative_numbers_pairs_of_decimals_and_sums_are_no_phones(country: str, text: str) -> None:
    assert phones(text, country) == set()
