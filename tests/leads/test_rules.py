"""Statuses, what makes a lead, which details are new, whose name is better, and what a search means."""

import phonenumbers
import pytest

from contatto.capture.model import Field
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import (
    MOVES,
    better_name,
    detail_key,
    makes_lead,
    phone_country,
    search_values,
)
from tests import make

ALLOWED = {
    ("raw", "contacted"), ("raw", "qualified"), ("raw", "unqualified"), ("raw", "converted"),
    ("contacted", "qualified"), ("contacted", "unqualified"), ("contacted", "converted"),
    ("qualified", "contacted"), ("qualified", "unqualified"), ("qualified", "converted"),
    ("unqualified", "contacted"), ("unqualified", "qualified"),
    ("converted", "qualified"), ("converted", "unqualified"),
}  # fmt: skip


@pytest.mark.parametrize("old", LeadStatus)
@pytest.mark.parametrize("new", LeadStatus)
def test_a_status_moves_as_the_table_says(old: LeadStatus, new: LeadStatus) -> None:
    assert (new in MOVES[old]) is ((old.value, new.value) in ALLOWED)


def test_nothing_becomes_raw_again_and_nothing_is_a_dead_end() -> None:
    assert set(MOVES) == set(LeadStatus)
    assert all(moves and LeadStatus.RAW not in moves for moves in MOVES.values())


def test_details_make_a_lead_and_a_name_alone_does_not() -> None:
    assert makes_lead(make.signal("b1", make.contact()))
    assert not makes_lead(make.signal("b1", stated_name="Night Owl"))


@pytest.mark.parametrize(
    ("current", "stated", "profile", "wanted"),
    [
        ("", None, "mei", "mei"),
        ("mei", None, "other", "mei"),
        ("mei", "Night Owl", "mei", "Night Owl"),
        ("", None, "", ""),
        ("mei", "", "mei", "mei"),
        ("", None, " m\te\0i \u202e\n", "mei"),
        ("", None, "x" * 200, "x" * 120),
    ],
)
def test_a_stated_name_is_better_than_a_profiles_and_none_is_lost(
    current: str, stated: str | None, profile: str, wanted: str
) -> None:
    assert better_name(current, make.signal("b1", stated_name=stated, profile_name=profile)) == wanted


@pytest.mark.parametrize(
    "typed",
    ["+6591234567", "+65 9123 4567", "6591234567", " (65) 9123-4567 ", "0065 9123 4567", "+65.9123.4567",
     "００６５９１２３４５６７", "+٦٥٩١٢٣٤٥٦٧"],
)  # fmt: skip
def test_a_number_is_looked_for_however_it_is_spelled(typed: str) -> None:
    assert "+6591234567" in search_values(typed)


def test_a_national_number_is_looked_for_in_the_countries_of_the_business() -> None:
    assert "+6591234567" in search_values("9123 4567", ["SG"])
    assert "+6591234567" not in search_values("9123 4567", ["ID"])
    assert "+6281234567890" in search_values("0812-3456-7890", ["SG", "ID"])


@pytest.mark.parametrize(
    ("typed", "value"), [("Mei@Example.com ", "mei@example.com"), ("@Mei.Lin", "mei.lin"), ("Mei", "Mei")]
)
def test_addresses_and_handles_are_looked_for_in_lower_case(typed: str, value: str) -> None:
    assert value in search_values(typed)


@pytest.mark.parametrize("typed", ["", "   ", "@"])
def test_an_empty_search_looks_for_no_value(typed: str) -> None:
    assert [value for value in search_values(typed) if value != "@"] == []


@pytest.mark.parametrize(
    ("field", "one", "other", "is_same"),
    [
        (Field.EMAIL, "Mei@example.com", "mei@example.com", True),
        (Field.EMAIL, "mei@example.com", "mei+1@example.com", False),
        (Field.LINE, "Mei", "mei", False),
        (Field.PHONE, "+6581234567", "+6581234568", False),
    ],
)
def test_the_capitals_of_an_address_make_no_other_address(
    field: Field, one: str, other: str, *, is_same: bool
) -> None:
    assert (detail_key(field, one) == detail_key(field, other)) is is_same


def test_the_country_of_a_number_is_the_one_that_the_library_finds() -> None:
    examples = map(phonenumbers.example_number, sorted(phonenumbers.SUPPORTED_REGIONS))
    for number in filter(None, examples):
        value = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        assert phone_country(value) == phonenumbers.region_code_for_number(number), value
    nowhere = ("+800123456789", "+99", "+0651234567", "65123456")
    assert [phone_country(value) for value in nowhere] == [None] * 4
