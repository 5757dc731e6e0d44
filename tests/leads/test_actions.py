"""One lead for each person, whatever comes, in any order and on either database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from contatto.capture.model import ContactMatch, Field
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import list_events
from contatto.kit.values import micros
from contatto.leads.actions.records import change_lead_status, mark_as_lead, upsert_leads
from contatto.leads.model import Lead, LeadStatus, Origin
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing, tables
from contatto.leads.store import records as store
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution
from tests import make
from tests.examples import examples

MINUTE = timedelta(minutes=1)
PHONE, MAIL = make.contact(), make.contact("mei@example.com", Field.EMAIL)


@pytest.fixture
def business_id(database: Database) -> str:
    return database.write_now(make.business).id


def tell(db: Database, business_id: str, *contacts: ContactMatch, **changes: Any) -> Lead | None:
    said = make.signal(business_id, *contacts, **changes)
    return db.write_now(lambda tx: upsert_leads(tx, [said])[0])


def all_leads(db: Database, business_id: str, wanted: LeadFilter | None = None) -> list[Lead]:
    return db.read_now(lambda tx: listing.list_leads(tx, business_id, wanted or LeadFilter()))


def values(db: Database, business_id: str, lead: Lead) -> list[str]:
    points = db.read_now(lambda tx: listing.list_contact_points(tx, business_id, {lead.id}))
    return [point.value for point in points[lead.id]]


def event_names(db: Database, business_id: str) -> list[str]:
    return [event.name for event in db.read_now(lambda tx: list_events(tx, 0, business_id=business_id))]


def test_a_detail_makes_a_raw_lead_with_its_evidence_and_its_conversion(
    database: Database, business_id: str
) -> None:
    lead = tell(database, business_id, make.contact(start=5), source_id="message-1")
    assert lead is not None
    assert (lead.status, lead.origin, lead.name, lead.created_at) == (
        LeadStatus.RAW, Origin.CHAT, "mei", make.NOON,
    )  # fmt: skip
    assert len(str(lead.number)) == 19
    evidence = database.read_now(lambda tx: store.list_evidence_of_lead(tx, business_id, lead.id))
    assert [(item.source_id, item.start, item.raw, item.rule, item.confidence) for item in evidence] == [
        ("message-1", 5, "+6591234567", "test.rule", 0.9)
    ]
    credit = database.read_now(lambda tx: find_attribution(tx, business_id, lead.id, ConversionKind.LEAD))
    assert credit is not None
    assert credit.ts == micros(make.NOON)
    assert event_names(database, business_id) == ["lead_captured"]


def test_a_second_detail_updates_the_same_lead(database: Database, business_id: str) -> None:
    first = tell(database, business_id, PHONE)
    second = tell(database, business_id, MAIL, at=make.NOON + MINUTE)
    assert first is not None
    assert second is not None
    assert (second.id, second.updated_at) == (first.id, make.NOON + MINUTE)
    assert len(all_leads(database, business_id)) == 1
    assert values(database, business_id, first) == ["+6591234567", "mei@example.com"]
    assert event_names(database, business_id) == ["lead_captured", "lead_updated"]
    steps = database.read_now(lambda tx: store.list_history(tx, business_id, first.id))
    assert [(step.what, step.detail) for step in steps] == [("captured", "phone"), ("updated", "email")]


def test_the_same_detail_again_changes_nothing_but_its_evidence(database: Database, business_id: str) -> None:
    first = tell(database, business_id, PHONE, source_id="m1")
    again = tell(database, business_id, PHONE, source_id="m2")
    repeat = tell(database, business_id, PHONE, source_id="m2")
    assert first == again == repeat
    assert first is not None
    assert values(database, business_id, first) == ["+6591234567"]
    evidence = database.read_now(lambda tx: store.list_evidence_of_lead(tx, business_id, first.id))
    assert sorted(item.source_id for item in evidence) == ["m1", "m2"]
    assert event_names(database, business_id) == ["lead_captured"]


def test_the_same_value_in_another_field_is_another_detail(database: Database, business_id: str) -> None:
    lead = tell(database, business_id, PHONE, make.contact(field=Field.WHATSAPP, start=30))
    assert lead is not None
    points = database.read_now(lambda tx: listing.list_contact_points(tx, business_id, {lead.id}))[lead.id]
    assert sorted(point.field for point in points) == [Field.PHONE, Field.WHATSAPP]


def test_a_name_alone_makes_no_lead_but_names_one_that_is_there(database: Database, business_id: str) -> None:
    assert tell(database, business_id, stated_name="Night Owl") is None
    assert all_leads(database, business_id) == []
    tell(database, business_id, PHONE)
    named = tell(database, business_id, stated_name="Night Owl")
    assert named is not None
    assert named.name == "Night Owl"
    assert event_names(database, business_id) == ["lead_captured"]


def test_two_persons_with_one_number_stay_two_leads_and_know_of_each_other(
    database: Database, business_id: str
) -> None:
    one, two = (tell(database, business_id, PHONE, person_id=person) for person in ("p1", "p2"))
    other = tell(database, business_id, MAIL, person_id="p3")
    assert one
    assert two
    assert other
    twins = [
        database.read_now(lambda tx, of=of: listing.list_twins(tx, business_id, of.id))
        for of in (one, two, other)
    ]
    assert twins == [[two], [one], []]


signals = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2"]),
        st.lists(st.sampled_from(["+6591234567", "+6591234568", "+6591234569"]), max_size=2),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda signal: signal[2],
)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=signals, chance=st.randoms(use_true_random=False))
def test_any_order_and_repeats_end_with_the_same_leads(database: Database, plan, chance) -> None:  # type: ignore[no-untyped-def]
    def play(order: list[Any]) -> dict[str, Any]:
        business_id = new_id()
        for person, numbers, minutes in order:
            contacts = [make.contact(number, start=20 * i) for i, number in enumerate(numbers)]
            tell(database, business_id, *contacts, person_id=person, at=make.NOON + minutes * MINUTE,
                 source_id=f"message of {minutes}")  # fmt: skip
        return state_of(database, business_id)

    shuffled = plan * 2
    chance.shuffle(shuffled)
    in_order = play(sorted(plan, key=lambda signal: signal[2]))
    assert play(shuffled) == in_order
    assert set(in_order) == {person for person, numbers, _ in plan if numbers}


def state_of(db: Database, business_id: str) -> dict[str, Any]:
    """All that a lead is, without its random ids."""

    def look(tx: Tx) -> dict[str, Any]:
        found = {}
        for lead in listing.list_leads(tx, business_id, LeadFilter()):
            points = listing.list_contact_points(tx, business_id, {lead.id})[lead.id]
            evidence = store.list_evidence_of_lead(tx, business_id, lead.id)
            credit = find_attribution(tx, business_id, lead.id, ConversionKind.LEAD)
            found[lead.person_id] = (
                lead.name, lead.status, lead.created_at,
                {(point.field, point.value, point.created_at) for point in points},
                sorted((item.source_id, item.start, item.raw) for item in evidence),
                credit and credit.ts,
            )  # fmt: skip
        return found

    return db.read_now(look)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_transactions_at_once_make_one_lead_with_both_details(
    database: Database, business_id: str
) -> None:
    for number in range(6):
        together = threading.Barrier(2)

        def work(tx: Tx, contact: ContactMatch, person: str, barrier: threading.Barrier) -> None:
            assert store.find_lead_of_person(tx, business_id, person) is None
            barrier.wait(60)
            upsert_leads(tx, [make.signal(business_id, contact, person_id=person)])

        both = [lambda tx, c=c, b=together, p=f"p{number}": work(tx, c, p, b) for c in (PHONE, MAIL)]
        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(database.write_now, each) for each in both]:
                done.result(60)
    found = all_leads(database, business_id)
    assert len(found) == 6
    assert all(len(values(database, business_id, lead)) == 2 for lead in found)
    names = event_names(database, business_id)
    assert (names.count("lead_captured"), names.count("lead_updated")) == (6, 6)


def test_a_lead_by_hand_is_one_too_and_later_details_join_it(database: Database, business_id: str) -> None:
    by_hand = make.signal(business_id, origin=Origin.MANUAL, actor="Owner", at=make.NOON)
    lead = database.write_now(lambda tx: mark_as_lead(tx, by_hand))
    assert database.write_now(lambda tx: mark_as_lead(tx, by_hand)) == lead
    joined = tell(database, business_id, PHONE, at=make.NOON + MINUTE)
    assert joined is not None
    assert (joined.id, joined.origin) == (lead.id, Origin.MANUAL)
    steps = database.read_now(lambda tx: store.list_history(tx, business_id, lead.id))
    assert [(step.what, step.actor) for step in steps] == [("marked", "Owner"), ("updated", "")]


def move(db: Database, business_id: str, lead: Lead, seen: LeadStatus, new: LeadStatus) -> Lead:
    return db.write_now(lambda tx: change_lead_status(tx, business_id, lead.id, seen, new, "Owner"))


def test_a_status_change_is_kept_told_and_noted(database: Database, business_id: str) -> None:
    lead = database.write_now(lambda tx: make.lead(tx, business_id))
    moved = move(database, business_id, lead, LeadStatus.RAW, LeadStatus.QUALIFIED)
    assert moved.status is LeadStatus.QUALIFIED
    assert event_names(database, business_id)[-1] == "lead_status_changed"
    steps = database.read_now(lambda tx: store.list_history(tx, business_id, lead.id))
    assert (steps[-1].detail, steps[-1].actor) == ("raw → qualified", "Owner")
    counts = database.read_now(lambda tx: listing.count_leads_by_status(tx, business_id))
    assert counts == {LeadStatus.QUALIFIED: 1}


def test_who_saw_an_older_status_is_told_that_somebody_was_faster(
    database: Database, business_id: str
) -> None:
    lead = database.write_now(lambda tx: make.lead(tx, business_id))
    move(database, business_id, lead, LeadStatus.RAW, LeadStatus.CONTACTED)
    before = event_names(database, business_id)
    with pytest.raises(Refused) as refused:
        move(database, business_id, lead, LeadStatus.RAW, LeadStatus.QUALIFIED)
    assert refused.value.code is errors.CONFLICT
    assert all_leads(database, business_id)[0].status is LeadStatus.CONTACTED
    assert event_names(database, business_id) == before


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_of_two_changes_at_once_one_wins_and_the_other_hears_of_it(
    database: Database, business_id: str
) -> None:
    lead = database.write_now(lambda tx: make.lead(tx, business_id))
    together = threading.Barrier(2)

    def change(new: LeadStatus) -> str:
        def work(tx: Tx) -> None:
            assert store.find_lead(tx, business_id, lead.id) == lead
            together.wait(60)
            change_lead_status(tx, business_id, lead.id, LeadStatus.RAW, new, "Owner")

        try:
            database.write_now(work)
        except Refused as refused:
            return refused.code.name
        return "done"

    with ThreadPoolExecutor(2) as threads:
        outcomes = sorted(threads.map(change, (LeadStatus.CONTACTED, LeadStatus.QUALIFIED)))
    assert outcomes == ["conflict", "done"]


def test_another_business_can_neither_see_nor_change_a_lead(database: Database, business_id: str) -> None:
    lead = database.write_now(lambda tx: make.lead(tx, business_id))
    with pytest.raises(Refused) as refused:
        move(database, "other", lead, LeadStatus.RAW, LeadStatus.CONTACTED)
    assert refused.value.code is errors.NOT_FOUND

    def look(tx: Tx) -> list[object]:
        return [
            store.find_lead(tx, "other", lead.id),
            store.find_lead_of_person(tx, "other", lead.person_id),
            store.find_lead_of_conversation(tx, "other", lead.person_id, lead.conversation_id),
            listing.list_leads_by_id(tx, "other", {lead.id}),
            listing.list_leads(tx, "other", LeadFilter(text="+6591234567")),
            listing.count_leads(tx, "other", LeadFilter()),
            listing.list_contact_points(tx, "other", {lead.id})[lead.id],
            store.list_evidence_of_lead(tx, "other", lead.id),
            store.list_history(tx, "other", lead.id),
            listing.list_twins(tx, "other", lead.id),
        ]

    assert database.read_now(look) == [None, None, None, {}, [], 0, [], [], [], []]


def test_contact_values_and_what_was_typed_are_sealed_in_the_raw_tables(
    database: Database, business_id: str
) -> None:
    database.write_now(lambda tx: make.lead(tx, business_id, PHONE, MAIL))
    tables = ("contact_points", "evidence", "leads", "lead_history", "events", "conversions")

    def raw_bytes(tx: Tx) -> bytes:
        rows = [row for table in tables for row in tx.execute(text(f"SELECT * FROM {table}")).all()]  # noqa: S608
        cells = [bytes(cell) if isinstance(cell, memoryview | bytes) else str(cell).encode()
                 for row in rows for cell in row]  # fmt: skip
        return b"\n".join(cells)

    kept = database.read_now(raw_bytes)
    assert b"test.rule" in kept
    for value in (b"6591234567", b"91234567", b"mei@example.com", b"example.com"):
        assert value not in kept


def test_a_search_finds_by_number_address_and_part_of_the_name(database: Database, business_id: str) -> None:
    lead = database.write_now(lambda tx: make.lead(tx, business_id, PHONE, MAIL, profile_name="Mei 100%"))
    database.write_now(lambda tx: make.lead(tx, business_id, make.contact("+6598887777"), person_id="p2",
                                            profile_name="Bob"))  # fmt: skip
    for typed in (
        "+65 9123 4567",
        "6591234567",
        "0065-9123-4567",
        "91234567\0",
        "MEI@example.com",
        "mei",
        "ei 100%",
    ):
        assert [found.id for found in all_leads(database, business_id, LeadFilter(text=typed))] == [lead.id]
    for typed in ("+65 9123 456", "example.com", "%", "_", "nobody"):
        found = all_leads(database, business_id, LeadFilter(text=typed))
        assert [each.id for each in found] == ([lead.id] if typed == "%" else [])
    assert all_leads(database, business_id, LeadFilter(text="9123 4568")) == []
    database.write_now(lambda tx: make.channel(tx, business_id))  # registered in Singapore
    assert [each.id for each in all_leads(database, business_id, LeadFilter(text="9123 4567"))] == [lead.id]


def test_filters_count_what_they_list(database: Database, business_id: str) -> None:
    def build(tx: Tx) -> None:
        for number in range(5):
            make.lead(tx, business_id, make.contact(f"+659123456{number}"), person_id=f"p{number}",
                      at=make.NOON + number * MINUTE,
                      origin=Origin.FORM if number == 0 else Origin.CHAT,
                      channel_account_id=f"account-{number % 2}")  # fmt: skip

    database.write_now(build)
    for wanted, count in (
        (LeadFilter(), 5),
        (LeadFilter(statuses=(LeadStatus.RAW,)), 5),
        (LeadFilter(statuses=(LeadStatus.CONVERTED,)), 0),
        (LeadFilter(origins=(Origin.FORM,)), 1),
        (LeadFilter(channel_account_id="account-1"), 2),
    ):
        assert len(all_leads(database, business_id, wanted)) == count
        assert database.read_now(lambda tx, w=wanted: listing.count_leads(tx, business_id, w)) == count
    newest_first = [lead.created_at for lead in all_leads(database, business_id)]
    assert newest_first == sorted(newest_first, reverse=True)


def test_a_download_goes_through_all_leads_once_even_those_of_one_moment(
    database: Database, business_id: str
) -> None:
    def build(tx: Tx) -> None:
        for number in range(25):
            make.lead(tx, business_id, person_id=f"p{number}", at=make.NOON + (number // 10) * MINUTE)

    database.write_now(build)
    seen: list[str] = []
    last: Lead | None = None
    while page := database.read_now(
        lambda tx, last=last: listing.list_leads_after(tx, business_id, LeadFilter(), last, 4)
    ):
        seen += [lead.id for lead in page]
        last = page[-1]
    assert len(seen) == len(set(seen)) == 25


def test_nothing_typed_reaches_the_order_of_the_statement(database: Database, business_id: str) -> None:
    database.write_now(lambda tx: make.lead(tx, business_id))
    hostile = "name; DROP TABLE leads"
    assert len(database.read_now(lambda tx: listing.list_leads(tx, business_id, LeadFilter(), hostile))) == 1
    assert database.read_now(lambda tx: tx.execute(select(tables.leads)).all())
