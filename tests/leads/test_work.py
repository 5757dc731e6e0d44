"""Owner, labels, notes, tasks and saved views: the second of two members is told, and texts are sealed."""

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import select

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.annotations import (
    add_note,
    add_task,
    assign_lead,
    change_view,
    change_work,
    keep_view,
    label_lead,
    unlabel_lead,
)
from contatto.leads.actions.records import delete_lead
from contatto.leads.model import Actor, Lead, Note, Task
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing, records
from contatto.leads.store.listing import list_labels_of
from contatto.leads.store.records import list_views, list_work
from contatto.leads.store.tables import lead_notes, lead_tasks, lead_views
from tests import make


@pytest.fixture
def actor(database: Database) -> Actor:
    def build(tx: Tx) -> Actor:
        business = make.business(tx)
        return Actor(business.id, make.member(tx, business.id).id, "Owner")

    return database.write_now(build)


@pytest.fixture
def lead(database: Database, actor: Actor) -> Lead:
    return database.write_now(lambda tx: make.lead(tx, actor.business_id))


def steps(db: Database, lead: Lead) -> list[tuple[str, str]]:
    return [
        (step.what, step.detail)
        for step in db.read_now(lambda tx: records.list_history(tx, lead.business_id, lead.id))
    ]


def test_a_lead_is_given_to_a_member_and_who_saw_the_old_owner_is_told(
    database: Database, actor: Actor, lead: Lead
) -> None:
    given = database.write_now(lambda tx: assign_lead(tx, actor, lead.id, None, actor.member_id))
    assert given.owner_id == actor.member_id
    with pytest.raises(Refused, match="now belongs to Owner"):
        database.write_now(lambda tx: assign_lead(tx, actor, lead.id, "another", None))
    found = database.read_now(lambda tx: records.find_lead(tx, actor.business_id, lead.id))
    assert found
    assert found.owner_id == actor.member_id
    assert steps(database, lead)[-1] == ("owner", "Owner")


def test_nobody_of_another_business_can_own_a_lead(database: Database, actor: Actor, lead: Lead) -> None:
    with pytest.raises(Refused, match="a member who can open leads"):
        database.write_now(lambda tx: assign_lead(tx, actor, lead.id, None, "somebody else"))


def test_a_label_is_one_in_any_case_of_letters_and_goes_on_a_lead_once(
    database: Database, actor: Actor, lead: Lead
) -> None:
    for name in ("Kitchen  Fair", "kitchen fair", "KITCHEN FAIR"):
        database.write_now(lambda tx, name=name: label_lead(tx, actor, lead.id, name))
    on_lead = database.read_now(lambda tx: list_labels_of(tx, actor.business_id, [lead.id]))[lead.id]
    assert [label.name for label in on_lead] == ["Kitchen Fair"]
    assert [what for what, _ in steps(database, lead)].count("labelled") == 1
    database.write_now(lambda tx: unlabel_lead(tx, actor, lead.id, on_lead[0].id))
    database.write_now(lambda tx: unlabel_lead(tx, actor, lead.id, on_lead[0].id))
    assert [what for what, _ in steps(database, lead)].count("unlabelled") == 1


@pytest.mark.parametrize("name", ["", "  \n ", "x" * 41])
def test_a_label_needs_a_short_name(database: Database, actor: Actor, lead: Lead, name: str) -> None:
    with pytest.raises(Refused, match="1 to 40"):
        database.write_now(lambda tx: label_lead(tx, actor, lead.id, name))


def test_the_second_of_two_who_edit_a_note_is_told_and_the_first_text_stays(
    database: Database, actor: Actor, lead: Lead
) -> None:
    seen = database.write_now(lambda tx: add_note(tx, actor, lead.id, "calls after 5"))
    database.write_now(lambda tx: change_work(tx, actor, seen, "save", "calls after 6"))
    with pytest.raises(Refused, match="Somebody else changed this note"):
        database.write_now(lambda tx: change_work(tx, actor, seen, "save", "calls after 7"))
    with pytest.raises(Refused, match="Somebody else changed this note"):
        database.write_now(lambda tx: change_work(tx, actor, seen, "delete"))
    [note] = database.read_now(lambda tx: list_work(tx, actor.business_id, lead.id, Note))
    assert (note.text, note.revision) == ("calls after 6", 1)
    database.write_now(lambda tx: change_work(tx, actor, note, "delete"))
    assert database.read_now(lambda tx: list_work(tx, actor.business_id, lead.id, Note)) == []


