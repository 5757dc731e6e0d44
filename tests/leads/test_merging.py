"""Two leads become one and two again: every row as before, in any direction, and what was earned stays."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from contatto.capture.model import Field
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, sealed_place
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.leads.actions.annotations import (
    add_note,
    add_task,
    assign_lead,
    label_lead,
    merge_leads,
    undo_merge,
)
from contatto.leads.actions.records import change_lead_status, upsert_leads
from contatto.leads.model import Actor, Lead, LeadStatus, Merge, Note, Picks, Task
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from contatto.leads.store import records as lead_store
from contatto.leads.store import tables as lead_tables
from contatto.leads.store.listing import list_labels_of
from contatto.leads.store.records import list_evidence_of_sources, list_work
from contatto.leads.store.tables import lead_labels, lead_merges, lead_notes, lead_tasks
from contatto.measurement.store import conversions, list_measured_ads
from tests import make
from tests.examples import examples
from tests.make import record_touch

TABLES = (
    lead_tables.leads, lead_tables.contact_points, lead_tables.evidence, lead_tables.lead_history,
    lead_notes, lead_tasks, lead_labels, lead_tables.labels, conversions,
)  # fmt: skip
MAIL = make.contact("mei@example.com", Field.EMAIL)


def two(db: Database) -> tuple[Actor, Lead, Lead]:
    """Two leads that share a number, each with work of its own, the second earned by an ad."""

    def build(tx: Tx) -> tuple[Actor, Lead, Lead]:
        business = make.business(tx)
        actor = Actor(business.id, make.member(tx, business.id, f"{new_id()}@example.com").id, "Owner")
        ad = make.published_ad(tx, business.id)
        record_touch(tx, make.touch(ad, at=make.NOON - timedelta(minutes=5), person_id="p2"))
        one = make.lead(tx, business.id, make.contact(), person_id="p1", profile_name="Mei", at=make.NOON)
        other = make.lead(
            tx, business.id, make.contact(), MAIL, person_id="p2", conversation_id="conversation-2",
            profile_name="Mei Lin", at=make.NOON - timedelta(minutes=1),
        )  # fmt: skip
        for lead in (one, other):
            add_note(tx, actor, lead.id, f"note of {lead.name}")
            add_task(tx, actor, lead.id, f"task of {lead.name}", None)
            label_lead(tx, actor, lead.id, lead.name)
            label_lead(tx, actor, lead.id, "both")
        assign_lead(tx, actor, other.id, None, actor.member_id)
        change_lead_status(tx, business.id, other.id, LeadStatus.RAW, LeadStatus.QUALIFIED, "Owner")
        return actor, one, other

    return db.write_now(build)


def tables(db: Database) -> dict[str, Any]:
    """All rows of the leads' tables; names are opened, as to write one again seals it anew."""
    return db.read_now(lambda tx: {table.name: sorted(_rows(tx, table)) for table in TABLES})


def _rows(tx: Tx, table: Table) -> Iterator[str]:
    for row in tx.execute(select(table)).mappings():
        values = dict(row)
        if table is lead_tables.leads:
            values["name"] = tx.vault.open(row["name"], *sealed_place(table.c.name, row))
        yield repr(values)


def merge(db: Database, actor: Actor, kept: Lead, gone: Lead, picks: Picks | None = None) -> Merge:
    wish = (kept.id, gone.id, picks or Picks(), " the same  person ")
    return db.write_now(lambda tx: merge_leads(tx, actor, *wish))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("picks", [Picks(), Picks(name=True, status=True, owner=True)])
def test_a_merge_that_is_undone_leaves_every_row_as_it_was(
    database: Database, turned: bool, picks: Picks
) -> None:
    actor, one, other = two(database)
    kept, gone = (other, one) if turned else (one, other)
    before = tables(database)
    made = merge(database, actor, kept, gone, picks)
    assert tables(database) != before
    database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    assert tables(database) == before


def test_evidence_of_a_message_is_found_by_its_person_wherever_their_lead_went(database: Database) -> None:
    """What came while two leads were one stays with the kept one when they are two again."""
    actor, one, other = two(database)
    of, say = actor.business_id, make.signal(actor.business_id, make.contact(), person_id="p1")
    third = database.write_now(lambda tx: make.lead(tx, of, person_id="p3"))

    def share(source_id: str) -> None:
        database.write_now(lambda tx: upsert_leads(tx, [replace(say, source_id=source_id)]))

    def found() -> set[str]:
        asked = {"m1", "m2", "m3"}
        return set(database.read_now(lambda tx: list_evidence_of_sources(tx, of, "p1", asked)))

    share("m1")
    made = merge(database, actor, other, one)
    share("m2")
    database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    share("m3")
    assert found() == {"m1", "m2", "m3"}
    merge(database, actor, third, other)
    assert found() == {"m1", "m2", "m3"}
    assert database.read_now(lambda tx: list_evidence_of_sources(tx, of, "p9", {"m1"})) == {}


