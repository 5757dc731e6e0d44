"""Tables of annotations, facets and merges of leads."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Date,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from contatto.capture.model import Field
from contatto.kit.db.statements import Query, insert_new, update_rows
from contatto.kit.db.tx import Tx, instant, key, metadata, row_of, rows_of, sealed, tenant, text, within
from contatto.kit.values import from_micros
from contatto.leads.model import Evidence, Journal, LeadLabel, Merge, MergedFields, Note, SavedView, Task
from contatto.leads.rules.records import (
    CONSENT,
    EMAIL,
    LABELLED,
    LONGEST,
    PHONE,
    PHONES,
    TWIN_WORD,
    Facet,
    facet_word,
    join_words,
    name_key,
)
from contatto.leads.store.records import contact_points, evidence, lead_history, leads, load_evidence

DUE_LATELY: Final = timedelta(days=7)
"""Tasks that are overdue for longer cause no notification."""

labels = Table(
    "labels",
    metadata,
    key(),
    tenant(),
    Column("name", String(40), nullable=False),
    Column("name_key", String(80), nullable=False),
    Column("tone", Integer, nullable=False),
    UniqueConstraint("business_id", "name_key"),
)

lead_labels = Table(
    "lead_labels",
    metadata,
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("label_id", String(36), nullable=False),
    PrimaryKeyConstraint("business_id", "lead_id", "label_id"),
    Index("ix_lead_labels_of_label", "business_id", "label_id", "lead_id"),
)

lead_notes = Table(
    "lead_notes",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    sealed("body"),
    text("author"),
    Column("revision", Integer, nullable=False),
    instant("created_at"),
    instant("edited_at", nullable=True),
    Index("ix_lead_notes_of_lead", "business_id", "lead_id", "created_at"),
)

lead_tasks = Table(
    "lead_tasks",
    metadata,
    key(),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    sealed("body"),
    Column("due_on", Date),
    Column("revision", Integer, nullable=False),
    text("created_by"),
    instant("created_at"),
    text("done_by"),
    instant("done_at", nullable=True),
    Index("ix_lead_tasks_of_lead", "business_id", "lead_id", "created_at"),
)


def save_label(tx: Tx, business_id: str, label: LeadLabel) -> bool:
    """Insert a label; False when the business has one of that name, in any case of letters."""
    row = {"id": label.id, "business_id": business_id, "name": label.name, "tone": label.tone}
    return tx.insert_ignore(labels, row | {"name_key": label.name.casefold()})


def find_label(tx: Tx, business_id: str, name: str) -> LeadLabel | None:
    """Return a label by its name, in any case of letters."""
    return tx.find(LeadLabel, select(labels).where(*rows_of(labels, business_id, name_key=name.casefold())))


def list_labels(tx: Tx, business_id: str) -> list[LeadLabel]:
    return tx.list(
        LeadLabel, select(labels).where(labels.c.business_id == business_id).order_by(labels.c.name_key)
    )


def count_labels(tx: Tx, business_id: str) -> int:
    return int(tx.scalar(select(func.count()).where(labels.c.business_id == business_id)))


def list_labels_of(tx: Tx, business_id: str, lead_ids: Iterable[str]) -> dict[str, list[LeadLabel]]:
    labels_by_lead: dict[str, list[LeadLabel]] = {lead_id: [] for lead_id in lead_ids}
    query = (
        select(lead_labels.c.lead_id, labels)
        .join(labels, labels.c.id == lead_labels.c.label_id)
        .where(lead_labels.c.business_id == business_id, lead_labels.c.lead_id.in_(labels_by_lead))
        .order_by(labels.c.name_key)
    )
    for row in tx.execute(query).mappings():
        labels_by_lead[row["lead_id"]].append(LeadLabel(row["id"], row["name"], row["tone"]))
    return labels_by_lead


def append_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Put a label on a lead; False when it is there."""
    row = {"business_id": business_id, "lead_id": lead_id, "label_id": label_id}
    return tx.insert_ignore(lead_labels, row)


