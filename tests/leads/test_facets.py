"""What a lead keeps to be filtered by is what its tables say, whatever was done to it."""

from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from contatto.capture.model import Field
from contatto.kit.db.database import Database
from contatto.kit.db.tx import driver_of
from contatto.kit.ids import new_id
from contatto.leads.actions.annotations import label_lead, merge_leads, undo_merge
from contatto.leads.actions.records import delete_lead, refresh_with_twins, upsert_leads
from contatto.leads.model import Actor, Lead, Origin, Picks
from contatto.leads.rules.records import Agreed, LeadFilter
from contatto.leads.store import listing
from contatto.leads.store.intake import record_facets
from contatto.leads.store.records import find_lead
from contatto.leads.store.tables import leads
from tests import make
from tests.examples import examples

MAIL = make.contact("mei@example.com", Field.EMAIL)


def found(db: Database, business_id: str, **wanted: Any) -> set[str]:
    return {
        each.id for each in db.read_now(lambda tx: listing.list_leads(tx, business_id, LeadFilter(**wanted)))
    }


def stays_true(db: Database, business_id: str) -> None:
    """Found out anew, nothing differs from what the actions kept."""

    def texts(tx: Any) -> dict[str, str]:
        rows = tx.execute(leads.select().where(leads.c.business_id == business_id)).mappings()
        return {row["id"]: row["facets"] for row in rows if row["hidden_at"] is None}

    kept = db.read_now(texts)
    db.write_now(lambda tx: record_facets(tx, business_id, list(kept)))
    assert db.read_now(texts) == kept


def test_a_lead_by_chat_and_form_is_found_by_each_and_by_its_form(database: Database) -> None:
    business_id, form_id = new_id(), new_id()

    def build(tx: Any) -> Lead:
        lead = make.lead(tx, business_id, MAIL)
        form = (form_id, "Trial", 2, True)
        said = make.signal(business_id, MAIL, origin=Origin.FORM, source_id="answer-1", form=form)
        upsert_leads(tx, [said])
        make.lead(tx, business_id, person_id="p2")
        return lead

    lead = database.write_now(build)
    for wanted in ({"origins": (Origin.FORM,)}, {"forms": (form_id,)}, {"consents": (Agreed.GIVEN,)}):
        assert found(database, business_id, **wanted) == {lead.id}
    assert len(found(database, business_id, origins=(Origin.CHAT,))) == 2
    assert lead.id not in found(database, business_id, consents=(Agreed.NONE,))
    stays_true(database, business_id)


def test_the_mark_of_a_duplicate_comes_and_goes_with_what_is_shared(database: Database) -> None:
    business_id = new_id()
    actor = Actor(business_id, "m1", "Owner")

    def build(tx: Any) -> tuple[Lead, Lead]:
        return make.lead(tx, business_id, MAIL), make.lead(tx, business_id, MAIL, person_id="p2")

    one, two = database.write_now(build)
    both = {one.id, two.id}
    assert found(database, business_id, twins=True) == both
    merge = database.write_now(lambda tx: merge_leads(tx, actor, one.id, two.id, Picks(), "same person"))
    assert found(database, business_id, twins=True) == set()
    stays_true(database, business_id)
    database.write_now(lambda tx: undo_merge(tx, actor, merge.id))
    assert found(database, business_id, twins=True) == both
    database.write_now(lambda tx: delete_lead(tx, two, "Owner"))
    assert found(database, business_id, twins=True) == set()
    database.write_now(lambda tx: label_lead(tx, actor, one.id, "vip"))
    assert found(database, business_id, labels=("none",)) == set()
    stays_true(database, business_id)


def test_who_shares_a_value_is_looked_for_by_values_and_never_by_pairs_of_all_contact_points(
    database: Database,
) -> None:
    """Of a table that it knows little of, PostgreSQL compared each row with each: half a second a batch."""
    business_id = new_id()
    said: list[str] = []

    def refresh(tx: Any) -> None:
        leads_made = [make.lead(tx, business_id, MAIL) for _ in range(3)]
        event.listen(tx.connection, "before_cursor_execute", lambda *told: said.append(told[2]))
        if not tx.locks_rows:  # there the driver is asked itself
            driver_of(tx).set_trace_callback(said.append)
        refresh_with_twins(tx, business_id, {leads_made[0].id})

    database.write_now(refresh)
    assert any("value_index IN" in each or "value_index = ANY" in each for each in said)
    assert not [each for each in said if "contact_points AS" in each]


