"""Reads and changes of single leads: contact points, labels, notes, views, merges."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from contatto.kit.db.statements import Query, write_rows
from contatto.kit.db.tx import Tx, row_of, rows_of, within
from contatto.leads.model import (
    Evidence,
    HistoryEntry,
    Lead,
    LeadLabel,
    LeadScore,
    Merge,
    Note,
    RejectedContact,
    SavedView,
    Task,
)
from contatto.leads.rules.records import MERGED_FIELDS
from contatto.leads.store.intake import lead_row
from contatto.leads.store.listing import unerased_leads
from contatto.leads.store.tables import (
    contact_points,
    evidence,
    labels,
    lead_entries,
    lead_history,
    lead_labels,
    lead_merges,
    lead_notes,
    lead_scores,
    lead_tasks,
    lead_views,
    leads,
    rejected_contacts,
)


def find_lead(tx: Tx, business_id: str, lead_id: str) -> Lead | None:
    return tx.find(Lead, unerased_leads(business_id).where(leads.c.id == lead_id))


def find_lead_by_number(tx: Tx, business_id: str, number: int) -> Lead | None:
    """Return a lead by the API's ``lead_id``; for a merged lead, its target lead."""
    lead = tx.find(Lead, unerased_leads(business_id).where(leads.c.number == number))
    if lead is None or lead.merged_into is None:
        return lead
    return find_lead(tx, business_id, lead.merged_into)


def list_leads_to_change(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, Lead]:
    """Return leads by their own id, merged ones too, locked in order until the transaction ends."""
    query = unerased_leads(business_id).where(leads.c.id.in_(lead_ids)).order_by(leads.c.id)
    return {lead.id: lead for lead in tx.list(Lead, query.with_for_update())}


def list_merged_leads(tx: Tx, business_id: str, lead_id: str) -> list[Lead]:
    query = sa.select(leads).where(*rows_of(leads, business_id, merged_into=lead_id))
    return tx.list(Lead, query.order_by(leads.c.created_at))


def find_lead_of_person(tx: Tx, business_id: str, person_id: str) -> Lead | None:
    """Return the one lead of a person, locked until the end of the transaction."""
    query = sa.select(leads).where(*rows_of(leads, business_id, person_id=person_id))
    return tx.find(Lead, query.with_for_update())


def find_lead_of_conversation(tx: Tx, business_id: str, person_id: str, conversation_id: str) -> Lead | None:
    """Return the lead of a person, if it began in this conversation of theirs."""
    query = sa.select(leads).where(*rows_of(leads, business_id, person_id=person_id))
    return tx.find(Lead, query.where(leads.c.conversation_id == conversation_id))


def list_leads_by_value(tx: Tx, business_id: str, values: Collection[str]) -> dict[str, list[Lead]]:
    """Return listed leads by each of their contact values, oldest first."""
    by_index = {tx.vault.blind(value, business_id): value for value in values}
    having = sa.select(contact_points.c.value_index, contact_points.c.lead_id).where(
        contact_points.c.business_id == business_id, contact_points.c.value_index.in_(by_index)
    )
    values_by_lead: dict[str, set[str]] = {}
    for row in tx.execute(having):
        values_by_lead.setdefault(row.lead_id, set()).add(by_index[row.value_index])
    listed = *rows_of(leads, business_id, id=list(values_by_lead)), leads.c.hidden_at.is_(None)
    leads_by_value: dict[str, list[Lead]] = {}
    for lead in tx.list(Lead, sa.select(leads).where(*listed).order_by(leads.c.created_at, leads.c.id)):
        for lead_value in values_by_lead[lead.id]:
            leads_by_value.setdefault(lead_value, []).append(lead)
    return leads_by_value


def delete_lead(tx: Tx, business_id: str, lead_id: str) -> None:
    """Delete a lead with its contact points, evidence and history."""
    for table in (evidence, contact_points, lead_history):
        tx.delete(table, business_id, lead_id=lead_id)
    tx.delete(leads, business_id, id=lead_id)