def delete_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Take a label off a lead; False when it is not there."""
    return tx.delete(lead_labels, business_id, lead_id=lead_id, label_id=label_id) == 1


_WORK: Final = {Note: (lead_notes, "lead_notes.body"), Task: (lead_tasks, "lead_tasks.body")}
"""Tables of notes and tasks, and the name under which their text is sealed."""


def save_work(tx: Tx, business_id: str, work: Note | Task) -> bool:
    """Insert a note or a task, its text sealed; False when it is there."""
    table, place = _WORK[type(work)]
    body = tx.vault.seal(work.text, business_id, place, work.id)
    return tx.insert_ignore(
        table, row_of(work, without={"text"}) | {"business_id": business_id, "body": body}
    )


def delete_work(tx: Tx, business_id: str, work: Note | Task) -> bool:
    """Delete a note or a task, unless somebody else has changed it meanwhile."""
    return tx.delete(_WORK[type(work)][0], business_id, id=work.id, revision=work.revision) == 1


def record_work(tx: Tx, business_id: str, work: Note | Task) -> bool:
    """Save a changed note or task, unless somebody else has changed it since this revision."""
    table, place = _WORK[type(work)]
    changed = row_of(work, without={"id", "lead_id", "text", "revision"})
    changed |= {"body": tx.vault.seal(work.text, business_id, place, work.id), "revision": work.revision + 1}
    return tx.change(table, business_id, work.id, table.c.revision == work.revision, **changed)


def _list_work[W: (Note, Task)](tx: Tx, business_id: str, lead_id: str, shape: type[W]) -> list[W]:
    """Return a lead's notes or tasks in the order of their making, with their texts opened."""
    table, place = _WORK[shape]
    query = select(table).where(*rows_of(table, business_id, lead_id=lead_id))
    rows = tx.execute(query.order_by(table.c.created_at, table.c.id)).mappings().all()
    tx.record_contact_reads("lead_id", [lead_id] if rows else [])
    names = shape.__dataclass_fields__.keys() - {"text"}
    texts = (tx.open_text(row["body"], business_id, place, row["id"]) for row in rows)
    return [
        shape(**{name: row[name] for name in names}, text=text) for row, text in zip(rows, texts, strict=True)
    ]


def find_note(tx: Tx, business_id: str, lead_id: str, note_id: str) -> Note | None:
    return next((note for note in list_notes(tx, business_id, lead_id) if note.id == note_id), None)


def list_notes(tx: Tx, business_id: str, lead_id: str) -> list[Note]:
    """Return a lead's notes, newest first, with their texts opened."""
    return _list_work(tx, business_id, lead_id, Note)[::-1]


def find_task(tx: Tx, business_id: str, lead_id: str, task_id: str) -> Task | None:
    return next((task for task in list_tasks(tx, business_id, lead_id) if task.id == task_id), None)


def list_tasks(tx: Tx, business_id: str, lead_id: str) -> list[Task]:
    """Return a lead's tasks, oldest first, with their texts opened."""
    return _list_work(tx, business_id, lead_id, Task)


def list_due_tasks(tx: Tx, day: date) -> list[tuple[str, str, str | None, date]]:
    """List recently due tasks of all businesses, as business, lead, owner of the lead, and day."""
    due = lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day, lead_tasks.c.due_on > day - DUE_LATELY
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    columns = lead_tasks.c.business_id, lead_tasks.c.lead_id, leads.c.owner_id, lead_tasks.c.due_on
    query = select(*columns).join(leads, and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None)).distinct()
    return [tuple(row) for row in tx.execute(query)]


def list_due_leads(tx: Tx, business_id: str, day: date) -> list[str]:
    """Return the leads of open tasks that are due by a day, one entry for each task, the oldest first."""
    due = lead_tasks.c.business_id == business_id, lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    ids = select(lead_tasks.c.lead_id).join(leads, and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None))
    return list(tx.execute(ids.order_by(lead_tasks.c.due_on, lead_tasks.c.id)).scalars())


lead_views = Table(
    "lead_views",
    metadata,
    key(),
    tenant(),
    Column("member_id", String(36), nullable=False),
    Column("name", String(60), nullable=False),
    sealed("query"),
    Column("is_shared", Boolean, nullable=False),
    Column("is_pinned", Boolean, nullable=False),
    instant("created_at"),
    Index("ix_lead_views_business_id", "business_id", "created_at"),
)


