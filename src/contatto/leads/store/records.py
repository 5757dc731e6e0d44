"""Tables of leads, contact points, evidence, history and scores, with sealed values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    literal_column,
    select,
    update,
)

from contatto.capture.model import Field
from contatto.kit.db.statements import PreparedQuery, Query, insert_all, insert_new, update_rows
from contatto.kit.db.tx import (
    Choice,
    Instant,
    Tx,
    Words,
    instant,
    key,
    metadata,
    only,
    row_of,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.kit.values import is_unreadable, micros
from contatto.kit.vault import Vault
from contatto.leads.model import (
    ContactPoint,
    Evidence,
    HistoryEntry,
    HistoryKind,
    Lead,
    LeadId,
    LeadScore,
    LeadStatus,
    Origin,
    RejectedContact,
)
from contatto.leads.rules.records import name_key, phone_country


def _of_listed(name: str, *columns: str) -> Index:
    """Return an index of the leads that are in the lists, in this order.

    PostgreSQL takes no order from an index that has ``hidden_at`` before it, so the hidden ones are left out
    of the index. The column stands at its end, because SQLite reads the row for it otherwise.
    """
    shown: Any = literal_column("hidden_at IS NULL")
    return Index(name, "business_id", *columns, "hidden_at", sqlite_where=shown, postgresql_where=shown)


leads = Table(
    "leads",
    metadata,
    key(),
    Column("number", BigInteger, nullable=False, unique=True),
    tenant(),
    Column("person_id", String(36), nullable=False),
    Column("channel_account_id", String(36), nullable=False),
    Column("conversation_id", String(36), nullable=False),
    sealed("name", nullable=True),
    Column("status", Choice(LeadStatus), nullable=False),
    Column("origin", Choice(Origin), nullable=False),
    instant("created_at"),
    instant("updated_at"),
    text("name_key", default=""),
    Column("owner_id", String(36)),
    instant("hidden_at", nullable=True),
    Column("merged_into", String(36)),
    Column("is_test", Boolean, nullable=False, server_default=literal_column("FALSE")),
    text("facets", default=""),
    Column("score", Integer, nullable=False, server_default=literal_column("-1")),
    instant("erased_at", nullable=True),
    text("erased_by", default=""),
    UniqueConstraint("business_id", "person_id"),
    _of_listed("ix_leads_by_creation", "created_at", "id", "status", "owner_id", "facets"),
    _of_listed("ix_leads_by_activity", "updated_at", "id"),
    _of_listed("ix_leads_by_status", "status", "created_at", "id"),
    _of_listed("ix_leads_by_name", "name_key", "id"),
    _of_listed("ix_leads_by_score", "score", "id"),
    _of_listed("ix_leads_by_owner", "owner_id"),
    _of_listed("ix_leads_by_facets", "facets", "status", "owner_id"),
    _of_listed("ix_leads_listed", "id"),
    Index("ix_leads_merged", "business_id", "merged_into", **only("merged_into IS NOT NULL")),
)

contact_points = Table(
    "contact_points",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("field", Choice(Field), nullable=False),
    sealed("value"),
    Column("value_index", LargeBinary(16), nullable=False),
    Column("origin", Choice(Origin), nullable=False),
    instant("created_at"),
    Column("country", String(2)),
    instant("main_at", nullable=True),
    instant("wrong_at", nullable=True),
    UniqueConstraint("business_id", "lead_id", "field", "value_index"),
    Index("ix_contact_points_of_country", "business_id", "country", **only("country IS NOT NULL")),
    Index("ix_contact_points_of_value", "business_id", "value_index", "lead_id"),
)

evidence = Table(
    "evidence",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("contact_point_id", String(36), nullable=False),
    Column("origin", Choice(Origin), nullable=False),
    Column("source_id", String(64), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    sealed("raw"),
    Column("rule", String(64), nullable=False),
    Column("confidence", Float, nullable=False),
    instant("at"),
    UniqueConstraint("business_id", "contact_point_id", "source_id", "start"),
    Index("ix_evidence_business_id_lead_id", "business_id", "lead_id"),
)

lead_history = Table(
    "lead_history",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("what", Choice(HistoryKind), nullable=False),
    sealed("detail", nullable=True),
    text("actor"),
    instant("at"),
    Index("ix_lead_history_business_id_lead_id", "business_id", "lead_id", "at"),
)


def save_lead(tx: Tx, lead: Lead) -> bool:
    """Insert a lead; False when its person has one already."""
    return tx.insert_ignore(leads, lead_row(tx.vault, lead))


def lead_row(vault: Vault, lead: Lead) -> dict[str, Any]:
    """Return the row of a lead: its name sealed, and a plain key to sort by, without contact details."""
    name = vault.seal(lead.name, lead.business_id, "leads.name", lead.id) if lead.name else None
    return row_of(lead) | {"name": name, "name_key": name_key(lead.name)}


def find_lead(tx: Tx, business_id: str, lead_id: str) -> Lead | None:
    return tx.find(Lead, _unerased_of(business_id).where(leads.c.id == lead_id))


def _unerased_of(business_id: str) -> Select[Any]:
    """Return the leads of a business without the tombstones of those that were erased."""
    return select(leads).where(leads.c.business_id == business_id, leads.c.erased_at.is_(None))


def find_lead_by_number(tx: Tx, business_id: str, number: int) -> Lead | None:
    """Return a lead by the API's ``lead_id``; for a merged lead, its target lead."""
    lead = tx.find(Lead, _unerased_of(business_id).where(leads.c.number == number))
    if lead is None or lead.merged_into is None:
        return lead
    return find_lead(tx, business_id, lead.merged_into)