def list_evidence_of_lead(tx: Tx, business_id: str, lead_id: str) -> list[Evidence]:
    query = sa.select(evidence).where(*rows_of(evidence, business_id, lead_id=lead_id))
    rows = tx.execute(query.order_by(evidence.c.at, evidence.c.start)).mappings().all()
    tx.record_contact_reads("lead_id", [lead_id] if rows else [])
    return [load_evidence(tx, business_id, row) for row in rows]


def load_evidence(tx: Tx, business_id: str, row: Mapping[Any, Any]) -> Evidence:
    """Return evidence from its row, with its text opened."""
    values = {name: row[name] for name in Evidence.__dataclass_fields__}
    return Evidence(**values | {"raw": tx.open_text(row["raw"], business_id, "evidence.raw", row["id"])})


def list_history(tx: Tx, business_id: str, lead_id: str) -> list[HistoryEntry]:
    """Return a lead's history, oldest first."""
    query = sa.select(lead_history).where(*rows_of(lead_history, business_id, lead_id=lead_id))
    return tx.list(HistoryEntry, query.order_by(lead_history.c.at, lead_history.c.id))


KEEP_REJECTED: Final = timedelta(days=30)
"""Time within which a rejected contact can be restored."""


def list_rejected(tx: Tx, business_id: str, lead_id: str) -> list[RejectedContact]:
    """List rejected contacts of a lead that can be restored, latest first."""
    query = sa.select(rejected_contacts.c.content, rejected_contacts.c.id).where(
        *rows_of(rejected_contacts, business_id, lead_id=lead_id),
        rejected_contacts.c.at >= tx.now - KEEP_REJECTED,
    )
    rows = tx.execute(query.order_by(rejected_contacts.c.at.desc(), rejected_contacts.c.id.desc()))
    contents = [
        tx.vault.open_bytes(row.content, business_id, "rejected_contacts.content", row.id) for row in rows
    ]
    rejected = [msgspec.json.decode(content, type=RejectedContact) for content in contents]
    tx.record_contact_reads("lead_id", [lead_id] if rejected else [])
    return rejected


_SET_LEAD_SCORE: Final = (
    sa.update(leads)
    .where(*rows_of(leads, sa.bindparam("of"), id=sa.bindparam("of_lead")))
    .where(leads.c.score != sa.bindparam("now"))
    .values(score=sa.bindparam("now"))
)


_LISTED: Final = Query(
    sa.select(leads.c.id).where(
        leads.c.business_id == sa.bindparam("of"), leads.c.hidden_at.is_(None), within(leads.c.id, "ids")
    )
)


_SET_SCORE: Final = (
    sa.update(lead_scores)
    .where(*rows_of(lead_scores, sa.bindparam("of"), lead_id=sa.bindparam("of_lead")))
    .values(score=sa.bindparam("now"), is_counted=sa.bindparam("counted"))
)


def save_scores(tx: Tx, business_id: str, scores: Sequence[LeadScore]) -> None:
    """Save scores of listed leads, and copy them there to sort by; without reasons the stored ones stay."""
    values = {"of": business_id, "ids": [score.lead_id for score in scores]}
    listed = {row[0] for row in _LISTED.rows(tx, values)}
    rows = [row_of(score) | {"business_id": business_id} for score in scores if score.lead_id in listed]
    tx.save(lead_scores, [row for row in rows if row["reasons"] is not None])
    rescored = {row["lead_id"]: row["is_counted"] for row in rows if row["reasons"] is None}
    lead_rows = [{"of": business_id, "of_lead": row["lead_id"], "now": row["score"]} for row in rows]
    counted = [row | {"counted": rescored[row["of_lead"]]} for row in lead_rows if row["of_lead"] in rescored]
    write_rows(tx, _SET_SCORE, counted)
    write_rows(tx, _SET_LEAD_SCORE, lead_rows)