def test_the_kept_lead_has_all_of_both_and_the_picked_fields(database: Database) -> None:
    actor, one, other = two(database)
    merge(database, actor, one, other, Picks(name=True))
    business_id = actor.business_id

    def look(tx: Tx) -> None:
        [lead] = listing.list_leads(tx, business_id, LeadFilter())
        assert (lead.id, lead.name, lead.status) == (one.id, "Mei Lin", LeadStatus.RAW)
        assert lead.owner_id == actor.member_id  # the only owner of the two is not lost
        assert lead.created_at == other.created_at
        points = listing.list_contact_points(tx, business_id, {one.id})[one.id]
        assert sorted(point.value for point in points) == ["+6591234567", "mei@example.com"]
        assert len(lead_store.list_evidence_of_lead(tx, business_id, one.id)) == 3
        assert len(list_work(tx, business_id, one.id, Note)) == 2
        assert len(list_work(tx, business_id, one.id, Task)) == 2
        labels = list_labels_of(tx, business_id, [one.id])[one.id]
        assert [label.name for label in labels] == ["both", "Mei", "Mei Lin"]
        assert listing.list_twins(tx, business_id, one.id) == []
        assert listing.list_leads_by_id(tx, business_id, {other.id}) == {other.id: lead}

    database.read_now(look)


def test_what_ads_earned_is_neither_lost_nor_counted_twice_by_a_merge(database: Database) -> None:
    actor, one, other = two(database)
    before = tables(database)["conversions"]
    assert len(before) == 2
    merge(database, actor, one, other)
    assert tables(database)["conversions"] == before
    business_id = actor.business_id
    [ad_id] = {
        row[0]
        for row in database.read_now(lambda tx: tx.execute(select(conversions.c.ad_id)).all())
        if row[0]
    }
    numbers = database.read_now(
        lambda tx: [ad.ad_number for ad in list_measured_ads(tx, business_id, {ad_id}).values()]
    )
    found = database.read_now(lambda tx: listing.list_leads(tx, business_id, LeadFilter(ads=tuple(numbers))))
    assert [lead.id for lead in found] == [one.id]


def test_what_the_merged_person_shares_later_goes_to_the_kept_lead(database: Database) -> None:
    actor, one, other = two(database)
    made = merge(database, actor, one, other)
    said = make.signal(
        actor.business_id, make.contact("+6598887777"), person_id="p2", conversation_id="conversation-2"
    )
    lead = database.write_now(lambda tx: upsert_leads(tx, [said])[0])
    assert lead
    assert lead.id == one.id
    database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    points = database.read_now(
        lambda tx: listing.list_contact_points(tx, actor.business_id, {one.id, other.id})
    )
    assert "+6598887777" in [point.value for point in points[one.id]]


def test_undoing_keeps_what_somebody_changed_since(database: Database) -> None:
    actor, one, other = two(database)
    made = merge(database, actor, one, other, Picks(status=True))
    business_id = actor.business_id
    database.write_now(
        lambda tx: change_lead_status(
            tx, business_id, one.id, LeadStatus.QUALIFIED, LeadStatus.CONVERTED, "Agent"
        )
    )
    database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    found = database.read_now(lambda tx: listing.list_leads_by_id(tx, business_id, {one.id, other.id}))
    assert (found[one.id].status, found[other.id].status) == (LeadStatus.CONVERTED, LeadStatus.QUALIFIED)


def test_a_merge_needs_two_leads_of_the_business_that_are_there(database: Database) -> None:
    actor, one, other = two(database)
    with pytest.raises(Refused, match="two different"):
        merge(database, actor, one, one)
    stranger = Actor("other", "m", "Stranger")
    with pytest.raises(Refused, match="Lead not found"):
        merge(database, stranger, one, other)
    made = merge(database, actor, one, other)
    with pytest.raises(Refused, match="merged or deleted one of these leads"):
        merge(database, actor, other, one)
    with pytest.raises(Refused, match="Merge not found"):
        database.write_now(lambda tx: undo_merge(tx, stranger, made.id))
    database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    with pytest.raises(Refused, match="already undone"):
        database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    raw = database.read_now(lambda tx: repr(tx.execute(select(lead_merges)).all()))
    assert "Mei" not in raw


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([0, 1, 2, 3]), picks=st.lists(st.booleans(), min_size=9, max_size=9))
def test_any_chain_of_merges_undone_from_its_end_leaves_every_row_as_it_was(
    database: Database, order: list[int], picks: list[bool]
) -> None:
    def build(tx: Tx) -> tuple[Actor, list[Lead]]:
        business = make.business(tx)
        values = ["+6591234567", "+6591234567", "+6591234568", "+6591234567"]
        leads = [
            make.lead(tx, business.id, make.contact(value), person_id=f"p{n}", profile_name=f"P{n}")
            for n, value in enumerate(values)
        ]
        actor = Actor(business.id, "m", "Owner")
        label_lead(tx, actor, leads[2].id, "vip")
        return actor, leads

    actor, leads = database.write_now(build)
    before = tables(database)
    chain = [leads[n] for n in order]
    made = []
    for n in range(3):
        wish = (chain[n + 1].id, chain[n].id, Picks(*picks[3 * n : 3 * n + 3]), "")
        made.append(database.write_now(lambda tx, w=wish: merge_leads(tx, actor, *w)))
    [left] = database.read_now(lambda tx: listing.list_leads(tx, actor.business_id, LeadFilter()))
    assert left.id == chain[3].id
    gone = database.read_now(lambda tx: lead_store.list_merged_leads(tx, actor.business_id, left.id))
    assert len(gone) == 3
    with pytest.raises(Refused, match="later merges"):
        database.write_now(lambda tx: undo_merge(tx, actor, made[0].id))
    for each in reversed(made):
        database.write_now(lambda tx, e=each: undo_merge(tx, actor, e.id))  # type: ignore[misc]
    assert tables(database) == before