def test_notes_and_tasks_are_sealed_in_their_tables(database: Database, actor: Actor, lead: Lead) -> None:
    database.write_now(lambda tx: add_note(tx, actor, lead.id, "call +6591234567"))
    database.write_now(lambda tx: add_task(tx, actor, lead.id, "mail mei@example.com", None))
    rows = database.read_now(
        lambda tx: [tx.execute(select(table)).all() for table in (lead_notes, lead_tasks)]
    )
    assert "91234567" not in str(rows)
    assert "mei@example" not in str(rows)


def test_a_task_is_done_once_and_can_be_opened_again(database: Database, actor: Actor, lead: Lead) -> None:
    seen = database.write_now(lambda tx: add_task(tx, actor, lead.id, "send the offer", date(2026, 1, 5)))
    database.write_now(lambda tx: change_work(tx, actor, seen, "done"))
    with pytest.raises(Refused, match="Somebody else changed this task"):
        database.write_now(lambda tx: change_work(tx, actor, seen, "save", "send it now"))
    [task] = database.read_now(lambda tx: list_work(tx, actor.business_id, lead.id, Task))
    assert (task.text, task.due_on, task.done_by) == ("send the offer", date(2026, 1, 5), "Owner")
    database.write_now(lambda tx: change_work(tx, actor, task, "open"))
    [again] = database.read_now(lambda tx: list_work(tx, actor.business_id, lead.id, Task))
    assert (again.done_at, again.revision) == (None, 2)
    database.write_now(lambda tx: change_work(tx, actor, again, "delete"))
    assert database.read_now(lambda tx: list_work(tx, actor.business_id, lead.id, Task)) == []


def test_another_business_sees_no_note_task_or_label(database: Database, actor: Actor, lead: Lead) -> None:
    note = database.write_now(lambda tx: add_note(tx, actor, lead.id, "ours"))
    stranger = replace(actor, business_id="other")
    for change in (
        lambda tx: add_note(tx, stranger, lead.id, "theirs"),
        lambda tx: assign_lead(tx, stranger, lead.id, None, None),
        lambda tx: label_lead(tx, stranger, lead.id, "theirs"),
    ):
        with pytest.raises(Refused, match="Lead not found"):
            database.write_now(change)
    assert database.read_now(lambda tx: list_work(tx, "other", lead.id, Note)) == []
    with pytest.raises(Refused):
        database.write_now(lambda tx: change_work(tx, stranger, note, "save", "theirs"))


def test_a_deleted_lead_is_in_no_list_until_its_person_shares_a_detail_again(
    database: Database, actor: Actor, lead: Lead
) -> None:
    database.write_now(lambda tx: delete_lead(tx, lead, "Owner"))
    everything = LeadFilter()
    assert database.read_now(lambda tx: listing.count_leads(tx, actor.business_id, everything)) == 0
    with pytest.raises(Refused, match="Lead not found"):
        database.write_now(lambda tx: add_note(tx, actor, lead.id, "late"))
    database.write_now(lambda tx: make.lead(tx, actor.business_id))
    assert database.read_now(lambda tx: listing.count_leads(tx, actor.business_id, everything)) == 1
    assert ("restored", "") in steps(database, lead)


def test_a_view_is_its_makers_until_it_is_shared(database: Database, actor: Actor) -> None:
    view = database.write_now(lambda tx: keep_view(tx, actor, "Hot", "q=%2B6591234567", is_shared=False))
    other = replace(actor, member_id="another member")

    def names(member: Actor) -> list[str]:
        found = database.read_now(lambda tx: list_views(tx, member.business_id, member.member_id))
        return [each.name for each in found]

    assert (names(actor), names(other)) == (["Hot"], [])
    with pytest.raises(Refused, match="View not found"):
        database.write_now(lambda tx: change_view(tx, other, view.id, "unpin"))
    database.write_now(lambda tx: change_view(tx, actor, view.id, "share"))
    assert names(other) == ["Hot"]
    with pytest.raises(Refused, match="Only the member who made this view"):
        database.write_now(lambda tx: change_view(tx, other, view.id, "delete"))
    raw = database.read_now(lambda tx: tx.execute(select(lead_views)).all())
    assert "91234567" not in str(raw)
    database.write_now(lambda tx: change_view(tx, actor, view.id, "delete"))
    assert names(actor) == []