def find_score(tx: Tx, business_id: str, lead_id: str) -> LeadScore | None:
    conditions = rows_of(lead_scores, business_id, lead_id=lead_id)
    return tx.find(LeadScore, sa.select(lead_scores).where(*conditions))


DUE_LATELY: Final = timedelta(days=7)
"""Tasks that are overdue for longer cause no notification."""


def find_label(tx: Tx, business_id: str, name: str) -> LeadLabel | None:
    """Return a label by its name, in any case of letters."""
    return tx.find(
        LeadLabel, sa.select(labels).where(*rows_of(labels, business_id, name_key=name.casefold()))
    )


def append_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Put a label on a lead; False when it is there."""
    row = {"business_id": business_id, "lead_id": lead_id, "label_id": label_id}
    return tx.insert_ignore(lead_labels, row)


WORK: Final = {Note: (lead_notes, "lead_notes.body"), Task: (lead_tasks, "lead_tasks.body")}
"""Tables of notes and tasks, and the name under which their text is sealed."""


def save_work(tx: Tx, business_id: str, work: Note | Task) -> bool:
    """Insert a note or a task, its text sealed; False when it is there."""
    table, place = WORK[type(work)]
    body = tx.vault.seal(work.text, business_id, place, work.id)
    return tx.insert_ignore(
        table, row_of(work, without={"text"}) | {"business_id": business_id, "body": body}
    )


def list_work[W: (Note, Task)](tx: Tx, business_id: str, lead_id: str, shape: type[W]) -> list[W]:
    """Return a lead's notes or tasks in the order of their making, with their texts opened."""
    table, place = WORK[shape]
    query = sa.select(table).where(*rows_of(table, business_id, lead_id=lead_id))
    rows = tx.execute(query.order_by(table.c.created_at, table.c.id)).mappings().all()
    tx.record_contact_reads("lead_id", [lead_id] if rows else [])
    names = shape.__dataclass_fields__.keys() - {"text"}
    texts = (tx.open_text(row["body"], business_id, place, row["id"]) for row in rows)
    return [
        shape(**{name: row[name] for name in names}, text=text) for row, text in zip(rows, texts, strict=True)
    ]


def list_due_tasks(tx: Tx, day: date) -> list[tuple[str, str, str | None, date]]:
    """List recently due tasks of all businesses, as business, lead, owner of the lead, and day."""
    due = lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day, lead_tasks.c.due_on > day - DUE_LATELY
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    columns = lead_tasks.c.business_id, lead_tasks.c.lead_id, leads.c.owner_id, lead_tasks.c.due_on
    query = (
        sa.select(*columns).join(leads, sa.and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None)).distinct()
    )
    return [tuple(row) for row in tx.execute(query)]


def list_due_leads(tx: Tx, business_id: str, day: date) -> list[str]:
    """Return the leads of open tasks that are due by a day, one entry for each task, the oldest first."""
    due = lead_tasks.c.business_id == business_id, lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    ids = (
        sa.select(lead_tasks.c.lead_id)
        .join(leads, sa.and_(*of_lead))
        .where(*due, leads.c.hidden_at.is_(None))
    )
    return list(tx.execute(ids.order_by(lead_tasks.c.due_on, lead_tasks.c.id)).scalars())


def list_views(tx: Tx, business_id: str, member_id: str) -> list[SavedView]:
    """Return a member's own views and shared ones; pinned ones first."""
    is_visible = sa.or_(lead_views.c.member_id == member_id, lead_views.c.is_shared.is_(True))
    query = sa.select(lead_views).where(lead_views.c.business_id == business_id, is_visible)
    order = (lead_views.c.is_pinned.desc(), lead_views.c.created_at, lead_views.c.id)
    views = tx.list(SavedView, query.order_by(*order))
    # a search text may be contact data
    tx.record_contact_reads("view_id", [view.id for view in views if "q=" in view.query])
    return views


