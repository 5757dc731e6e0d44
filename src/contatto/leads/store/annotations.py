"""Tables of what people add to leads: labels, notes, tasks; texts are sealed, as they may quote contacts."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import (
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
    select,
    update,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.looks import note_seen
from contatto.leads.model.annotations import Label, Note, Task
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
    mine = select(labels).where(labels.c.business_id == business_id)
    return tx.find(Label, mine.where(labels.c.name_key == name.casefold()))


def list_labels(tx: Tx, business_id: str) -> list[Label]:
    return tx.list(
        Label, select(labels).where(labels.c.business_id == business_id).order_by(labels.c.name_key)
    )


def count_labels(tx: Tx, business_id: str) -> int:
    return int(tx.scalar(select(func.count()).where(labels.c.business_id == business_id)))


def list_labels_of(tx: Tx, business_id: str, lead_ids: Iterable[str]) -> dict[str, list[Label]]:
    """Labels by lead, by name."""
    found: dict[str, list[Label]] = {lead_id: [] for lead_id in lead_ids}
    mine = (
        select(lead_labels.c.lead_id, labels)
        .join(labels, labels.c.id == lead_labels.c.label_id)
        .where(lead_labels.c.business_id == business_id, lead_labels.c.lead_id.in_(found))
        .order_by(labels.c.name_key)
    )
    for row in tx.execute(mine).mappings():
        found[row["lead_id"]].append(Label(row["id"], row["name"], row["tone"]))
    return found


def append_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Put a label on a lead; False when it is there."""
    row = {"business_id": business_id, "lead_id": lead_id, "label_id": label_id}
    return tx.insert_ignore(lead_labels, row)


def delete_lead_label(tx: Tx, business_id: str, lead_id: str, label_id: str) -> bool:
    """Take a label off a lead; False when it is not there."""
    mine = lead_labels.delete().where(
        lead_labels.c.business_id == business_id,
        lead_labels.c.lead_id == lead_id,
        lead_labels.c.label_id == label_id,
    )
    return tx.execute(mine).rowcount == 1


def save_note(tx: Tx, business_id: str, note: Note) -> bool:
    """Insert a note, its text sealed; False when it is there."""
    row = row_of(note, without={"text"})
    body = tx.vault.seal(note.text, business_id, "lead_notes.body", note.id)
    return tx.insert_ignore(lead_notes, row | {"business_id": business_id, "body": body})


def find_note(tx: Tx, business_id: str, lead_id: str, note_id: str) -> Note | None:
    return next((note for note in list_notes(tx, business_id, lead_id) if note.id == note_id), None)


def list_notes(tx: Tx, business_id: str, lead_id: str) -> list[Note]:
    """A lead's notes, newest first, with their texts opened."""
    mine = select(lead_notes).where(lead_notes.c.business_id == business_id, lead_notes.c.lead_id == lead_id)
    rows = tx.execute(mine.order_by(lead_notes.c.created_at.desc(), lead_notes.c.id.desc())).mappings()
    return [Note(**_opened(tx, row, Note)) for row in rows]


def record_note_text(tx: Tx, business_id: str, note: Note, new: str) -> bool:
    """Change a note's text, unless somebody else has changed the note meanwhile."""
    mine = update(lead_notes).where(
        lead_notes.c.business_id == business_id,
        lead_notes.c.id == note.id,
        lead_notes.c.revision == note.revision,
    )
    sealed_text = tx.vault.seal(new, business_id, "lead_notes.body", note.id)
    return (
        tx.execute(mine.values(body=sealed_text, revision=note.revision + 1, edited_at=tx.now)).rowcount == 1
    )


def delete_note(tx: Tx, business_id: str, note: Note) -> bool:
    """Delete a note, unless somebody else has changed it meanwhile."""
    mine = lead_notes.delete().where(
        lead_notes.c.business_id == business_id,
        lead_notes.c.id == note.id,
        lead_notes.c.revision == note.revision,
    )
    return tx.execute(mine).rowcount == 1


def save_task(tx: Tx, business_id: str, task: Task) -> bool:
    """Insert a task, its text sealed; False when it is there."""
    row = row_of(task, without={"text"})
    body = tx.vault.seal(task.text, business_id, "lead_tasks.body", task.id)
    return tx.insert_ignore(lead_tasks, row | {"business_id": business_id, "body": body})


def find_task(tx: Tx, business_id: str, lead_id: str, task_id: str) -> Task | None:
    return next((task for task in list_tasks(tx, business_id, lead_id) if task.id == task_id), None)


def list_tasks(tx: Tx, business_id: str, lead_id: str) -> list[Task]:
    """A lead's tasks in the order of their making, with their texts opened."""
    mine = select(lead_tasks).where(lead_tasks.c.business_id == business_id, lead_tasks.c.lead_id == lead_id)
    rows = tx.execute(mine.order_by(lead_tasks.c.created_at, lead_tasks.c.id)).mappings()
    return [Task(**_opened(tx, row, Task)) for row in rows]


def list_due_tasks(tx: Tx, day: date) -> list[tuple[str, str, str | None, date]]:
    """Tasks of all businesses that are due by a day and not long before: business, lead, its owner, day."""
    due = lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day, lead_tasks.c.due_on > day - DUE_LATELY
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    told = lead_tasks.c.business_id, lead_tasks.c.lead_id, leads.c.owner_id, lead_tasks.c.due_on
    found = select(*told).join(leads, and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None)).distinct()
    return [tuple(row) for row in tx.execute(found)]


def list_due_leads(tx: Tx, business_id: str, day: date) -> list[str]:
    """The leads of open tasks that are due by a day, one entry for each task, the oldest first."""
    due = lead_tasks.c.business_id == business_id, lead_tasks.c.done_at.is_(None), lead_tasks.c.due_on <= day
    of_lead = leads.c.business_id == lead_tasks.c.business_id, leads.c.id == lead_tasks.c.lead_id
    ids = select(lead_tasks.c.lead_id).join(leads, and_(*of_lead)).where(*due, leads.c.hidden_at.is_(None))
    return list(tx.execute(ids.order_by(lead_tasks.c.due_on, lead_tasks.c.id)).scalars())


def record_task(tx: Tx, business_id: str, task: Task, seen: int) -> bool:
    """Keep a task's text, day and end, unless somebody else has changed it since revision ``seen``."""
    mine = update(lead_tasks).where(
        lead_tasks.c.business_id == business_id, lead_tasks.c.id == task.id, lead_tasks.c.revision == seen
    )
    body = tx.vault.seal(task.text, business_id, "lead_tasks.body", task.id)
    values = {"body": body, "due_on": task.due_on, "done_by": task.done_by, "done_at": task.done_at}
    return tx.execute(mine.values(revision=seen + 1, **values)).rowcount == 1


def delete_task(tx: Tx, business_id: str, task: Task) -> bool:
    """Delete a task, unless somebody else has changed it meanwhile."""
    mine = lead_tasks.delete().where(
        lead_tasks.c.business_id == business_id,
        lead_tasks.c.id == task.id,
        lead_tasks.c.revision == task.revision,
    )
    return tx.execute(mine).rowcount == 1


def _opened(tx: Tx, row: Mapping[Any, Any], shape: type[Note | Task]) -> dict[str, Any]:
    values = {name: row[name] for name in shape.__dataclass_fields__ if name != "text"}
    note_seen("lead_id", (row["lead_id"],))
    column = "lead_notes.body" if shape is Note else "lead_tasks.body"
    return values | {"text": tx.open_text(row["body"], row["business_id"], column, row["id"])}