def save_view(tx: Tx, business_id: str, view: SavedView) -> bool:
    """Insert a view; False when it is there."""
    row = row_of(view)
    sealed_query = tx.vault.seal(view.query, business_id, "lead_views.query", view.id)
    return tx.insert_ignore(lead_views, row | {"business_id": business_id, "query": sealed_query})


def list_views(tx: Tx, business_id: str, member_id: str) -> list[SavedView]:
    """Return a member's own views and shared ones; pinned ones first."""
    is_visible = or_(lead_views.c.member_id == member_id, lead_views.c.is_shared.is_(True))
    query = select(lead_views).where(lead_views.c.business_id == business_id, is_visible)
    order = (lead_views.c.is_pinned.desc(), lead_views.c.created_at, lead_views.c.id)
    rows = tx.execute(query.order_by(*order)).mappings()
    names = SavedView.__dataclass_fields__
    views = []
    for row in rows:
        opened = tx.vault.open(row["query"], business_id, "lead_views.query", row["id"])
        views.append(SavedView(**{name: row[name] for name in names} | {"query": opened}))
    # a search text may be contact data
    tx.record_contact_reads("view_id", [view.id for view in views if "q=" in view.query])
    return views


def count_views(tx: Tx, business_id: str, member_id: str) -> int:
    own = rows_of(lead_views, business_id, member_id=member_id)
    return int(tx.scalar(select(func.count()).where(*own)))


def record_view(tx: Tx, business_id: str, view: SavedView) -> None:
    """Save the name of a view, and whether it is shared and pinned."""
    marks = {"is_shared": view.is_shared, "is_pinned": view.is_pinned}
    tx.change(lead_views, business_id, view.id, name=view.name, **marks)


def delete_view(tx: Tx, business_id: str, view_id: str) -> None:
    tx.delete(lead_views, business_id, id=view_id)


lead_entries = Table(
    "lead_entries",
    metadata,
    Column("id", String(64), primary_key=True),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("form_id", String(36), nullable=False),
    text("form_name"),
    Column("version", Integer, nullable=False),
    Column("consented", Boolean, nullable=False),
    instant("at"),
    Index("ix_lead_entries_of_lead", "business_id", "lead_id"),
    Index("ix_lead_entries_of_form", "business_id", "form_id", "at"),
)


@dataclass(frozen=True, slots=True)
class FormEntry:
    """A form that a lead sent; ``id`` is that of the answer.

    ``consented`` is true if the person agreed to any purpose.
    """

    id: str
    lead_id: str
    form_id: str
    form_name: str
    version: int
    consented: bool
    at: datetime


def append_entries(tx: Tx, business_id: str, entries: Iterable[FormEntry]) -> int:
    """Insert missing entries; return their number."""
    return insert_new(tx, lead_entries, [row_of(entry) | {"business_id": business_id} for entry in entries])


def list_entries(tx: Tx, business_id: str, lead_id: str) -> list[FormEntry]:
    """Return the forms of a lead, oldest first."""
    query = select(lead_entries).where(*rows_of(lead_entries, business_id, lead_id=lead_id))
    return tx.list(FormEntry, query.order_by(lead_entries.c.at, lead_entries.c.id))