MOVING: Final = {
    table.name: table
    for table in (contact_points, evidence, lead_history, lead_notes, lead_tasks, lead_entries)
}
"""Tables with rows that a merge moves to the target lead."""


def find_merge(tx: Tx, business_id: str, merge_id: str) -> Merge | None:
    """Return a merge; to change it, lock its two leads and read it again."""
    return tx.find(Merge, sa.select(lead_merges).where(*rows_of(lead_merges, business_id, id=merge_id)))


def list_merges(tx: Tx, business_id: str, lead_id: str) -> list[Merge]:
    """Return the merges that a lead took part in, latest first."""
    either = sa.or_(lead_merges.c.kept_id == lead_id, lead_merges.c.merged_id == lead_id)
    query = sa.select(lead_merges).where(lead_merges.c.business_id == business_id, either)
    return tx.list(Merge, query.order_by(lead_merges.c.at.desc(), lead_merges.c.id.desc()))


def list_row_ids(tx: Tx, business_id: str, lead_id: str) -> dict[str, list[str]]:
    """Return the ids of the rows of a lead, by table."""
    ids_by_table = {}
    for name, table in MOVING.items():
        query = sa.select(table.c.id).where(*rows_of(table, business_id, lead_id=lead_id))
        ids_by_table[name] = list(tx.execute(query.order_by(table.c.id)).scalars())
    return ids_by_table


def list_leads_ever(tx: Tx, business_id: str, person_ids: Collection[str]) -> set[str]:
    """Return the ids of the leads of some persons, and of leads that they were ever merged into."""
    persons = sa.select(leads.c.id).where(
        leads.c.business_id == business_id, leads.c.person_id.in_(person_ids)
    )
    ids, ids_by_person = set[str](), set(tx.execute(persons).scalars())
    while ids_by_person:
        ids |= ids_by_person
        query = sa.select(lead_merges.c.kept_id).where(
            lead_merges.c.business_id == business_id, lead_merges.c.merged_id.in_(ids_by_person)
        )
        ids_by_person = set(tx.execute(query).scalars()) - ids
    return ids


def list_evidence_of_sources(
    tx: Tx, business_id: str, person_id: str, source_ids: set[str]
) -> dict[str, list[Evidence]]:
    """Return evidence by its message, in the order of the text."""
    query = sa.select(evidence).where(
        evidence.c.business_id == business_id,
        evidence.c.lead_id.in_(list_leads_ever(tx, business_id, {person_id})),
        evidence.c.source_id.in_(source_ids),
    )
    evidence_by_source: dict[str, list[Evidence]] = {}
    for row in tx.execute(query.order_by(evidence.c.source_id, evidence.c.start)).mappings():
        evidence_by_source.setdefault(row["source_id"], []).append(load_evidence(tx, business_id, row))
    return evidence_by_source


def list_equal_points(tx: Tx, business_id: str, kept_id: str, merged_id: str) -> dict[str, str]:
    """Map contact points of the source lead to equal ones of the target lead."""
    other_points = contact_points.alias()
    equal = sa.select(contact_points.c.id.label("gone"), other_points.c.id.label("kept")).where(
        *rows_of(contact_points, business_id, lead_id=merged_id),
        other_points.c.business_id == business_id,
        other_points.c.lead_id == kept_id,
        contact_points.c.field == other_points.c.field,
        contact_points.c.value_index == other_points.c.value_index,
    )
    return {row["gone"]: row["kept"] for row in tx.execute(equal).mappings()}


def record_merged_fields(tx: Tx, lead: Lead) -> None:
    """Save the fields of a lead that a merge may change."""
    row = lead_row(tx.vault, lead)
    changed = {name: row[name] for name in ("name_key", *MERGED_FIELDS)}
    tx.change(leads, lead.business_id, lead.id, **changed)
