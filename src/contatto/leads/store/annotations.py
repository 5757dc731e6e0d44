"""Tables of what people add to leads: labels, notes, tasks; texts are sealed, as they may quote contacts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    and_,
    func,
    or_,
    select,
    update,
)

from contatto.kit.db.prepared import insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.read_audit import note_seen
from contatto.leads.model import Label, Note, SavedView, Task
from contatto.leads.store.records import leads

DUE_LATELY: Final = timedelta(days=7)
"""Tasks that were due before that are nobody's news any more."""

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


def save_label(tx: Tx, business_id: str, label: Label) -> bool:
    """Insert a label; False when the business has one of that name, in any case of letters."""
    row = {"id": label.id, "business_id": business_id, "name": label.name, "tone": label.tone}
    return tx.insert_ignore(labels, row | {"name_key": label.name.casefold()})


def find_label(tx: Tx, business_id: str, name: str) -> Label | None:
    """A label by its name, in any case of letters."""
    query = select(labels).where(labels.c.business_id == business_id)
    return tx.find(Label, query.where(labels.c.name_key == name.casefold()))


def list_labels(tx: Tx, business_id: str) -> list[Label]:
    return tx.list(
        Label, select(labels).where(labels.c.business_id == business_id).order_by(labels.c.name_key)
    )


def count_labels(tx: Tx, business_id: str) -> int:
    return int(tx.scalar(select(func.count()).where(labels.c.business_id == business_id)))


def list_labels_of(tx: Tx, business_id: str, lead_ids: Iterable[str]) -> dict[str, list[Label]]:
    """Labels by lead, by name."""
    labels_by_lead: dict[str, list[Label]] = {lead_id: [] for lead_id in lead_ids}
    query = (
        select(lead_labels.c.lead_id, labels)
        .join(labels, labels.c.id == lead_labels.c.label_id)
        .where(lead_labels.c.business_id == business_id, lead_labels.c.lead_id.in_(labels_by_lead))
        .order_by(labels.c.name_key)
    )
    for row in tx.execute(query).mappings():
        labels_by_lead[row["lead_id"]].append(Label(row["id"], row["name"], row["tone"]))
    return labels_by_lead


def append_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Put a label on a lead; False when it is there."""
    row = {"business_id": business_id, "lead_id": lead_id, "label_id": label_id}
    return tx.insert_ignore(lead_labels, row)


def delete_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Take a label off a lead; False when it is not there."""
    statement = lead_labels.delete().where(
        lead_labels.c.business_id == business_id,
        lead_labels.c.lead_id == lead_id,
        lead_labels.c.label_id == label_id,
    )
    return tx.execute(statement).rowcount == 1


def save_note(tx: Tx, business_id: str, note: Note) -> bool:
    """Insert a note, its text sealed; False when it is there."""
    row = row_of(note, without={"text"})
    body = tx.vault.seal(note.text, business_id, "lead_notes.body", note.id)
    return tx.insert_ignore(lead_notes, row | {"business_id": business_id, "body": body})


def find_note(tx: Tx, business_id: str, lead_id: str, note_id: str) -> Note | None:
    return next((note for note in list_notes(tx, business_id, lead_id) if note.id == note_id), None)


def list_notes(tx: Tx, business_id: str, lead_id: str) -> list[Note]:
    """A lead's notes, newest first, with their texts opened."""
    query = select(lead_notes).where(lead_notes.c.business_id == business_id, lead_notes.c.lead_id == lead_id)
    rows = tx.execute(query.order_by(lead_notes.c.created_at.desc(), lead_notes.c.id.desc())).mappings()
    return [Note(**_open_text(tx, row, Note)) for row in rows]


def record_note_text(tx: Tx, business_id: str, note: Note, new: str) -> bool:
    """Change a note's text, unless somebody else has changed the note meanwhile."""
    statement = update(lead_notes).where(
        lead_notes.c.business_id == business_id,
        lead_notes.c.id == note.id,
        lead_notes.c.revision == note.revision,
    )
    sealed_text = tx.vault.seal(new, business_id, "lead_notes.body", note.id)
    return (
        tx.execute(statement.values(body=sealed_text, revision=note.revision + 1, edited_at=tx.now)).rowcount
        == 1
    )


def delete_note(tx: Tx, business_id: str, note: Note) -> bool:
    """Delete a note, unless somebody else has changed it meanwhile."""
    statement = lead_notes.delete().where(
        lead_notes.c.business_id == business_id,
        lead_notes.c.id == note.id,
        lead_notes.c.revision == note.revision,
    )
    return tx.execute(statement).rowcount == 1


def save_task(tx: Tx, business_id: str, task: Task) -> bool:
    """Insert a task, its text sealed; False when it is there."""
    row = row_of(task, without={"text"})
    body = tx.vault.seal(task.text, business_id, "lead_tasks.body", task.id)
    return tx.insert_ignore(lead_tasks, row | {"business_id": business_id, "body": body})


def find_task(tx: Tx, business_id: str, lead_id: str, task_id: str) -> Task | None:
    return next((task for task in list_tasks(tx, business_id, lead_id) if task.id == task_id), None)


def list_tasks(tx: Tx, business_id: str, lead_id: str) -> list[Task]:
    """A lead's tasks in the order of their making, with their texts opened."""
    query = select(lead_tasks).where(lead_tasks.c.business_id == business_id, lead_tasks.c.lead_id == lead_id)
    rows = tx.execute(query.order_by(lead_tasks.c.created_at, lead_tasks.c.id)).mappings()
    return [Task(**_open_text(tx, row, Task)) for row in rows]