def find_lead_to_change(tx: Tx, business_id: str, lead_id: str) -> Lead | None:
    """Return a lead, locked until the end of the transaction."""
    query = _unerased_of(business_id).where(leads.c.id == lead_id)
    return tx.find(Lead, query.with_for_update() if tx.locks_rows else query)


def list_leads_to_change(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, Lead]:
    """Return leads by their own id, merged ones too, locked in one order until the end."""
    query = _unerased_of(business_id).where(leads.c.id.in_(lead_ids)).order_by(leads.c.id)
    return {lead.id: lead for lead in tx.list(Lead, query.with_for_update() if tx.locks_rows else query)}


def list_merged_leads(tx: Tx, business_id: str, lead_id: str) -> list[Lead]:
    query = select(leads).where(*rows_of(leads, business_id, merged_into=lead_id))
    return tx.list(Lead, query.order_by(leads.c.created_at))


def find_lead_of_person(tx: Tx, business_id: str, person_id: str) -> Lead | None:
    """Return the one lead of a person, locked until the end of the transaction."""
    query = select(leads).where(*rows_of(leads, business_id, person_id=person_id))
    return tx.find(Lead, query.with_for_update() if tx.locks_rows else query)


def find_lead_of_conversation(tx: Tx, business_id: str, person_id: str, conversation_id: str) -> Lead | None:
    """Return the lead of a person, if it began in this conversation of theirs."""
    query = select(leads).where(*rows_of(leads, business_id, person_id=person_id))
    return tx.find(Lead, query.where(leads.c.conversation_id == conversation_id))


def list_leads_by_id(tx: Tx, business_id: str, lead_ids: set[str]) -> dict[str, Lead]:
    """Return leads by the requested id; for a merged lead, its target lead."""
    query = _unerased_of(business_id)
    leads_by_id = {lead.id: lead for lead in tx.list(Lead, query.where(leads.c.id.in_(lead_ids)))}
    targets = {lead.merged_into for lead in leads_by_id.values() if lead.merged_into}
    if not targets:
        return {lead.id: lead for lead in leads_by_id.values()}
    targets_by_id = {lead.id: lead for lead in tx.list(Lead, query.where(leads.c.id.in_(targets)))}
    return {
        lead_id: targets_by_id.get(LeadId(lead.merged_into or ""), lead)
        for lead_id, lead in leads_by_id.items()
    }


def record_owner(tx: Tx, lead: Lead, owner_id: str | None) -> bool:
    """Change the owner, unless somebody else has changed it meanwhile."""
    is_unchanged = leads.c.owner_id.is_not_distinct_from(lead.owner_id)
    return tx.change(leads, lead.business_id, lead.id, is_unchanged, owner_id=owner_id)


def record_hidden(tx: Tx, lead: Lead, at: datetime | None, merged_into: str | None = None) -> None:
    """Hide a lead from all lists, or show it again with None."""
    tx.change(leads, lead.business_id, lead.id, hidden_at=at, merged_into=merged_into)


