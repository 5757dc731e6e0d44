"""The filter's grammar is closed: of whatever an address holds, only known words and bound values remain."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from contatto.capture.model import Field
from contatto.kit.db.database import Database
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.leads.actions.annotations import label_lead
from contatto.leads.model import Actor, Lead, LeadStatus, Origin
from contatto.leads.rules.records import (
    COLUMNS,
    MOST_VALUES,
    SORTS,
    USUAL_SORT,
    Has,
    LeadFilter,
    ListLayout,
    fold_text,
    for_member,
    is_initial,
    read_filter,
    read_look,
    read_text,
    visitor_mark,
    write_filter,
    write_look,
)
from contatto.leads.store import listing, tables
from contatto.leads.store.listing import find_conditions, list_labels
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution
from tests import make
from tests.examples import examples
from tests.make import record_touch

WORDS = ["q", "status", "owner", "label", "source", "campaign", "ad_group", "ad", "country", "has", "from",
         "to", "twins", "any", "sort", "column", "dense", "drop"]  # fmt: skip
HOSTILE = ["'; DROP TABLE leads; --", "' OR 1=1 --", "%", "_", "\\", "\0", "raw' OR '1'='1", "1)", "-1", "٣",
           "9" * 40, "2026-13-40", "١٢", "me", "none", "SG", "raw", "phone", "2026-01-01", "1"]  # fmt: skip
ids = st.builds(new_id)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), ids, st.integers().map(str))
addresses = st.lists(st.tuples(st.sampled_from(WORDS) | st.text(max_size=8), texts), max_size=12)
wanted_filters = st.builds(
    LeadFilter,
    text=st.text(max_size=30).map(read_text),
    statuses=st.lists(st.sampled_from(LeadStatus), unique=True).map(tuple),
    origins=st.lists(st.sampled_from(Origin), unique=True).map(tuple),
    owners=st.lists(st.sampled_from(["me", "none"]) | ids, unique=True, max_size=3).map(tuple),
    labels=st.lists(st.just("none") | ids, unique=True, max_size=3).map(tuple),
    campaigns=st.lists(st.integers(0, (1 << 63) - 1), unique=True, max_size=3).map(tuple),
    countries=st.lists(st.sampled_from(["SG", "IT", "BR"]), unique=True).map(tuple),
    has=st.lists(st.sampled_from(Has), unique=True).map(tuple),
    since=st.none() | st.dates(date(1970, 1, 1), date(2199, 12, 31)),
    twins=st.booleans(),
    any_of=st.booleans(),
)
looks = st.builds(
    ListLayout,
    sort=st.sampled_from([sign + word for sign in ("", "-") for word in SORTS]),
    columns=st.sets(st.sampled_from(COLUMNS), min_size=1).map(
        lambda chosen: tuple(each for each in COLUMNS if each in chosen)
    ),
    dense=st.booleans(),
)


@given(wanted=wanted_filters, look=looks)
def test_what_is_written_into_an_address_is_read_back(wanted: LeadFilter, look: ListLayout) -> None:
    pairs = parse_qsl(urlencode([*write_filter(wanted), *write_look(look)]))
    assert (read_filter(pairs), read_look(pairs)) == (wanted, look)


@given(pairs=addresses)
def test_whatever_an_address_holds_only_known_values_come_through(pairs: list[tuple[str, str]]) -> None:
    found = read_filter(pairs)
    assert set(found.statuses) <= set(LeadStatus)
    assert all(each in ("me", "none") or len(each) == 36 for each in (*found.owners, *found.labels))
    assert all(type(each) is int and 0 <= each < 1 << 63 for each in (*found.campaigns, *found.ads))
    assert read_look(pairs).sort.removeprefix("-") in SORTS
    assert set(read_look(pairs).columns) <= set(COLUMNS)
    assert read_filter(write_filter(found)) == found


def test_a_filter_has_few_values_of_a_word_and_in_all() -> None:
    ids = [new_id() for _ in range(MOST_VALUES + 1)]
    assert len(read_filter([("owner", each) for each in ids[:-1] * 2]).owners) == MOST_VALUES
    with pytest.raises(Refused, match="owner: choose 50 values at most"):
        read_filter([("owner", each) for each in ids])
    many = [(word, each) for word in ("owner", "label", "form") for each in ids[:30]]
    with pytest.raises(Refused, match="more than 80 values"):
        read_filter(many)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=addresses)
def test_no_typed_text_is_ever_part_of_a_statement(database: Database, pairs: list[tuple[str, str]]) -> None:
    wanted = read_filter(pairs)

    def look(tx: Any) -> str:
        words = fold_text(wanted.text).split()
        plain = LeadFilter(**{  # as many words with harmless values must give the very same statement
            name: type(value)("x") if isinstance(value, str) and value else value
            for name in LeadFilter.__dataclass_fields__ for value in [getattr(wanted, name)] if name != "text"
        }, text=" ".join("x" if is_initial(word) else "xx" for word in words) or wanted.text)  # fmt: skip
        statements = [str(find_conditions(tx, "b1", each).select(tables.leads)) for each in (wanted, plain)]
        if visitor_mark(wanted.text) is None and not (wanted.text.isdecimal() and wanted.text.isascii()):
            assert statements[0] == statements[1]
        listing.count_leads(tx, "b1", wanted)
        listing.list_leads(tx, "b1", wanted, read_look(pairs).sort)
        return statements[0]

    assert "DROP" not in database.read_now(look)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_search_finds_nothing_and_breaks_nothing(database: Database, text: str) -> None:
    business_id = new_id()
    database.write_now(lambda tx: make.lead(tx, business_id))
    wanted = LeadFilter(text=read_text(text))
    count = database.read_now(lambda tx: listing.count_leads(tx, business_id, wanted))
    assert count == (1 if wanted.text in ("", "me") else 0)  # the lead is called mei
    assert database.read_now(lambda tx: tx.execute(select(tables.leads)).all())


def _world(db: Database, business_id: str) -> dict[str, Lead]:
    """Four leads that differ in all that can be filtered by."""

    def build(tx: Any) -> dict[str, Lead]:
        later = make.NOON + timedelta(days=3)
        mail = make.contact("mei@example.com", Field.EMAIL)
        found = {
            "phone": make.lead(tx, business_id, person_id="p1"),
            "both": make.lead(tx, business_id, make.contact(), mail, person_id="p2", at=later),
            "italian": make.lead(
                tx, business_id, make.contact("+393312345678"), person_id="p3", profile_name="ÉLISE"
            ),
            "mail": make.lead(tx, business_id, mail, person_id="p4", origin=Origin.FORM),
        }
        actor = Actor(business_id, "m1", "Owner")
        label_lead(tx, actor, found["mail"].id, "vip")
        tx.change(tables.leads, business_id, found["both"].id, owner_id="m1")
        return found

    return db.write_now(build)


@pytest.mark.parametrize("many", [listing.MANY, 0])
@pytest.mark.parametrize("most_texts", [listing.MOST_TEXTS, 0])
def test_each_word_of_the_filter_means_what_it_says_however_leads_are_counted(
    database: Database, monkeypatch: pytest.MonkeyPatch, most_texts: int, many: int
) -> None:
    monkeypatch.setattr(listing, "MOST_TEXTS", most_texts)
    monkeypatch.setattr(listing, "MANY", many)
    business_id = new_id()
    world = _world(database, business_id)
    _world(database, new_id())  # nothing of another business is ever found
    vip = database.read_now(lambda tx: [each.id for each in list_labels(tx, business_id)])[0]
    day = make.NOON.date()
    expected: list[tuple[LeadFilter, set[str]]] = [
        (LeadFilter(), {"phone", "both", "italian", "mail"}),
        (LeadFilter(has=(Has.PHONE,)), {"phone", "both", "italian"}),
        (LeadFilter(has=(Has.NO_PHONE,)), {"mail"}),
        (LeadFilter(has=(Has.EMAIL,)), {"both", "mail"}),
        (LeadFilter(has=(Has.NO_PHONE, Has.NO_EMAIL)), {"phone", "italian", "mail"}),
        (LeadFilter(countries=("IT",)), {"italian"}),
        (LeadFilter(countries=("IT", "SG")), {"phone", "both", "italian"}),
        (LeadFilter(labels=(vip,)), {"mail"}),
        (LeadFilter(labels=("none",)), {"phone", "both", "italian"}),
        (LeadFilter(labels=("none", vip)), {"phone", "both", "italian", "mail"}),
        (LeadFilter(owners=("m1",)), {"both"}),
        (LeadFilter(owners=("none",)), {"phone", "italian", "mail"}),
        (LeadFilter(since=day + timedelta(days=1)), {"both"}),
        (LeadFilter(until=day), {"phone", "italian", "mail"}),
        (LeadFilter(twins=True), {"phone", "both", "mail"}),
        (LeadFilter(origins=(Origin.FORM,)), {"mail"}),
        (LeadFilter(text="élise"), {"italian"}),
        (LeadFilter(text="LISE"), {"italian"}),
        (LeadFilter(text="+65 9123 4567"), {"phone", "both"}),
        (LeadFilter(text="MEI@example.com"), {"both", "mail"}),
        (LeadFilter(countries=("IT",), labels=(vip,)), set()),
        (LeadFilter(countries=("IT",), labels=(vip,), any_of=True), {"italian", "mail"}),
        (LeadFilter(text="mei", countries=("IT",), labels=(vip,), any_of=True), {"mail"}),
        (LeadFilter(owners=("m1",), countries=("SG",)), {"both"}),
        (LeadFilter(owners=("m1",), countries=("IT",)), set()),
        (LeadFilter(owners=("m1",), countries=("IT",), any_of=True), {"both", "italian"}),
        (LeadFilter(statuses=(LeadStatus.RAW,), has=(Has.NO_PHONE,)), {"mail"}),
        (LeadFilter(statuses=(LeadStatus.QUALIFIED,), has=(Has.NO_PHONE,)), set()),
    ]
    for wanted, names in expected:
        found = database.read_now(lambda tx, w=wanted: listing.list_leads(tx, business_id, w))
        count = database.read_now(lambda tx, w=wanted: listing.count_leads(tx, business_id, w))
        assert {lead.id for lead in found} == {world[name].id for name in names}, wanted
        matches = database.read_now(lambda tx, w=wanted: listing.find_matches(tx, business_id, w))
        place = (USUAL_SORT, 50, 0)
        page = database.read_now(
            lambda tx, w=wanted, m=matches, p=place: listing.list_matches(tx, business_id, w, m, p)
        )
        assert page == found
        assert count == matches.total == len(names)


def test_a_lead_is_found_by_what_the_ad_that_earned_it_is_called_and_by_its_ids(database: Database) -> None:
    def build(tx: Any) -> tuple[str, Any, Lead]:
        ad = make.published_ad(tx, new_id())
        record_touch(tx, make.touch(ad, at=make.NOON - timedelta(minutes=5)))
        lead = make.lead(tx, ad.business_id)
        make.lead(tx, ad.business_id, person_id="p2")
        return ad.business_id, ad, lead

    business_id, ad, lead = database.write_now(build)
    credit = database.read_now(lambda tx: find_attribution(tx, business_id, lead.id, ConversionKind.LEAD))
    assert credit
    assert credit.ts == micros(make.NOON)
    for wanted in (
        LeadFilter(ads=(ad.ad_number,)), LeadFilter(ad_groups=(ad.ad_group_number,)),
        LeadFilter(campaigns=(ad.campaign_number,)), LeadFilter(text=str(ad.ad_group_number)),
        LeadFilter(text=ad.campaign_name.upper()), LeadFilter(text=ad.ad_group_name[1:]),
    ):  # fmt: skip
        found = database.read_now(lambda tx, w=wanted: listing.list_leads(tx, business_id, w))
        assert [each.id for each in found] == [lead.id], wanted
    assert (
        database.read_now(lambda tx: listing.list_leads(tx, "other", LeadFilter(ads=(ad.ad_number,)))) == []
    )


@pytest.mark.parametrize("many", [listing.MANY, 1, 0])
def test_a_lead_that_a_search_finds_twice_counts_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(listing, "MANY", many)

    def build(tx: Any) -> tuple[str, str]:
        ad = make.published_ad(tx, new_id())
        for name in ("p1", "p2"):
            record_touch(tx, make.touch(ad, at=make.NOON - timedelta(minutes=5), person_id=name))
        make.lead(tx, ad.business_id, person_id="p1", profile_name=ad.campaign_name)
        make.lead(tx, ad.business_id, person_id="p2")
        make.lead(tx, ad.business_id, person_id="p3", profile_name=ad.campaign_name)
        make.lead(tx, ad.business_id, person_id="p4")
        return ad.business_id, ad.campaign_name

    business_id, name = database.write_now(build)
    wanted = LeadFilter(text=name)
    found = database.read_now(lambda tx: listing.find_matches(tx, business_id, wanted))
    assert found.total == 3
    place = (USUAL_SORT, 50, 0)
    page = database.read_now(lambda tx: listing.list_matches(tx, business_id, wanted, found, place))
    assert {lead.person_id for lead in page} == {"p1", "p2", "p3"}


@pytest.mark.parametrize("sort", [sign + word for sign in ("", "-") for word in SORTS])
def test_pages_in_any_order_hold_every_lead_once(database: Database, sort: str) -> None:
    business_id = new_id()
    database.write_now(
        lambda tx: [
            make.lead(tx, business_id, person_id=f"p{n}", at=make.NOON + timedelta(minutes=n % 3))
            for n in range(11)
        ]
    )
    pages = [
        database.read_now(lambda tx, o=o: listing.list_leads(tx, business_id, LeadFilter(), sort, 4, o))
        for o in (0, 4, 8)
    ]
    assert len({lead.id for page in pages for lead in page}) == 11


@pytest.mark.parametrize("sort", [sign + word for sign in ("", "-") for word in SORTS] + ["of no kind"])
def test_the_later_pages_go_on_where_the_ones_before_end(
    database: Database, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr(listing, "MANY", 0)
    business_id, wanted = new_id(), LeadFilter(has=(Has.PHONE,))

    def build(tx: Any) -> None:
        for n in range(11):
            make.lead(tx, business_id, person_id=f"p{n}", at=make.NOON + timedelta(minutes=n % 3))

    def read(tx: Any) -> tuple[list[Lead], list[list[Lead]]]:
        found = listing.find_matches(tx, business_id, wanted)
        places = [(sort, 4, offset) for offset in (0, 4, 8, 12)]
        pages = [listing.list_matches(tx, business_id, wanted, found, place) for place in places]
        return listing.list_leads(tx, business_id, wanted, sort), pages

    database.write_now(build)
    whole, pages = database.read_now(read)
    assert [len(page) for page in pages] == [4, 4, 3, 0]
    assert [lead for page in pages for lead in page] == whole


def test_me_is_whoever_looks() -> None:
    wanted = LeadFilter(owners=("me", "none"))
    assert for_member(wanted, "m1").owners == ("m1", "none")
    assert datetime.now(UTC).year < 2200  # days beyond are read as none