def test_new_leads_of_one_batch_are_found_by_all_that_the_batch_brought_them(database: Database) -> None:
    business_id, form = new_id(), (new_id(), "Trial", 2, True)
    phone = make.contact("+6591234567", Field.PHONE)
    told = [
        make.signal(business_id, MAIL, person_id="p1", source_id="m1"),
        make.signal(business_id, phone, person_id="p1", source_id="m2", origin=Origin.FORM),
        make.signal(business_id, person_id="p2", source_id="m3"),
        make.signal(business_id, phone, person_id="p2", source_id="m4"),
        make.signal(business_id, make.contact("kim@example.com", Field.EMAIL), person_id="p3", form=form),
        make.signal(business_id, make.contact("zoe", Field.LINE), person_id="p4", source_id="m5"),
    ]
    both = database.write_now(lambda tx: upsert_leads(tx, told))
    made = {each.person_id: each.id for each in both if each}
    assert found(database, business_id, twins=True) == {made["p1"], made["p2"]}
    assert found(database, business_id, origins=(Origin.FORM,)) == {made["p1"]}
    assert found(database, business_id, countries=("SG",)) == {made["p1"], made["p2"]}
    assert found(database, business_id, forms=(form[0],)) == {made["p3"]}
    stays_true(database, business_id)


def test_new_leads_are_found_by_their_forms_whatever_comes_with_them_in_a_batch(database: Database) -> None:
    business_id, shared = new_id(), (new_id(), "Trial", 2, False)
    plain, agreed = (new_id(), "Quiz", 1, False), (new_id(), "Visit", 1, True)
    phone = make.contact("+6591234567", Field.PHONE)
    told = [
        make.signal(business_id, phone, person_id="p1", form=plain, source_id="a1"),
        make.signal(business_id, person_id="p1", form=agreed, source_id="a2"),
        make.signal(business_id, make.contact("kim@example.com", Field.EMAIL), person_id="p2", source_id="a3",
                    form=shared),
        make.signal(business_id, make.contact("zoe@example.com", Field.EMAIL), person_id="p3", source_id="a3",
                    form=shared),
    ]  # fmt: skip
    found_ones = database.write_now(lambda tx: upsert_leads(tx, told))
    made = {each.person_id: each.id for each in found_ones if each}
    assert found(database, business_id, forms=(plain[0],)) == {made["p1"]}
    assert found(database, business_id, consents=(Agreed.GIVEN,)) == {made["p1"]}
    assert found(database, business_id, forms=(shared[0],)) == {made["p2"]}, "an answer is of one lead"
    stays_true(database, business_id)


def test_who_shares_a_value_that_many_have_changes_none_of_them(database: Database) -> None:
    business_id = new_id()

    def share(tx: Any, *persons: str) -> list[Lead]:
        return [make.lead(tx, business_id, MAIL, person_id=person) for person in persons]

    first = database.write_now(lambda tx: share(tx, *"abcd"))
    told = leads.update().where(leads.c.id == first[1].id).values(facets=" s:kept s:twin ")
    database.write_now(lambda tx: tx.execute(told))
    database.write_now(lambda tx: share(tx, *"ef"))
    assert len(found(database, business_id, twins=True)) == 6
    text = leads.select().where(leads.c.id == first[1].id).with_only_columns(leads.c.facets)
    assert database.read_now(lambda tx: tx.scalar(text)) == " s:kept s:twin "


@given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.booleans()), max_size=15))
@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_marks_of_duplicates_are_true_whoever_comes_or_hides(
    database: Database, steps: list[tuple[int, int, bool]]
) -> None:
    """The first and the last of those who have a value may be hidden, and he between them without a mark."""
    business_id = new_id()
    for person, value, is_hidden in steps:
        at = make.contact(f"mei{value}@example.com", Field.EMAIL)
        said = make.signal(business_id, at, person_id=f"p{person}")
        (lead,) = database.write_now(partial(upsert_leads, signals=[said]))
        assert lead is not None
        if is_hidden:
            database.write_now(partial(delete_lead, lead=lead, actor="Owner"))
    stays_true(database, business_id)


def test_a_new_lead_is_inserted_with_what_its_batch_names_it_and_its_row_is_written_once(
    database: Database,
) -> None:
    business_id, said, minute = new_id(), list[str](), timedelta(minutes=1)
    told = [
        make.signal(business_id, person_id="p1", stated_name="Too early"),
        make.signal(business_id, MAIL, person_id="p1"),
        make.signal(business_id, person_id="p1", stated_name="Night Owl", at=make.NOON + minute),
        make.signal(business_id, person_id="p1", at=make.NOON - minute),
    ]

    def tell(tx: Any) -> list[Lead | None]:
        event.listen(tx.connection, "before_cursor_execute", lambda *told: said.append(told[2]))
        if not tx.locks_rows:
            driver_of(tx).set_trace_callback(said.append)
        return upsert_leads(tx, told)

    *_, last = database.write_now(tell)
    assert last is not None
    assert (last.name, last.updated_at) == ("Night Owl", make.NOON + minute)
    assert database.read_now(lambda tx: find_lead(tx, business_id, last.id)) == last
    assert not [each for each in said if each.startswith("UPDATE leads")]