def record_status(tx: Tx, lead: Lead, new: LeadStatus) -> bool:
    """Change the status, unless somebody else has changed it meanwhile."""
    values = {"status": new, "updated_at": max(tx.now, lead.updated_at)}
    return tx.change(leads, lead.business_id, lead.id, leads.c.status == lead.status, **values)


def save_contact_point(tx: Tx, business_id: str, point: ContactPoint) -> bool:
    """Insert a contact point, its value sealed; False when the lead has it already."""
    return tx.insert_ignore(contact_points, point_row(tx.vault, business_id, point))


def point_row(vault: Vault, business_id: str, point: ContactPoint) -> dict[str, Any]:
    return {
        "id": point.id,
        "business_id": business_id,
        "lead_id": point.lead_id,
        "field": point.field,
        "value": vault.seal(point.value, business_id, "contact_points.value", point.id),
        "value_index": vault.blind(point.value, business_id),
        "origin": point.origin,
        "created_at": point.created_at,
        "country": phone_country(point.value),
        "main_at": point.main_at,
        "wrong_at": point.wrong_at,
    }


_POINTS: Final = Query(
    select(*(contact_points.c[field.name] for field in fields(ContactPoint)))
    .where(contact_points.c.business_id == bindparam("of"), within(contact_points.c.lead_id, "ids"))
    .order_by(contact_points.c.created_at, contact_points.c.id)
)


def list_contact_points(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, list[ContactPoint]]:
    """Return contact points by lead, opened: the main one first, wrong ones last, else by age."""
    points_by_lead: dict[str, list[ContactPoint]] = {lead_id: [] for lead_id in lead_ids}
    for row in _POINTS.rows(tx, {"of": business_id, "ids": lead_ids}):
        point_id, lead_id, field, value, *rest = row
        opened = tx.open_text(value, business_id, "contact_points.value", point_id)
        points_by_lead[lead_id].append(ContactPoint(point_id, LeadId(lead_id), field, opened, *rest))
    for points in points_by_lead.values():
        points.sort(
            key=lambda point: (point.wrong_at is not None, -micros(point.main_at) if point.main_at else 0)
        )
    tx.record_contact_reads("lead_id", [lead_id for lead_id, points in points_by_lead.items() if points])
    return points_by_lead


def list_outgoing_points(
    tx: Tx, business_id: str, lead_ids: Collection[str]
) -> dict[str, list[ContactPoint]]:
    """Return the contact points that may leave the installation: readable, not wrong, the main one first.

    CRMs, webhooks, signals, the API and files all use this function.
    """
    points = list_contact_points(tx, business_id, lead_ids)
    return {
        lead_id: [point for point in some if point.wrong_at is None and not is_unreadable(point.value)]
        for lead_id, some in points.items()
    }


def list_wrong_values(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, set[str]]:
    """Return the contact values of leads that members marked wrong; answers to forms may hold them too."""
    query = select(contact_points.c.id, contact_points.c.lead_id, contact_points.c.value).where(
        contact_points.c.business_id == business_id,
        contact_points.c.lead_id.in_(lead_ids),
        contact_points.c.wrong_at.is_not(None),
    )
    values: dict[str, set[str]] = {lead_id: set() for lead_id in lead_ids}
    for row in tx.execute(query):
        opened = tx.open_text(row.value, business_id, "contact_points.value", row.id)
        values[row.lead_id].add(opened)
    return values


def list_leads_with_values(tx: Tx, business_id: str, values: Collection[str]) -> list[Lead]:
    """Return leads in the lists that have one of the contact values, oldest first."""
    indexes = [tx.vault.blind(value, business_id) for value in values]
    having = select(contact_points.c.lead_id).where(
        contact_points.c.business_id == business_id, contact_points.c.value_index.in_(indexes)
    )
    query = select(leads).where(
        leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.id.in_(having)
    )
    matching_leads = tx.list(Lead, query.order_by(leads.c.created_at, leads.c.id))
    tx.record_contact_reads("lead_id", [lead.id for lead in matching_leads])
    return matching_leads


