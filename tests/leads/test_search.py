"""Search by names: case, accents, width, other scripts, words in any order, and visitors without a name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.leads.rules.records import LeadFilter, fold_text, has_all_words, name_key, visitor_mark
from contatto.leads.store import listing
from tests import make
from tests.journeys.running import House, running_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


SAME = [
    ("Müller", "muller"),
    ("MÜLLER", "müller"),
    ("Mu\u0308ller", "Müller"),
    ("Weiß", "weiss"),
    ("Søren Ågård", "soren agard"),
    ("Łukasz", "lukasz"),
    ("Đặng Thị Hương", "dang thi huong"),
    ("Nguyễn", "NGUYEN"),
    ("João Gonçalves", "joao goncalves"),
    ("İbrahim Yıldız", "ibrahim yildiz"),
    ("Œuvre Æsir", "oeuvre aesir"),
    ("أحمد", "احمد"),
    ("إيمان", "ايمان"),
    ("فاطمة", "فاطمه"),
    ("ليلى", "ليلي"),
    ("مُحَمَّد", "محمد"),
    ("محـمد", "محمد"),
    ("کریم", "كريم"),
    ("שָׁלוֹם", "שלום"),
    ("ﾔﾏﾀﾞ ﾀﾛｳ", "ヤマダ タロウ"),
    ("Ｙａｍａｄａ", "yamada"),
    ("Йосиф", "иосиф"),
    ("O’Brien", "o'brien"),
]
DIFFERENT = [("ガス", "カス"), ("มานี", "มาน"), ("कि", "क"), ("山田", "山本")]


@pytest.mark.parametrize(("name", "typed"), SAME)
def test_spellings_of_one_name_have_one_form(name: str, typed: str) -> None:
    assert fold_text(name) == fold_text(typed)
    assert name_key(name) == name_key(typed)


@pytest.mark.parametrize(("name", "other"), DIFFERENT)
def test_marks_that_are_part_of_a_letter_stay(name: str, other: str) -> None:
    assert fold_text(name) != fold_text(other)


@given(st.text(max_size=40))
def test_a_folded_text_stays_as_it_is(text: str) -> None:
    once = fold_text(text)
    assert fold_text(once) == once


def test_words_match_in_any_order_and_one_letter_matches_a_beginning() -> None:
    name = fold_text("María del Carmen Rossi")
    assert has_all_words(name, ["rossi", "maria"])
    assert has_all_words(name, ["ros", "car"])
    assert has_all_words(name, ["maria", "r"])
    assert not has_all_words(name, ["maria", "x"])
    assert not has_all_words(name, ["maria", "a"])


@pytest.mark.parametrize(
    ("typed", "mark"),
    [
        *(
            ("Visitor ce1d", "ce1d"),
            ("ce1d visitor", "ce1d"),
            ("CE1D", "ce1d"),
            ("visi ce", "ce"),
            ("visitor", ""),
        ),
        *(
            ("ce1", None),
            ("vis", None),
            ("visitor ce1d 9", None),
            ("visitor zz", None),
            ("", None),
            ("rossi", None),
        ),
    ],
)
def test_a_search_for_a_visitor_names_the_beginning_of_the_id(typed: str, mark: str | None) -> None:
    assert visitor_mark(typed) == mark


def test_leads_are_found_whatever_the_spelling_and_the_order_of_words(database: Database) -> None:
    business_id = database.write_now(make.business).id
    names = ["Jürgen Müller", "Maria Rossi", "Đặng Hương", "أحمد علي", "ﾔﾏﾀﾞ ﾀﾛｳ", ""]
    ids = [f"ce{number}d0000" for number in range(len(names))]

    def save(tx: Tx) -> None:
        for name, person_id in zip(names, ids, strict=True):
            make.lead(tx, business_id, person_id=person_id, profile_name=name)

    database.write_now(save)

    def find(text: str) -> set[str]:
        wanted = LeadFilter(text=text)
        found = database.read_now(lambda tx: listing.list_leads(tx, business_id, wanted))
        matches = database.read_now(lambda tx: listing.find_matches(tx, business_id, wanted))
        assert matches.total == len(found)
        return {names[ids.index(lead.person_id)] or "visitor" for lead in found}

    assert find("muller") == find("MULLER jur") == find("müller jürgen") == {"Jürgen Müller"}
    assert find("Rossi Maria") == find("ross mar") == find("maria r") == {"Maria Rossi"}
    assert find("dang huong") == {"Đặng Hương"}
    assert find("احمد") == find("علي أحمد") == {"أحمد علي"}
    assert find("ヤマダ") == {"ﾔﾏﾀﾞ ﾀﾛｳ"}
    assert find("Visitor ce5d") == find("ce5d") == find("visitor") == {"visitor"}
    assert find("Visitor ce1d") == find("rossi muller") == find("%") == set()


def test_the_name_that_a_page_shows_for_a_visitor_finds_the_lead(house: House) -> None:
    lead = house.context.db.write_now(
        lambda tx: make.lead(
            tx, house.business_id, person_id=new_id(), profile_name="", channel_account_id=house.webchat_id
        )
    )
    shown = f"Visitor {lead.person_id[:4]}"
    for query in (shown, shown.lower(), lead.person_id[:4]):
        assert f"/leads/{lead.id}" in house.client.get("/leads/rows", params={"q": query}).text
        assert lead.id in house.client.get("/leads", params={"q": query}).text
    assert lead.id not in house.client.get("/leads/rows", params={"q": "Visitor zzzz"}).text