def list_due_tasks(tx: Tx, day: date) -> list[tuple[str, str, str | None, date]]:
    """Tasks of all businesses that are due by a day and not long before: business, lead, its owner, day."""
    due = lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day, lead_tasks.c.due_on > day - DUE_LATELY
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    columns = lead_tasks.c.business_id, lead_tasks.c.lead_id, leads.c.owner_id, lead_tasks.c.due_on
    query = select(*columns).join(leads, and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None)).distinct()
    return [tuple(row) for row in tx.execute(query)]


def list_due_leads(tx: Tx, business_id: str, day: date) -> list[str]:
    """The leads of open tasks that are due by a day, one entry for each task, the oldest first."""
    due = lead_tasks.c.business_id == business_id, lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    ids = select(lead_tasks.c.lead_id).join(leads, and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None))
    return list(tx.execute(ids.order_by(lead_tasks.c.due_on, lead_tasks.c.id)).scalars())


def record_task(tx: Tx, business_id: str, task: Task, seen_revision: int) -> bool:
    """Save a task's text, day and end, unless it changed since revision ``seen_revision``."""
    statement = update(lead_tasks).where(
        lead_tasks.c.business_id == business_id,
        lead_tasks.c.id == task.id,
        lead_tasks.c.revision == seen_revision,
    )
    body = tx.vault.seal(task.text, business_id, "lead_tasks.body", task.id)
    values = {"body": body, "due_on": task.due_on, "done_by": task.done_by, "done_at": task.done_at}
    return tx.execute(statement.values(revision=seen_revision + 1, **values)).rowcount == 1


def delete_task(tx: Tx, business_id: str, task: Task) -> bool:
    """Delete a task, unless somebody else has changed it meanwhile."""
    statement = lead_tasks.delete().where(
        lead_tasks.c.business_id == business_id,
        lead_tasks.c.id == task.id,
        lead_tasks.c.revision == task.revision,
    )
    return tx.execute(statement).rowcount == 1


def _open_text(tx: Tx, row: Mapping[Any, Any], shape: type[Note | Task]) -> dict[str, Any]:
    values = {name: row[name] for name in shape.__dataclass_fields__ if name != "text"}
    note_seen("lead_id", (row["lead_id"],))
    column = "lead_notes.body" if shape is Note else "lead_tasks.body"
    return values | {"text": tx.open_text(row["body"], row["business_id"], column, row["id"])}


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
    """The views that a member sees: the own ones and those that others share; pinned ones first."""
    is_visible = or_(lead_views.c.member_id == member_id, lead_views.c.is_shared.is_(True))
    query = select(lead_views).where(lead_views.c.business_id == business_id, is_visible)
    order = (lead_views.c.is_pinned.desc(), lead_views.c.created_at, lead_views.c.id)
    rows = tx.execute(query.order_by(*order)).mappings()
    names = SavedView.__dataclass_fields__
    views = [
        SavedView(
            **{name: row[name] for name in names}
            | {"query": tx.vault.open(row["query"], business_id, "lead_views.query", row["id"])}
        )
        for row in rows
    ]
    note_seen("view_id", [view.id for view in views if "q=" in view.query])  # what somebody searches for
    return views


def count_views(tx: Tx, business_id: str, member_id: str) -> int:
    """The views that a member made."""
    query = select(func.count()).where(lead_views.c.business_id == business_id)
    return int(tx.scalar(query.where(lead_views.c.member_id == member_id)))


def record_view(tx: Tx, business_id: str, view: SavedView) -> None:
    """Keep a view's name and marks."""
    statement = update(lead_views).where(lead_views.c.business_id == business_id, lead_views.c.id == view.id)
    tx.execute(statement.values(name=view.name, is_shared=view.is_shared, is_pinned=view.is_pinned))


def delete_view(tx: Tx, business_id: str, view_id: str) -> None:
    condition = lead_views.c.business_id == business_id
    tx.execute(lead_views.delete().where(condition, lead_views.c.id == view_id))


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
    """A form as a lead knows it; ``id`` is that of the answer, ``consented`` says that any purpose was."""

    id: str
    lead_id: str
    form_id: str
    form_name: str
    version: int
    consented: bool
    at: datetime


def append_entries(tx: Tx, business_id: str, entries: Iterable[FormEntry]) -> int:
    """Append entries; those that are there stay as they are. Say how many were new."""
    return insert_new(tx, lead_entries, [row_of(entry) | {"business_id": business_id} for entry in entries])


def list_entries(tx: Tx, business_id: str, lead_id: str) -> list[FormEntry]:
    """The forms of a lead, oldest first."""
    query = select(lead_entries).where(
        lead_entries.c.business_id == business_id, lead_entries.c.lead_id == lead_id
    )
    return tx.list(FormEntry, query.order_by(lead_entries.c.at, lead_entries.c.id))


def list_form_names(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """The forms that leads came by, with their latest names; each is a jump in the index, not a scan."""
    condition = lead_entries.c.business_id == business_id
    next_one = select(func.min(lead_entries.c.form_id)).where(condition)
    latest = select(lead_entries.c.form_name).where(condition).order_by(lead_entries.c.at.desc()).limit(1)
    names: list[tuple[str, str]] = []
    last = ""
    while form_id := tx.scalar(next_one.where(lead_entries.c.form_id > last)):
        last = str(form_id)
        names.append((last, str(tx.scalar(latest.where(lead_entries.c.form_id == last)))))
    return names