def list_leads_by_value(tx: Tx, business_id: str, values: Collection[str]) -> dict[str, list[Lead]]:
    """Return listed leads by each of their contact values, oldest first."""
    by_index = {tx.vault.blind(value, business_id): value for value in values}
    having = select(contact_points.c.value_index, contact_points.c.lead_id).where(
        contact_points.c.business_id == business_id, contact_points.c.value_index.in_(by_index)
    )
    pairs = {(by_index[row.value_index], row.lead_id) for row in tx.execute(having)}
    query = select(leads).where(
        leads.c.business_id == business_id,
        leads.c.hidden_at.is_(None),
        leads.c.id.in_({lead_id for _, lead_id in pairs}),
    )
    leads_by_value: dict[str, list[Lead]] = {}
    leads_by_id = {lead.id: lead for lead in tx.list(Lead, query.order_by(leads.c.created_at, leads.c.id))}
    places = {lead_id: place for place, lead_id in enumerate(leads_by_id)}
    for value, lead_id in sorted(pairs, key=lambda pair: places.get(pair[1], 0)):
        if lead_id in leads_by_id:
            leads_by_value.setdefault(value, []).append(leads_by_id[lead_id])
    return leads_by_value


def list_points_of_source(tx: Tx, business_id: str, lead_id: str, source_id: str) -> list[str]:
    """Return ids of the contact points of a lead that have evidence from this source only."""
    query = select(evidence.c.contact_point_id, evidence.c.source_id).where(
        *rows_of(evidence, business_id, lead_id=lead_id)
    )
    sources: dict[str, set[str]] = {}
    for row in tx.execute(query).mappings():
        sources.setdefault(row["contact_point_id"], set()).add(row["source_id"])
    return [point_id for point_id, source_ids in sources.items() if source_ids == {source_id}]


def delete_lead(tx: Tx, business_id: str, lead_id: str) -> None:
    """Delete a lead with its contact points, evidence and history."""
    for table in (evidence, contact_points, lead_history):
        tx.delete(table, business_id, lead_id=lead_id)
    tx.delete(leads, business_id, id=lead_id)


def append_evidence(tx: Tx, item: Evidence) -> bool:
    """Append evidence, its text sealed; False when it was there before."""
    return tx.insert_ignore(evidence, evidence_row(tx.vault, item))


def evidence_row(vault: Vault, item: Evidence) -> dict[str, Any]:
    return row_of(item) | {"raw": vault.seal(item.raw, item.business_id, "evidence.raw", item.id)}


def list_evidence_of_lead(tx: Tx, business_id: str, lead_id: str) -> list[Evidence]:
    query = select(evidence).where(*rows_of(evidence, business_id, lead_id=lead_id))
    rows = tx.execute(query.order_by(evidence.c.at, evidence.c.start)).mappings().all()
    tx.record_contact_reads("lead_id", [lead_id] if rows else [])
    return [load_evidence(tx, business_id, row) for row in rows]


def load_evidence(tx: Tx, business_id: str, row: Mapping[Any, Any]) -> Evidence:
    """Return evidence from its row, with its text opened."""
    values = {name: row[name] for name in Evidence.__dataclass_fields__}
    return Evidence(**values | {"raw": tx.open_text(row["raw"], business_id, "evidence.raw", row["id"])})


def append_history(tx: Tx, business_id: str, step: HistoryEntry) -> None:
    tx.insert(lead_history, history_row(tx.vault, business_id, step))


def history_row(vault: Vault, business_id: str, step: HistoryEntry) -> dict[str, Any]:
    detail = vault.seal(step.detail, business_id, "lead_history.detail", step.id) if step.detail else None
    return row_of(step) | {"business_id": business_id, "detail": detail}


def list_history(tx: Tx, business_id: str, lead_id: str) -> list[HistoryEntry]:
    """Return a lead's history, oldest first."""
    query = select(lead_history).where(*rows_of(lead_history, business_id, lead_id=lead_id))
    return tx.list(HistoryEntry, query.order_by(lead_history.c.at, lead_history.c.id))


rejected_contacts = Table(
    "rejected_contacts",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("person_id", String(36), nullable=False),
    sealed("content"),
    instant("at"),
    Index("ix_rejected_contacts_of_lead", "business_id", "lead_id"),
    Index("ix_rejected_contacts_at", "at"),
)


def find_contact_point(tx: Tx, business_id: str, lead_id: str, point_id: str) -> ContactPoint | None:
    points = list_contact_points(tx, business_id, {lead_id})[lead_id]
    return next((point for point in points if point.id == point_id), None)


def delete_contact_point(tx: Tx, business_id: str, point_id: str) -> None:
    tx.delete(evidence, business_id, contact_point_id=point_id)
    tx.delete(contact_points, business_id, id=point_id)