def list_form_names(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """Return the forms of leads, with their latest names; each is a jump in the index, not a scan."""
    condition = lead_entries.c.business_id == business_id
    next_one = select(func.min(lead_entries.c.form_id)).where(condition)
    latest = select(lead_entries.c.form_name).where(condition).order_by(lead_entries.c.at.desc()).limit(1)
    names: list[tuple[str, str]] = []
    last = ""
    while form_id := tx.scalar(next_one.where(lead_entries.c.form_id > last)):
        last = str(form_id)
        names.append((last, str(tx.scalar(latest.where(lead_entries.c.form_id == last)))))
    return names


_AT_ONCE: Final = 500
_VALUES_AT_ONCE: Final = 5_000
_BUSINESS: Final = bindparam("of", type_=String())


def _pairs(facet: Facet, lead_id: ColumnElement[Any], value: ColumnElement[Any]) -> Any:
    table = lead_id.table
    conditions = (table.c.business_id == _BUSINESS, within(lead_id, "ids"))
    return select(lead_id.label("lead_id"), literal(facet.value).label("facet"), value.label("value")).where(
        *conditions
    )


_POINT: Final = contact_points.c
_IS_PHONE: Final = or_(*(_POINT.field == field for field in PHONES))
"""An IN would be spelled out each time."""
_PAIRS: Final = Query(
    union_all(
        _pairs(Facet.ORIGIN, leads.c.id, cast(leads.c.origin, String)),
        _pairs(Facet.ORIGIN, _POINT.lead_id, cast(_POINT.origin, String)),
        _pairs(Facet.ORIGIN, evidence.c.lead_id, cast(evidence.c.origin, String)),
        _pairs(Facet.REACH, _POINT.lead_id, case((_IS_PHONE, PHONE), else_=EMAIL)).where(
            or_(_IS_PHONE, _POINT.field == Field.EMAIL), _POINT.wrong_at.is_(None)
        ),
        _pairs(Facet.COUNTRY, _POINT.lead_id, _POINT.country).where(_POINT.country.is_not(None)),
        _pairs(Facet.LABEL, lead_labels.c.lead_id, lead_labels.c.label_id),
        _pairs(Facet.SIGN, lead_labels.c.lead_id, literal(LABELLED)),
        _pairs(Facet.FORM, lead_entries.c.lead_id, lead_entries.c.form_id),
        _pairs(Facet.SIGN, lead_entries.c.lead_id, literal(CONSENT)).where(lead_entries.c.consented),
    )
)
_POINTS: Final = Query(
    select(contact_points.c.lead_id, contact_points.c.value_index).where(
        contact_points.c.business_id == _BUSINESS, within(contact_points.c.lead_id, "ids")
    )
)
_ALL_HAVING: Final = select(contact_points.c.lead_id, contact_points.c.value_index).where(
    contact_points.c.business_id == _BUSINESS, within(contact_points.c.value_index, "values")
)
_HAVING: Final = Query(_ALL_HAVING)
"""Leads with some contact values, for a query in two steps.

Without statistics of the table, PostgreSQL may scan all of it for each value of a self-join.
"""
_LISTED: Final = Query(
    _ALL_HAVING.join(leads, leads.c.id == contact_points.c.lead_id).where(leads.c.hidden_at.is_(None))
)
_OTHER_LEADS: Final = ~within(contact_points.c.lead_id, "but")
_ENDS: Final = Query(
    _ALL_HAVING.where(_OTHER_LEADS)
    .with_only_columns(
        contact_points.c.value_index, func.min(contact_points.c.lead_id), func.max(contact_points.c.lead_id)
    )
    .group_by(contact_points.c.value_index)
)


_OWN_POINTS, _OTHER_POINTS = contact_points.alias("own"), contact_points.alias("other")
_ANOTHER: Final = select(_OTHER_POINTS.c.lead_id).where(
    _OTHER_POINTS.c.business_id == _BUSINESS,
    _OTHER_POINTS.c.value_index == _OWN_POINTS.c.value_index,
    ~within(_OTHER_POINTS.c.lead_id, "but"),
)
_FIRST, _LAST = (
    _ANOTHER.order_by(order).limit(literal_column("1")).scalar_subquery()
    for order in (_OTHER_POINTS.c.lead_id, _OTHER_POINTS.c.lead_id.desc())
)
_SOUGHT_ENDS: Final = Query(
    select(_OWN_POINTS.c.value_index, _FIRST, _LAST).where(
        _OWN_POINTS.c.business_id == _BUSINESS, within(_OWN_POINTS.c.lead_id, "but")
    )
)
"""The first and last lead of each value, with a seek at either end of the index; for SQLite only."""
_IS_MARKED: Final = leads.c.facets.contains(literal_column(f"' {TWIN_WORD} '"))
_SHOWN: Final = Query(
    select(leads.c.id, leads.c.facets).where(
        leads.c.business_id == _BUSINESS, within(leads.c.id, "ids"), leads.c.hidden_at.is_(None)
    )
)
_UNMARKED: Final = Query(
    _ALL_HAVING.where(_OTHER_LEADS, ~_IS_MARKED)
    .join(leads, leads.c.id == contact_points.c.lead_id)
    .with_only_columns(contact_points.c.lead_id)
    .distinct()
)
_OWN: Final = Query(
    select(leads.c.id, leads.c.facets).where(leads.c.business_id == _BUSINESS, within(leads.c.id, "ids"))
)
_SET_FACETS: Final = (
    update(leads)
    .where(*rows_of(leads, bindparam("of"), id=bindparam("of_lead")))
    .values(facets=bindparam("now"))
)


def record_facets(tx: Tx, business_id: str, lead_ids: Collection[str], twins: Set[str] | None = None) -> None:
    """Recompute the facets of leads, and save those that changed.

    With ``twins``, only these leads get the mark of a duplicate, besides those that have it. Without, leads
    that share a contact value with another listed lead get it.
    """
    ids = sorted(lead_ids)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        values = {"of": business_id, "ids": some}
        saved_words = dict(map(tuple, _OWN.rows(tx, values)))
        words: dict[str, set[str]] = {lead_id: set() for lead_id in some}
        for lead_id, facet, value in _PAIRS.rows(tx, values):
            words[lead_id].add(facet_word(Facet(facet), value))
        if twins is not None:
            marked = _marked(saved_words) | twins & words.keys()
        else:  # those that share a contact value with another lead of the lists
            points = _list_points(tx, values)
            having: dict[bytes, set[str]] = defaultdict(set)
            for lead_id, value in _list_having(tx, _LISTED, business_id, points):
                having[value].add(lead_id)
            marked = {lead_id for lead_id, value in points if having[value] - {lead_id}}
        for lead_id in marked:
            words[lead_id].add(TWIN_WORD)
        texts = {lead_id: join_words(lead_words) for lead_id, lead_words in words.items()}
        rows = [
            {"of": business_id, "of_lead": lead_id, "now": text}
            for lead_id, text in texts.items()
            if lead_id in saved_words and text != saved_words[lead_id]
        ]
        update_rows(tx, _SET_FACETS, rows)


def _marked(facets: Mapping[str, str]) -> set[str]:
    """Return the leads with the mark of a shared value in their facets."""
    return {lead_id for lead_id, text in facets.items() if f" {TWIN_WORD} " in text}


def list_sharing_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> set[str]:
    """Return other leads, listed or hidden, with a contact value of these leads."""
    points = _list_points(tx, {"of": business_id, "ids": list(lead_ids)})
    return {lead_id for lead_id, _ in _list_having(tx, _HAVING, business_id, points)} - set(lead_ids)


_MARK: Final = (
    update(leads)
    .where(*rows_of(leads, bindparam("of"), id=bindparam("of_lead")), ~_IS_MARKED)
    .where(func.length(leads.c.facets) < literal_column(str(LONGEST - len(TWIN_WORD))))
    .values(facets=leads.c.facets + literal_column(f"'{TWIN_WORD} '"))
)


def record_twins(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Mark leads that share a contact value; their other facets are current."""
    update_rows(tx, _MARK, [{"of": business_id, "of_lead": lead_id} for lead_id in sorted(lead_ids)])


@dataclass(frozen=True, slots=True)
class SharedValues:
    """Duplicates of leads with new contact values.

    Attributes:
        twins: those of the leads that share a value with a listed lead.
        unsure: those that share values only with hidden leads, as far as was read.
        unmarked: other leads with such a value, and without the mark of a duplicate.
    """

    twins: set[str]
    unsure: set[str]
    unmarked: set[str]


def list_shared(tx: Tx, business_id: str, lead_ids: Collection[str]) -> SharedValues:
    """Find the duplicates of listed leads with new contact values.

    If two listed leads share a value, all leads with it are marked. So only the first and the last of the
    others are read; all are read if one of these is hidden or unmarked.
    """
    points = _list_points(tx, {"of": business_id, "ids": list(lead_ids)})
    having: dict[bytes, set[str]] = defaultdict(set)
    for lead_id, value in points:
        having[value].add(lead_id)
    # Read the first and the last of the other leads with a contact value; unshared values are left out.
    end_values = {"of": business_id, "but": list(lead_ids)}
    if tx.locks_rows:
        rows = _ENDS.rows(tx, end_values | {"values": sorted(having)})
    else:
        rows = _SOUGHT_ENDS.rows(tx, end_values)
    ends = {bytes(value): {first, last} for value, first, last in rows if first is not None}
    looked_at = {"of": business_id, "ids": sorted(set().union(*ends.values()))}
    shown = dict(map(tuple, _SHOWN.rows(tx, looked_at))) if ends else dict[str, str]()
    marked = _marked(shown)
    values = [value for value, both in ends.items() if not both <= marked]
    values_to_bind = {"of": business_id, "values": values, "but": list(lead_ids)}
    unmarked = {lead_id for (lead_id,) in _UNMARKED.rows(tx, values_to_bind)} if values else set[str]()
    sure = {value for value, some in having.items() if len(some) > 1 or ends.get(value, set()) & shown.keys()}
    twins = {lead_id for lead_id, value in points if value in sure}
    return SharedValues(twins, {lead_id for lead_id, value in points if value in ends} - twins, unmarked)


def _list_points(tx: Tx, values: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(lead_id, bytes(value)) for lead_id, value in _POINTS.rows(tx, values)]


def _list_having(
    tx: Tx, which: Query, business_id: str, points: Collection[tuple[str, bytes]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the leads that have one of the contact values of these points."""
    distinct = sorted({value for _, value in points})
    for start in range(0, len(distinct), _VALUES_AT_ONCE):
        some = {"of": business_id, "values": distinct[start : start + _VALUES_AT_ONCE]}
        yield from ((lead_id, bytes(value)) for lead_id, value in which.rows(tx, some))


lead_merges = Table(
    "lead_merges",
    metadata,
    key(),
    tenant(),
    Column("kept_id", String(36), nullable=False),
    Column("merged_id", String(36), nullable=False),
    text("actor"),
    sealed("reason", nullable=True),
    sealed("journal"),
    instant("at"),
    text("undone_by"),
    instant("undone_at", nullable=True),
    Index("ix_lead_merges_kept", "business_id", "kept_id"),
    Index("ix_lead_merges_merged", "business_id", "merged_id"),
)

MOVING: Final = {
    table.name: table
    for table in (contact_points, evidence, lead_history, lead_notes, lead_tasks, lead_entries)
}
"""Tables with rows that a merge moves to the target lead."""


def save_merge(tx: Tx, business_id: str, merge: Merge) -> None:
    row = row_of(merge)
    journal = msgspec.json.encode(merge.journal)
    sealed_values = {
        "journal": tx.vault.seal_bytes(journal, business_id, "lead_merges.journal", merge.id),
        "reason": tx.seal(merge.reason, business_id, "lead_merges.reason", merge.id),
    }
    tx.insert(lead_merges, row | {"business_id": business_id} | sealed_values)


def find_merge(tx: Tx, business_id: str, merge_id: str) -> Merge | None:
    """Return a merge; to change it, lock its two leads and read it again."""
    query = select(lead_merges).where(*rows_of(lead_merges, business_id, id=merge_id))
    row = tx.execute(query).mappings().first()
    return None if row is None else _open_merge(tx, row)


def list_merges(tx: Tx, business_id: str, lead_id: str) -> list[Merge]:
    """Return the merges that a lead took part in, latest first."""
    either = or_(lead_merges.c.kept_id == lead_id, lead_merges.c.merged_id == lead_id)
    query = select(lead_merges).where(lead_merges.c.business_id == business_id, either)
    rows = tx.execute(query.order_by(lead_merges.c.at.desc(), lead_merges.c.id.desc())).mappings()
    return [_open_merge(tx, row) for row in rows]


def record_merge_undone(tx: Tx, business_id: str, merge: Merge, actor: str) -> None:
    tx.change(lead_merges, business_id, merge.id, undone_by=actor, undone_at=tx.now)


def list_row_ids(tx: Tx, business_id: str, lead_id: str) -> dict[str, list[str]]:
    """Return the ids of the rows of a lead, by table."""
    ids_by_table = {}
    for name, table in MOVING.items():
        query = select(table.c.id).where(*rows_of(table, business_id, lead_id=lead_id))
        ids_by_table[name] = list(tx.execute(query.order_by(table.c.id)).scalars())
    return ids_by_table


def list_leads_ever(tx: Tx, business_id: str, person_ids: Collection[str]) -> set[str]:
    """Return the ids of the leads of some persons, and of leads that they were ever merged into."""
    persons = select(leads.c.id).where(leads.c.business_id == business_id, leads.c.person_id.in_(person_ids))
    ids, ids_by_person = set[str](), set(tx.execute(persons).scalars())
    while ids_by_person:
        ids |= ids_by_person
        query = select(lead_merges.c.kept_id).where(
            lead_merges.c.business_id == business_id, lead_merges.c.merged_id.in_(ids_by_person)
        )
        ids_by_person = set(tx.execute(query).scalars()) - ids
    return ids


def list_evidence_of_sources(
    tx: Tx, business_id: str, person_id: str, source_ids: set[str]
) -> dict[str, list[Evidence]]:
    """Return evidence by its message, in reading order."""
    query = select(evidence).where(
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
    equal = select(contact_points.c.id.label("gone"), other_points.c.id.label("kept")).where(
        *rows_of(contact_points, business_id, lead_id=merged_id),
        other_points.c.business_id == business_id,
        other_points.c.lead_id == kept_id,
        contact_points.c.field == other_points.c.field,
        contact_points.c.value_index == other_points.c.value_index,
    )
    return {row["gone"]: row["kept"] for row in tx.execute(equal).mappings()}


def list_evidence_of_points(tx: Tx, business_id: str, point_ids: list[str]) -> list[tuple[str, str]]:
    """Return evidence of contact points, as pairs of the evidence's id and the point's."""
    query = select(evidence.c.id, evidence.c.contact_point_id).where(
        evidence.c.business_id == business_id, evidence.c.contact_point_id.in_(point_ids)
    )
    return [
        (row["id"], row["contact_point_id"]) for row in tx.execute(query.order_by(evidence.c.id)).mappings()
    ]


def record_moved(tx: Tx, business_id: str, rows: tuple[str, list[str]], old: str, new: str) -> None:
    """Move rows of a table to another lead, unless they left the old one."""
    name, ids = rows
    table = MOVING[name]
    tx.execute(update(table).where(*rows_of(table, business_id, lead_id=old, id=ids)).values(lead_id=new))


def record_evidence_point(tx: Tx, business_id: str, evidence_id: str, point_id: str) -> None:
    """Move evidence to another contact point."""
    tx.change(evidence, business_id, evidence_id, contact_point_id=point_id)


def list_label_ids(tx: Tx, business_id: str, lead_id: str) -> set[str]:
    query = select(lead_labels.c.label_id).where(*rows_of(lead_labels, business_id, lead_id=lead_id))
    return {row[0] for row in tx.execute(query)}


def record_merged_fields(tx: Tx, business_id: str, lead_id: str, snapshot: MergedFields) -> None:
    """Save the fields of a lead that a merge may change."""
    name = tx.seal(snapshot.name, business_id, "leads.name", lead_id)
    created_at, updated_at = from_micros(snapshot.created_at), from_micros(snapshot.updated_at)
    values = {"name": name, "name_key": name_key(snapshot.name), "status": snapshot.status}
    times = {"created_at": created_at, "updated_at": updated_at}
    tx.change(leads, business_id, lead_id, **values, **times, owner_id=snapshot.owner_id)


def record_followers(tx: Tx, business_id: str, lead_ids: list[str], kept_id: str) -> None:
    """Let leads that were merged earlier point to another lead."""
    tx.execute(update(leads).where(*rows_of(leads, business_id, id=lead_ids)).values(merged_into=kept_id))


def _open_merge(tx: Tx, row: Mapping[Any, Any]) -> Merge:
    business_id, merge_id, sealed_reason = row["business_id"], row["id"], row["reason"]
    journal = tx.vault.open_bytes(row["journal"], business_id, "lead_merges.journal", merge_id)
    place = business_id, "lead_merges.reason", merge_id
    reason = tx.vault.open(sealed_reason, *place) if sealed_reason is not None else ""
    opened = {"journal": msgspec.json.decode(journal, type=Journal), "reason": reason}
    return Merge(**{name: row[name] for name in Merge.__dataclass_fields__} | opened)