def record_point(tx: Tx, business_id: str, point: ContactPoint, seen_value: str) -> bool:
    """Save a member's change of a contact point, unless its value is no longer ``seen_value``."""
    is_as_seen = contact_points.c.value_index == tx.vault.blind(seen_value, business_id)
    changed: dict[str, Any] = {"main_at": point.main_at, "wrong_at": point.wrong_at}
    if point.value != seen_value:
        changed |= {
            "value": tx.vault.seal(point.value, business_id, "contact_points.value", point.id),
            "value_index": tx.vault.blind(point.value, business_id),
            "country": phone_country(point.value),
        }
    return tx.change(contact_points, business_id, point.id, is_as_seen, **changed)


def save_rejected(tx: Tx, business_id: str, rejected: RejectedContact) -> None:
    place = business_id, "rejected_contacts.content", rejected.id
    content = tx.vault.seal_bytes(msgspec.json.encode(rejected), *place)
    row = {"id": rejected.id, "business_id": business_id, "lead_id": rejected.point.lead_id}
    tx.insert(
        rejected_contacts, row | {"person_id": rejected.person_id, "content": content, "at": rejected.at}
    )


KEEP_REJECTED: Final = timedelta(days=30)
"""Time within which a rejected contact can be restored."""


def list_rejected(tx: Tx, business_id: str, lead_id: str) -> list[RejectedContact]:
    """List rejected contacts of a lead that can be restored, latest first."""
    query = select(rejected_contacts.c.content, rejected_contacts.c.id).where(
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


def delete_rejected(tx: Tx, business_id: str, rejected_id: str) -> bool:
    """Delete a restored contact; False when another member restored it first."""
    return tx.delete(rejected_contacts, business_id, id=rejected_id) == 1


def delete_rejected_of(
    tx: Tx, business_id: str, person_ids: Collection[str], lead_ids: Collection[str]
) -> None:
    """Delete the rejected contacts of some people."""
    tx.delete(rejected_contacts, business_id, person_id=person_ids)
    tx.delete(rejected_contacts, business_id, lead_id=lead_ids)


def delete_old_rejected(tx: Tx, before: datetime) -> int:
    """Delete rejected contacts that cannot be restored any more, of all businesses; return their number."""
    return tx.delete_some(rejected_contacts, rejected_contacts.c.at < before)


def _change_one(table: Table) -> Any:
    return update(table).where(*rows_of(table, bindparam("of_business"), id=bindparam("of_id")))


_MOMENT: Final = bindparam("moment", type_=Instant())
_ACTIVE: Final = _change_one(leads).values(
    name=bindparam("now_name", type_=LargeBinary()),
    name_key=bindparam("now_key", type_=String()),
    updated_at=_MOMENT,
)
_START: Final = _change_one(leads).values(created_at=_MOMENT)
_POINT_START: Final = _change_one(contact_points).values(created_at=_MOMENT)


_MANY: Final = select(leads).where(
    leads.c.business_id == bindparam("of"), within(leads.c.person_id, "persons")
)
_OF_PERSONS: Final = PreparedQuery(Lead, _MANY)
_LOCKED: Final = PreparedQuery(Lead, _MANY.order_by(leads.c.id).with_for_update())


def list_leads_of_persons(tx: Tx, business_id: str, person_ids: Collection[str]) -> list[Lead]:
    """Return the leads of persons, locked until the end of the transaction."""
    return (_LOCKED if tx.locks_rows else _OF_PERSONS).list(tx, {"of": business_id, "persons": person_ids})


def save_leads(tx: Tx, new: Collection[tuple[Lead, str]]) -> int:
    """Insert leads with their facets for persons without a lead; return the number of inserted ones."""
    rows = [lead_row(tx.vault, lead) | {"facets": facets} for lead, facets in new]
    return insert_new(tx, leads, rows)


def save_contact_points(tx: Tx, business_id: str, new: Iterable[ContactPoint]) -> None:
    """Insert contact points, their values sealed; those that the leads have already are left out."""
    insert_new(tx, contact_points, [point_row(tx.vault, business_id, point) for point in new])


def append_all_evidence(tx: Tx, items: Iterable[Evidence]) -> None:
    """Append evidence, its texts sealed; existing rows are left out."""
    insert_new(tx, evidence, [evidence_row(tx.vault, item) for item in items])


def append_steps(tx: Tx, business_id: str, steps: Iterable[HistoryEntry]) -> None:
    """Append entries to the histories of leads."""
    insert_all(tx, lead_history, [history_row(tx.vault, business_id, step) for step in steps])


def record_activities(tx: Tx, moved: Iterable[Lead]) -> None:
    """Save the names and the times of the last activity of leads."""
    rows = [
        {
            "of_business": lead.business_id,
            "of_id": lead.id,
            "now_name": tx.seal(lead.name, lead.business_id, "leads.name", lead.id),
            "now_key": name_key(lead.name),
            "moment": lead.updated_at,
        }
        for lead in moved
    ]
    update_rows(tx, _ACTIVE, rows)


def record_lead_starts(tx: Tx, moved: Iterable[Lead]) -> None:
    """Move back the creation times of leads, after an earlier message came in late."""
    rows = [{"of_business": lead.business_id, "of_id": lead.id, "moment": lead.created_at} for lead in moved]
    update_rows(tx, _START, rows)


def record_point_starts(tx: Tx, business_id: str, moved: Iterable[ContactPoint]) -> None:
    """Move back the creation times of contact points."""
    rows = [{"of_business": business_id, "of_id": point.id, "moment": point.created_at} for point in moved]
    update_rows(tx, _POINT_START, rows)


lead_scores = Table(
    "lead_scores",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("lead_id", String(36), primary_key=True),
    Column("score", Integer, nullable=False),
    Column("reasons", Words, nullable=False),
    instant("scored_at"),
    Column("log_odds", Float),
    Column("is_counted", Boolean, nullable=False, server_default=literal_column("FALSE")),
    Index("ix_lead_scores_score", "business_id", "score"),
)


_SET_LEAD_SCORE: Final = (
    update(leads)
    .where(*rows_of(leads, bindparam("of"), id=bindparam("of_lead")))
    .where(leads.c.score != bindparam("now"))
    .values(score=bindparam("now"))
)


_LISTED: Final = Query(
    select(leads.c.id).where(
        leads.c.business_id == bindparam("of"), leads.c.hidden_at.is_(None), within(leads.c.id, "ids")
    )
)


_SET_SCORE: Final = (
    update(lead_scores)
    .where(*rows_of(lead_scores, bindparam("of"), lead_id=bindparam("of_lead")))
    .values(score=bindparam("now"), scored_at=bindparam("at"), is_counted=bindparam("counted"))
)


def save_scores(tx: Tx, scores: Sequence[LeadScore]) -> None:
    """Save scores, and copy them to the leads to sort by; without reasons the stored ones stay.

    All are of one business. A lead that was erased or hidden while it was scored gets none.
    """
    if not scores:
        return
    values = {"of": scores[0].business_id, "ids": [score.lead_id for score in scores]}
    listed = {row[0] for row in _LISTED.rows(tx, values)}
    rows = [row_of(score) for score in scores if score.lead_id in listed]
    if fresh := [row for row in rows if row["reasons"] is not None]:
        insert = tx.upsert(lead_scores)
        changes = {name: insert.excluded[name] for name in fresh[0] if name not in ("business_id", "lead_id")}
        statement = insert.on_conflict_do_update(index_elements=["business_id", "lead_id"], set_=changes)
        tx.execute(statement, fresh)
    rescored = [
        {
            "of": row["business_id"], "of_lead": row["lead_id"], "now": row["score"], "at": row["scored_at"],
            "counted": row["is_counted"],
        }
        for row in rows
        if row["reasons"] is None
    ]  # fmt: skip
    update_rows(tx, _SET_SCORE, rescored)
    lead_rows = [{"of": row["business_id"], "of_lead": row["lead_id"], "now": row["score"]} for row in rows]
    update_rows(tx, _SET_LEAD_SCORE, lead_rows)


def find_score(tx: Tx, business_id: str, lead_id: str) -> LeadScore | None:
    conditions = rows_of(lead_scores, business_id, lead_id=lead_id)
    return tx.find(LeadScore, select(lead_scores).where(*conditions))


def list_scores(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    conditions = lead_scores.c.business_id == business_id, lead_scores.c.lead_id.in_(sorted(lead_ids))
    rows = tx.execute(select(lead_scores.c.lead_id, lead_scores.c.score).where(*conditions))
    return dict(map(tuple, rows))
